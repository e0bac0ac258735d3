"""Which voxels the sensors observed at a keyframe."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np

from occ_core.voxel_grid import VoxelGrid
from training.world.sensors.rig import LIDAR, Lidar


@dataclass(frozen=True)
class SweepView:
    """One LiDAR revolution seen from the grid."""

    points: np.ndarray
    """float32 [columns * beams, >=3] in firing order, LiDAR frame at the sweep's end."""
    returned: np.ndarray
    """bool [columns * beams]."""
    grid_from_lidar: np.ndarray
    """float64 [4, 4], at the sweep's end."""
    start_in_lidar: np.ndarray
    """float64 [3]: where the LiDAR was when the sweep began, in its frame at the end."""


@dataclass(frozen=True)
class CameraView:
    """One image's depth seen from the grid."""

    depth_m: np.ndarray
    """float32 [H, W] along the optical axis."""
    intrinsics: np.ndarray
    """float64 [3, 3]."""
    grid_from_camera: np.ndarray
    """float64 [4, 4]."""


@cache
def _centres(grid: VoxelGrid) -> np.ndarray:
    """float32 [X * Y * Z, 3]."""
    axes = [
        (np.arange(cells, dtype=np.float32) + 0.5) * grid.voxel_size_m + low
        for cells, low in zip(grid.shape, grid.min_m, strict=True)
    ]
    centres = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    centres.setflags(write=False)
    return centres


def lidar_mask(sweeps: Iterable[SweepView], grid: VoxelGrid, lidar: Lidar = LIDAR) -> np.ndarray:
    """uint8 [X, Y, Z]: 1 where a beam passed through the voxel or ended in it; beams without return
    tell nothing.

    A voxel counts as passed when the nearest beam runs through the ball around its centre that
    touches its faces. Every second sweep is asked for passing beams, which differ little from one
    to the next; all are asked for their ends.
    """
    sweeps = list(sweeps)
    mask = np.zeros(grid.shape, bool)
    lowest = np.inf
    for sweep in sweeps:
        hits = _moved(sweep.grid_from_lidar, sweep.points[sweep.returned, :3])
        index, _ = grid.numpy_index(hits)
        mask[tuple(index.T)] = True
        lowest = min(lowest, float(hits[:, 2].min(initial=np.inf)))
    flat = mask.reshape(-1)
    centres = _centres(grid)
    waiting = np.flatnonzero(~flat & (centres[:, 2] > lowest - grid.voxel_size_m))
    for sweep in sweeps[::2]:
        passed = _passed(centres[waiting], sweep, grid.voxel_size_m / 2, lidar)
        flat[waiting[passed]] = True
        waiting = waiting[~passed]
    return mask.astype(np.uint8)


def _passed(centres: np.ndarray, sweep: SweepView, half_m: float, lidar: Lidar) -> np.ndarray:
    lidar_from_grid = np.linalg.inv(sweep.grid_from_lidar)
    local = _moved(lidar_from_grid, centres)
    start = sweep.start_in_lidar.astype(np.float32)
    columns_left = 1.0 - (np.arange(1, lidar.columns + 1, dtype=np.float32) / lidar.columns)
    origin = columns_left[:, None] * start  # of each column
    ranges = np.linalg.norm(
        sweep.points[:, :3].reshape(lidar.columns, lidar.beams, 3) - origin[:, None], axis=2
    )
    ranges[~sweep.returned.reshape(lidar.columns, lidar.beams)] = 0.0
    # The car moves up to a voxel during a revolution: look from where the LiDAR was when its beam
    # came by.
    azimuth = np.arctan2(local[:, 0], local[:, 1])
    move = origin[_column(azimuth, lidar)]
    flat_squared = np.maximum(local[:, 0] ** 2 + local[:, 1] ** 2, 1.0)
    azimuth += (
        move[:, 1] * local[:, 0] - move[:, 0] * local[:, 1]
    ) / flat_squared  # first order of atan2(local - move)
    column = _column(azimuth, lidar)
    local -= move
    distance = np.sqrt(np.einsum("ni,ni->n", local, local))
    elevation = np.arcsin(np.clip(local[:, 2] / np.maximum(distance, 1e-3), -1.0, 1.0))
    step, lowest = np.float32(np.radians(lidar.step_deg)), np.float32(np.radians(lidar.lowest_deg))
    beam = np.clip(np.round((elevation - lowest) / step), 0, lidar.beams - 1).astype(np.int32)
    miss = np.abs(elevation - (lowest + beam * step)) * distance
    return (miss < half_m) & (distance - half_m < ranges[column, beam])


def _column(azimuth: np.ndarray, lidar: Lidar) -> np.ndarray:
    """The firing nearest to azimuths in radians."""
    turn = (azimuth - np.float32(np.radians(lidar.first_azimuth_deg))) * np.float32(
        lidar.columns / (2 * np.pi)
    )
    return np.round(turn).astype(np.int32) % lidar.columns


def camera_mask(views: Iterable[CameraView], grid: VoxelGrid) -> np.ndarray:
    """uint8 [X, Y, Z]: 1 where the voxel's centre is inside an image and at most half a voxel's
    diagonal behind a surface.
    """
    centres = _centres(grid)
    seen = np.zeros(len(centres), bool)
    slack = grid.voxel_size_m * 3**0.5 / 2
    for view in views:
        height, width = view.depth_m.shape
        local = _moved(np.linalg.inv(view.grid_from_camera), centres)
        ahead = np.flatnonzero(local[:, 2] > 0.2)
        local = local[ahead]
        column = np.round(
            local[:, 0] / local[:, 2] * np.float32(view.intrinsics[0, 0])
            + np.float32(view.intrinsics[0, 2])
        )
        row = np.round(
            local[:, 1] / local[:, 2] * np.float32(view.intrinsics[1, 1])
            + np.float32(view.intrinsics[1, 2])
        )
        inside = np.flatnonzero((column >= 0) & (column < width) & (row >= 0) & (row < height))
        depth = view.depth_m[row[inside].astype(np.int32), column[inside].astype(np.int32)]
        seen[ahead[inside[local[inside, 2] < depth + slack]]] = True
    return seen.reshape(grid.shape).astype(np.uint8)


def _moved(a_from_b: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ a_from_b[:3, :3].T.astype(np.float32) + a_from_b[:3, 3].astype(np.float32)
