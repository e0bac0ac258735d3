"""Opacity learned from voxel features (GaussRender, section 3.3)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


class OpacityNetwork(nn.Sequential):
    """Voxel features -> opacity (two hidden layers, as in the authors' code).

    The opacities start around sigmoid(-1) = 0.27.

    Args:
        channels: number of channels of the features.
    """

    def __init__(self, channels: int) -> None:
        last = nn.Linear(channels, 1)
        nn.init.zeros_(last.bias)
        super().__init__(
            nn.Linear(channels, channels),
            nn.ReLU(inplace=True),
            nn.Linear(channels, channels),
            nn.ReLU(inplace=True),
            last,
        )

    def forward(self, features: Float[Tensor, "channel x y z"]) -> Float[Tensor, "x y z"]:
        return torch.sigmoid(super().forward(features.permute(1, 2, 3, 0).float())[..., 0] - 1)
