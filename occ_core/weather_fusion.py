"""Weather-aware adaptive fusion, WeathFusion (VLMFusionOcc3D, section III-B, Fig. 5): how far each
sensor is to be trusted.

The weights scale the volumes; whichever fuser follows joins them: by concatenation this is Eq. 3,
by addition Fig. 1's sum.

Of Eq. 2's logits, their mean over all weathers is taken away. How far one sensor matters more than
the other in general is left to the fuser's weights, which can scale as well; if the gate may learn
that too, it shuts one sensor out in every weather, and has nothing left to say of any.
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
    """Of camera and LiDAR; their sum is 1. The volumes are scaled by twice these, where both
    sensors are there.
    """


class WeatherFusion(nn.Module):
    """Weighs camera against LiDAR by the prompt of the weather (Eq. 2); weights of a half leave the
    volumes as they are.

    Args:
        width: of the prompt's embedding.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.Linear(width, HIDDEN), nn.ReLU(inplace=True), nn.Linear(HIDDEN, 2, bias=False)
        )
        self.sharpness = nn.Parameter(
            torch.tensor(math.log(math.e - 1))
        )  # alpha^tau, by softplus: 1 at first

    def forward(
        self,
        image_volume: Float[Tensor, "batch channel x y z"],
        lidar_volume: Float[Tensor, "batch channel x y z"],
        weather: Float[Tensor, "batch width"],
        weathers: Float[Tensor, "prompt width"],
        present: Bool[Tensor, "batch 2"],
    ) -> Weighted:
        """
        Args:
            weather: the prompt's embedding.
            weathers: those of all prompts that there are.
            present: whether there is a camera image, and a LiDAR point, at all: what is absent has
                weight 0, the other 1.
        """
        used = present | ~present.any(
            dim=1, keepdim=True
        )  # where both are absent, as if both were there
        weights = self.weights(weather, weathers, used)
        camera, lidar = (
            (weights * used.sum(dim=1, keepdim=True))
            .to(image_volume.dtype)
            .view(-1, 2, 1, 1, 1, 1)
            .unbind(1)
        )
        return Weighted(image_volume * camera, lidar_volume * lidar, weights)

    def weights(
        self,
        weather: Float[Tensor, "batch width"],
        weathers: Float[Tensor, "prompt width"],
        used: Bool[Tensor, "batch 2"],
    ) -> Float[Tensor, "batch 2"]:
        """Of camera and LiDAR (Eq. 2)."""
        logits = (self.gate(weather) - self.gate(weathers).mean(dim=0)).float() * F.softplus(
            self.sharpness
        )
        return logits.masked_fill(~used, -torch.inf).softmax(dim=1)
