"""The context of each cell of the feature map: residual blocks at the coarsest level of the FPN and
at twice its stride.

A pretrained backbone that is kept as it is knows textures and parts. What they make up in a street
is learned here, where a cell costs little: a map at stride 16 has a quarter of the cells of one at
stride 8.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class ImageContextConfig:
    """Width of the FPN, and its residual blocks."""

    channels: int = 96
    """Channels of all levels of the FPN; a multiple of 8."""
    blocks: int = 3
    """Residual blocks at the coarsest level."""
    coarser_blocks: int = 2
    """Residual blocks at twice its stride; 0 leaves out this level."""

    def __post_init__(self) -> None:
        if self.channels < 8 or self.channels % 8:
            raise ValueError(
                "ImageContextConfig.channels must be a multiple of 8 (for GroupNorm), got "
                f"{self.channels}"
            )
        if min(self.blocks, self.coarser_blocks) < 0:
            raise ValueError(
                "ImageContextConfig.blocks and coarser_blocks must not be negative, got "
                f"{self.blocks} and {self.coarser_blocks}"
            )


class ImageContext(nn.Module):
    """Adds its context to every cell."""

    def __init__(self, config: ImageContextConfig) -> None:
        super().__init__()
        channels = config.channels
        self.coarser = None
        if config.coarser_blocks:
            self.coarser = nn.Sequential(
                nn.Conv2d(channels, channels, 3, stride=2, padding=1, bias=False),
                nn.GroupNorm(8, channels),
                nn.ReLU(inplace=True),
                *(ImageBlock(channels) for _ in range(config.coarser_blocks)),
            )
        self.blocks = nn.Sequential(*(ImageBlock(channels) for _ in range(config.blocks)))

    def forward(
        self, level: Float[Tensor, "image channel h w"]
    ) -> Float[Tensor, "image channel h w"]:
        if self.coarser is not None:
            size = level.shape[-2:]
            level = level + F.interpolate(self.coarser(level), size=size, mode="nearest")
        surrounded: Tensor = self.blocks(level)
        return surrounded


class ImageBlock(nn.Module):
    """A residual block of two 3x3 convolutions; initially a ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.GroupNorm(8, channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.GroupNorm(8, channels),
        )
        last = self.layers[-1]
        assert isinstance(last, nn.GroupNorm)
        nn.init.zeros_(last.weight)

    def forward(
        self, level: Float[Tensor, "image channel h w"]
    ) -> Float[Tensor, "image channel h w"]:
        return F.relu(level + self.layers(level))
