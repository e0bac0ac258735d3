"""From surfaces to the voxels of one keyframe."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from occ_core.geometry.poses import invert_pose
from occ_core.voxel_grid import VoxelGrid
from training.labels.cells import Cells
from training.labels.drive import LabelDrive, LabelKeyframe
from training.labels.surfaces import DriveSurfaces

_OBJECT_WEIGHT = 3.0
"""Where a small thing stands in a voxel that is mostly ground or wall, the thing wins."""
_POROUS_WEIGHT = 0.4
"""Leaves fill space, so that a plant has more points in a voxel than the ground below it."""
_OTHER_WEIGHT = 0.1
"""Any class is better than class 0, none."""


class OccupiedVoxels(NamedTuple):
    """Voxels that a surface touches."""

    voxels: np.ndarray
    """int64 [K], flat indices in C order, ascending."""
    classes: np.ndarray
    """int16 [K], the class with the largest weighted area of each."""
    measured: np.ndarray
    """bool [K]: whether more touches the voxel than ground that was filled in."""


def occupied_voxels(
    drive: LabelDrive,
    surfaces: DriveSurfaces,
    keyframe: LabelKeyframe,
    grid: VoxelGrid,
    grid_from_world: np.ndarray,
) -> OccupiedVoxels:
    """The voxels that a surface touches at a keyframe, and the class most of it has.

    Args:
        grid_from_world: ``[4, 4]``, at the keyframe.
    """
    grid_from_map = grid_from_world @ surfaces.world_from_map
    parts = [_in_grid(surfaces.static, grid, grid_from_map)]
    if keyframe.sweep in surfaces.moments:
        parts.append(_in_grid(surfaces.moments[keyframe.sweep], grid, grid_from_map))
    time_s = drive.sweeps[keyframe.sweep].end_s
    for track, cells in zip(drive.tracks, surfaces.objects, strict=True):
        if len(cells.points) and track.first_s <= time_s <= track.last_s:
            parts.append(_in_grid(cells, grid, grid_from_world @ track.poses_at(time_s)))
    measured = sum(len(voxel) for voxel, _ in parts)
    parts.append(_in_grid(surfaces.ground, grid, grid_from_map))
    voxel, classes = (np.concatenate(column) for column in zip(*parts, strict=True))
    is_measured = np.arange(len(voxel)) < measured
    area = np.where(is_measured, 1.0, surfaces.ground_area)
    voxels, winners = vote(voxel, classes, area * _weights(drive, classes)[classes])
    return OccupiedVoxels(voxels, winners, np.isin(voxels, voxel[is_measured]))


def vote(
    voxel: np.ndarray, classes: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The class of the largest weight in each voxel; of equal ones the smallest.

    Args:
        voxel: int64 ``[N]``, the voxel of each point.
        classes: int16 ``[N]``, its class.
        weight: float64 ``[N]``, its weight.

    Returns:
        Voxels int64 ``[K]``, ascending, and their classes int16 ``[K]``.
    """
    kinds = int(classes.max(initial=0)) + 1
    pair, place = np.unique(voxel * kinds + classes, return_inverse=True)
    total = np.bincount(place, weight, len(pair))
    where, which = pair // kinds, pair % kinds
    order = np.lexsort((which, -total, where))
    first = order[np.flatnonzero(np.diff(where[order], prepend=-1))]
    return where[first], which[first].astype(np.int16)


def _weights(drive: LabelDrive, classes: np.ndarray) -> np.ndarray:
    """The weight of each class in a vote, float64 [C]."""
    weights = np.ones(int(classes.max(initial=0)) + 1)
    unlike = (drive.objects, _OBJECT_WEIGHT), (drive.porous, _POROUS_WEIGHT), ({0}, _OTHER_WEIGHT)
    for ids, weight in unlike:
        weights[[each for each in ids if each < len(weights)]] = weight
    return weights


def _in_grid(
    cells: Cells, grid: VoxelGrid, grid_from_cells: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Flat voxel indices and classes of the cells inside the grid."""
    cells_from_grid = invert_pose(grid_from_cells)
    low, high = np.asarray(grid.range_m[:3]), np.asarray(grid.range_m[3:])
    middle = cells_from_grid[:3, :3] @ ((low + high) / 2) + cells_from_grid[:3, 3]
    reach = float(np.linalg.norm(high - low)) / 2
    near = (np.abs(cells.points - middle.astype(np.float32)) < reach).all(axis=1)
    points = cells.points[near] @ grid_from_cells[:3, :3].T + grid_from_cells[:3, 3]
    index, inside = grid.numpy_index(points)
    return np.ravel_multi_index(tuple(index.T), grid.shape), cells.classes[near][inside]
