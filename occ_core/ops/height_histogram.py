"""How high points lie, cell by cell of the ground plane."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from occ_core.ops import backend
from occ_core.ops.cpu import height_histogram as kernels
from occ_core.ops.cpu.arrays import arrays
from occ_core.voxel_grid import VoxelGrid


class HeightHistogram(NamedTuple):
    """The points of every cell, sorted into bins by their height; the lowest bin comes first."""

    points: Int[Tensor, "x y bin"]
    """Number of points."""
    total_m: Float[Tensor, "x y bin"]
    """Sum of their heights in metres."""


def height_histogram(
    points: Float[Tensor, "point 5"], grid: VoxelGrid, cell_m: float, bin_m: float
) -> HeightHistogram:
    """Counts points by cell and height, over the range of a grid; points outside are left out. No
    gradient flows.

    Args:
        points: as in ``Frame.points``.
        cell_m: side of a cell; the last cells may reach beyond the range.
        bin_m: height of a bin; points above the last whole bin count in it.
    """
    extents = [high - low for low, high in zip(grid.range_m[:3], grid.range_m[3:], strict=True)]
    cells_x, cells_y = (max(1, -int(-extent // cell_m)) for extent in extents[:2])
    shape = (cells_x, cells_y, max(1, round(extents[2] / bin_m)))
    points = points.detach()
    count = torch.zeros(shape, dtype=torch.long, device=points.device)
    total_m = torch.zeros(shape, dtype=points.dtype, device=points.device)
    low, high = points.new_tensor(grid.range_m[:3]), points.new_tensor(grid.range_m[3:])
    if backend.use_kernel("height_histogram", points):
        sizes = points.new_tensor([cell_m, cell_m, bin_m])
        kernels.add_heights(*arrays(points, low, high, sizes, count, total_m))
        return HeightHistogram(count, total_m)
    xyz = points[:, :3]
    xyz = xyz[((xyz >= low) & (xyz < high)).all(dim=1)]
    x, y, z = (
        ((xyz[:, axis] - low[axis]) / size).long().clamp(max=cells - 1)
        for axis, (size, cells) in enumerate(zip((cell_m, cell_m, bin_m), shape, strict=True))
    )
    slot = (x * shape[1] + y) * shape[2] + z
    count.view(-1).index_add_(0, slot, torch.ones_like(slot))
    total_m.view(-1).index_add_(0, slot, xyz[:, 2])
    return HeightHistogram(count, total_m)
