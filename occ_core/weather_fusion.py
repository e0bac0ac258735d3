"""Weather-aware adaptive fusion, WeathFusion (VLMFusionOcc3D, section III-B, Fig. 5): how much each
sensor contributes in the current weather.

The weights scale the volumes, which the fusion that follows joins: by concatenation this is Eq. 3,
by addition the sum in Fig. 1.

The mean over all weathers is subtracted from the logits of Eq. 2. How much one sensor contributes
in general is up to the fusion's weights, which can scale too; a gate that learns it as well ends
by shutting out one sensor in every weather, and no longer distinguishes them. The hidden units are
GELUs: the prompts have much in common, by which training can push ReLUs below zero in all weathers,
where they stay.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

HIDDEN = 32
"""Width of the gate's hidden layer."""


class WeightedVolumes(NamedTuple):
    """The volumes of both sensors, scaled by their weights."""

    image_volume: Float[Tensor, "batch channel x y z"]
    lidar_volume: Float[Tensor, "batch channel x y z"]
    weights: Float[Tensor, "batch 2"] | None
    """Weights of camera and LiDAR, which sum to 1; None in a model that does not weight them. Where
    both sensors have data, the volumes are scaled by twice the weights.
    """


class WeatherFusion(nn.Module):
    """Weights camera against LiDAR by the prompt about the weather (Eq. 2); equal weights leave the
    volumes as they are.

    Args:
        width: width of the prompt's embedding.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.Linear(width, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, 2, bias=False)
        )
        # alpha^tau of Eq. 2, through a softplus: it starts at 1
        self.sharpness = nn.Parameter(torch.tensor(math.log(math.e - 1)))

    def forward(
        self,
        image_volume: Float[Tensor, "batch channel x y z"],
        lidar_volume: Float[Tensor, "batch channel x y z"],
        weather: Float[Tensor, "batch width"],
        all_weathers: Float[Tensor, "prompt width"],
        has_data: Bool[Tensor, "batch 2"],
    ) -> WeightedVolumes:
        """Scales the volumes.

        Args:
            weather: embedding of the prompt about the current weather.
            all_weathers: embeddings of the prompts about all weathers.
            has_data: whether there is any camera image, and any LiDAR point. A sensor without data
                has weight 0 and the other one 1; if both lack data, both count as if they had some.
        """
        used = has_data | ~has_data.any(dim=1, keepdim=True)
        weights = self.weights(weather, all_weathers, used)
        scale = (weights * used.sum(dim=1, keepdim=True)).to(image_volume.dtype)
        camera, lidar = scale.view(-1, 2, 1, 1, 1, 1).unbind(1)
        return WeightedVolumes(image_volume * camera, lidar_volume * lidar, weights)

    def weights(
        self,
        weather: Float[Tensor, "batch width"],
        all_weathers: Float[Tensor, "prompt width"],
        used: Bool[Tensor, "batch 2"],
    ) -> Float[Tensor, "batch 2"]:
        """Weights of camera and LiDAR (Eq. 2)."""
        centred = self.gate(weather) - self.gate(all_weathers).mean(dim=0)
        logits = centred.float() * F.softplus(self.sharpness)
        return logits.masked_fill(~used, -torch.inf).softmax(dim=1)


class NoWeatherFusion(nn.Module):
    """The weather fusion of a model that treats its sensors alike in every weather."""

    def forward(
        self,
        image_volume: Float[Tensor, "batch image_channel x y z"],
        lidar_volume: Float[Tensor, "batch lidar_channel x y z"],
        weather: Float[Tensor, "batch width"],
        all_weathers: Float[Tensor, "prompt width"],
        has_data: Bool[Tensor, "batch 2"],
    ) -> WeightedVolumes:
        """The volumes as they are, without weights."""
        return WeightedVolumes(image_volume, lidar_volume, None)
