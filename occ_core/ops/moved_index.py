"""Voxels seen from another pose of the grid."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from occ_core.ops.linear_index import linear_index
from occ_core.voxel_grid import VoxelGrid


def moved_index(
    index: Int[Tensor, "voxel 4"],
    previous_from_current: Float[Tensor, "batch 4 4"],
    grid: VoxelGrid,
) -> Int[Tensor, " voxel"]:
    """Where the centres of voxels lay before the grid moved.

    Args:
        index: voxels (batch, x, y, z) of the grid as it lies now.
        previous_from_current: pose of the grid now, in its previous frame, of every sample.

    Returns:
        Position in the flattened previous grids ``[B, X, Y, Z]`` of the voxel that held each
        centre; -1 outside the grid.
    """
    sample, centres = index[:, 0], grid.centres(index[:, 1:])
    pose = previous_from_current[:, :3].permute(1, 2, 0)  # [3, 4, B]
    if len(previous_from_current) > 1:
        pose = pose.index_select(2, sample)  # [3, 4, V]
    # Written out, since matrix products round differently on other processors, where a voxel whose
    # moved centre lies on a border would change; [3, V], since rows of V numbers are vectorised.
    x, y, z = centres.T.contiguous()
    moved = pose[:, 0] * x + pose[:, 1] * y + pose[:, 2] * z + pose[:, 3]
    previous = grid.index(moved.T)
    position = linear_index(torch.cat([sample[:, None], previous], dim=1), grid.shape)
    return position.where(grid.contains(previous), -1)
