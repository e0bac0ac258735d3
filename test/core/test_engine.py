import torch

from occ_core.build import build_model
from occ_core.config import debug
from occ_core.engine import OccupancyEngine, autocast, bf16_is_fast


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
