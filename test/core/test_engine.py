import contextlib
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from occ_core.build import build_model
from occ_core.config import debug
from occ_core.engine import (
    AnswerError,
    OccupancyEngine,
    autocast,
    bf16_is_fast,
    check_answer,
    checked_device,
)
from occ_core.interface import VoxelModel
from occ_core.temporal import TemporalConfig
from occ_core.types import Occupancy, TemporalMemory
from occ_core.voxel_grid import VoxelGrid


def make_engine() -> OccupancyEngine:
    return OccupancyEngine(build_model(debug()), frame_id="lidar_top")


def test_step_gives_labels_and_probabilities_on_the_grid_of_the_model(make_frame):
    occupancy = make_engine().step(make_frame(7))
    assert occupancy.labels.shape == (1, 100, 100, 8) and occupancy.labels.dtype == torch.uint8
    # an occupied voxel has the most probable of 16 classes, which together have at least a half
    assert occupancy.probability.min() >= 1 / 32 - 1e-6
    assert occupancy.probability.max() <= 1 + 1e-6
    assert occupancy.stamp_ns == (7,) and occupancy.frame_id == "lidar_top"
    assert occupancy.grid == debug().grid


def test_two_steps_on_one_frame_are_equal(make_frame):
    engine, frame = make_engine(), make_frame()
    first, second = engine.step(frame), engine.step(frame)
    assert torch.equal(first.labels, second.labels)
    assert torch.equal(first.probability, second.probability)


def test_a_device_is_the_cpu_or_one_that_torch_sees(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for name in ("cpu", "cuda", "cuda:0", "cuda:1"):
        assert checked_device(name) == checked_device(torch.device(name)) == torch.device(name)
    with pytest.raises(
        ValueError, match="'cuda:2', but torch .* 2 CUDA devices; .* cuda:0 to cuda:1"
    ):
        checked_device("cuda:2")
    for name in ("foo", "", "cpu:0", "cuda:", "cuda:-1", "cuda:x", "cudas", "meta", "CPU"):
        with pytest.raises(ValueError, match=f"must be cpu, cuda or cuda:N, got '{name}'"):
            checked_device(name)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ValueError, match="sees 0 CUDA devices; choose cpu, or install"):
        OccupancyEngine(build_model(debug()), "cuda")


def test_bf16_is_used_only_where_the_processor_has_it():
    device = torch.device("cpu")
    with autocast(device, "auto"):
        assert torch.is_autocast_enabled("cpu") == bf16_is_fast(device)
    with autocast(device, "fp32"):
        assert not torch.is_autocast_enabled("cpu")


def test_bf16_agrees_with_fp32(make_frame):
    """With eight bits of mantissa the class may flip where two are nearly as probable: in a random
    network at about 5 voxels in 1000, and nowhere near 100.
    """
    model, frame = build_model(debug()), make_frame()
    full = OccupancyEngine(model, precision="fp32").step(frame).labels
    half = OccupancyEngine(model, precision="bf16").step(frame).labels
    assert (full == half).float().mean() > 0.9


class Poisoned(VoxelModel):
    """Passes a model's answers on, the first with one spoilt value."""

    def __init__(self, model, spoil):
        super().__init__(model.config, model.image_encoder)
        self.model, self.spoil, self.answers = model, spoil, 0

    def forward(self, frame, memory=None):
        prediction = self.model(frame, memory)
        self.answers += 1
        return self.spoil(prediction) if self.answers == 1 else prediction


def spoil_logit(prediction):
    prediction.head.coarse[0, 3, 1, 1, 1] = float("nan")
    return prediction


def spoil_memory(prediction):
    hidden = torch.full((1, 4, 5, 5, 2), float("inf"))
    return prediction._replace(memory=TemporalMemory(state=(hidden,)))


@pytest.mark.parametrize("spoil", [spoil_logit, spoil_memory])
def test_an_answer_that_is_not_finite_is_refused_and_forgotten(make_frame, spoil):
    model, clean = build_model(debug()), make_frame(1)
    engine = OccupancyEngine(Poisoned(model, spoil))
    with pytest.raises(AnswerError, match="not finite"):
        engine.step(make_frame(0))
    assert engine.memory is None
    assert torch.equal(engine.step(clean).labels, OccupancyEngine(model).step(clean).labels)


GARBAGE = st.sampled_from([float("nan"), float("inf"), 0.0, 1.0, -1e9, 1e20, 1e38, -3.4e38])
FIELDS = ("points", "intrinsics", "grid_from_camera", "world_from_grid", "images", "stamp_ns")


@given(field=st.sampled_from(FIELDS), value=GARBAGE, share=st.sampled_from([0.001, 0.5, 1.0]))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_garbage_in_any_field_never_gets_into_an_answer(make_frame, engine, field, value, share):
    """The engine answers with finite numbers or refuses, and so does it afterwards."""
    frame = make_frame(1)
    spoilt = getattr(frame, field)
    if field == "stamp_ns":
        spoilt = (int(min(max(value, -9e18), 9e18)) if value == value else -1,)
    else:
        tensor = (spoilt[0] if field == "points" else spoilt).clone()
        chosen = torch.rand(tensor.shape, generator=torch.Generator().manual_seed(0)) < share
        if field == "images":
            tensor[chosen] = 255
        else:
            tensor[chosen] = value
        spoilt = (tensor,) if field == "points" else tensor
    engine.reset("a new example")
    answers = []
    for each in (make_frame(0), replace(frame, **{field: spoilt}), make_frame(2)):
        with contextlib.suppress(RuntimeError):  # AnswerError, or a matrix without an inverse
            answers.append(engine.step(each))
    assert answers
    assert all(answer.probability.isfinite().all() for answer in answers)
    assert engine.memory is None or all(part.isfinite().all() for part in engine.memory.state)


@pytest.fixture(scope="module")
def engine():
    config = replace(debug(), temporal=TemporalConfig())
    return OccupancyEngine(build_model(config), precision="fp32")


def answer(labels, probability=0.5):
    grid = VoxelGrid((-4.0, -4.0, -4.0, 4.0, 4.0, 4.0), 1.0)
    return Occupancy(labels, torch.full(labels.shape, probability), grid, (1,), "lidar_top")


def test_answers_that_no_scene_has_are_refused(make_frame):
    inside, outside = make_frame(0, points=200), make_frame(0, points=200)
    inside.points[0][:, :3] = 0.5  # 200 points in one voxel
    outside.points[0][:, :3] = 50.0
    empty, full = (torch.full((1, 8, 8, 8), value, dtype=torch.uint8) for value in (0, 7))
    with pytest.raises(AnswerError, match="100% of space is occupied"):
        check_answer(inside, answer(full))
    with pytest.raises(AnswerError, match="empty, but 200 LiDAR points lie in it"):
        check_answer(inside, answer(empty))
    with pytest.raises(AnswerError, match="not finite"):
        check_answer(outside, answer(empty, float("nan")))
    check_answer(outside, answer(empty))  # nothing is there
    one = empty.clone()
    one[0, 4, 4, 4] = 7
    check_answer(inside, answer(one))
