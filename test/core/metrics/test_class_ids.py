from inspect import unwrap

import numpy as np
import pytest
import torch

from occ_core.labels.sets import NUSCENES, OCC3D
from occ_core.metrics import BevScore, OccupancyScore, RayIoU
from occ_core.metrics.class_ids import checked_ids
from occ_core.voxel_grid import VoxelGrid

GRID = VoxelGrid((-4.0, -4.0, -1.0, 4.0, 4.0, 1.0), 0.5)  # 16 x 16 x 4 = 1024 voxels


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int64])
def test_arrays_and_tensors_score_alike(dtype: type):
    random = np.random.default_rng(0)
    truth, prediction = (random.integers(0, 17, GRID.shape).astype(dtype) for _ in range(2))
    by_array, by_tensor = OccupancyScore(), OccupancyScore()
    by_array.update(prediction, truth)
    by_tensor.update(*(torch.from_numpy(ids.astype(np.uint8)) for ids in (prediction, truth)))
    assert by_array.compute() == by_tensor.compute()
    rays = [RayIoU(GRID), RayIoU(GRID)]
    rays[0].update(prediction, truth, np.zeros((1, 3), np.float32))
    tensors = (torch.from_numpy(ids.astype(np.uint8)) for ids in (prediction, truth))
    rays[1].update(*tensors, torch.zeros(1, 3))
    assert torch.equal(rays[0].hits, rays[1].hits) and rays[0].true.sum() > 0


@pytest.mark.parametrize(
    ("prediction", "why"),
    [
        (np.zeros(4), "prediction must hold integer class ids, got an array of float64"),
        (torch.zeros(4), "prediction must hold integer class ids, got a tensor of torch.float32"),
        (torch.zeros(4, dtype=torch.bool), "got a tensor of torch.bool"),
        ([0, 1, 2, 3], "prediction must be a torch tensor or a numpy array .*, got list"),
    ],
)
def test_what_holds_no_ids_is_refused_by_name(prediction: object, why: str):
    truth = np.zeros(4, dtype=np.uint8)
    with pytest.raises(TypeError, match=why):
        unwrap(checked_ids)(prediction, truth, NUSCENES)  # without the tests' own type checks


def test_ids_of_another_set_are_refused():
    """SurroundOcc's 0 is empty, Occ3D's is "others": taken for Occ3D's, a grid of SurroundOcc's ids
    would be occupied everywhere, and its IoU 1.
    """
    surroundocc = np.zeros(GRID.shape, dtype=np.uint8)
    surroundocc[0] = 11
    occ3d = np.where(surroundocc == 0, 17, surroundocc)
    for score in (OccupancyScore(OCC3D), BevScore(GRID, OCC3D)):
        with pytest.raises(ValueError, match=r"truth holds 1024 voxels and none of them is 17"):
            score.update(occ3d, surroundocc)
    with pytest.raises(ValueError, match=r"prediction holds 1024 voxels and none of them is 17"):
        RayIoU(GRID, OCC3D).update(surroundocc, occ3d, np.zeros((1, 3)))
    with pytest.raises(
        ValueError, match=r"prediction holds class ids from 11 to 17, expected 0 to 16"
    ):
        OccupancyScore().update(occ3d, surroundocc)
    score = OccupancyScore(OCC3D)
    score.update(occ3d, occ3d)
    assert score.compute()["iou"] == 1.0


def test_under_an_ignored_truth_a_prediction_may_be_anything():
    prediction, truth = checked_ids(np.array([300, 4]), np.array([255, 4]), NUSCENES)
    assert truth.tolist() == [255, 4] and prediction[1] == 4
