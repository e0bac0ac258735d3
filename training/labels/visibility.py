"""What the sensors observe: voxels that LiDAR rays reach, and those of them that cameras see."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from occ_core.geometry.points import project_points, transform_points
from occ_core.ops.ray_casting import cast_rays
from occ_core.voxel_grid import VoxelGrid
from training.labels.drive import LabelCamera, LabelDrive
from training.labels.ray_marking import mark_rays

_RAY_INTERVAL_S = 0.09
"""Rays are traced through one revolution in so much time: those between differ little."""


class LidarRays(NamedTuple):
    """Voxels that the rays of a drive meet, bool ``[X, Y, Z]`` each."""

    touched: np.ndarray
    """Any ray passes through any part of the voxel, before its end."""
    crossed: np.ndarray
    """Any ray passes within half a voxel of the voxel's centre, before its end."""
    ended: np.ndarray
    """Any ray ends in the voxel."""


def lidar_rays(drive: LabelDrive, grid: VoxelGrid, grid_from_world: np.ndarray) -> LidarRays:
    """The voxels that the rays of all revolutions of a drive meet.

    Only beams that came back count: where the others went is not known.
    """
    rays = LidarRays(*(np.zeros(grid.shape, bool) for _ in range(3)))
    reach = float(np.linalg.norm(np.subtract(grid.range_m[3:], grid.range_m[:3]))) / 2
    middle = np.add(grid.range_m[3:], grid.range_m[:3]) / 2
    last_s = -np.inf
    for sweep in drive.sweeps:
        if sweep.end_s - last_s < _RAY_INTERVAL_S:
            continue
        last_s = sweep.end_s
        grid_from_lidar = grid_from_world @ sweep.world_from_lidar
        origin = (grid_from_lidar[:3, 3] - grid.min_m) / grid.voxel_size_m
        if np.abs(grid_from_lidar[:2, 3] - middle[:2]).max() > reach + 80.0:
            continue
        ends = sweep.points @ grid_from_lidar[:3, :3].T + grid_from_lidar[:3, 3]
        ends = (ends - grid.min_m) / grid.voxel_size_m
        mark_rays(*rays, np.broadcast_to(origin, ends.shape).copy(), ends)
    return rays


def camera_mask(
    occupied: np.ndarray,
    observed: np.ndarray,
    cameras: tuple[LabelCamera, ...],
    grid: VoxelGrid,
    grid_from_world: np.ndarray,
) -> np.ndarray:
    """Which of the observed voxels a camera sees: bool ``[X, Y, Z]``.

    A voxel is seen if its centre lies in an image and no occupied voxel before it.

    Args:
        occupied: bool ``[X, Y, Z]``.
        observed: bool ``[X, Y, Z]``.
        cameras: at the keyframe; one outside the grid sees nothing.
        grid_from_world: ``[4, 4]``, at the keyframe.
    """
    labels = torch.from_numpy(occupied.astype(np.uint8))
    centres = grid.all_centres().reshape(-1, 3).numpy()
    seen = np.zeros(len(centres), bool)
    for camera in cameras:
        grid_from_camera = grid_from_world @ camera.world_from_camera
        origin = grid_from_camera[:3, 3]
        if not grid.numpy_index(origin[None])[1].all():
            continue
        remaining = np.flatnonzero(observed.ravel() & ~seen)
        camera_from_grid = np.linalg.inv(grid_from_camera)
        pixels, depth = project_points(
            camera.intrinsics, transform_points(camera_from_grid, centres[remaining])
        )
        height, width = camera.size
        with np.errstate(invalid="ignore"):
            framed = (pixels > -0.5).all(axis=1) & (pixels < (width - 0.5, height - 0.5)).all(
                axis=1
            )
        remaining = remaining[framed & (depth > 0)]
        way = torch.from_numpy(centres[remaining] - origin)
        distance = way.norm(dim=1, keepdim=True)
        origins = torch.from_numpy(np.broadcast_to(origin, way.shape).copy())
        hits = cast_rays(labels, grid, origins, way / distance)
        seen[remaining] = (distance[:, 0] <= hits.depth_m).numpy()
    return seen.reshape(grid.shape)
