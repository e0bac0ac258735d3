"""Depth-aware geometric alignment (VLMFusionOcc3D, section III-C): the image volume should be
occupied where the LiDAR volume is.

The paper's "depth" counts the layers of the volume along z. We read its "L2-normalised,
sigmoid-activated intensity" as the sigmoid of the norm of a voxel's feature, which is 1/2 where a
volume is empty.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

SHARPNESS = 0.1
"""Weight lambda of the second term of Eq. 6."""


def daga_loss(
    image_volume: Float[Tensor, "batch channel x y z"],
    lidar_volume: Float[Tensor, "batch channel x y z"],
    beta: float = 1.0,
) -> Float[Tensor, ""]:
    """The loss of Eq. 6; the LiDAR volume is the reference and gets no gradient.

    Args:
        beta: decay of the layer weights in Eq. 5.
    """
    image, lidar = intensity(image_volume), intensity(lidar_volume.detach())
    layers = image.shape[-1]
    weight = 1 / (1 + beta * torch.arange(layers, device=image.device) / layers)  # W(d), Eq. 5
    aligned = (image - lidar).square().mean(dim=(0, 1, 2)) @ weight / layers
    sharp = image.new_zeros(())
    if layers > 1:  # Eq. 4
        sharp = (image.diff(dim=-1) - lidar.diff(dim=-1)).abs().mean()
    return aligned + SHARPNESS * sharp


def intensity(volume: Float[Tensor, "batch channel x y z"]) -> Float[Tensor, "batch x y z"]:
    """Intensity of each voxel in [1/2, 1): the sigmoid of its feature's norm."""
    squared = volume.float().square().sum(dim=1)
    # the root of 0 has no gradient
    norm = torch.where(squared > 0, squared, 1).sqrt() * (squared > 0)
    return torch.sigmoid(norm)
