import math

import numpy as np
import pytest
import torch

from occ_core.metrics import OCC3D, BevScore, ImageScore
from occ_core.rendering.cameras import Cameras
from occ_core.rendering.virtual_cameras import look_at_pose
from occ_core.voxel_grid import VoxelGrid

GRID = VoxelGrid((-8.0, -8.0, -2.0, 8.0, 8.0, 2.0), 1.0)  # 16 x 16 x 4
AHEAD = np.linalg.inv(look_at_pose(np.array([0.0, 0, 0]), np.array([0.0, 5, 0])))
CAMERA = Cameras(
    torch.tensor([[[20.0, 0, 15.5], [0, 20.0, 11.5], [0, 0, 1]]]),
    torch.from_numpy(AHEAD).float()[None],
    (24, 32),
)


def wall(row: int, label: int = 2) -> torch.Tensor:
    """Across the whole grid, along x, at y = row - 8 .. row - 7."""
    labels = torch.zeros(GRID.shape, dtype=torch.uint8)
    labels[:, row] = label
    return labels


def test_a_right_prediction_scores_full():
    score = ImageScore(GRID)
    score.update(wall(13), wall(13), CAMERA)
    scores = score.compute()
    assert scores["semantics"]["iou"] == scores["semantics"]["miou"] == 1.0
    assert scores["depth_l1_m"] == 0.0


def test_a_wall_two_metres_too_far():
    """From y = 0 to the voxels' centres it is 5.5 m, and 7.5 m in the prediction. At the wall's
    edges, where the Gaussians fade, the difference is smaller.
    """
    score = ImageScore(GRID)
    score.update(wall(15), wall(13), CAMERA)
    assert 1.5 < score.compute()["depth_l1_m"] < 2.0


def test_a_wrong_class_of_the_right_shape():
    score = ImageScore(GRID)
    score.update(wall(13, label=3), wall(13), CAMERA)
    scores = score.compute()["semantics"]
    assert scores["iou"] == 1.0 and scores["miou"] == 0.0


def test_ignored_voxels_are_not_rendered():
    truth = wall(13)
    truth[:, 10] = 255
    prediction = wall(13)
    prediction[:, 10] = 3
    score = ImageScore(GRID)
    score.update(prediction, truth, CAMERA)
    assert score.compute()["semantics"]["miou"] == 1.0


def test_from_above_only_the_uppermost_voxels_count():
    """A roof hides whether the ground below it was predicted; without half of the roof, half of the
    pixels are missed.
    """
    truth = torch.zeros(GRID.shape, dtype=torch.uint8)
    truth[:, :, 3], truth[:, :, 0] = 2, 1
    hollow = truth.clone()
    hollow[:, :, 0] = 0
    score = BevScore(GRID)
    score.update(hollow, truth)
    assert score.compute()["semantics"]["iou"] == 1.0
    hollow[:8] = 0
    half = BevScore(GRID)
    half.update(hollow, truth)
    # The edge is blurred by half a voxel, of 16.
    assert half.compute()["semantics"]["iou"] == pytest.approx(0.5, abs=0.04)


def test_an_empty_scene_has_no_depth():
    nothing = torch.zeros(GRID.shape, dtype=torch.uint8)
    score = ImageScore(GRID)
    score.update(nothing, nothing, CAMERA)
    assert math.isnan(score.compute()["depth_l1_m"])


def test_another_empty_class_changes_names_alone():
    """Ids of nuScenes' set and, with free as 17 and nothing as 0, Occ3D's: the same pictures."""
    truth = torch.zeros(GRID.shape, dtype=torch.uint8)
    truth[:, :, 0], truth[3:6, 3:6, 1] = 11, 4
    prediction = truth.clone()
    prediction[3:5, 3:6, 1] = 3
    by_nuscenes, by_occ3d = BevScore(GRID), BevScore(GRID, OCC3D)
    by_nuscenes.update(prediction, truth)
    by_occ3d.update(*(torch.where(ids == 0, 17, ids) for ids in (prediction, truth)))
    expected, found = by_nuscenes.compute(), by_occ3d.compute()
    assert found["depth_l1_m"] == expected["depth_l1_m"]
    assert found["semantics"]["iou"] == expected["semantics"]["iou"]
    for name in ("car", "bus", "driveable_surface"):
        assert found["semantics"]["per_class"][name] == expected["semantics"]["per_class"][name]
