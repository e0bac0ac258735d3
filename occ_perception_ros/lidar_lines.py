"""Which of a frame's LiDAR returns have lines of sight that differ by more than a voxel."""

from __future__ import annotations

import numpy as np

from occ_core.ops.cpu.grid import KernelGrid, voxel_at
from occ_core.ops.cpu.kernel import kernel
from occ_core.voxel_grid import VoxelGrid

_RETURN, _BEYOND = 1, 2
"""Marks of a voxel: a chosen line ends in it; a chosen line leaves the grid through it."""


def newest_lines(
    points: np.ndarray, origins: np.ndarray, ages_s: np.ndarray, grid: VoxelGrid
) -> tuple[np.ndarray, np.ndarray]:
    """One return for each voxel that has any, and one for each voxel at the grid's border through
    which lines of sight leave to returns beyond. Of several, it is the last.

    Args:
        points: float32 ``[N, 5]``: x, y, z in metres, intensity, age in seconds; none is older than
            the last of ``ages_s``.
        origins: float64 ``[S, 3]``, the LiDAR's position at each sweep, in metres.
        ages_s: float32 ``[S]``, ages of the sweeps, ascending.
        grid: which both are in.

    Returns:
        Positions of the chosen points, the last one first, and of their sweeps; int64 ``[M]`` each.
    """
    low_m, high_m = np.array(grid.range_m[:3]), np.array(grid.range_m[3:])
    return _newest_lines(
        points, origins, ages_s, KernelGrid.of(grid), low_m, high_m, grid.voxel_size_m
    )


@kernel
def _newest_lines(
    points: np.ndarray,
    origins: np.ndarray,
    ages_s: np.ndarray,
    grid: KernelGrid,
    low_m: np.ndarray,
    high_m: np.ndarray,
    voxel_size_m: float,
) -> tuple[np.ndarray, np.ndarray]:
    shape = grid.shape
    taken = np.zeros(shape[0] * shape[1] * shape[2], np.uint8)
    chosen, sweeps = np.empty(len(points), np.int64), np.empty(len(points), np.int64)
    number, sweep = 0, 0
    for point in range(len(points) - 1, -1, -1):
        sweep = _sweep_of(points[point, 4], ages_s, sweep)
        mark = _RETURN
        voxel = voxel_at(points[point, 0], points[point, 1], points[point, 2], 0, grid)
        if voxel < 0:
            mark = _BEYOND
            voxel = _leaves_through(
                origins, sweep, points, point, low_m, high_m, voxel_size_m, shape
            )
        if not taken[voxel] & mark:
            taken[voxel] |= mark
            chosen[number], sweeps[number] = point, sweep
            number += 1
    return chosen[:number], sweeps[:number]


@kernel(inline="always")
def _sweep_of(age_s: np.float32, ages_s: np.ndarray, guess: int) -> int:
    """The first sweep that is not younger than a point; points come sweep by sweep."""
    while ages_s[guess] < age_s:
        guess += 1
    while guess > 0 and ages_s[guess - 1] >= age_s:
        guess -= 1
    return guess


@kernel(inline="always")
def _leaves_through(
    origins: np.ndarray,
    sweep: int,
    points: np.ndarray,
    point: int,
    low_m: np.ndarray,
    high_m: np.ndarray,
    voxel_size_m: float,
    shape: tuple[int, int, int],
) -> int:
    """The voxel at the border through which a line leaves, as its number in the flattened grid."""
    leaves = np.inf
    for axis in range(3):
        way = points[point, axis] - origins[sweep, axis]
        if way != 0:
            wall = high_m[axis] if way > 0 else low_m[axis]
            leaves = min(leaves, (wall - origins[sweep, axis]) / way)
    voxel = 0
    for axis in range(3):
        way = points[point, axis] - origins[sweep, axis]
        place = origins[sweep, axis] + leaves * way
        cell = np.floor((place - low_m[axis]) / voxel_size_m)
        voxel = voxel * shape[axis] + int(min(max(cell, 0.0), shape[axis] - 1.0))
    return voxel
