"""As ``ops.sample_images.sample_images``, compiled: point by point, with gradients of the
features.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from occ_core.ops.cpu.interpolate import cells_around
from occ_core.ops.cpu.kernel import kernel


class Lookup(NamedTuple):
    """Cameras, and the points that are looked up in their feature images."""

    intrinsics: np.ndarray  # float32 [K, 3, 3]
    camera_from_grid: np.ndarray  # float32 [K, 4, 4]
    sample: np.ndarray  # int64 [K]
    points: np.ndarray  # float32 [P, 3]
    point_sample: np.ndarray  # int64 [P]


class FeatureImage(NamedTuple):
    """What the feature images of all cameras have in common."""

    height: int
    width: int
    stride: np.float32
    """Width of a cell in pixels."""
    nearest_m: np.float32
    """Points nearer to a camera are not looked up."""


class SampleImagesKernel(torch.autograd.Function):
    """``(table [K * h * w, C], lookup, image) -> features [P, C]``."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, lookup: Lookup, image: FeatureImage) -> Tensor:
        ctx.rows, ctx.lookup, ctx.image = len(table), lookup, image
        found = torch.zeros(len(lookup.points), table.shape[1])
        _sample(table.detach().contiguous().numpy(), lookup, image, found.numpy())
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        gradient = gradients[0].contiguous()
        grad_table = torch.zeros(ctx.rows, gradient.shape[1])
        _sample_backward(grad_table.numpy(), ctx.lookup, ctx.image, gradient.numpy())
        return grad_table, None, None


@kernel(inline="always")
def _cell(
    point: np.ndarray, pose: np.ndarray, lens: np.ndarray, image: FeatureImage
) -> tuple[np.float32, np.float32]:
    """Row and column in cells (centres at integers) of a point in a camera's image; far outside
    where the point lies behind the camera.
    """
    x, y, z = point[0], point[1], point[2]
    half, outside = np.float32(0.5), np.float32(-9)
    forward = pose[2, 0] * x + pose[2, 1] * y + pose[2, 2] * z + pose[2, 3]
    if not forward > image.nearest_m:
        return outside, outside
    right = pose[0, 0] * x + pose[0, 1] * y + pose[0, 2] * z + pose[0, 3]
    down = pose[1, 0] * x + pose[1, 1] * y + pose[1, 2] * z + pose[1, 3]
    u = (lens[0, 0] * right + lens[0, 1] * down + lens[0, 2] * forward) / forward
    v = (lens[1, 0] * right + lens[1, 1] * down + lens[1, 2] * forward) / forward
    return (v + half) / image.stride - half, (u + half) / image.stride - half


@kernel(inline="always")
def _is_inside(row: np.float32, column: np.float32, image: FeatureImage) -> np.bool_:
    half = np.float32(0.5)
    return -half < row < image.height - half and -half < column < image.width - half


@kernel
def _sample(table: np.ndarray, lookup: Lookup, image: FeatureImage, found: np.ndarray) -> None:
    """Adds to ``found``, which starts as zeros."""
    lenses, poses, sample, points, point_sample = lookup
    height, width = image.height, image.width
    for point in range(len(points)):
        seen = 0
        for camera in range(len(lenses)):
            if sample[camera] != point_sample[point]:
                continue
            row, column = _cell(points[point], poses[camera], lenses[camera], image)
            if not _is_inside(row, column, image):
                continue
            seen += 1
            r0, r1, wr0, wr1 = cells_around(row, height)
            c0, c1, wc0, wc1 = cells_around(column, width)
            a, b = (camera * height + r0) * width, (camera * height + r1) * width
            for channel in range(table.shape[1]):
                found[point, channel] += wr0 * (
                    wc0 * table[a + c0, channel] + wc1 * table[a + c1, channel]
                ) + wr1 * (wc0 * table[b + c0, channel] + wc1 * table[b + c1, channel])
        if seen > 1:
            for channel in range(table.shape[1]):
                found[point, channel] /= np.float32(seen)


@kernel
def _sample_backward(
    grad_table: np.ndarray, lookup: Lookup, image: FeatureImage, gradient: np.ndarray
) -> None:
    lenses, poses, sample, points, point_sample = lookup
    height, width = image.height, image.width
    cells = np.empty((len(lenses), 2), np.float32)  # of one point in every camera
    for point in range(len(points)):
        seen = 0
        for camera in range(len(lenses)):
            cells[camera] = -9  # outside
            if sample[camera] == point_sample[point]:
                row, column = _cell(points[point], poses[camera], lenses[camera], image)
                cells[camera, 0], cells[camera, 1] = row, column
                if _is_inside(row, column, image):
                    seen += 1
        for camera in range(len(lenses)):
            row, column = cells[camera, 0], cells[camera, 1]
            if not _is_inside(row, column, image):
                continue
            r0, r1, wr0, wr1 = cells_around(row, height)
            c0, c1, wc0, wc1 = cells_around(column, width)
            a, b = (camera * height + r0) * width, (camera * height + r1) * width
            share = np.float32(1) / np.float32(seen)
            rows = (a + c0, a + c1, b + c0, b + c1)
            weights = (wr0 * wc0, wr0 * wc1, wr1 * wc0, wr1 * wc1)
            for corner in range(4):
                weight = weights[corner] * share
                for channel in range(grad_table.shape[1]):
                    grad_table[rows[corner], channel] += weight * gradient[point, channel]
