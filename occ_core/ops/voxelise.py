"""Points -> features of the non-empty voxels (dynamic voxelisation, as in VoxelNet's VFE layer)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from occ_core.ops import backend
from occ_core.ops.cpu import voxelise as kernels
from occ_core.ops.linear_index import linear_index
from occ_core.voxel_grid import VoxelGrid

POINT_FEATURES = 9


def voxelise(
    points: tuple[Float[Tensor, "_ 5"], ...],
    grid: VoxelGrid,
    weight: Float[Tensor, "channel 9"],
    bias: Float[Tensor, " channel"],
) -> tuple[Float[Tensor, "voxel channel"], Int[Tensor, " voxel"]]:
    """Mean of ``relu(weight @ point_features + bias)`` over the points of every non-empty voxel.

    Points outside the grid are left out. Gradients reach ``weight`` and ``bias``.

    Args:
        points: one cloud a sample, as in ``Frame.points``.

    Returns:
        The means, and the position of each voxel in the flattened ``[B, X, Y, Z]``, ascending.
    """
    if backend.use_kernel("voxelise", weight, bias, constants=points):
        return kernels.voxelise(points, grid, weight, bias)
    sample = torch.cat(
        [cloud.new_full((cloud.shape[0],), number).long() for number, cloud in enumerate(points)]
    )
    cloud = torch.cat(points)
    index = grid.index(cloud[:, :3])
    inside = grid.contains(index).nonzero()[:, 0]  # as rows: a mask would be searched three times
    cloud, index, sample = cloud[inside], index[inside], sample[inside]
    linear = linear_index(torch.cat([sample[:, None], index], dim=1), grid.shape)
    holds_points = torch.zeros(
        len(points) * math.prod(grid.shape), dtype=torch.bool, device=cloud.device
    )
    holds_points[linear] = True
    occupied = holds_points.nonzero()[:, 0]  # [V], ascending
    row = (holds_points.cumsum(0) - 1)[linear]  # [P], row of each point's voxel in occupied
    count = torch.zeros_like(occupied).index_add(0, row, torch.ones_like(row))  # [V]
    features = point_features(cloud, index, count[row], grid)
    hidden = F.relu(F.linear(features, weight, bias))  # [P, C]
    total = hidden.new_zeros(occupied.shape[0], hidden.shape[1]).index_add(0, row, hidden)
    return total / count[:, None], occupied


def point_features(
    cloud: Float[Tensor, "point 5"],
    index: Int[Tensor, "point 3"],
    count: Int[Tensor, " point"],
    grid: VoxelGrid,
) -> Float[Tensor, "point 9"]:
    """Features of each point, scaled to the order of 1.

    Args:
        cloud: x, y, z in metres, intensity in 0..255, age in seconds.
        index: voxel of each point.
        count: number of points in that voxel.
    """
    offset = (cloud[:, :3] - grid.centres(index)) / grid.voxel_size_m
    distance_m = cloud[:, :2].norm(dim=1, keepdim=True)
    height_m, intensity, age_s = cloud[:, 2:3], cloud[:, 3:4], cloud[:, 4:5]
    density = torch.log1p(count.float())[:, None]
    return torch.cat(
        [
            offset,
            height_m / 3,
            distance_m / 50,
            intensity / 255,
            torch.sqrt(intensity.clamp(min=0) / 255),
            age_s * 2,
            density / 4,
        ],
        dim=1,
    )
