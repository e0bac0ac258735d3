"""Image volume and LiDAR volume -> fused volume, in simple ways: add, concatenate, convolve.

Concatenation is the fusion of TACOcc's Table III "Base"; VLMFusionOcc3D's Table IV compares all
three.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from occ_core.ops.norm import GroupNorm
from occ_core.volume_encoder import Pointwise, convolution


class Fused(NamedTuple):
    """Output of a fusion."""

    volume: Float[Tensor, "batch channel x y z"]
    neighbourhoods: Int[Tensor, "retrieval candidate"] | None = None
    """How many queries chose each number of neighbours, per direction and level of the adaptive
    fusion; None for the others.
    """


class AddFusion(nn.Module):
    """The sum of the two volumes, and a 1x1x1 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduce = nn.Sequential(
            Pointwise(channels, channels, bias=False), GroupNorm(8, channels), nn.ReLU(inplace=True)
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
            GroupNorm(8, channels),
            nn.ReLU(inplace=True),
        )

    def forward(
        self,
        image_volume: Float[Tensor, "batch channel x y z"],
        lidar_volume: Float[Tensor, "batch channel x y z"],
    ) -> Fused:
        # reducing a concatenation is adding its reduced parts, and that copies neither volume
        weight = self.reduce[0].weight
        assert isinstance(weight, Tensor)
        image_weight, lidar_weight = weight.flatten(1).split(image_volume.shape[1], dim=1)
        image = F.linear(image_volume.permute(0, 2, 3, 4, 1), image_weight)  # [B, X, Y, Z, C]
        lidar = F.linear(lidar_volume.permute(0, 2, 3, 4, 1), lidar_weight)
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


class NoFusion(nn.Module):
    """The fusion of a model with a single sensor: the volume of that sensor."""

    def forward(
        self,
        image_volume: Float[Tensor, "batch image_channel x y z"],
        lidar_volume: Float[Tensor, "batch lidar_channel x y z"],
    ) -> Fused:
        """The volume that has channels; that of a sensor which the model lacks has none."""
        return Fused(image_volume if image_volume.shape[1] else lidar_volume)


SIMPLE_FUSIONS = {"add": AddFusion, "concat": ConcatFusion, "conv": ConvFusion}
"""The fusion for each value of ``OccupancyConfig.fusion``."""
