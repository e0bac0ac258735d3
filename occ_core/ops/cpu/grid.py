"""The voxel grid inside kernels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from occ_core.ops.cpu.kernel import kernel
from occ_core.voxel_grid import VoxelGrid


class KernelGrid(NamedTuple):
    """``VoxelGrid`` in single precision, as torch computes with it."""

    min_m: np.ndarray
    voxel_size_m: np.float32
    shape: tuple[int, int, int]

    @classmethod
    def of(cls, grid: VoxelGrid) -> KernelGrid:
        return cls(np.array(grid.min_m, np.float32), np.float32(grid.voxel_size_m), grid.shape)


@kernel(inline="always")
def voxel_at(x: float, y: float, z: float, sample: int, grid: KernelGrid) -> int:
    """Position in the flattened ``[B, X, Y, Z]`` of the voxel that holds a point; -1 outside."""
    size_x, size_y, size_z = grid.shape
    i = np.floor((x - grid.min_m[0]) / grid.voxel_size_m)
    j = np.floor((y - grid.min_m[1]) / grid.voxel_size_m)
    k = np.floor((z - grid.min_m[2]) / grid.voxel_size_m)
    if 0 <= i < size_x and 0 <= j < size_y and 0 <= k < size_z:
        return ((sample * size_x + int(i)) * size_y + int(j)) * size_z + int(k)
    return -1
