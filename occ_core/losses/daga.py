"""Depth-aware geometric alignment (VLMFusionOcc3D, section III-C): the image volume should be where
the LiDAR volume is.

The paper's "depth" counts the layers of the volume along z. Its "L2-normalised, sigmoid-activated
intensity" is read as the sigmoid of a voxel's feature norm: 1/2 where a volume is empty.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

SHARPNESS = 0.1
"""lambda of Eq. 6."""


def daga_loss(
    image_volume: Float[Tensor, "batch channel x y z"],
    lidar_volume: Float[Tensor, "batch channel x y z"],
    beta: float = 1.0,
) -> Float[Tensor, ""]:
    """Eq. 6; the LiDAR volume is the reference and gets no gradient.

    Args:
        beta: of Eq. 5: how much less the last layer counts than the first.
    """
    image, lidar = intensity(image_volume), intensity(lidar_volume.detach())
    layers = image.shape[-1]
    weight = 1 / (1 + beta * torch.arange(layers, device=image.device) / layers)  # W(d), Eq. 5
    aligned = (image - lidar).square().mean(dim=(0, 1, 2)) @ weight / layers
    sharp = (
        (image.diff(dim=-1) - lidar.diff(dim=-1)).abs().mean()
        if layers > 1
        else image.new_zeros(())
    )  # Eq. 4
    return aligned + SHARPNESS * sharp


def intensity(volume: Float[Tensor, "batch channel x y z"]) -> Float[Tensor, "batch x y z"]:
    """In [1/2, 1): how much a voxel holds."""
    squared = volume.float().square().sum(dim=1)
    norm = torch.where(squared > 0, squared, 1).sqrt() * (
        squared > 0
    )  # the root has no gradient at 0
    return torch.sigmoid(norm)
