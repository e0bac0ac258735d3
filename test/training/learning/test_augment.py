from dataclasses import replace

import numpy as np
import pytest
import torch

from occ_core.types import DriveContext, Frame
from occ_core.voxel_grid import VoxelGrid
from training.learning.augment import AugmentConfig, augment, flip

GRID = VoxelGrid((-4.0, -4.0, -2.0, 4.0, 4.0, 2.0), 1.0)
NOTHING = AugmentConfig(
    flip=0,
    single_sweep=0,
    fewer_sweeps=0,
    drop_points=0,
    drop_intensity=0,
    scale_intensity=1,
    range_noise_m=0,
    drop_camera=0,
    drop_all_cameras=0,
    drop_lidar=0,
    brightness=0,
)


@pytest.fixture
def frame() -> Frame:
    points = torch.tensor([[1.2, 2.3, 0.5, 100.0, 0.0], [-3.1, 0.4, -1.0, 20.0, 0.3]])
    return Frame(
        images=torch.full((1, 2, 3, 8, 8), 100, dtype=torch.uint8),
        camera_mask=torch.ones(1, 2, dtype=torch.bool),
        intrinsics=torch.eye(3).expand(1, 2, 3, 3),
        grid_from_camera=torch.tensor(
            [[1.0, 0, 0, 0.5], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]]
        ).expand(1, 2, 4, 4),
        points=(points,),
        world_from_grid=torch.eye(4, dtype=torch.float64)[None],
        stamp_ns=(0,),
        context=(DriveContext(),),
    )


@pytest.mark.parametrize("axis", [0, 1])
def test_flip_moves_points_labels_and_cameras_together(frame: Frame, axis: int):
    """Labels marked at the points' voxels are found at the flipped points' voxels, and a camera
    still sees its point.
    """
    labels = torch.zeros(GRID.shape, dtype=torch.uint8)
    labels[GRID.index(frame.points[0][:, :3]).unbind(1)] = torch.tensor([4, 7], dtype=torch.uint8)
    flipped = flip(frame, axis)
    assert labels.flip(axis)[GRID.index(flipped.points[0][:, :3]).unbind(1)].tolist() == [4, 7]

    def in_camera(of: Frame) -> torch.Tensor:
        point = torch.cat([of.points[0][:, :3], torch.ones(2, 1)], dim=1)
        return point @ torch.linalg.inv(of.grid_from_camera[0, 0]).T

    torch.testing.assert_close(in_camera(flipped), in_camera(frame))
    assert flipped.points[0][:, axis].tolist() == [-x for x in frame.points[0][:, axis].tolist()]
    # a point keeps its place in the world
    world = flipped.world_from_grid[0].float() @ torch.cat(
        [flipped.points[0][0, :3], torch.ones(1)]
    )
    torch.testing.assert_close(world[:3], frame.points[0][0, :3])


def test_nothing_is_changed_when_all_is_off(frame: Frame):
    labels = torch.zeros(GRID.shape, dtype=torch.uint8)
    varied, _ = augment(
        frame, labels, replace(NOTHING), np.random.default_rng(0), np.random.default_rng(0)
    )
    assert torch.equal(varied.points[0], frame.points[0]) and torch.equal(
        varied.camera_mask, frame.camera_mask
    )
    # the tint alone is always on: at most a tenth
    assert (varied.images.float() - 100).abs().max() <= 10


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"single_sweep": 1.0}, lambda f: len(f.points[0]) == 1),
        ({"drop_lidar": 1.0}, lambda f: len(f.points[0]) == 0),
        ({"drop_intensity": 1.0}, lambda f: not f.points[0][:, 3].any()),
        ({"drop_all_cameras": 1.0}, lambda f: not f.camera_mask.any()),
        ({"drop_camera": 1.0}, lambda f: not f.camera_mask.any()),
    ],
)
def test_each_variation(frame: Frame, change: dict[str, float], expected):
    rng = np.random.default_rng(0)
    varied, _ = augment(
        frame, torch.zeros(GRID.shape, dtype=torch.uint8), replace(NOTHING, **change), rng, rng
    )
    assert expected(varied)
