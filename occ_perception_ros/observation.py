"""What the sensors of a frame saw: lines of sight from LiDAR and cameras through the grid."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch

from occ_core.geometry.poses import invert_pose
from occ_core.ops.line_of_sight import see_through
from occ_core.types import Frame, Occupancy
from occ_core.voxel_grid import VoxelGrid
from occ_perception_ros.frame_parts import FrameParts
from occ_perception_ros.grid_info import GridInfo
from occ_perception_ros.lidar_lines import newest_lines

_DENSE_UP_TO_M = 40.0
"""Up to here neighbouring lines of sight of a camera are at most one voxel apart."""


def seen_voxels(frame: Frame, parts: FrameParts, occupancy: Occupancy) -> np.ndarray:
    """Marks of ``ops.line_of_sight`` for each voxel, uint8 ``[X, Y, Z]``.

    A LiDAR sees as far as its returns, from where it was at each sweep; beams without a return tell
    nothing. A camera sees as far as the first voxel that the model calls occupied. A masked camera
    sees nothing.

    Args:
        frame: with a batch size of 1.
        parts: what the frame was built of.
        occupancy: the answer to the frame.
    """
    grid = occupancy.grid
    seen = torch.zeros(grid.shape, dtype=torch.uint8)
    nothing = torch.zeros(grid.shape, dtype=torch.bool)
    see_through(seen, nothing, grid, *_lidar_lines(frame, parts, grid))
    occupied = occupancy.labels[0] != occupancy.label_set.empty
    for origin, ends in _camera_lines(frame, grid):
        see_through(seen, occupied, grid, origin.expand_as(ends), ends)
    return seen.numpy()


def grid_info(occupancy: Occupancy, frame_id: str) -> GridInfo:
    """What the numbers of an answer mean.

    Args:
        occupancy: any answer of the model.
        frame_id: TF frame of the grid.
    """
    grid, label_set = occupancy.grid, occupancy.label_set
    return GridInfo(
        frame_id=frame_id,
        min_m=grid.min_m,
        voxel_size_m=grid.voxel_size_m,
        shape=grid.shape,
        label_set=label_set.name,
        class_names=label_set.names,
        colours=label_set.palette,
        empty=label_set.empty,
        checkpoint=occupancy.checkpoint,
    )


def _lidar_lines(
    frame: Frame, parts: FrameParts, grid: VoxelGrid
) -> tuple[torch.Tensor, torch.Tensor]:
    """Origins and ends ``[N, 3]``: one line for each voxel that has returns, and one for each at
    the grid's border through which lines leave to returns beyond. Of several, it is the newest.
    """
    points = frame.points[0].cpu().numpy()
    sweeps = sorted(parts.sweeps, key=lambda posed: -posed.stamp_ns)
    ages_s = np.array([(parts.stamp_ns - each.stamp_ns) * 1e-9 for each in sweeps], np.float32)
    grid_from_world = invert_pose(parts.world_from_grid)
    origins = np.array(
        [(grid_from_world @ s.world_from_grid @ s.grid_from_lidar)[:3, 3] for s in sweeps]
    ).reshape(-1, 3)
    if points[:, 4].max(initial=-np.inf) > ages_s.max(initial=-np.inf):
        raise ValueError("a point of the frame is older than all of its sweeps")
    chosen, sweep = newest_lines(points, origins, ages_s, grid)
    ends = points[chosen, :3].astype(np.float64)
    return torch.from_numpy(origins[sweep]), torch.from_numpy(ends)


def _camera_lines(frame: Frame, grid: VoxelGrid) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """For each camera that is not masked its origin ``[3]`` and the ends of its lines ``[N, 3]``,
    beyond the grid.
    """
    corners = torch.cartesian_prod(
        *(
            torch.tensor([low, high], dtype=torch.float64)
            for low, high in zip(grid.range_m[:3], grid.range_m[3:], strict=True)
        )
    )
    lines = []
    for camera in torch.nonzero(frame.camera_mask[0].cpu())[:, 0].tolist():
        image = frame.images[0, camera].cpu()
        pose = frame.grid_from_camera[0, camera].cpu().double()
        intrinsics = frame.intrinsics[0, camera].cpu().double()
        height, width = image.shape[1:]
        step = max(grid.voxel_size_m * float(intrinsics[0, 0]) / _DENSE_UP_TO_M, 1.0)
        # Rows of zeros at the top pad an image that is less high than the model's.
        filled = np.flatnonzero(image.numpy().any(axis=(0, 2)))
        top = int(filled[0]) if len(filled) else height
        rays = _rays(tuple(intrinsics.flatten().tolist()), top, height, width, step)
        reach = (corners - pose[:3, 3]).norm(dim=1).max()
        lines.append((pose[:3, 3], torch.addmm(pose[:3, 3], rays, pose[:3, :3].T * reach)))
    return lines


@lru_cache(maxsize=32)
def _rays(
    intrinsics: tuple[float, ...], top: int, height: int, width: int, step: float
) -> torch.Tensor:
    """Unit vectors in the camera's frame through every ``step``-th pixel from row ``top`` on,
    float64 ``[N, 3]``. A rig's cameras hardly ever change.

    Args:
        intrinsics: the nine numbers of the matrix, in pixels, row by row.
    """
    rows = torch.arange(top, height, step, dtype=torch.float64)
    columns = torch.arange(0, width, step, dtype=torch.float64)
    pixels = torch.cartesian_prod(columns, rows, torch.ones(1, dtype=torch.float64))
    rays = pixels @ torch.linalg.inv(torch.tensor(intrinsics, dtype=torch.float64).view(3, 3)).T
    return rays / rays.norm(dim=1, keepdim=True)
