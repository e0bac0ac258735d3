"""As ``ops.splat.splat``, compiled: point by point, with gradients, and no point is stored."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from occ_core.ops.cpu.arrays import arrays
from occ_core.ops.cpu.grid import KernelGrid, voxel_at
from occ_core.ops.cpu.kernel import kernel


class LiftedPoints(NamedTuple):
    """Where features lie: on the ray of each, at every depth."""

    rays: np.ndarray  # float32 [K, h, w, 3]
    origins: np.ndarray  # float32 [K, 3]
    depth_m: np.ndarray  # float32 [D]
    sample: np.ndarray  # int64 [K]


class SplatKernel(torch.autograd.Function):
    """``(context [K, h, w, C], weight [K, h, w, D], points, grid, voxels) -> volume [voxels, C]``,
    for which context and weight have gradients.
    """

    @staticmethod
    def forward(
        ctx: Any,
        context: Tensor,
        weight: Tensor,
        points: LiftedPoints,
        grid: KernelGrid,
        voxels: int,
    ) -> Tensor:
        context, weight = context.contiguous(), weight.contiguous()
        ctx.save_for_backward(context, weight)
        ctx.points, ctx.grid = points, grid
        volume = torch.zeros(voxels, context.shape[-1])
        context_array, weight_array = arrays(context, weight)
        _splat(context_array, weight_array, points, grid, volume.numpy())
        return volume

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        context, weight = ctx.saved_tensors
        grad_context, grad_weight = torch.zeros_like(context), torch.zeros_like(weight)
        _splat_backward(
            context.numpy(),
            weight.numpy(),
            ctx.points,
            ctx.grid,
            gradients[0].contiguous().numpy(),
            grad_context.numpy(),
            grad_weight.numpy(),
        )
        return grad_context, grad_weight, None, None, None


@kernel(inline="always")
def _voxel(
    points: LiftedPoints, image: int, row: int, column: int, bin_: int, grid: KernelGrid
) -> int:
    ray, origin, depth_m = points.rays[image, row, column], points.origins[image], points.depth_m
    return voxel_at(
        ray[0] * depth_m[bin_] + origin[0],
        ray[1] * depth_m[bin_] + origin[1],
        ray[2] * depth_m[bin_] + origin[2],
        points.sample[image],
        grid,
    )


@kernel
def _splat(
    context: np.ndarray,
    weight: np.ndarray,
    points: LiftedPoints,
    grid: KernelGrid,
    volume: np.ndarray,
) -> None:
    images, height, width, channels = context.shape
    for image, row, column in np.ndindex((images, height, width)):
        for bin_ in range(weight.shape[3]):
            voxel = _voxel(points, image, row, column, bin_, grid)
            if voxel >= 0:
                share = weight[image, row, column, bin_]
                for channel in range(channels):
                    volume[voxel, channel] += share * context[image, row, column, channel]


@kernel
def _splat_backward(
    context: np.ndarray,
    weight: np.ndarray,
    points: LiftedPoints,
    grid: KernelGrid,
    gradient: np.ndarray,
    grad_context: np.ndarray,
    grad_weight: np.ndarray,
) -> None:
    images, height, width, channels = context.shape
    for image, row, column in np.ndindex((images, height, width)):
        for bin_ in range(weight.shape[3]):
            voxel = _voxel(points, image, row, column, bin_, grid)
            if voxel >= 0:
                share, product = weight[image, row, column, bin_], np.float32(0)
                # two loops: the first is vectorised, while the order of the sum must stay
                for channel in range(channels):
                    grad_context[image, row, column, channel] += share * gradient[voxel, channel]
                for channel in range(channels):
                    product += context[image, row, column, channel] * gradient[voxel, channel]
                grad_weight[image, row, column, bin_] = product
