"""As ``ops.interpolate.interpolate`` of volumes, compiled: point by point, with gradients of the
values.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from occ_core.ops.cpu.kernel import kernel


class Positions(NamedTuple):
    """Points in a batch of volumes."""

    size: tuple[int, int, int]
    """Shape (x, y, z) of a volume."""
    cells: np.ndarray
    """float32 [P, 3]; the centre of the first cell is 0."""
    sample: np.ndarray
    """int64 [P]."""


class InterpolateKernel(torch.autograd.Function):
    """``(table [B * X * Y * Z, C], positions) -> values [P, C]``."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, positions: Positions) -> Tensor:
        ctx.rows, ctx.positions = len(table), positions
        values = torch.zeros(len(positions.cells), table.shape[1])
        _interpolate(table.detach().contiguous().numpy(), positions, values.numpy())
        return values

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        gradient = gradients[0].contiguous()
        grad_table = torch.zeros(ctx.rows, gradient.shape[1])
        _interpolate_backward(grad_table.numpy(), ctx.positions, gradient.numpy())
        return grad_table, None


@kernel(inline="always")
def cells_around(position: np.float32, cells: int) -> tuple[int, int, np.float32, np.float32]:
    """The cells below and above a position along one axis, and the weights of both."""
    below = np.floor(position)
    low, fraction = int(below), position - below
    return (
        min(max(low, 0), cells - 1),
        min(max(low + 1, 0), cells - 1),
        np.float32(1) - fraction,
        fraction,
    )


@kernel(inline="always")
def _edges(positions: Positions, point: int) -> tuple[Any, ...]:
    """Rows at which the four edges along z around a point start, their weights, and the cells and
    weights of both ends of an edge.
    """
    size_x, size_y, size_z = positions.size
    position = positions.cells[point]
    x0, x1, wx0, wx1 = cells_around(position[0], size_x)
    y0, y1, wy0, wy1 = cells_around(position[1], size_y)
    z0, z1, wz0, wz1 = cells_around(position[2], size_z)
    first = positions.sample[point] * size_x
    a, b = ((first + x0) * size_y + y0) * size_z, ((first + x0) * size_y + y1) * size_z
    c, d = ((first + x1) * size_y + y0) * size_z, ((first + x1) * size_y + y1) * size_z
    return (a, b, c, d), (wx0 * wy0, wx0 * wy1, wx1 * wy0, wx1 * wy1), z0, z1, wz0, wz1


@kernel
def _interpolate(table: np.ndarray, positions: Positions, values: np.ndarray) -> None:
    for point in range(len(positions.cells)):
        (a, b, c, d), (wa, wb, wc, wd), z0, z1, wz0, wz1 = _edges(positions, point)
        for channel in range(table.shape[1]):
            values[point, channel] = (
                wa * (wz0 * table[a + z0, channel] + wz1 * table[a + z1, channel])
                + wb * (wz0 * table[b + z0, channel] + wz1 * table[b + z1, channel])
                + wc * (wz0 * table[c + z0, channel] + wz1 * table[c + z1, channel])
                + wd * (wz0 * table[d + z0, channel] + wz1 * table[d + z1, channel])
            )


@kernel
def _interpolate_backward(
    grad_table: np.ndarray, positions: Positions, gradient: np.ndarray
) -> None:
    for point in range(len(positions.cells)):
        edges, weights, z0, z1, wz0, wz1 = _edges(positions, point)
        for edge in range(4):
            low, high = edges[edge] + z0, edges[edge] + z1
            low_weight, high_weight = weights[edge] * wz0, weights[edge] * wz1
            # low and high may be one row, so these must stay two loops
            for channel in range(grad_table.shape[1]):
                grad_table[low, channel] += low_weight * gradient[point, channel]
            for channel in range(grad_table.shape[1]):
                grad_table[high, channel] += high_weight * gradient[point, channel]
