"""``interpolate`` of volumes and ``sample_images``, point by point, compiled: for the CPU, with
gradients of what is read.
"""

from __future__ import annotations

from typing import Any, no_type_check

import numpy as np
import torch
from jaxtyping import Float, Int
from numba import njit
from torch import Tensor
from torch.autograd.function import once_differentiable

Places = tuple[Any, ...]
"""What a kernel needs to know of the points and of the table's size, between the table and the
points' values.
"""


def is_for(table: Tensor, *places: Tensor) -> bool:
    """Whether a compiled loop will do: on the CPU, and nothing is to be learned through where it
    reads.
    """
    learns = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in places)
    return table.device.type == "cpu" and not learns


def trilinear(
    table: Float[Tensor, "cell channel"],
    size: tuple[int, int, int],
    position: Float[Tensor, "point 3"],
    sample: Int[Tensor, " point"],
) -> Float[Tensor, "point channel"]:
    """A batch of volumes of that size, flattened to ``table``, at positions in cells."""
    places = (size, position.detach().float().contiguous().numpy(), sample.contiguous().numpy())
    return _Read.apply(table, _trilinear, _trilinear_back, len(position), places)


def from_cameras(
    table: Float[Tensor, "cell channel"],
    size: tuple[int, int],
    intrinsics: Float[Tensor, "image 3 3"],
    camera_from_grid: Float[Tensor, "image 4 4"],
    camera_sample: Int[Tensor, " image"],
    stride: int,
    nearest_m: float,
    points: Float[Tensor, "point 3"],
    point_sample: Int[Tensor, " point"],
) -> Float[Tensor, "point channel"]:
    """Images of that size, flattened to ``table``: the mean over those that see a point, zero where
    none does.
    """
    cameras = (
        *(one.detach().float().contiguous().numpy() for one in (intrinsics, camera_from_grid)),
        camera_sample.numpy(),
    )
    of_points = (points.detach().float().contiguous().numpy(), point_sample.contiguous().numpy())
    places = (size, *cameras, np.float32(stride), np.float32(nearest_m), *of_points)
    return _Read.apply(table, _from_cameras, _from_cameras_back, len(points), places)


class _Read(torch.autograd.Function):
    """``table`` [cells, C] read at points by one kernel; the gradient is spread over the table by
    the other.
    """

    @staticmethod
    def forward(
        ctx: Any, table: Tensor, read: Any, spread: Any, points: int, places: Places
    ) -> Tensor:
        ctx.cells, ctx.spread, ctx.places = len(table), spread, places
        found = torch.zeros(points, table.shape[1])
        read(table.detach().contiguous().numpy(), *places, found.numpy())
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        gradient = gradients[0].contiguous()
        of_table = torch.zeros(ctx.cells, gradient.shape[1])
        ctx.spread(of_table.numpy(), *ctx.places, gradient.numpy())
        return of_table, None, None, None, None


@njit(cache=True, nogil=True, inline="always")
@no_type_check  # numba takes the bare function, without the checks that the tests put around it
def _between(position: np.float32, cells: int) -> tuple:
    """The cells below and above a position, and the weights of both."""
    below = np.floor(position)
    low, part = int(below), position - below
    return min(max(low, 0), cells - 1), min(max(low + 1, 0), cells - 1), np.float32(1) - part, part


@njit(cache=True, nogil=True, inline="always")
@no_type_check
def _corners(position: np.ndarray, sample: int, size: tuple[int, int, int]) -> tuple:
    """Rows of the four edges along z that surround a position, their weights, and those of both
    ends of an edge.
    """
    sx, sy, sz = size
    x0, x1, wx0, wx1 = _between(position[0], sx)
    y0, y1, wy0, wy1 = _between(position[1], sy)
    z0, z1, wz0, wz1 = _between(position[2], sz)
    first = sample * sx
    a, b = ((first + x0) * sy + y0) * sz, ((first + x0) * sy + y1) * sz
    c, d = ((first + x1) * sy + y0) * sz, ((first + x1) * sy + y1) * sz
    return (a, b, c, d), (wx0 * wy0, wx0 * wy1, wx1 * wy0, wx1 * wy1), z0, z1, wz0, wz1


@njit(cache=True, nogil=True)
@no_type_check
def _trilinear(
    table: np.ndarray,
    size: tuple[int, int, int],
    position: np.ndarray,
    sample: np.ndarray,
    found: np.ndarray,
) -> None:
    for point in range(len(position)):
        (a, b, c, d), (wa, wb, wc, wd), z0, z1, wz0, wz1 = _corners(
            position[point], sample[point], size
        )
        for channel in range(table.shape[1]):
            found[point, channel] = (
                wa * (wz0 * table[a + z0, channel] + wz1 * table[a + z1, channel])
                + wb * (wz0 * table[b + z0, channel] + wz1 * table[b + z1, channel])
                + wc * (wz0 * table[c + z0, channel] + wz1 * table[c + z1, channel])
                + wd * (wz0 * table[d + z0, channel] + wz1 * table[d + z1, channel])
            )


@njit(cache=True, nogil=True)
@no_type_check
def _trilinear_back(
    of_table: np.ndarray,
    size: tuple[int, int, int],
    position: np.ndarray,
    sample: np.ndarray,
    gradient: np.ndarray,
) -> None:
    for point in range(len(position)):
        edges, weights, z0, z1, wz0, wz1 = _corners(position[point], sample[point], size)
        for edge in range(4):
            low, high = edges[edge] + z0, edges[edge] + z1
            to_low, to_high = weights[edge] * wz0, weights[edge] * wz1
            for channel in range(of_table.shape[1]):
                of_table[low, channel] += to_low * gradient[point, channel]
            for channel in range(of_table.shape[1]):
                of_table[high, channel] += to_high * gradient[point, channel]


@njit(cache=True, nogil=True, inline="always")
@no_type_check
def _pixel(
    point: np.ndarray, pose: np.ndarray, lens: np.ndarray, stride: np.float32, nearest_m: float
) -> tuple:
    """Row and column in cells, centres at integers, of a point in a camera's image; far outside
    where it is behind.
    """
    x, y, z = point[0], point[1], point[2]
    half, outside = np.float32(0.5), np.float32(-9)
    forward = pose[2, 0] * x + pose[2, 1] * y + pose[2, 2] * z + pose[2, 3]
    if not forward > nearest_m:
        return outside, outside
    right = pose[0, 0] * x + pose[0, 1] * y + pose[0, 2] * z + pose[0, 3]
    down = pose[1, 0] * x + pose[1, 1] * y + pose[1, 2] * z + pose[1, 3]
    u = (lens[0, 0] * right + lens[0, 1] * down + lens[0, 2] * forward) / forward
    v = (lens[1, 0] * right + lens[1, 1] * down + lens[1, 2] * forward) / forward
    return (v + half) / stride - half, (u + half) / stride - half


@njit(cache=True, nogil=True, inline="always")
@no_type_check
def _inside(row: np.float32, column: np.float32, height: int, width: int) -> bool:
    half = np.float32(0.5)
    return -half < row < height - half and -half < column < width - half


@njit(cache=True, nogil=True)
@no_type_check
def _from_cameras(
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
    """``found`` starts as zeros."""
    height, width = size
    for point in range(len(points)):
        seen = 0
        for camera in range(len(intrinsics)):
            if camera_sample[camera] != point_sample[point]:
                continue
            row, column = _pixel(
                points[point], camera_from_grid[camera], intrinsics[camera], stride, nearest_m
            )
            if not _inside(row, column, height, width):
                continue
            seen += 1
            r0, r1, wr0, wr1 = _between(row, height)
            c0, c1, wc0, wc1 = _between(column, width)
            a, b = (camera * height + r0) * width, (camera * height + r1) * width
            for channel in range(table.shape[1]):
                found[point, channel] += wr0 * (
                    wc0 * table[a + c0, channel] + wc1 * table[a + c1, channel]
                ) + wr1 * (wc0 * table[b + c0, channel] + wc1 * table[b + c1, channel])
        if seen > 1:
            for channel in range(table.shape[1]):
                found[point, channel] /= np.float32(seen)


@njit(cache=True, nogil=True)
@no_type_check
def _from_cameras_back(
    of_table: np.ndarray,
    size: tuple[int, int],
    intrinsics: np.ndarray,
    camera_from_grid: np.ndarray,
    camera_sample: np.ndarray,
    stride: np.float32,
    nearest_m: float,
    points: np.ndarray,
    point_sample: np.ndarray,
    gradient: np.ndarray,
) -> None:
    height, width = size
    pixels = np.empty((len(intrinsics), 2), np.float32)
    for point in range(len(points)):
        seen = 0
        for camera in range(len(intrinsics)):
            pixels[camera] = -9  # outside
            if camera_sample[camera] == point_sample[point]:
                row, column = _pixel(
                    points[point], camera_from_grid[camera], intrinsics[camera], stride, nearest_m
                )
                pixels[camera, 0], pixels[camera, 1] = row, column
                seen += _inside(row, column, height, width)
        for camera in range(len(intrinsics)):
            row, column = pixels[camera, 0], pixels[camera, 1]
            if not _inside(row, column, height, width):
                continue
            r0, r1, wr0, wr1 = _between(row, height)
            c0, c1, wc0, wc1 = _between(column, width)
            a, b, share = (
                (camera * height + r0) * width,
                (camera * height + r1) * width,
                np.float32(1) / np.float32(seen),
            )
            places = (a + c0, a + c1, b + c0, b + c1)
            weights = (wr0 * wc0, wr0 * wc1, wr1 * wc0, wr1 * wc1)
            for corner in range(4):
                place, weight = places[corner], weights[corner] * share
                for channel in range(of_table.shape[1]):
                    of_table[place, channel] += weight * gradient[point, channel]
