"""Sparse 3D convolutions; the one module that knows spconv.

On CUDA spconv computes. Elsewhere the convolution, its pairs of voxels and its strides are those
below, in plain torch, and spconv's modules only hold the weights: on the CPU its threads add into
the same output row at once and lose terms (two runs on one input differ), and its backward pass
asks for a CUDA stream.
"""

from __future__ import annotations

import logging
import math
from itertools import product
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from spconv import pytorch as spconv
from spconv.cppconstants import CPU_ONLY_BUILD
from torch import Tensor, nn

from occ_core.ops import backend
from occ_core.ops.linear_index import linear_index, unravel_index

# spconv asks torch at every tensor whether it is being traced, which torch answers with a warning
# about its own names
logging.getLogger("torch.fx._symbolic_trace").setLevel(logging.ERROR)

SparseVolume: TypeAlias = spconv.SparseConvTensor
"""``features`` [V, C] and ``indices`` [V, 4] (batch, x, y, z; int32) of the non-empty voxels of a
volume.
"""

HAS_CUDA = not CPU_ONLY_BUILD
"""Whether the installed spconv can compute on a GPU."""

_Pairs = list[tuple[Tensor, Tensor]]
"""For every cell of the kernel, in C order: rows of the input, and the row of the output that each
of them is added to.
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
        stride: 1 for a 3x3x3 convolution that keeps the set of non-empty voxels (submanifold); 2
            for a 2x2x2 one that halves the resolution: a voxel is non-empty where one of its
            children is.
        share: name under which blocks of stride 1 on the same voxels share their pairs.
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
        if backend.is_exporting():
            volume = convolve_gathered(volume, self.convolution.weight, self.stride)
        elif backend.use_cuda_library("spconv", volume.features):
            volume = self.convolution(volume)
        elif self.stride == 1:
            if self.share not in volume.indice_dict:
                volume.indice_dict[self.share] = neighbour_pairs(volume)
            pairs, rows = volume.indice_dict[self.share], len(volume.indices)
            features = _convolve(volume.features, self.convolution.weight, pairs, rows)
            volume = volume.replace_feature(features)
        else:
            parents, pairs = _parent_pairs(volume, self.stride)
            features = _convolve(volume.features, self.convolution.weight, pairs, len(parents))
            x, y, z = (side // self.stride for side in volume.spatial_shape)
            volume = sparse_volume(features, parents, (x, y, z), volume.batch_size)
        return volume.replace_feature(torch.relu(self.norm(volume.features)))


def _convolve(
    features: Float[Tensor, "voxel in"],
    weight: Float[Tensor, "out kx ky kz in"],
    pairs: _Pairs,
    rows: int,
) -> Float[Tensor, "row out"]:
    """Sparse convolution: for every cell of the kernel, gathers the input rows, multiplies them by
    the cell's matrix and adds them to the output rows.
    """
    matrices = weight.flatten(1, 3).permute(1, 2, 0)  # [cell, in, out]
    result = features.new_zeros(rows, weight.shape[0])
    for matrix, (source, target) in zip(matrices, pairs, strict=True):
        if len(source):
            gathered = features.index_select(0, source)  # features[source] takes six times as long
            result.index_add_(0, target, gathered @ matrix)
    return result


def convolve_gathered(
    volume: SparseVolume, weight: Float[Tensor, "out kx ky kz in"], stride: int
) -> SparseVolume:
    """A convolution of a ``SparseBlock`` as one matrix product over the gathered cells of the
    kernel.

    Cells without a voxel are multiplied as zeros, at three times the work, so that nothing depends
    on the data but the number of voxels: this is the form that can be exported.
    """
    x, y, z = volume.spatial_shape
    border = 1 if stride == 1 else 0  # of empty voxels, so that no neighbour lies outside
    padded = (x + 2 * border, y + 2 * border, z + 2 * border)
    index = volume.indices.long()
    position = linear_index(index + index.new_tensor([0, *[border] * 3]), padded)
    rows = index.new_zeros(volume.batch_size * math.prod(padded))  # 1 plus the row of each voxel
    rows[position] = 1 + torch.arange(index.shape[0], device=index.device)
    outputs, shape = index, (x, y, z)
    if stride > 1:
        shape = (x // stride, y // stride, z // stride)
        outputs = _parents(index, shape, volume.batch_size, stride)
        position = linear_index(outputs * index.new_tensor([1, *[stride] * 3]), padded)
    cells = product(range(-border, weight.shape[1] - border), repeat=3)
    steps = [(i * padded[1] + j) * padded[2] + k for i, j, k in cells]
    row = rows[position[:, None] + index.new_tensor(steps)]  # [V, cell]
    table = torch.cat([volume.features.new_zeros(1, weight.shape[-1]), volume.features])
    # not flattened: inductor (torch 2.13) would then take V, which it cannot know, for 1
    features = F.linear(F.embedding(row, table).flatten(1), weight.flatten(1))
    return sparse_volume(features, outputs, shape, volume.batch_size)


def _parents(
    index: Int[Tensor, "voxel 4"], shape: tuple[int, int, int], batch_size: int, stride: int
) -> Int[Tensor, "parent 4"]:
    """The voxels, ``stride`` times as large, that hold one of the given ones; ascending."""
    holds = torch.zeros(batch_size * math.prod(shape), dtype=torch.bool, device=index.device)
    parent = torch.cat([index[:, :1], index[:, 1:] // stride], dim=1)
    holds[linear_index(parent, shape)] = True
    return unravel_index(holds.nonzero()[:, 0], shape)


def neighbour_pairs(volume: SparseVolume) -> _Pairs:
    """Pairs of a submanifold 3x3x3 convolution: every voxel with itself and those of its 26
    neighbours that are non-empty.
    """
    x, y, z = volume.spatial_shape
    index = volume.indices.long()
    padded = (x + 2, y + 2, z + 2)  # a border of empty voxels, so that no neighbour lies outside
    position = linear_index(index + index.new_tensor([0, 1, 1, 1]), padded)
    voxels = volume.batch_size * padded[0] * padded[1] * padded[2]
    row = torch.full((voxels,), -1, dtype=torch.int32, device=index.device)
    row[position] = torch.arange(len(index), dtype=torch.int32, device=index.device)
    before = []
    for i, j, k in list(product((-1, 0, 1), repeat=3))[:13]:
        step = (i * padded[1] + j) * padded[2] + k
        neighbour = row.index_select(0, position + step)
        target = (neighbour >= 0).nonzero()[:, 0]
        before.append((neighbour.index_select(0, target).long(), target))
    itself = torch.arange(len(index), device=index.device)
    # Seen from its neighbour, each pair belongs to the opposite cell.
    after = [(target, source) for source, target in reversed(before)]
    return [*before, (itself, itself), *after]


def _parent_pairs(volume: SparseVolume, stride: int) -> tuple[Int[Tensor, "parent 4"], _Pairs]:
    """The non-empty voxels at ``1 / stride`` of the resolution, and the pairs of child and parent
    for every corner of a parent.
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
    """Whether each voxel of a dense volume has a feature other than zero."""
    return volume.detach().abs().amax(dim=1) != 0


def to_dense(volume: SparseVolume) -> Float[Tensor, "batch channel x y z"]:
    """The dense volume, zero where the sparse one is empty."""
    x, y, z = volume.spatial_shape
    batch, channels = volume.batch_size, volume.features.shape[1]
    dense = volume.features.new_zeros(batch * x * y * z, channels)
    dense[linear_index(volume.indices, (x, y, z))] = volume.features
    return dense.view(batch, x, y, z, channels).permute(0, 4, 1, 2, 3)
