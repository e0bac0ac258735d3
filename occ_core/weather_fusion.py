"""Weather-aware adaptive fusion, WeathFusion (VLMFusionOcc3D, section III-B, Fig. 5): how far each sensor is to be trusted.

The weights scale the volumes; whichever fuser follows joins them: by concatenation this is Eq. 3, by addition Fig. 1's sum.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

HIDDEN = 32


class Weighted(NamedTuple):
    """The two volumes, scaled, and by how much."""

    image_volume: Float[Tensor, "batch channel x y z"]
    lidar_volume: Float[Tensor, "batch channel x y z"]
    weights: Float[Tensor, "batch 2"]
    """Of camera and LiDAR; their sum is 1."""


class WeatherFusion(nn.Module):
    """Weighs camera against LiDAR by the prompt of the weather (Eq. 2).

    Args:
        width: of the prompt's embedding.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(nn.Linear(width, HIDDEN), nn.ReLU(inplace=True), nn.Linear(HIDDEN, 2))
        self.sharpness = nn.Parameter(torch.tensor(math.log(math.e - 1)))  # alpha^tau, by softplus: 1 at first

    def forward(
        self,
        image_volume: Float[Tensor, "batch channel x y z"],
        lidar_volume: Float[Tensor, "batch channel x y z"],
        weather: Float[Tensor, "batch width"],
        present: Bool[Tensor, "batch 2"],
    ) -> Weighted:
        """
        Args:
            present: whether there is a camera image, and a LiDAR point, at all: what is absent has weight 0, the other 1.
        """
        weights = self.weights(weather, present)
        camera, lidar = weights.to(image_volume.dtype).view(-1, 2, 1, 1, 1, 1).unbind(1)
        return Weighted(image_volume * camera, lidar_volume * lidar, weights)

    def weights(self, weather: Float[Tensor, "batch width"], present: Bool[Tensor, "batch 2"]) -> Float[Tensor, "batch 2"]:
        """Of camera and LiDAR (Eq. 2); where both are absent, as if both were there."""
        logits = self.gate(weather).float() * F.softplus(self.sharpness)
        absent = ~present & present.any(dim=1, keepdim=True)
        return logits.masked_fill(absent, -torch.inf).softmax(dim=1)
