"""Lift-splat (LSS; Philion and Fidler 2020, section 3.1): image features -> volume."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from occ_core.ops import backend
from occ_core.ops.cpu.arrays import arrays
from occ_core.ops.cpu.grid import KernelGrid
from occ_core.ops.cpu.splat import LiftedPoints, SplatKernel
from occ_core.ops.linear_index import linear_index
from occ_core.voxel_grid import VoxelGrid


def splat(
    context: Float[Tensor, "image channel h w"],
    weight: Float[Tensor, "image bin h w"],
    rays: Float[Tensor, "image h w 3"],
    origins: Float[Tensor, "image 3"],
    depth_m: Float[Tensor, " bin"],
    sample: Int[Tensor, " image"],
    grid: VoxelGrid,
    batch_size: int,
) -> Float[Tensor, "voxel channel"]:
    """Adds each feature to the voxels that its ray passes, weighted by depth bin.

    ``volume[v] = sum of weight[k, d, i, j] * context[k, :, i, j]`` over all images k, cells (i, j)
    and bins d for which the point ``origins[k] + depth_m[d] * rays[k, i, j]`` lies in voxel v of
    the image's sample. Gradients reach ``context`` and ``weight``.

    Args:
        context: features of all images.
        weight: probability of each depth bin.
        rays: of every cell, in the grid frame, at depth 1.
        origins: camera centres in metres, in the grid frame.
        depth_m: depth of each bin in metres.
        sample: sample of the batch that each image belongs to.

    Returns:
        The volumes of the batch, flattened from ``[B, X, Y, Z, C]`` to ``[B * X * Y * Z, C]``.
    """
    voxels = batch_size * math.prod(grid.shape)
    if backend.use_kernel("splat", context, weight, constants=(rays, origins)):
        lenses = (rays.float(), origins.float(), depth_m.float())
        points = LiftedPoints(*arrays(*lenses, sample))
        features, weights = (part.permute(0, 2, 3, 1).float() for part in (context, weight))
        volume: Tensor = SplatKernel.apply(features, weights, points, KernelGrid.of(grid), voxels)
        return volume
    steps = depth_m.view(1, -1, 1, 1, 1)
    points_m = rays[:, None] * steps + origins.view(-1, 1, 1, 1, 3)  # [K, D, h, w, 3]
    index = grid.index(points_m)
    inside = grid.contains(index)  # [K, D, h, w]
    image, bin_, row, column = inside.nonzero(as_tuple=True)
    index = index[image, bin_, row, column]  # [P, 3]
    voxel = linear_index(torch.cat([sample[image, None], index], dim=1), grid.shape)  # [P]
    # added in float32, as by the kernel; AOTInductor cannot call ``index_add`` of bfloat16
    lifted = context.permute(0, 2, 3, 1)[image, row, column].float()  # [P, C]
    weighted = lifted * weight[image, bin_, row, column][:, None].float()
    return lifted.new_zeros(voxels, lifted.shape[1]).index_add(0, voxel, weighted)
