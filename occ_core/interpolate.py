"""Values between cells, and of finer cells."""

from __future__ import annotations

from itertools import product

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Shaped
from torch import Tensor


def interpolate(
    values: Float[Tensor, "batch channel *size"], position: Float[Tensor, "point dim"], sample: Int[Tensor, " point"]
) -> Float[Tensor, "point channel"]:
    """Bilinear or trilinear interpolation of images ``[B, C, H, W]`` or volumes ``[B, C, X, Y, Z]`` at scattered points.

    A weighted sum of gathered rows: several times faster on a CPU than grid_sample.

    Args:
        position: in cells along each axis, in the order of ``size``; the centre of the first cell is 0. Beyond the centres of
            the outermost cells their values are repeated.
        sample: element of the batch that each point lies in.
    """
    size = values.shape[2:]
    table = values.movedim(1, -1).flatten(0, -2).float()  # [B * cells, C]
    low = position.floor()
    fraction = position - low
    rows, weights = [], []
    for corner in product((0, 1), repeat=len(size)):
        row, weight = sample, torch.ones_like(fraction[:, 0])
        for axis, (step, cells) in enumerate(zip(corner, size, strict=True)):
            row = row * cells + (low[:, axis].long() + step).clamp(0, cells - 1)
            weight = weight * (fraction[:, axis] if step else 1 - fraction[:, axis])
        rows.append(row)
        weights.append(weight)
    gathered = F.embedding_bag(torch.stack(rows, dim=1), table, mode="sum", per_sample_weights=torch.stack(weights, dim=1))
    return gathered.to(values.dtype)


def upsample(volume: Shaped[Tensor, "*batch x y z"], ratio: int) -> Shaped[Tensor, "*batch fx fy fz"]:
    """Every voxel repeated ``ratio`` times along each axis."""
    for axis in (-3, -2, -1):
        volume = volume.repeat_interleave(ratio, dim=axis)
    return volume
