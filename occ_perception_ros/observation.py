"""What the sensors of a frame saw: lines of sight from LiDAR and cameras through the grid."""

from __future__ import annotations

from functools import lru_cache
from math import prod

import numpy as np
import torch

from occ_core.geometry.poses import invert_pose
from occ_core.ops.cpu.kernel import kernel
from occ_core.ops.line_of_sight import see_through
from occ_core.types import Frame, Occupancy
from occ_core.voxel_grid import VoxelGrid
from occ_perception_ros.frame_parts import FrameParts
from occ_perception_ros.grid_info import GridInfo

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
    min_m = np.array(grid.min_m, np.float32)
    voxel = _flat_voxels(points, min_m, np.float32(1 / grid.voxel_size_m), grid.shape)
    near, far = _last_of_each(voxel, prod(grid.shape)), np.flatnonzero(voxel < 0)
    of_far = np.searchsorted(ages_s, points[far, 4])
    if of_far.max(initial=-1) >= len(origins):
        raise ValueError("a point of the frame is older than all of its sweeps")
    low_m, high_m = np.array(grid.range_m[:3]), np.array(grid.range_m[3:])
    lines = origins, of_far, points, far
    leaves = _where_lines_leave(*lines, low_m, high_m, grid.voxel_size_m, grid.shape)
    far = far[_last_of_each(leaves, prod(grid.shape))]
    ends = points[np.concatenate([near, far])]
    return (
        torch.from_numpy(origins[np.searchsorted(ages_s, ends[:, 4])]),
        torch.from_numpy(ends[:, :3].astype(np.float64)),
    )


@kernel
def _flat_voxels(
    points: np.ndarray, min_m: np.ndarray, voxels_per_m: np.float32, shape: tuple[int, int, int]
) -> np.ndarray:
    """The voxel of each point ``[N, >=3]`` as its number in the flattened grid, int32 ``[N]``; -1
    outside. All floats are single precision.
    """
    flat = np.empty(len(points), np.int32)
    for number in range(len(points)):  # without a branch, so that many points are taken at once
        x = np.floor((points[number, 0] - min_m[0]) * voxels_per_m)
        y = np.floor((points[number, 1] - min_m[1]) * voxels_per_m)
        z = np.floor((points[number, 2] - min_m[2]) * voxels_per_m)
        is_inside = (x >= 0) & (x < shape[0]) & (y >= 0) & (y < shape[1])
        is_inside &= (z >= 0) & (z < shape[2])
        position = (np.int32(x) * shape[1] + np.int32(y)) * shape[2] + np.int32(z)
        flat[number] = position if is_inside else -1
    return flat


@kernel
def _last_of_each(voxels: np.ndarray, cells: int) -> np.ndarray:
    """Positions of the last occurrence of each voxel, the last one first; int64 ``[M]``.

    Args:
        voxels: int ``[N]``, numbers in the flattened grid; negative ones are left out.
        cells: size of the grid.
    """
    is_taken = np.zeros(cells, np.bool_)
    last, number = np.empty(len(voxels), np.int64), 0
    for position in range(len(voxels) - 1, -1, -1):
        voxel = voxels[position]
        if voxel >= 0 and not is_taken[voxel]:
            is_taken[voxel] = True
            last[number] = position
            number += 1
    return last[:number]


@kernel
def _where_lines_leave(
    origins: np.ndarray,
    from_origin: np.ndarray,
    ends: np.ndarray,
    to_end: np.ndarray,
    low_m: np.ndarray,
    high_m: np.ndarray,
    voxel_size_m: float,
    shape: tuple[int, int, int],
) -> np.ndarray:
    """Voxels at the border through which lines leave, as numbers in the flat grid, int64 ``[N]``.

    Each line goes from one of ``origins`` to one of ``ends``; ``from_origin`` and ``to_end`` are
    their positions there, int64 ``[N]``.
    """
    flat = np.empty(len(to_end), np.int64)
    for number in range(len(to_end)):
        origin, end = from_origin[number], to_end[number]
        leaves = np.inf
        for axis in range(3):
            way = ends[end, axis] - origins[origin, axis]
            if way != 0:
                wall = high_m[axis] if way > 0 else low_m[axis]
                leaves = min(leaves, (wall - origins[origin, axis]) / way)
        position = 0
        for axis in range(3):
            way = ends[end, axis] - origins[origin, axis]
            place = origins[origin, axis] + leaves * way
            cell = np.floor((place - low_m[axis]) / voxel_size_m)
            position = position * shape[axis] + int(min(max(cell, 0.0), shape[axis] - 1.0))
        flat[number] = position
    return flat


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
        step = max(int(grid.voxel_size_m * float(intrinsics[0, 0]) / _DENSE_UP_TO_M), 1)
        # Rows of zeros at the top pad an image that is less high than the model's.
        filled = np.flatnonzero(image.numpy().any(axis=(0, 2)))
        top = int(filled[0]) if len(filled) else height
        ways = _pixels(top, height, width, step) @ (pose[:3, :3] @ torch.linalg.inv(intrinsics)).T
        ways /= ways.norm(dim=1, keepdim=True)
        reach = (corners - pose[:3, 3]).norm(dim=1).max()
        lines.append((pose[:3, 3], pose[:3, 3] + ways * reach))
    return lines


@lru_cache(maxsize=8)
def _pixels(top: int, height: int, width: int, step: int) -> torch.Tensor:
    """Every ``step``-th pixel from row ``top`` on: column, row, 1; float64 ``[N, 3]``."""
    rows = torch.arange(top, height, step, dtype=torch.float64)
    columns = torch.arange(0, width, step, dtype=torch.float64)
    return torch.cartesian_prod(columns, rows, torch.ones(1, dtype=torch.float64))
