"""Volumes whose sides can be halved by a convolution of stride 2."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def halvable(volume: Float[Tensor, "batch channel x y z"]) -> Float[Tensor, "batch channel _ _ _"]:
    """The volume, extended by zeros until each side is an even number of at least 4.

    Two cells would be halved to one, which oneDNN (torch 2.13) gets wrong in bfloat16.
    """
    x, y, z = (2 * halved(cells) - cells for cells in volume.shape[2:])
    return F.pad(volume, (0, z, 0, y, 0, x)) if x or y or z else volume


def halved(cells: int) -> int:
    """Half of a side of ``halvable``."""
    return max(2, -(-cells // 2))
