"""As ``ops.voxelise.voxelise``, compiled: point by point, with gradients; only the row of each
point's voxel is stored.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from occ_core.ops.cpu.grid import KernelGrid, voxel_at
from occ_core.ops.cpu.kernel import kernel
from occ_core.voxel_grid import VoxelGrid

BLOCK = 16384
"""Number of points whose features are written to memory at once in the backward pass."""


class _Points(NamedTuple):
    """Points and the voxels that hold them."""

    cloud: np.ndarray
    """float32 [P, 5]."""
    row: np.ndarray
    """int32 [P], the row of each point's voxel among the non-empty ones; -1 outside the grid."""


class _Voxels(NamedTuple):
    """The non-empty voxels."""

    log_count: np.ndarray
    """float32 [V], log(1 + number of points)."""
    grid: KernelGrid


class _Found(NamedTuple):
    """The voxels as they are found, numbered in the order of their first points."""

    number: np.ndarray
    """int32 [B * X * Y * Z], one more than the number of each voxel; 0 while it is empty."""
    occupied: np.ndarray
    """int64 [V], position of each voxel in the flattened [B, X, Y, Z]."""
    points: np.ndarray
    """int32 [V], number of points in each voxel."""


class _Layer(NamedTuple):
    """The linear layer that all points share."""

    weight: np.ndarray
    """[feature, channel], so that the channels of a feature lie side by side."""
    bias: np.ndarray


def voxelise(
    points: tuple[Float[Tensor, "_ 5"], ...],
    grid: VoxelGrid,
    weight: Float[Tensor, "channel 9"],
    bias: Float[Tensor, " channel"],
) -> tuple[Float[Tensor, "voxel channel"], Int[Tensor, " voxel"]]:
    """As ``ops.voxelise.voxelise``."""
    cloud = torch.cat(points).detach().float().contiguous().numpy()
    kernel_grid = KernelGrid.of(grid)
    number = np.zeros(len(points) * math.prod(grid.shape), np.int32)
    most = min(len(cloud), len(number))
    found = _Found(number, np.empty(most, np.int64), np.zeros(most, np.int32))
    row = np.empty(len(cloud), np.int32)
    start, voxels = 0, 0
    for sample, sample_points in enumerate(points):
        part = slice(start, start + len(sample_points))
        located = _Points(cloud[part], row[part])
        voxels = _locate(located, kernel_grid, sample, found, voxels)
        start = part.stop
    order = np.argsort(found.occupied[:voxels])
    rank = np.full(voxels + 1, -1, np.int32)  # the last is that of the points outside
    rank[order] = np.arange(voxels, dtype=np.int32)
    count = found.points[order].astype(np.float32)
    mean = _MeanOverVoxels.apply(
        weight,
        bias,
        torch.from_numpy(count)[:, None],
        _Points(cloud, rank[row]),
        _Voxels(np.log1p(count), kernel_grid),
    )
    return mean, torch.from_numpy(found.occupied[order])


class _MeanOverVoxels(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, weight: Tensor, bias: Tensor, count: Tensor, points: _Points, voxels: _Voxels
    ) -> Tensor:
        ctx.save_for_backward(weight, bias, count)
        ctx.points, ctx.voxels = points, voxels
        total = torch.zeros(len(count), len(bias))
        _add(points, voxels, _layer(weight, bias), total.numpy())
        return total / count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        weight, bias, count = ctx.saved_tensors
        grad_total = (gradients[0] / count).contiguous().numpy()
        features = torch.empty(BLOCK, weight.shape[1] + 1)  # and a 1 for the bias
        grad_hidden = torch.empty(BLOCK, len(bias))
        grad_layer = torch.zeros(weight.shape[1] + 1, len(bias))
        for start in range(0, len(ctx.points.cloud), BLOCK):
            features.zero_()
            grad_hidden.zero_()
            _add_backward(
                _Points(*(array[start : start + BLOCK] for array in ctx.points)),
                ctx.voxels,
                _layer(weight, bias),
                grad_total,
                features.numpy(),
                grad_hidden.numpy(),
            )
            grad_layer += features.T @ grad_hidden
        return grad_layer[:-1].T.to(weight), grad_layer[-1].to(bias), None, None, None


def _layer(weight: Tensor, bias: Tensor) -> _Layer:
    arrays = (each.detach().float().t().contiguous().numpy() for each in (weight, bias))
    return _Layer(*arrays)


@kernel
def _locate(points: _Points, grid: KernelGrid, sample: int, found: _Found, voxels: int) -> int:
    """Fills ``points.row`` with the voxels' numbers, counts the points of every voxel, and appends
    each voxel to ``found`` at its first point; returns how many are there now.
    """
    cloud, row = points
    for point in range(len(cloud)):
        voxel = voxel_at(cloud[point, 0], cloud[point, 1], cloud[point, 2], sample, grid)
        row[point] = -1
        if voxel >= 0:
            if found.number[voxel] == 0:
                found.occupied[voxels] = voxel
                voxels += 1
                found.number[voxel] = voxels
            row[point] = found.number[voxel] - 1
            found.points[row[point]] += 1
    return voxels


@kernel(inline="always")
def _feature(point: np.ndarray, log_count: np.float32, grid: KernelGrid) -> tuple[Any, ...]:
    """As ``ops.voxelise.point_features``, of one point."""
    low, size = grid.min_m, grid.voxel_size_m
    x, y, z, intensity = point[0], point[1], point[2], point[3]
    half, byte = np.float32(0.5), np.float32(255)  # a bare 0.5 would make every product a double
    return (
        (x - (low[0] + (np.floor((x - low[0]) / size) + half) * size)) / size,
        (y - (low[1] + (np.floor((y - low[1]) / size) + half) * size)) / size,
        (z - (low[2] + (np.floor((z - low[2]) / size) + half) * size)) / size,
        z / np.float32(3),
        np.sqrt(x * x + y * y) / np.float32(50),
        intensity / byte,
        np.sqrt(max(intensity, np.float32(0)) / byte),
        point[4] * np.float32(2),
        log_count / np.float32(4),
    )


@kernel(inline="always")
def _hidden(feature: tuple[Any, ...], layer: _Layer, channel: int) -> Any:
    """One channel of the layer before the ReLU.

    Written out, since a loop over the features would keep the loop over channels from being
    vectorised.
    """
    weight, bias = layer
    a, b, c, d, e, f, g, h, i = feature
    first = (
        bias[channel]
        + a * weight[0, channel]
        + b * weight[1, channel]
        + c * weight[2, channel]
        + d * weight[3, channel]
    )
    second = (
        e * weight[4, channel]
        + f * weight[5, channel]
        + g * weight[6, channel]
        + h * weight[7, channel]
    )
    return first + second + i * weight[8, channel]


@kernel
def _add(points: _Points, voxels: _Voxels, layer: _Layer, total: np.ndarray) -> None:
    """Adds ``relu(layer(feature))`` of each point to the row of its voxel in ``total`` [V, C]."""
    for point in range(len(points.cloud)):
        row = points.row[point]
        if row < 0:
            continue
        feature = _feature(points.cloud[point], voxels.log_count[row], voxels.grid)
        for channel in range(len(layer.bias)):
            total[row, channel] += max(_hidden(feature, layer, channel), np.float32(0))


@kernel
def _add_backward(
    points: _Points,
    voxels: _Voxels,
    layer: _Layer,
    grad_total: np.ndarray,
    features: np.ndarray,
    grad_hidden: np.ndarray,
) -> None:
    """Fills the ``features`` [P, 9 + 1] of every point, followed by a 1, and the gradient
    ``grad_hidden`` [P, C] of what the layer makes of them.
    """
    for point in range(len(points.cloud)):
        row = points.row[point]
        if row >= 0:
            feature = _feature(points.cloud[point], voxels.log_count[row], voxels.grid)
            for number, value in enumerate(feature):
                features[point, number] = value
            features[point, len(feature)] = 1
            for channel in range(len(layer.bias)):
                gradient = grad_total[row, channel]
                is_active = _hidden(feature, layer, channel) > 0
                grad_hidden[point, channel] = gradient if is_active else np.float32(0)
