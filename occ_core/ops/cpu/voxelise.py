"""``LidarEncoder.voxelise``, point by point, compiled: for the CPU, with gradients. Nothing is kept
per point but its cell.
"""

from __future__ import annotations

from typing import Any, no_type_check

import numpy as np
import torch
from jaxtyping import Float, Int
from numba import njit
from torch import Tensor
from torch.autograd.function import once_differentiable

from occ_core.voxel_grid import VoxelGrid

BLOCK = 16384
"""Points whose features are written down at once, on the way back."""


def voxelise(
    points: tuple[Float[Tensor, "_ 5"], ...],
    grid: VoxelGrid,
    weight: Float[Tensor, "channel 9"],
    bias: Float[Tensor, " channel"],
) -> tuple[Float[Tensor, "voxel channel"], Int[Tensor, " voxel"]]:
    """The mean over each non-empty voxel's points of ``relu(weight @ feature + bias)``, and its
    place in [B, X, Y, Z], sorted.
    """
    x, y, z = grid.shape
    cloud = torch.cat(points).detach().float().contiguous().numpy()
    cell = np.empty(len(cloud), np.int64)
    count = np.zeros(len(points) * x * y * z, np.int32)
    occupied = np.empty(min(len(cloud), len(count)), np.int64)
    minimum, size = np.array(grid.min_m, np.float32), np.float32(grid.voxel_size_m)
    start, voxels = 0, 0
    for sample, one in enumerate(points):
        end = start + len(one)
        voxels = _place(
            cloud[start:end],
            minimum,
            size,
            grid.shape,
            sample,
            cell[start:end],
            count,
            occupied,
            voxels,
        )
        start = end
    occupied = np.sort(occupied[:voxels])
    row = np.empty(len(count), np.int32)
    row[occupied] = np.arange(voxels, dtype=np.int32)
    points_of = count[occupied].astype(np.float32)
    where = (cloud, cell, row, np.log1p(points_of), minimum, size)
    return _MeanOverVoxels.apply(
        weight, bias, torch.from_numpy(points_of)[:, None], where
    ), torch.from_numpy(occupied)


class _MeanOverVoxels(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, weight: Tensor, bias: Tensor, points: Tensor, where: tuple[Any, ...]
    ) -> Tensor:
        ctx.save_for_backward(weight, bias, points)
        ctx.where = where
        total = torch.zeros(len(points), len(bias))
        _add(*where, _rows(weight), _rows(bias), total.numpy())
        return total / points

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        weight, bias, points = ctx.saved_tensors
        cloud, cell, *where = ctx.where
        features, passed = torch.empty(BLOCK, weight.shape[1] + 1), torch.empty(BLOCK, len(bias))
        gradient, total = (
            (gradients[0] / points).contiguous().numpy(),
            torch.zeros(weight.shape[1] + 1, len(bias)),
        )
        for start in range(0, len(cloud), BLOCK):
            features.zero_(), passed.zero_()
            block = slice(start, start + BLOCK)
            _add_backward(
                cloud[block],
                cell[block],
                *where,
                _rows(weight),
                _rows(bias),
                gradient,
                features.numpy(),
                passed.numpy(),
            )
            total += features.T @ passed
        return total[:-1].T.to(weight), total[-1].to(bias), None, None


def _rows(parameter: Tensor) -> np.ndarray:
    """[feature, channel], so that a point's channels lie side by side; a bias as it is."""
    return parameter.detach().float().t().contiguous().numpy()


@njit(cache=True, nogil=True)
@no_type_check  # numba takes the bare function, without the checks that the tests put around it
def _place(
    cloud: np.ndarray,
    minimum: np.ndarray,
    size: np.float32,
    shape: tuple[int, int, int],
    sample: int,
    cell: np.ndarray,
    count: np.ndarray,
    occupied: np.ndarray,
    voxels: int,
) -> int:
    """Fills each point's ``cell``, -1 outside the grid; counts the points of every cell, and the
    cells that hold any.
    """
    sx, sy, sz = shape
    for point in range(len(cloud)):
        x = np.floor((cloud[point, 0] - minimum[0]) / size)
        y = np.floor((cloud[point, 1] - minimum[1]) / size)
        z = np.floor((cloud[point, 2] - minimum[2]) / size)
        cell[point] = -1
        if 0 <= x < sx and 0 <= y < sy and 0 <= z < sz:
            cell[point] = ((sample * sx + int(x)) * sy + int(y)) * sz + int(z)
            if count[cell[point]] == 0:
                occupied[voxels] = cell[point]
                voxels += 1
            count[cell[point]] += 1
    return voxels


@njit(cache=True, nogil=True, inline="always")
@no_type_check
def _feature(
    point: np.ndarray, density: np.float32, minimum: np.ndarray, size: np.float32
) -> tuple:
    """``LidarEncoder.describe`` of one point; ``density`` is log1p of how many its voxel holds."""
    x, y, z, intensity = point[0], point[1], point[2], point[3]
    half, byte = np.float32(0.5), np.float32(255)
    return (
        (x - (minimum[0] + (np.floor((x - minimum[0]) / size) + half) * size)) / size,
        (y - (minimum[1] + (np.floor((y - minimum[1]) / size) + half) * size)) / size,
        (z - (minimum[2] + (np.floor((z - minimum[2]) / size) + half) * size)) / size,
        z / np.float32(3),
        np.sqrt(x * x + y * y) / np.float32(50),
        intensity / byte,
        np.sqrt(max(intensity, np.float32(0)) / byte),
        point[4] * np.float32(2),
        density / np.float32(4),
    )


@njit(cache=True, nogil=True, inline="always")
@no_type_check
def _hidden(feature: tuple, weight: np.ndarray, bias: np.ndarray, channel: int) -> np.float32:
    """The shared layer's output of one channel, before the ReLU; written out, so that the loop over
    channels is vectorised.
    """
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


@njit(cache=True, nogil=True)
@no_type_check
def _add(
    cloud: np.ndarray,
    cell: np.ndarray,
    row: np.ndarray,
    density: np.ndarray,
    minimum: np.ndarray,
    size: np.float32,
    weight: np.ndarray,
    bias: np.ndarray,
    total: np.ndarray,
) -> None:
    """Adds what the layer makes of each point to its voxel's row of ``total`` [V, C]; ``weight`` is
    [feature, channel].
    """
    for point in range(len(cloud)):
        if cell[point] < 0:
            continue
        voxel = row[cell[point]]
        feature = _feature(cloud[point], density[voxel], minimum, size)
        for channel in range(len(bias)):
            total[voxel, channel] += max(_hidden(feature, weight, bias, channel), np.float32(0))


@njit(cache=True, nogil=True)
@no_type_check
def _add_backward(
    cloud: np.ndarray,
    cell: np.ndarray,
    row: np.ndarray,
    density: np.ndarray,
    minimum: np.ndarray,
    size: np.float32,
    weight: np.ndarray,
    bias: np.ndarray,
    gradient: np.ndarray,
    features: np.ndarray,
    passed: np.ndarray,
) -> None:
    """Fills every point's ``features`` [P, 9 + 1], a one behind them, and the gradient ``passed``
    [P, C] to its channels.

    ``gradient`` is that of the totals.
    """
    for point in range(len(cloud)):
        if cell[point] >= 0:
            voxel = row[cell[point]]
            feature = _feature(cloud[point], density[voxel], minimum, size)
            for number, value in enumerate(feature):
                features[point, number] = value
            features[point, len(feature)] = 1
            for channel in range(len(bias)):
                enters = _hidden(feature, weight, bias, channel) > 0
                passed[point, channel] = gradient[voxel, channel] if enters else np.float32(0)
