"""Sparse 3D convolutions; the one module that knows spconv.

On CUDA spconv computes. On the CPU its threads add into the same output row at once and lose terms
(two runs on one input differ), and its backward pass asks for a CUDA stream; there ``convolve``
below computes, from the same weights, with plain torch: gather, multiply, add.
"""

from __future__ import annotations

import logging
from itertools import product
from typing import Any, TypeAlias

import torch
from jaxtyping import Bool, Float, Int
from spconv import pytorch as spconv
from spconv.cppconstants import CPU_ONLY_BUILD
from torch import Tensor, nn

from occ_core.ops.cpu import neighbour_pairs as neighbour_pairs_compiled

# spconv asks torch at every tensor whether it is being traced, which torch answers with a warning
# about its own names
logging.getLogger("torch.fx._symbolic_trace").setLevel(logging.ERROR)

SparseVolume: TypeAlias = spconv.SparseConvTensor
"""``features`` [V, C] and ``indices`` [V, 4] (batch, x, y, z; int32) of the non-empty voxels of a
volume.
"""

HAS_CUDA = not CPU_ONLY_BUILD
"""Whether the installed spconv can compute on a GPU."""

Pairs = list[tuple[Tensor, Tensor]]
"""For every cell of the kernel, in C order: the rows of the input and of the output that it joins.
"""


def sparse_volume(
    features: Float[Tensor, "voxel channel"],
    index: Int[Tensor, "voxel 4"],
    shape: tuple[int, int, int],
    batch_size: int,
) -> SparseVolume:
    """A sparse volume from features and (batch, x, y, z) indices, each index at most once."""
    return SparseVolume(features, index.int().contiguous(), list(shape), batch_size)


class SparseBlock(nn.Module):
    """Sparse convolution without bias, LayerNorm over channels, ReLU.

    Args:
        stride: 1 is a 3x3x3 convolution that keeps the set of non-empty voxels (submanifold); 2 a
            2x2x2 one that halves the
            resolution: a voxel is non-empty exactly where one of its children is.
        share: blocks of stride 1 with the same name on the same voxels share their neighbour
            tables.
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int, share: str) -> None:
        super().__init__()
        self.stride, self.share = stride, share
        self.convolution: Any = (
            spconv.SubMConv3d(in_channels, out_channels, 3, bias=False, indice_key=share)
            if stride == 1
            else spconv.SparseConv3d(in_channels, out_channels, stride, stride=stride, bias=False)
        )
        self.norm = nn.LayerNorm(out_channels)

    def forward(self, volume: SparseVolume) -> SparseVolume:
        if volume.features.is_cuda:
            volume = self.convolution(volume)
        elif self.stride == 1:
            if self.share not in volume.indice_dict:
                volume.indice_dict[self.share] = neighbour_pairs(volume)
            volume = volume.replace_feature(
                convolve(
                    volume.features,
                    self.convolution.weight,
                    volume.indice_dict[self.share],
                    len(volume.indices),
                )
            )
        else:
            parents, pairs = parent_pairs(volume, self.stride)
            features = convolve(volume.features, self.convolution.weight, pairs, len(parents))
            x, y, z = (side // self.stride for side in volume.spatial_shape)
            volume = sparse_volume(features, parents, (x, y, z), volume.batch_size)
        return volume.replace_feature(torch.relu(self.norm(volume.features)))


def convolve(
    features: Float[Tensor, "voxel in"],
    weight: Float[Tensor, "out kx ky kz in"],
    pairs: Pairs,
    rows: int,
) -> Float[Tensor, "row out"]:
    """Sum over the kernel's cells: gather the input rows, multiply by the cell's matrix, add to the
    output rows.
    """
    matrices = weight.flatten(1, 3).permute(1, 2, 0)  # [cell, in, out]
    result = features.new_zeros(rows, weight.shape[0])
    for matrix, (source, target) in zip(matrices, pairs, strict=True):
        if len(source):
            result.index_add_(
                0, target, features.index_select(0, source) @ matrix
            )  # features[source] takes six times as long
    return result


def neighbour_pairs(volume: SparseVolume) -> Pairs:
    """Pairs of a submanifold 3x3x3 convolution: every voxel with those of its 26 neighbours (and
    itself) that are non-empty.

    On the CPU; on CUDA spconv finds its own.
    """
    x, y, z = volume.spatial_shape
    index = volume.indices.long()
    padded = (x + 2, y + 2, z + 2)  # a border of empty voxels, so that no neighbour lies outside
    at = linear_index(index + index.new_tensor([0, 1, 1, 1]), padded)
    row = torch.full(
        (volume.batch_size * padded[0] * padded[1] * padded[2],), -1, dtype=torch.int32
    )
    row[at] = torch.arange(len(index), dtype=torch.int32)
    steps = [(i * padded[1] + j) * padded[2] + k for i, j, k in product((-1, 0, 1), repeat=3)]
    return neighbour_pairs_compiled.neighbour_pairs(at, row, steps)


def parent_pairs(volume: SparseVolume, stride: int) -> tuple[Int[Tensor, "parent 4"], Pairs]:
    """The non-empty voxels at ``1 / stride`` of the resolution, and the pairs of child and parent
    by the child's corner.
    """
    shape = tuple(side // stride for side in volume.spatial_shape)
    index = volume.indices.long()
    corner = index[:, 1:] % stride
    parent = torch.cat([index[:, :1], index[:, 1:] // stride], dim=1)
    parents, row = torch.unique(linear_index(parent, shape), return_inverse=True)
    cell = (corner[:, 0] * stride + corner[:, 1]) * stride + corner[:, 2]
    pairs = []
    for number in range(stride**3):
        source = (cell == number).nonzero()[:, 0]
        pairs.append((source, row[source]))
    return unravel_index(parents, shape), pairs


def non_empty(volume: Float[Tensor, "batch channel x y z"]) -> Bool[Tensor, "batch x y z"]:
    """Which voxels of a dense volume are not of zeros."""
    return volume.detach().abs().amax(dim=1) != 0


def to_dense(volume: SparseVolume) -> Float[Tensor, "batch channel x y z"]:
    """The dense volume, zero where the sparse one is empty."""
    x, y, z = volume.spatial_shape
    batch, channels = volume.batch_size, volume.features.shape[1]
    dense = volume.features.new_zeros(batch * x * y * z, channels)
    dense[linear_index(volume.indices, (x, y, z))] = volume.features
    return dense.view(batch, x, y, z, channels).permute(0, 4, 1, 2, 3)


def linear_index(index: Int[Tensor, "n 4"], shape: tuple[int, int, int]) -> Int[Tensor, " n"]:
    """(batch, x, y, z) -> position in the flattened [B, X, Y, Z]."""
    x, y, z = shape
    b, i, j, k = index.long().unbind(1)
    return ((b * x + i) * y + j) * z + k


def unravel_index(linear: Int[Tensor, " n"], shape: tuple[int, int, int]) -> Int[Tensor, "n 4"]:
    """Position in the flattened [B, X, Y, Z] -> (batch, x, y, z)."""
    x, y, z = shape
    k = linear % z
    j = linear // z % y
    i = linear // (z * y) % x
    return torch.stack([linear // (z * y * x), i, j, k], dim=1)
