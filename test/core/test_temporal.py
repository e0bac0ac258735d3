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
    TemporalAggregator,
    TemporalConfig,
    continued,
    discontinuity,
    warp,
)
from occ_core.types import Frame, TemporalMemory
from occ_core.voxel_grid import VoxelGrid

GRID = VoxelGrid((-8.0, -8.0, -2.0, 8.0, 8.0, 2.0), 1.0)
NS = 1_000_000_000


def pose(x: float = 0.0, y: float = 0.0, yaw: float = 0.0) -> Tensor:
    matrix = torch.eye(4, dtype=torch.float64)
    angle = torch.tensor(yaw, dtype=torch.float64)
    matrix[0, 0] = matrix[1, 1] = angle.cos()
    matrix[0, 1], matrix[1, 0] = -angle.sin(), angle.sin()
    matrix[0, 3], matrix[1, 3] = x, y
    return matrix[None]


def blob(world_m: Tensor, world_from_grid: Tensor) -> Tensor:
    """A volume [1, 1, X, Y, Z] with a smooth blob at a point of the world."""
    centre = torch.linalg.inv(world_from_grid[0]) @ torch.cat(
        [world_m.double(), torch.ones(1, dtype=torch.float64)]
    )
    return torch.exp(-(GRID.all_centres() - centre[:3].float()).square().sum(dim=-1) / 2)[
        None, None
    ]


def centroid(volume: Tensor) -> Tensor:
    """Metres in the grid frame."""
    weight = volume[0, 0, ..., None]
    return (GRID.all_centres() * weight).sum(dim=(0, 1, 2)) / weight.sum()


def at(frame: Frame, world_from_grid: Tensor, stamp_s: float) -> Frame:
    return replace(frame, world_from_grid=world_from_grid, stamp_ns=(round(stamp_s * NS),))


def test_warp_by_whole_voxels_is_a_shift():
    """The vehicle drove 2 m along x: what was in cell i is in cell i - 2, and the last two cells
    were never seen.
    """
    volume = torch.rand(1, 3, *GRID.shape)
    moved = warp(volume, pose(), pose(x=2.0), GRID)
    torch.testing.assert_close(moved[:, :, :-2], volume[:, :, 2:])
    assert (moved[:, :, -2:] == 0).all()


def test_warp_without_motion_is_the_identity():
    volume = torch.rand(2, 3, *GRID.shape)
    there = torch.cat(
        [pose(x=1e5, yaw=1.0), pose(y=-1e5)]
    )  # world coordinates of a drive are large
    torch.testing.assert_close(warp(volume, there, there, GRID), volume)


def test_a_static_world_stays_put_while_the_vehicle_moves_and_turns():
    """Twelve warps in a row over 12 x 0.4 m and 12 x 3 degrees: the blob's centroid stays where it
    is in the world.
    """
    world = torch.tensor([3.0, 1.5, 0.0])
    there = pose()
    remembered = blob(world, there)
    for step in range(1, 13):
        here = pose(x=0.4 * step, y=0.1 * step, yaw=step * 3 * torch.pi / 180)
        remembered, there = warp(remembered, there, here, GRID), here
    drift = (centroid(remembered) - centroid(blob(world, here))).norm()
    assert drift < 0.5 * GRID.voxel_size_m


def test_gradient_flows_through_the_warp():
    volume = torch.rand(1, 2, *GRID.shape, requires_grad=True)
    warp(volume, pose(), pose(x=0.3), GRID).sum().backward()
    assert (volume.grad > 0).any()


def test_one_step_of_the_lstm_by_hand():
    """All gates' convolutions are zero but their biases: i = s(0), f = s(0 + 1), o = s(2), g =
    tanh(1).
    """
    lstm = ConvLSTM(1, factorised=False)
    torch.nn.init.zeros_(lstm.gates.weight)
    lstm.gates.bias.data = torch.tensor([0.0, 0.0, 2.0, 1.0])
    one = torch.ones(1, 1, 2, 2, 2)
    hidden, cell = lstm(one, one, 3 * one)
    expected = 1 / (1 + torch.tensor(-1.0).exp()) * 3 + 0.5 * torch.tensor(1.0).tanh()
    torch.testing.assert_close(cell, expected * one)
    torch.testing.assert_close(hidden, torch.sigmoid(torch.tensor(2.0)) * expected.tanh() * one)


def aggregator(mode: str, frames: int = 5) -> TemporalAggregator:
    torch.manual_seed(0)
    made = TemporalAggregator(8, GRID, TemporalConfig(mode=mode, frames=frames), factorised=True)
    torch.nn.init.normal_(made.out.weight)
    return made.eval()


@pytest.mark.parametrize("mode", ["streaming", "window"])
def test_it_starts_as_the_identity(mode: str, make_frame):
    made = TemporalAggregator(8, GRID, TemporalConfig(mode=mode), factorised=True)
    volume = torch.rand(1, 8, *GRID.shape)
    assert torch.equal(made(volume, make_frame(), None)[0], volume)


@torch.inference_mode()
def test_streaming_and_window_share_the_same_computation_up_to_t_frames(make_frame):
    """A vehicle that stands still: nothing is resampled, and the state after five steps is the
    unroll over five volumes.

    The sixth differs: a window has forgotten the first volume.
    """
    streaming, window = aggregator("streaming"), aggregator("window")
    window.load_state_dict(streaming.state_dict())
    memories: list[TemporalMemory | None] = [None, None]
    for number in range(6):
        frame, volume = at(make_frame(), pose(), 0.5 * number), torch.rand(1, 8, *GRID.shape)
        volumes = []
        for index, mode in enumerate((streaming, window)):
            smoothed, memories[index] = mode(volume, frame, memories[index])
            volumes.append(smoothed)
        assert torch.allclose(*volumes, atol=1e-5) == (number < 5)
    assert len(memories[1].volumes) == 4 and memories[1].state == () and memories[0].volumes == ()


@torch.inference_mode()
@pytest.mark.parametrize("mode", ["streaming", "window"])
def test_what_is_remembered_moves_with_the_world(mode: str, make_frame):
    """The same world seen once, then nothing: whole voxels of motion give the same memory, shifted."""
    made = aggregator(mode)
    first, nothing = torch.rand(1, 8, *GRID.shape), torch.zeros(1, 8, *GRID.shape)
    outputs = []
    for x in (0.0, 3.0):
        _, memory = made(first, at(make_frame(), pose(), 0.0), None)
        outputs.append(made(nothing, at(make_frame(), pose(x=x), 0.5), memory)[0])
    inner = slice(2, 10)  # away from the border, where the convolution pads
    torch.testing.assert_close(
        outputs[1][:, :, inner], outputs[0][:, :, 5:13], atol=1e-4, rtol=1e-4
    )


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
    found = discontinuity(memory, at(make_frame(), pose(x=x), stamp_s), TemporalConfig())
    assert found is None if why is None else why in found


@torch.inference_mode()
def test_after_a_discontinuity_the_past_has_no_influence(make_frame):
    made, frame, volume = aggregator("streaming"), make_frame(), torch.rand(1, 8, *GRID.shape)
    _, memory = made(torch.rand(1, 8, *GRID.shape), at(frame, pose(), 0.0), None)
    fresh, remembering, late = (
        made(volume, later, continued(past, later, TemporalConfig()))[0]
        for later, past in (
            (at(frame, pose(), stamp_s), past)
            for stamp_s, past in ((0.5, None), (0.5, memory), (9.0, memory))
        )
    )
    assert torch.equal(late, fresh) and not torch.equal(remembering, fresh)


def test_detached_memory_ends_the_gradient(make_frame):
    made = aggregator("streaming")
    first = torch.rand(1, 8, *GRID.shape, requires_grad=True)
    _, memory = made(first, at(make_frame(), pose(), 0.0), None)
    second = at(make_frame(), pose(), 0.5)
    made(torch.rand(1, 8, *GRID.shape), second, memory.detach())[0].sum().backward()
    assert first.grad is None
    made(torch.rand(1, 8, *GRID.shape), second, memory)[0].sum().backward()
    assert first.grad is not None


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match="frames and stride >= 1"):
        TemporalConfig(frames=0)


def test_the_head_recalls_what_it_said(make_frame):
    """A head that is sure of everything once, and knows nothing the next time, says the same again."""
    torch.manual_seed(0)
    config = replace(debug(), temporal=TemporalConfig())
    model = build_model(config).eval()
    first = model(at(make_frame(), pose(), 0.0))
    head = first.head._replace(
        fine=torch.zeros_like(first.head.fine).index_fill(1, torch.tensor([3]), 20.0)
    )
    assert torch.equal(first.memory.head.fine, first.head.fine)
    torch.nn.init.zeros_(model.head.refine[-1].weight)
    torch.nn.init.zeros_(model.head.refine[-1].bias)
    second = model(at(make_frame(), pose(), 0.5), replace(first.memory, head=head))
    again = (second.head.children[:, None] == head.children[None, :100]).all(dim=2).any(dim=1)
    assert again.any() and (second.head.fine[again].argmax(dim=1) == 3).all()


def test_engine_remembers_forgets_and_says_why(make_frame, tmp_path):
    torch.manual_seed(0)
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
    assert not torch.equal(in_a_row[1].probability, alone[1].probability)
    assert [occupancy.memory_reset for occupancy in in_a_row] == [None] * 3
    later = engine.step(at(frames[1], pose(), 60.0))
    assert "after the one before" in later.memory_reset
    assert torch.equal(later.probability, alone[1].probability)


@torch.inference_mode()
def test_the_memory_stays_float32_where_the_network_is_not(make_frame):
    made = aggregator("streaming")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        _, memory = made(
            torch.rand(1, 8, *GRID.shape, dtype=torch.bfloat16), at(make_frame(), pose(), 0.0), None
        )
    assert memory.state[1].dtype == torch.float32  # the cell, which adds up over a whole drive
