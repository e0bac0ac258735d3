"""Masks of the voxels that the sensors observe at a keyframe."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np

from occ_core.voxel_grid import VoxelGrid
from training.world.sensors.rig import LIDAR, LidarSpec


@dataclass(frozen=True)
class PosedSweep:
    """One LiDAR revolution and its pose in the grid."""

    points: np.ndarray
    """float32 [columns * beams, >=3] in firing order, LiDAR frame at the end of the sweep."""
    is_return: np.ndarray
    """bool [columns * beams]."""
    grid_from_lidar: np.ndarray
    """float64 [4, 4], at the end of the sweep."""
    start_in_lidar: np.ndarray
    """float64 [3]: LiDAR position at the start of the sweep, in the LiDAR frame at its end."""


@dataclass(frozen=True)
class PosedDepthImage:
    """The depth of one image and the pose of its camera in the grid."""

    depth_m: np.ndarray
    """float32 [H, W] along the optical axis."""
    intrinsics: np.ndarray
    """float64 [3, 3]."""
    grid_from_camera: np.ndarray
    """float64 [4, 4]."""


def lidar_mask(
    sweeps: Iterable[PosedSweep], grid: VoxelGrid, lidar: LidarSpec = LIDAR
) -> np.ndarray:
    """uint8 [X, Y, Z]: 1 where a beam that returned passed through the voxel or ended in it.

    A beam passes through a voxel if it is the nearest beam and meets the ball that touches the
    faces of the voxel. All sweeps count for the ends of beams, but only every second for passing
    beams, which differ little between consecutive sweeps.
    """
    sweeps = list(sweeps)
    mask = np.zeros(grid.shape, bool)
    lowest = np.inf
    for sweep in sweeps:
        hits = _transform(sweep.grid_from_lidar, sweep.points[sweep.is_return, :3])
        index, _ = grid.numpy_index(hits)
        mask[tuple(index.T)] = True
        lowest = min(lowest, float(hits[:, 2].min(initial=np.inf)))
    flat = mask.reshape(-1)
    centres = _centres(grid)
    remaining = np.flatnonzero(~flat & (centres[:, 2] > lowest - grid.voxel_size_m))
    for sweep in sweeps[::2]:
        is_crossed = _is_crossed(centres[remaining], sweep, grid.voxel_size_m / 2, lidar)
        flat[remaining[is_crossed]] = True
        remaining = remaining[~is_crossed]
    return mask.astype(np.uint8)


def camera_mask(images: Iterable[PosedDepthImage], grid: VoxelGrid) -> np.ndarray:
    """uint8 [X, Y, Z]: 1 where an image shows the centre of the voxel.

    The centre may lie up to half the diagonal of a voxel behind a surface.
    """
    centres = _centres(grid)
    visible = np.zeros(len(centres), bool)
    slack = grid.voxel_size_m * 3**0.5 / 2
    for image in images:
        height, width = image.depth_m.shape
        focal_x, focal_y = (np.float32(image.intrinsics[axis, axis]) for axis in (0, 1))
        centre_x, centre_y = (np.float32(image.intrinsics[axis, 2]) for axis in (0, 1))
        local = _transform(np.linalg.inv(image.grid_from_camera), centres)
        ahead = np.flatnonzero(local[:, 2] > 0.2)
        x, y, z = local[ahead].T
        column = np.round(x / z * focal_x + centre_x)
        row = np.round(y / z * focal_y + centre_y)
        inside = np.flatnonzero((column >= 0) & (column < width) & (row >= 0) & (row < height))
        depth = image.depth_m[row[inside].astype(np.int32), column[inside].astype(np.int32)]
        visible[ahead[inside[z[inside] < depth + slack]]] = True
    return visible.reshape(grid.shape).astype(np.uint8)


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


def _is_crossed(
    centres: np.ndarray, sweep: PosedSweep, half_m: float, lidar: LidarSpec
) -> np.ndarray:
    """Whether the beam nearest to each centre [N, 3] passes within ``half_m`` of it, bool [N]."""
    local = _transform(np.linalg.inv(sweep.grid_from_lidar), centres)
    start = sweep.start_in_lidar.astype(np.float32)
    time_to_end = 1.0 - (np.arange(1, lidar.columns + 1, dtype=np.float32) / lidar.columns)
    origin = time_to_end[:, None] * start  # of each column
    ranges = np.linalg.norm(
        sweep.points[:, :3].reshape(lidar.columns, lidar.beams, 3) - origin[:, None], axis=2
    )
    ranges[~sweep.is_return.reshape(lidar.columns, lidar.beams)] = 0.0
    # The car moves up to a voxel during a revolution, so each centre is seen from where the LiDAR
    # was when its beam passed.
    azimuth = np.arctan2(local[:, 0], local[:, 1])
    shift = origin[_column(azimuth, lidar)]
    flat_squared = np.maximum(local[:, 0] ** 2 + local[:, 1] ** 2, 1.0)
    # The azimuth of local - shift, to first order.
    azimuth += (shift[:, 1] * local[:, 0] - shift[:, 0] * local[:, 1]) / flat_squared
    column = _column(azimuth, lidar)
    local -= shift
    distance = np.sqrt(np.einsum("ni,ni->n", local, local))
    elevation = np.arcsin(np.clip(local[:, 2] / np.maximum(distance, 1e-3), -1.0, 1.0))
    beam, beam_elevation = _nearest_beam(elevation, lidar)
    miss = np.abs(elevation - beam_elevation) * distance
    return (miss < half_m) & (distance - half_m < ranges[column, beam])


def _nearest_beam(elevation: np.ndarray, lidar: LidarSpec) -> tuple[np.ndarray, np.ndarray]:
    """The ring nearest to each elevation in radians, and the elevation of that ring."""
    if lidar.fan_deg:
        fan = np.radians(lidar.elevations_deg).astype(np.float32)
        beam = np.searchsorted((fan[1:] + fan[:-1]) / 2, elevation)
        return beam, fan[beam]
    step, lowest = np.float32(np.radians(lidar.step_deg)), np.float32(np.radians(lidar.lowest_deg))
    beam = np.clip(np.round((elevation - lowest) / step), 0, lidar.beams - 1).astype(np.int32)
    return beam, lowest + beam * step


def _column(azimuth: np.ndarray, lidar: LidarSpec) -> np.ndarray:
    """The firing nearest to each azimuth in radians."""
    turn = (azimuth - np.float32(np.radians(lidar.first_azimuth_deg))) * np.float32(
        lidar.columns / (2 * np.pi)
    )
    return np.round(turn).astype(np.int32) % lidar.columns


def _transform(a_from_b: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ a_from_b[:3, :3].T.astype(np.float32) + a_from_b[:3, 3].astype(np.float32)
