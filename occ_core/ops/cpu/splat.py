"""``ViewTransform``'s splat, point by point, compiled: for the CPU, with gradients. No point is
ever written down.
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


def splat(
    context: Float[Tensor, "image channel h w"],
    weight: Float[Tensor, "image bin h w"],
    rays: Float[Tensor, "image h w 3"],
    origins: Float[Tensor, "image 3"],
    depth_m: Float[Tensor, " bin"],
    sample: Int[Tensor, " image"],
    grid: VoxelGrid,
    batch_size: int,
) -> Float[Tensor, "cell channel"]:
    """Adds each feature of ``context``, by its bins' weights, to the voxels its ray passes: volumes
    [B, X, Y, Z], flattened.

    Args:
        rays: in the grid frame, at depth 1.
        sample: of the batch, that each image belongs to.
    """
    x, y, z = grid.shape
    lenses = (one.detach().float().contiguous().numpy() for one in (rays, origins, depth_m))
    places = (
        *lenses,
        sample.numpy(),
        np.array(grid.min_m, np.float32),
        np.float32(grid.voxel_size_m),
        grid.shape,
    )
    features = context.permute(0, 2, 3, 1).float()  # [K, h, w, C]
    return _Splat.apply(
        features, weight.permute(0, 2, 3, 1).float(), batch_size * x * y * z, places
    )


class _Splat(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, features: Tensor, weight: Tensor, cells: int, places: tuple[Any, ...]
    ) -> Tensor:
        features, weight = features.contiguous(), weight.contiguous()
        ctx.save_for_backward(features, weight)
        ctx.places = places
        volume = torch.zeros(cells, features.shape[-1])
        _add(features.detach().numpy(), weight.detach().numpy(), *places, volume.numpy())
        return volume

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        features, weight = ctx.saved_tensors
        of_features, of_weight = torch.zeros_like(features), torch.zeros_like(weight)
        results = of_features.numpy(), of_weight.numpy()
        _add_backward(
            features.numpy(),
            weight.numpy(),
            *ctx.places,
            gradients[0].contiguous().numpy(),
            *results,
        )
        return of_features, of_weight, None, None


@njit(cache=True, nogil=True, inline="always")
@no_type_check  # numba takes the bare function, without the checks that the tests put around it
def _cell(
    ray: np.ndarray,
    origin: np.ndarray,
    depth_m: np.float32,
    minimum: np.ndarray,
    size: np.float32,
    shape: tuple[int, int, int],
    sample: int,
) -> int:
    """The voxel that a point on a ray lies in; -1 outside the grid."""
    sx, sy, sz = shape
    x = np.floor((ray[0] * depth_m + origin[0] - minimum[0]) / size)
    y = np.floor((ray[1] * depth_m + origin[1] - minimum[1]) / size)
    z = np.floor((ray[2] * depth_m + origin[2] - minimum[2]) / size)
    if 0 <= x < sx and 0 <= y < sy and 0 <= z < sz:
        return ((sample * sx + int(x)) * sy + int(y)) * sz + int(z)
    return -1


@njit(cache=True, nogil=True)
@no_type_check
def _add(
    features: np.ndarray,
    weight: np.ndarray,
    rays: np.ndarray,
    origins: np.ndarray,
    depth_m: np.ndarray,
    sample: np.ndarray,
    minimum: np.ndarray,
    size: np.float32,
    shape: tuple[int, int, int],
    volume: np.ndarray,
) -> None:
    images, height, width, channels = features.shape
    for image, row, column in np.ndindex((images, height, width)):
        for number in range(len(depth_m)):
            ray = rays[image, row, column]
            cell = _cell(ray, origins[image], depth_m[number], minimum, size, shape, sample[image])
            if cell >= 0:
                share = weight[image, row, column, number]
                for channel in range(channels):
                    volume[cell, channel] += share * features[image, row, column, channel]


@njit(cache=True, nogil=True)
@no_type_check
def _add_backward(
    features: np.ndarray,
    weight: np.ndarray,
    rays: np.ndarray,
    origins: np.ndarray,
    depth_m: np.ndarray,
    sample: np.ndarray,
    minimum: np.ndarray,
    size: np.float32,
    shape: tuple[int, int, int],
    gradient: np.ndarray,
    of_features: np.ndarray,
    of_weight: np.ndarray,
) -> None:
    images, height, width, channels = features.shape
    for image, row, column in np.ndindex((images, height, width)):
        for number in range(len(depth_m)):
            ray = rays[image, row, column]
            cell = _cell(ray, origins[image], depth_m[number], minimum, size, shape, sample[image])
            if cell >= 0:
                share, aligned = weight[image, row, column, number], np.float32(0)
                for channel in range(channels):
                    of_features[image, row, column, channel] += share * gradient[cell, channel]
                for channel in range(channels):
                    aligned += features[image, row, column, channel] * gradient[cell, channel]
                of_weight[image, row, column, number] = aligned
