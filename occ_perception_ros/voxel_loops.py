"""Loops over the voxels of an answer, compiled: numpy needs a pass over the grid for each step."""

from __future__ import annotations

import numpy as np

from occ_core.ops.cpu.kernel import kernel
from occ_core.voxel_grid import VoxelGrid

DRIVEABLE, OBSTACLE, FILLED = 1, 2, 4
"""What a class may be for ``road_levels`` and ``blocked_columns``; a class may be several."""


def cell_centres(grid: VoxelGrid) -> list[np.ndarray]:
    """Centres of the grid's cells along x, y and z in metres, float64."""
    return [
        low + (np.arange(cells) + 0.5) * grid.voxel_size_m
        for low, cells in zip(grid.min_m, grid.shape, strict=True)
    ]


def check_shape(labels: np.ndarray, grid: VoxelGrid) -> None:
    """Checks that labels are those of a grid; compiled loops do not check their indices.

    Raises:
        ValueError: they are not.
    """
    if labels.shape != grid.shape:
        raise ValueError(f"labels on this grid must be of shape {grid.shape}, got {labels.shape}")


@kernel
def write_centres(
    voxels: np.ndarray, centres: np.ndarray, x: np.ndarray, y: np.ndarray, z: np.ndarray
) -> None:
    """Writes the centres of voxels into the first three columns of ``centres``.

    Args:
        voxels: int ``[N]``, their numbers in the flattened grid.
        centres: float ``[N, >=3]``.
        x: centres of the cells along the axis, ``[X]``.
        y: likewise ``[Y]``.
        z: likewise ``[Z]``.
    """
    cells_y, cells_z = np.uint32(len(y)), np.uint32(len(z))  # small numbers are divided faster
    for number in range(len(voxels)):
        voxel = np.uint32(voxels[number])
        column = voxel // cells_z
        row = column // cells_y
        centres[number, 0] = x[row]
        centres[number, 1] = y[column - row * cells_y]
        centres[number, 2] = z[voxel - column * cells_z]


@kernel
def write_records(
    voxels: np.ndarray,
    labels: np.ndarray,
    probability: np.ndarray,
    words: np.ndarray,
    octets: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    z: np.ndarray,
) -> None:
    """Writes the centres of voxels, their labels and probabilities into records of 20 bytes.

    Args:
        voxels: int ``[N]``, their numbers in the flattened grid.
        labels: uint8 ``[X * Y * Z]``.
        probability: float32 ``[X * Y * Z]``.
        words: float32 ``[N, 5]``, the records: 0 to 2 become the centre, 4 the probability.
        octets: uint8 ``[N, 20]``, the same memory: 12 becomes the label.
        x: see ``write_centres``, as ``y`` and ``z``.
    """
    write_centres(voxels, words, x, y, z)
    for number in range(len(voxels)):
        voxel = voxels[number]
        octets[number, 12] = labels[voxel]
        words[number, 4] = probability[voxel]


@kernel
def road_levels(labels: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """The lowest driveable voxel of each column: its level, int64 ``[X, Y]``, or -1.

    Args:
        labels: uint8 ``[X, Y, Z]``.
        kinds: uint8 ``[256]``, what each label is.
    """
    levels = np.full(labels.shape[:2], -1, np.int64)
    for x in range(labels.shape[0]):
        for y in range(labels.shape[1]):
            for z in range(labels.shape[2]):
                if kinds[labels[x, y, z]] & DRIVEABLE:
                    levels[x, y] = z
                    break
    return levels


@kernel
def blocked_columns(
    labels: np.ndarray, kinds: np.ndarray, roads: np.ndarray, typical_level: int, clearance: int
) -> np.ndarray:
    """Whether something stands in each column, bool ``[X, Y]``.

    That is an obstacle from the road up to ``clearance`` voxels above it. Where there is no road,
    it is any occupied voxel below that height above the typical one.

    Args:
        labels: uint8 ``[X, Y, Z]``.
        kinds: uint8 ``[256]``, what each label is.
        roads: see ``road_levels``.
        typical_level: of the road.
        clearance: height of the vehicle in voxels.
    """
    blocked = np.zeros(labels.shape[:2], np.bool_)
    for x in range(labels.shape[0]):
        for y in range(labels.shape[1]):
            road = roads[x, y]
            begin, base, blocks = road + 1, road, OBSTACLE
            if road < 0:
                begin, base, blocks = 0, typical_level, FILLED
            for z in range(begin, min(base + clearance + 1, labels.shape[2])):
                if kinds[labels[x, y, z]] & blocks:
                    blocked[x, y] = True
                    break
    return blocked
