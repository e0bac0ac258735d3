"""Voxel indices as positions in a flattened volume, and back."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor


def linear_index(index: Int[Tensor, "n 4"], shape: tuple[int, int, int]) -> Int[Tensor, " n"]:
    """Indices (batch, x, y, z) -> positions in the flattened ``[B, X, Y, Z]``."""
    x, y, z = shape
    b, i, j, k = index.long().unbind(1)
    return ((b * x + i) * y + j) * z + k


def unravel_index(linear: Int[Tensor, " n"], shape: tuple[int, int, int]) -> Int[Tensor, "n 4"]:
    """Positions in the flattened ``[B, X, Y, Z]`` -> indices (batch, x, y, z)."""
    x, y, z = shape
    k = linear % z
    j = linear // z % y
    i = linear // (z * y) % x
    return torch.stack([linear // (z * y * x), i, j, k], dim=1)
