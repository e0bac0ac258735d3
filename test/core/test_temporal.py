from dataclasses import replace

import pytest
import torch
from torch import Tensor

from occ_core.build import build_model
from occ_core.checkpoint import load_checkpoint, save_checkpoint
from occ_core.config import debug
from occ_core.engine import OccupancyEngine
from occ_core.temporal import (
    ConvLSTM,
    NoTemporalAggregator,
    TemporalAggregator,
    TemporalConfig,
    discontinuity,
    memory_if_continuous,
    warp,
)
from occ_core.types import Frame, TemporalMemory, TemporalState
from occ_core.voxel_grid import VoxelGrid

GRID = VoxelGrid((-8.0, -8.0, -2.0, 8.0, 8.0, 2.0), 1.0)
NS = 1_000_000_000


def differ(first: Tensor, second: Tensor) -> bool:
    """Whether two results differ by far more than rounding."""
    return bool((first - second).abs().max() > 1e-3)


def pose(x: float = 0.0, y: float = 0.0, yaw: float = 0.0) -> Tensor:
    matrix = torch.eye(4, dtype=torch.float64)
    angle = torch.tensor(yaw, dtype=torch.float64)
    matrix[0, 0] = matrix[1, 1] = angle.cos()
    matrix[0, 1], matrix[1, 0] = -angle.sin(), angle.sin()
    matrix[0, 3], matrix[1, 3] = x, y
    return matrix[None]


def blob(world_m: Tensor, world_from_grid: Tensor) -> Tensor:
    """A volume [1, 1, X, Y, Z] with a Gaussian of 1 m around a point of the world."""
    homogeneous = torch.cat([world_m.double(), torch.ones(1, dtype=torch.float64)])
    centre = (torch.linalg.inv(world_from_grid[0]) @ homogeneous)[:3].float()
    squared_distance = (GRID.all_centres() - centre).square().sum(dim=-1)
    return torch.exp(-squared_distance / 2)[None, None]


def centroid(volume: Tensor) -> Tensor:
    """The mean position of a volume's values, in metres in the grid frame."""
    weight = volume[0, 0, ..., None]
    return (GRID.all_centres() * weight).sum(dim=(0, 1, 2)) / weight.sum()


def at(frame: Frame, world_from_grid: Tensor, stamp_s: float) -> Frame:
    return replace(frame, world_from_grid=world_from_grid, stamp_ns=(round(stamp_s * NS),))


def test_warp_by_whole_voxels_is_a_shift():
    """After 2 m along x, what was in cell i is in cell i - 2. The last two cells are new."""
    volume = torch.rand(1, 3, *GRID.shape)
    moved = warp(volume, pose(), pose(x=2.0), GRID)
    torch.testing.assert_close(moved[:, :, :-2], volume[:, :, 2:], atol=1e-4, rtol=0)
    assert (moved[:, :, -2:] == 0).all()


def test_warp_without_motion_is_the_identity():
    """Also at the large world coordinates of a drive."""
    volume = torch.rand(2, 3, *GRID.shape)
    poses = torch.cat([pose(x=1e5, yaw=1.0), pose(y=-1e5)])
    torch.testing.assert_close(warp(volume, poses, poses, GRID), volume, atol=1e-4, rtol=0)


def test_a_static_world_stays_put_while_the_vehicle_moves_and_turns():
    """After twelve warps over 0.4 m and 3 degrees each, the blob is still where it was in the
    world.
    """
    world = torch.tensor([3.0, 1.5, 0.0])
    previous = pose()
    remembered = blob(world, previous)
    for step in range(1, 13):
        current = pose(x=0.4 * step, y=0.1 * step, yaw=step * 3 * torch.pi / 180)
        remembered, previous = warp(remembered, previous, current, GRID), current
    drift = (centroid(remembered) - centroid(blob(world, current))).norm()
    assert drift < 0.5 * GRID.voxel_size_m


def test_gradient_flows_through_the_warp():
    volume = torch.rand(1, 2, *GRID.shape, requires_grad=True)
    warp(volume, pose(), pose(x=0.3), GRID).sum().backward()
    assert (volume.grad > 0).any()


def test_one_step_of_the_lstm_by_hand():
    """With all weights of the gates zero, their biases give i = s(0), f = s(0 + 1), o = s(2) and
    g = tanh(1).
    """
    lstm = ConvLSTM(1, factorised=False)
    torch.nn.init.zeros_(lstm.gates.weight)
    lstm.gates.bias.data = torch.tensor([0.0, 0.0, 2.0, 1.0])
    one = torch.ones(1, 1, 2, 2, 2)
    hidden, cell = lstm(one, one, 3 * one)
    expected = 1 / (1 + torch.tensor(-1.0).exp()) * 3 + 0.5 * torch.tensor(1.0).tanh()
    torch.testing.assert_close(cell, expected * one)
    torch.testing.assert_close(hidden, torch.sigmoid(torch.tensor(2.0)) * expected.tanh() * one)


def make_aggregator(mode: str, frames: int = 5) -> TemporalAggregator:
    """An aggregator whose memory has influence, which it has not at first."""
    made = TemporalAggregator(8, GRID, TemporalConfig(mode=mode, frames=frames), factorised=True)
    torch.nn.init.normal_(made.out.weight)
    return made.eval()


def step(
    aggregator: TemporalAggregator, volume: Tensor, frame: Frame, past: TemporalMemory
) -> tuple[Tensor, TemporalMemory]:
    """The smoothed volume, and the memory for the next frame."""
    smoothed, state = aggregator(volume, frame, past)
    return smoothed, TemporalMemory.after(frame, past, state, None, None)


NO_PAST = TemporalMemory()


@pytest.mark.parametrize("mode", ["streaming", "window"])
def test_an_aggregator_starts_as_the_identity(mode: str, make_frame):
    made = TemporalAggregator(8, GRID, TemporalConfig(mode=mode), factorised=True)
    volume = torch.rand(1, 8, *GRID.shape)
    assert torch.equal(made(volume, make_frame(), NO_PAST)[0], volume)


def test_switched_off_it_passes_the_volume_on_and_keeps_nothing(make_frame):
    volume = torch.rand(1, 8, *GRID.shape)
    smoothed, state = NoTemporalAggregator()(volume, make_frame(), NO_PAST)
    assert smoothed is volume and state == TemporalState()


@torch.inference_mode()
def test_streaming_and_window_agree_up_to_t_frames(make_frame):
    """The vehicle stands still, so that nothing is resampled. The state after five steps is then
    the unroll over five volumes; at the sixth a window has lost the first volume.
    """
    streaming, window = make_aggregator("streaming"), make_aggregator("window")
    window.load_state_dict(streaming.state_dict())
    streaming_memory = window_memory = NO_PAST
    for number in range(6):
        frame, volume = at(make_frame(), pose(), 0.5 * number), torch.rand(1, 8, *GRID.shape)
        streamed, streaming_memory = step(streaming, volume, frame, streaming_memory)
        unrolled, window_memory = step(window, volume, frame, window_memory)
        if number < 5:
            torch.testing.assert_close(streamed, unrolled, atol=1e-4, rtol=1e-4)
        else:
            assert differ(streamed, unrolled)
    assert len(window_memory.volumes) == 4 and window_memory.state == ()
    assert len(streaming_memory.state) == 2 and streaming_memory.volumes == ()
    assert len(streaming_memory.world_from_grid) == 1


@torch.inference_mode()
def test_a_window_of_one_frame_has_no_past(make_frame):
    window, memory = make_aggregator("window", frames=1), NO_PAST
    volume = torch.rand(1, 8, *GRID.shape)
    outputs = []
    for number in range(2):
        smoothed, memory = step(window, volume, at(make_frame(), pose(), 0.5 * number), memory)
        outputs.append(smoothed)
    assert torch.equal(*outputs) and memory.volumes == ()


@torch.inference_mode()
@pytest.mark.parametrize("mode", ["streaming", "window"])
def test_what_is_remembered_moves_with_the_world(mode: str, make_frame):
    """The world is seen once, then nothing. After a motion by whole voxels the memory is the same,
    shifted. The border, where convolutions pad, is left out.
    """
    made = make_aggregator(mode)
    first, nothing = torch.rand(1, 8, *GRID.shape), torch.zeros(1, 8, *GRID.shape)
    _, memory = step(made, first, at(make_frame(), pose(), 0.0), NO_PAST)
    still, moved = (
        step(made, nothing, at(make_frame(), pose(x=x), 0.5), memory)[0] for x in (0.0, 3.0)
    )
    torch.testing.assert_close(moved[:, :, 2:10], still[:, :, 5:13], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("stamp_s", "x", "why"),
    [
        pytest.param(0.5, 5.0, None, id="drives_on"),
        pytest.param(2.5, 0.0, "2.500 s after", id="gap"),
        pytest.param(-0.5, 0.0, "-0.500 s after", id="back_in_time"),
        pytest.param(0.0, 0.0, "0.000 s after", id="same_stamp"),
        pytest.param(0.5, 40.0, "moved 40.0 m", id="jump"),
    ],
)
def test_discontinuities(stamp_s: float, x: float, why: str | None, make_frame):
    memory = TemporalMemory(world_from_grid=(pose(),), stamp_ns=((0,),))
    frame = at(make_frame(), pose(x=x), stamp_s)
    found = discontinuity(memory, frame, TemporalConfig())
    kept = memory_if_continuous(memory, frame, TemporalConfig())
    if why is None:
        assert found is None and kept is memory
    else:
        assert why in found and kept == TemporalMemory()


@torch.inference_mode()
def test_after_a_discontinuity_the_past_has_no_influence(make_frame):
    made, volume = make_aggregator("streaming"), torch.rand(1, 8, *GRID.shape)
    first = at(make_frame(), pose(), 0.0)
    _, memory = step(made, torch.rand(1, 8, *GRID.shape), first, NO_PAST)

    def smoothed(stamp_s: float, past: TemporalMemory | None) -> Tensor:
        frame = at(make_frame(), pose(), stamp_s)
        return made(volume, frame, memory_if_continuous(past, frame, TemporalConfig()))[0]

    fresh = smoothed(0.5, None)
    assert differ(smoothed(0.5, memory), fresh)
    assert torch.equal(smoothed(9.0, memory), fresh)


def test_a_memory_of_another_batch_size_is_discarded(make_frame):
    memory = TemporalMemory(world_from_grid=(pose().expand(2, 4, 4),), stamp_ns=((0, 0),))
    found = discontinuity(memory, at(make_frame(), pose(), 0.5), TemporalConfig())
    assert found == "a batch of 1 frames follows one of 2"


def test_detached_memory_ends_the_gradient(make_frame):
    made = make_aggregator("streaming")
    first = torch.rand(1, 8, *GRID.shape, requires_grad=True)
    _, memory = step(made, first, at(make_frame(), pose(), 0.0), NO_PAST)
    second = at(make_frame(), pose(), 0.5)
    made(torch.rand(1, 8, *GRID.shape), second, memory.detach())[0].sum().backward()
    assert first.grad is None
    made(torch.rand(1, 8, *GRID.shape), second, memory)[0].sum().backward()
    assert first.grad is not None


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match="frames and stride >= 1"):
        TemporalConfig(frames=0)


@torch.inference_mode()
def test_the_head_remembers_its_output(make_frame):
    """A head that was sure of class 3 everywhere, and then has no evidence for any class, decides
    on class 3 again.
    """
    model = build_model(replace(debug(), temporal=TemporalConfig())).eval()
    first = model(at(make_frame(), pose(), 0.0))
    assert torch.equal(first.memory.head.fine, first.head.fine)
    fine = torch.zeros_like(first.head.fine)
    fine[:, 3] = 20.0
    head = first.head._replace(fine=fine)
    torch.nn.init.zeros_(model.head.refine[-1].weight)
    torch.nn.init.zeros_(model.head.refine[-1].bias)
    second = model(at(make_frame(), pose(), 0.5), replace(first.memory, head=head))
    again = (second.head.children[:, None] == head.children[None, :100]).all(dim=2).any(dim=1)
    assert again.any() and (second.head.fine[again].argmax(dim=1) == 3).all()


def test_the_engine_remembers_and_says_why_it_discards_its_memory(make_frame, tmp_path):
    model = build_model(replace(debug(), temporal=TemporalConfig()))
    torch.nn.init.normal_(model.temporal.out.weight, std=2.0)
    save_checkpoint(tmp_path / "model.safetensors", model, {})
    engine = OccupancyEngine(load_checkpoint(tmp_path / "model.safetensors")[0], precision="fp32")
    frames = [at(make_frame(number), pose(), 0.5 * number) for number in range(3)]
    alone = []
    for frame in frames:
        alone.append(engine.step(frame))
        engine.reset("requested")
    in_a_row = [engine.step(frame) for frame in frames]
    assert torch.equal(in_a_row[0].probability, alone[0].probability)
    assert differ(in_a_row[1].probability, alone[1].probability)
    assert [occupancy.memory_reset for occupancy in in_a_row] == [None] * 3
    later = engine.step(at(frames[1], pose(), 60.0))
    assert "after the one before" in later.memory_reset
    assert torch.equal(later.probability, alone[1].probability)


@torch.inference_mode()
def test_the_memory_stays_float32_under_autocast(make_frame):
    """The cell adds up over a whole drive."""
    made, frame = make_aggregator("streaming"), at(make_frame(), pose(), 0.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        _, state = made(torch.rand(1, 8, *GRID.shape, dtype=torch.bfloat16), frame, NO_PAST)
    assert state.lstm[1].dtype == torch.float32
