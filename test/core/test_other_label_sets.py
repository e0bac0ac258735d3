"""Models of other classes and grids: every part follows the label set that the config names."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from occ_core.build import build_model
from occ_core.checkpoint import config_from_dict, load_checkpoint, save_checkpoint
from occ_core.config import OccupancyConfig, debug, for_benchmark
from occ_core.engine import AnswerError, OccupancyEngine, check_answer
from occ_core.head import decide
from occ_core.labels.benchmarks import BENCHMARKS
from occ_core.labels.label_set import LabelSet
from occ_core.labels.sets import LABEL_SETS, NUSCENES, OCC3D
from occ_core.losses.cross_entropy import class_weights
from occ_core.losses.gauss_render.loss import GaussRenderLoss, authors_code
from occ_core.prompts import LanguageConfig, all_prompts
from occ_core.rendering.cameras import Cameras
from occ_core.temporal import TemporalConfig
from occ_core.types import DriveContext, Frame, HeadOutput
from occ_core.voxel_grid import VoxelGrid

AHEAD = VoxelGrid((0.0, -6.4, -2.0, 12.8, 6.4, 1.2), 0.2)
"""Like KITTI's, a quarter as long: 64 x 64 x 16 voxels ahead of the sensor."""
LAST = LabelSet(tuple(f"class{label}" for label in range(1, 17)) + ("free",), empty=16)
"""Id l of a set of 17 whose empty class is the first one is l - 1 here, and 0 is 16."""


def small(grid: VoxelGrid, labels: LabelSet) -> OccupancyConfig:
    return replace(
        debug(),
        grid=grid,
        grid_frame="velodyne",
        labels=labels,
        image_size=(32, 64),
        temporal=TemporalConfig(),
        language=LanguageConfig(width=4),
    )


def frame_ahead(seed: int = 0) -> Frame:
    """A camera that looks along +x, and 500 points ahead of it."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand(500, 5, generator=generator)
    points[:, :3] = points[:, :3] * torch.tensor([12.0, 12.0, 3.0]) - torch.tensor([0, 6.0, 2.0])
    pose = torch.tensor([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
    lens = torch.tensor([[50.0, 0, 32], [0, 50.0, 16], [0, 0, 1]])
    return Frame(
        images=torch.randint(0, 256, (1, 1, 3, 32, 64), dtype=torch.uint8, generator=generator),
        camera_mask=torch.ones(1, 1, dtype=torch.bool),
        intrinsics=lens.expand(1, 1, 3, 3),
        grid_from_camera=pose.expand(1, 1, 4, 4),
        points=(points,),
        world_from_grid=torch.eye(4, dtype=torch.float64)[None],
        stamp_ns=(seed * 100_000_000,),
        context=(DriveContext(),),
    )


@pytest.mark.parametrize("labels", LABEL_SETS.values(), ids=LABEL_SETS)
def test_a_model_of_any_label_set_on_fine_voxels_ahead(labels: LabelSet):
    """0.2 m voxels, a third of the range of ``debug``'s LiDAR voxels: the encoder takes the grid's
    own. Two frames, so that memory and recursive prompts are used.
    """
    config = small(AHEAD, labels)
    assert config.lidar_grid == AHEAD
    torch.manual_seed(0)
    engine = OccupancyEngine(build_model(config), precision="fp32")
    for seed in (1, 2):
        occupancy = engine.step(frame_ahead(seed))
        assert occupancy.label_set is labels
        assert occupancy.labels.shape == (1, 64, 64, 16)
        assert set(occupancy.labels.unique().tolist()) <= set(range(len(labels.names)))
    assert engine.memory is not None and engine.memory.classes is not None
    assert engine.memory.classes.shape == (1, len(labels.names))


def test_a_checkpoint_carries_its_label_set(tmp_path: Path):
    config = small(AHEAD, OCC3D)
    torch.manual_seed(0)
    model = build_model(config)
    save_checkpoint(tmp_path / "model.safetensors", model, {})
    stored = json.loads((tmp_path / "model.json").read_text())
    assert stored["config"]["labels"]["names"][17] == "free"
    assert stored["config"]["labels"]["empty"] == 17 and stored["frame_id"] == "velodyne"
    loaded, _ = load_checkpoint(tmp_path / "model.safetensors")
    assert loaded.config == config and loaded.config.labels == OCC3D


def test_a_checkpoint_without_a_label_set_has_the_classes_of_nuscenes():
    """As every one written before models had other classes."""
    assert config_from_dict({"channels": 16}).labels == NUSCENES
    with pytest.raises(ValueError, match="names must differ"):
        config_from_dict({"labels": {"names": ["empty", "car", "car"]}})


@pytest.mark.parametrize(("finest_m", "expected_m"), [(0.5, 0.4), (0.4, 0.4), (0.125, 0.1)])
def test_points_are_gathered_in_voxels_that_halve_the_grid_s(finest_m: float, expected_m: float):
    config = replace(
        for_benchmark(debug(), BENCHMARKS["occ3d"]), lidar_voxel_m=finest_m, volume_blocks=(1,)
    )
    assert config.lidar_grid.voxel_size_m == pytest.approx(expected_m)
    assert config.grid_frame == "ego" and config.labels == OCC3D
    with pytest.raises(ValueError, match="lidar_voxel_m must be positive, got 0"):
        replace(config, lidar_voxel_m=0.0)


def test_openoccupancy_s_grid_is_built():
    """512 x 512 x 40 voxels at a ratio of 4: volumes of 128 x 128 x 10."""
    config = replace(
        for_benchmark(debug(), BENCHMARKS["openoccupancy"]), cascade_ratio=4, volume_blocks=(1, 1)
    )
    assert config.coarse_grid.shape == (128, 128, 10)
    assert config.lidar_grid.shape == (512, 512, 40)
    build_model(config)


def renamed(ids: torch.Tensor) -> torch.Tensor:
    """Ids of a set whose empty class is 0 as ids of ``LAST``; 255 stays."""
    moved = (ids.int() - 1).remainder(17).to(ids.dtype)
    return torch.where(ids == 255, ids, moved)


def test_the_decision_follows_the_empty_class():
    logits = torch.randn(2, 17, 4, 4, 4)
    label, probability = decide(logits)
    for empty in (16, 5):
        order = [*range(1, empty + 1), 0, *range(empty + 1, 17)]  # class l in the place of order
        found, same = decide(logits[:, order], empty)
        assert torch.equal(torch.tensor(order)[found.long()].to(torch.uint8), label)
        torch.testing.assert_close(same, probability)


def test_class_weights_follow_the_empty_class():
    counts = torch.arange(17.0) ** 2 + 1
    weights = class_weights(counts)
    assert torch.equal(class_weights(counts.roll(-1), empty=16), weights.roll(-1))


@pytest.mark.parametrize("dense", [True, False])
def test_gauss_render_follows_the_empty_class(dense: bool):
    """Loss and gradient are those of the same classes in another order, on a grid ahead."""
    grid = VoxelGrid((0.0, -3.2, -1.6, 6.4, 3.2, 1.6), 0.4)
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 17, (1, *grid.shape), generator=generator, dtype=torch.uint8)
    labels[torch.rand(1, *grid.shape, generator=generator) < 0.8] = 0
    labels[0, 0, 0, 0] = 255
    frame = frame_ahead()
    camera_from_grid = torch.linalg.inv(frame.grid_from_camera[0])
    cameras = [Cameras(frame.intrinsics[0], camera_from_grid, (32, 64))]
    shape = grid.shape if dense else grid.coarser(2).shape
    logits = torch.randn(1, 17, *shape, generator=generator)

    def loss(logits: torch.Tensor, labels: torch.Tensor, empty: int) -> tuple:
        logits = logits.clone().requires_grad_()
        criterion = GaussRenderLoss(grid, authors_code(), 17, empty=empty)
        random = np.random.default_rng(0)
        if dense:
            total = criterion(logits, labels, cameras, random).total
        else:
            total = criterion.from_cascade(HeadOutput.dense(logits), labels, cameras, random).total
        return total.detach(), torch.autograd.grad(total, logits)[0]

    expected, gradient = loss(logits, labels, 0)
    found, moved = loss(logits.roll(-1, dims=1), renamed(labels), 16)
    # sums over classes run in another order
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(moved, gradient.roll(-1, dims=1), rtol=1e-3, atol=1e-7)


def test_prompts_name_the_classes_of_the_set():
    prompts = all_prompts(LABEL_SETS["semantic_kitti"])
    assert len(prompts) == 5 * 20 + 5 and len(set(prompts)) == len(prompts)
    assert prompts[5].startswith("Other vehicle, ") and prompts[1].startswith("A car, ")
    assert all_prompts(OCC3D)[17] == all_prompts(NUSCENES)[0]  # of the scene in general


def test_an_absurd_answer_is_one_without_free_space_of_its_set():
    engine = OccupancyEngine(build_model(replace(small(AHEAD, OCC3D), temporal=None)))
    occupancy = engine.step(frame_ahead())
    occupied = replace(occupancy, labels=torch.zeros_like(occupancy.labels))
    with pytest.raises(AnswerError, match="100% of space is occupied"):
        check_answer(frame_ahead(), occupied)
    free = replace(occupancy, labels=torch.full_like(occupancy.labels, 17))
    with pytest.raises(AnswerError, match="all space is empty"):
        check_answer(frame_ahead(), free)
