"""``interpolate`` of volumes and ``sample_images``, point by point, compiled: for the CPU, where no gradient is asked for."""

from __future__ import annotations

from typing import no_type_check

import numpy as np
import torch
from numba import njit
from torch import Tensor


def is_for(*tensors: Tensor) -> bool:
    """Whether these can be read here: on the CPU, and nothing is to be learned through them."""
    learns = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    return tensors[0].device.type == "cpu" and not learns


def rows_of(values: Tensor) -> np.ndarray:
    """[B, C, *size] as float32 [B * cells, C]; without a copy where the channels lie side by side."""
    return values.detach().movedim(1, -1).flatten(0, -2).float().contiguous().numpy()


@njit(cache=True, nogil=True, inline="always")
@no_type_check  # numba takes the bare function, without the checks that the tests put around it
def _between(position: np.float32, cells: int) -> tuple:
    """The cells below and above a position, and the weights of both."""
    below = np.floor(position)
    low, part = int(below), position - below
    return min(max(low, 0), cells - 1), min(max(low + 1, 0), cells - 1), np.float32(1) - part, part


@njit(cache=True, nogil=True)
@no_type_check
def trilinear(
    table: np.ndarray, size: tuple[int, int, int], position: np.ndarray, sample: np.ndarray, found: np.ndarray
) -> None:
    """Fills ``found`` [P, C]; ``table`` as ``rows_of`` gives it, ``position`` [P, 3] in cells."""
    sx, sy, sz = size
    for point in range(len(position)):
        x0, x1, wx0, wx1 = _between(position[point, 0], sx)
        y0, y1, wy0, wy1 = _between(position[point, 1], sy)
        z0, z1, wz0, wz1 = _between(position[point, 2], sz)
        first = sample[point] * sx
        a, b = ((first + x0) * sy + y0) * sz, ((first + x0) * sy + y1) * sz
        c, d = ((first + x1) * sy + y0) * sz, ((first + x1) * sy + y1) * sz
        wa, wb, wc, wd = wx0 * wy0, wx0 * wy1, wx1 * wy0, wx1 * wy1
        for channel in range(table.shape[1]):
            found[point, channel] = (
                wa * (wz0 * table[a + z0, channel] + wz1 * table[a + z1, channel])
                + wb * (wz0 * table[b + z0, channel] + wz1 * table[b + z1, channel])
                + wc * (wz0 * table[c + z0, channel] + wz1 * table[c + z1, channel])
                + wd * (wz0 * table[d + z0, channel] + wz1 * table[d + z1, channel])
            )


@njit(cache=True, nogil=True)
@no_type_check
def from_cameras(
    table: np.ndarray,
    size: tuple[int, int],
    intrinsics: np.ndarray,
    camera_from_grid: np.ndarray,
    camera_sample: np.ndarray,
    stride: np.float32,
    nearest_m: float,
    points: np.ndarray,
    point_sample: np.ndarray,
    found: np.ndarray,
) -> None:
    """Fills ``found`` [P, C], which starts as zeros."""
    height, width = size
    half = np.float32(0.5)
    for point in range(len(points)):
        seen = 0
        x, y, z = points[point, 0], points[point, 1], points[point, 2]
        for camera in range(len(intrinsics)):
            if camera_sample[camera] != point_sample[point]:
                continue
            pose, lens = camera_from_grid[camera], intrinsics[camera]
            forward = pose[2, 0] * x + pose[2, 1] * y + pose[2, 2] * z + pose[2, 3]
            if not forward > nearest_m:
                continue
            right = pose[0, 0] * x + pose[0, 1] * y + pose[0, 2] * z + pose[0, 3]
            down = pose[1, 0] * x + pose[1, 1] * y + pose[1, 2] * z + pose[1, 3]
            u = (lens[0, 0] * right + lens[0, 1] * down + lens[0, 2] * forward) / forward
            v = (lens[1, 0] * right + lens[1, 1] * down + lens[1, 2] * forward) / forward
            row, column = (v + half) / stride - half, (u + half) / stride - half
            if not (-half < row < height - half and -half < column < width - half):
                continue
            seen += 1
            r0, r1, wr0, wr1 = _between(row, height)
            c0, c1, wc0, wc1 = _between(column, width)
            a, b = (camera * height + r0) * width, (camera * height + r1) * width
            for channel in range(table.shape[1]):
                found[point, channel] += (
                    wr0 * (wc0 * table[a + c0, channel] + wc1 * table[a + c1, channel])
                    + wr1 * (wc0 * table[b + c0, channel] + wc1 * table[b + c1, channel])
                )  # fmt: skip
        if seen > 1:
            for channel in range(table.shape[1]):
                found[point, channel] /= np.float32(seen)
