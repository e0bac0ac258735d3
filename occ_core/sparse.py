"""The one module that knows spconv: sparse 3D convolutions on CUDA and on the CPU.

Both builds (``spconv`` and ``spconv-cuXXX``) install the same import name. On a machine without CUDA its backward pass
still asks for the current CUDA stream, which it then never uses: it is handed stream 0. On the CPU it refuses bias and
fused activations in inference, so every convolution here is without bias and followed by a norm of its own.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from spconv import pytorch as spconv
from spconv.pytorch import ops as spconv_ops
from torch import Tensor, nn

if not torch.cuda.is_available():
    spconv_ops.get_current_stream = lambda: 0

SparseVolume = spconv.SparseConvTensor
"""``features`` [V, C] and ``indices`` [V, 4] (batch, x, y, z; int32) of the non-empty voxels of a volume."""


def sparse_volume(
    features: Float[Tensor, "voxel channel"], index: Int[Tensor, "voxel 4"], shape: tuple[int, int, int], batch_size: int
) -> SparseVolume:
    """A sparse volume from features and (batch, x, y, z) indices, each index at most once."""
    return SparseVolume(features, index.int().contiguous(), list(shape), batch_size)


class SparseBlock(nn.Module):
    """Sparse convolution, LayerNorm over channels, ReLU.

    Args:
        stride: 1 keeps the set of non-empty voxels (submanifold); 2 halves the resolution.
        share: blocks of stride 1 with the same name on the same voxels share their neighbour tables.
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int, share: str | None = None) -> None:
        super().__init__()
        self.convolution: nn.Module
        if stride == 1:
            self.convolution = spconv.SubMConv3d(in_channels, out_channels, 3, bias=False, indice_key=share)
        else:
            # kernel = stride: a parent voxel is non-empty exactly where one of its children is
            self.convolution = spconv.SparseConv3d(in_channels, out_channels, stride, stride=stride, bias=False)
        self.norm = nn.LayerNorm(out_channels)

    def forward(self, volume: SparseVolume) -> SparseVolume:
        volume = self.convolution(volume)
        return volume.replace_feature(torch.relu(self.norm(volume.features)))


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
