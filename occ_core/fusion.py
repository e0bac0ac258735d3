"""Image volume and LiDAR volume -> fused volume, the simple ways: add, concatenate, convolve.

Concatenation is the fuser of TACOcc's Table III "Base"; the three are the rivals of
VLMFusionOcc3D's Table IV.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from occ_core.volume_encoder import Pointwise, convolution


class Fused(NamedTuple):
    """What a fuser gives."""

    volume: Float[Tensor, "batch channel x y z"]
    neighbourhoods: Int[Tensor, "retrieval candidate"] | None = None
    """Of the adaptive fuser: how many queries chose each number of neighbours, per direction and
    level.
    """


class AddFusion(nn.Module):
    """The sum of the two volumes, and a 1x1x1 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduce = nn.Sequential(
            Pointwise(channels, channels, bias=False),
            nn.GroupNorm(8, channels),
            nn.ReLU(inplace=True),
        )

    def forward(
        self,
        image_volume: Float[Tensor, "batch channel x y z"],
        lidar_volume: Float[Tensor, "batch channel x y z"],
    ) -> Fused:
        return Fused(self.reduce(image_volume + lidar_volume))


class ConcatFusion(nn.Module):
    """Concatenates the two volumes along channels and reduces by a 1x1x1 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduce = nn.Sequential(
            Pointwise(2 * channels, channels, bias=False),
            nn.GroupNorm(8, channels),
            nn.ReLU(inplace=True),
        )

    def forward(
        self,
        image_volume: Float[Tensor, "batch channel x y z"],
        lidar_volume: Float[Tensor, "batch channel x y z"],
    ) -> Fused:
        # to reduce a concatenation is to add its reduced parts, which copies neither
        weight = self.reduce[0].weight
        assert isinstance(weight, Tensor)
        parts = weight.flatten(1).split(image_volume.shape[1], dim=1)
        rows = (
            volume.permute(0, 2, 3, 4, 1) for volume in (image_volume, lidar_volume)
        )  # [B, X, Y, Z, C]
        image, lidar = (F.linear(row, part) for row, part in zip(rows, parts, strict=True))
        return Fused(self.reduce[1:]((image + lidar).permute(0, 4, 1, 2, 3)))


class ConvFusion(nn.Module):
    """Concatenates the two volumes along channels and reduces by a 3x3x3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduce = nn.Sequential(
            convolution(2 * channels, channels, factorised=False), nn.ReLU(inplace=True)
        )

    def forward(
        self,
        image_volume: Float[Tensor, "batch channel x y z"],
        lidar_volume: Float[Tensor, "batch channel x y z"],
    ) -> Fused:
        return Fused(self.reduce(torch.cat([image_volume, lidar_volume], dim=1)))


SIMPLE_FUSIONS = {"add": AddFusion, "concat": ConcatFusion, "conv": ConvFusion}
