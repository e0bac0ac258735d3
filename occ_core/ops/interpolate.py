"""Dense volumes read at scattered points, at a higher resolution and at a lower one."""

from __future__ import annotations

from itertools import product

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from occ_core.ops import backend
from occ_core.ops.cpu.arrays import arrays
from occ_core.ops.cpu.interpolate import InterpolateKernel, Positions


def interpolate(
    values: Float[Tensor, "batch channel *size"],
    position: Float[Tensor, "point dim"],
    sample: Int[Tensor, " point"],
) -> Float[Tensor, "point channel"]:
    """Bilinear or trilinear interpolation of images ``[B, C, H, W]`` or volumes ``[B, C, X, Y, Z]``
    at scattered points.

    A weighted sum of gathered rows, which is several times as fast as grid_sample on a CPU.

    Args:
        position: in cells along each axis, in the order of ``size``; the centre of the first cell
            is 0. Beyond the centres of the outermost cells their values are repeated.
        sample: sample of the batch that each point lies in.
    """
    size = values.shape[2:]
    table = values.movedim(1, -1).flatten(0, -2).float()  # [B * cells, C]
    if len(size) == 3 and backend.use_kernel("interpolate", table, constants=[position]):
        positions = Positions((size[0], size[1], size[2]), *arrays(position.float(), sample))
        return InterpolateKernel.apply(table, positions).to(values.dtype)
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
    gathered = F.embedding_bag(
        torch.stack(rows, dim=1), table, mode="sum", per_sample_weights=torch.stack(weights, dim=1)
    )
    return gathered.to(values.dtype)


def upsample(
    volume: Shaped[Tensor, "*batch x y z"], ratio: int
) -> Shaped[Tensor, "*batch fx fy fz"]:
    """Repeats every voxel ``ratio`` times along each axis."""
    for axis in (-3, -2, -1):
        volume = volume.repeat_interleave(ratio, dim=axis)
    return volume


def pool(
    volume: Float[Tensor, "batch channel x y z"], ratio: int
) -> Float[Tensor, "batch channel cx cy cz"]:
    """Mean of every block of ``ratio**3`` voxels; voxels beyond the far border count as zeros.

    Sums axis by axis over rows of channels, which is several times as fast as avg_pool3d on a CPU
    where the channels of a voxel lie side by side.
    """
    if ratio == 1:
        return volume
    rows = volume.permute(0, 2, 3, 4, 1)  # [B, X, Y, Z, C]
    beyond = [-side % ratio for side in rows.shape[1:4]]
    if any(beyond):
        rows = F.pad(rows, (0, 0, 0, beyond[2], 0, beyond[1], 0, beyond[0]))
    for axis in (1, 2, 3):
        rows = rows.unflatten(axis, (-1, ratio)).sum(dim=axis + 1)
    return rows.permute(0, 4, 1, 2, 3) / ratio**3
