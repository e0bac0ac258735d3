"""Scores without occupancy labels: a prediction against a keyframe's LiDAR points and boxes."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from occ_core.geometry.boxes import Box, points_in_box
from occ_core.taxonomy import CLASS_ID, EMPTY
from occ_core.voxel_grid import VoxelGrid

MIN_BOX_POINTS = 5
"""Boxes with fewer LiDAR points are too far away or too occluded to be judged."""

_MOTOR_VEHICLES = tuple(CLASS_ID[name] for name in ("car", "truck", "bus"))


def voxelise_points(points: np.ndarray, grid: VoxelGrid) -> np.ndarray:
    """Whether each voxel contains a point, bool ``[X, Y, Z]``: occupancy without a network.

    Args:
        points: ``[N, >=3]``, metres in the grid frame.
    """
    occupied = np.zeros(grid.shape, dtype=bool)
    index, _ = grid.numpy_index(points[:, :3])
    occupied[tuple(index.T)] = True
    return occupied


def hit_recall(prediction: np.ndarray, points: np.ndarray, grid: VoxelGrid) -> float:
    """Fraction of the voxels with a LiDAR point that are predicted occupied; NaN without any.

    Args:
        prediction: class ids ``[X, Y, Z]``.
        points: ``[N, >=3]``, metres in the grid frame.

    Raises:
        ValueError: the prediction does not have the grid's shape.
    """
    _check(prediction, grid)
    hit = voxelise_points(points, grid)
    return float((prediction[hit] != EMPTY).mean()) if hit.any() else math.nan


def car_point_accuracy(
    prediction: np.ndarray, points: np.ndarray, boxes: Iterable[Box], grid: VoxelGrid
) -> float:
    """Fraction of the LiDAR points in cars, trucks and buses that are predicted one of these.

    Only boxes with at least ``MIN_BOX_POINTS`` points in the grid count, and each point counts
    once. NaN without any such point.

    Args:
        prediction: class ids ``[X, Y, Z]``.
        points: ``[N, >=3]``, metres in the grid frame, of the annotated sweep.
        boxes: annotated boxes in the grid frame.

    Raises:
        ValueError: the prediction does not have the grid's shape.
    """
    _check(prediction, grid)
    index, inside = grid.numpy_index(points[:, :3])
    in_grid = points[inside]
    in_vehicle = np.zeros(len(in_grid), dtype=bool)
    for box in boxes:
        if box.class_id in _MOTOR_VEHICLES:
            in_box = points_in_box(in_grid, box)
            if in_box.sum() >= MIN_BOX_POINTS:
                in_vehicle |= in_box
    predicted = prediction[tuple(index[in_vehicle].T)]
    return float(np.isin(predicted, _MOTOR_VEHICLES).mean()) if in_vehicle.any() else math.nan


def _check(prediction: np.ndarray, grid: VoxelGrid) -> None:
    if prediction.shape != grid.shape:
        raise ValueError(
            f"a prediction on this grid must have shape {list(grid.shape)}, got "
            f"{list(prediction.shape)}"
        )
