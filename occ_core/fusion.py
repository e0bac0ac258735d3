"""Image volume and LiDAR volume -> fused volume. Here: concatenation, the fuser of TACOcc's Table III "Base"."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from occ_core.volume_encoder import Pointwise


class ConcatFusion(nn.Module):
    """Concatenates the two volumes along channels and reduces by a 1x1x1 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduce = nn.Sequential(
            Pointwise(2 * channels, channels, bias=False), nn.GroupNorm(8, channels), nn.ReLU(inplace=True)
        )

    def forward(
        self, image_volume: Float[Tensor, "batch channel x y z"], lidar_volume: Float[Tensor, "batch channel x y z"]
    ) -> Float[Tensor, "batch channel x y z"]:
        return self.reduce(torch.cat([image_volume, lidar_volume], dim=1))
