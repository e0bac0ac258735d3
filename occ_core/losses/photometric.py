"""Rendered images against camera images (L_rgb of TACOcc, section III-C; 3DGS, Eq. 7)."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

WINDOW = 11
"""Side of the SSIM window in pixels."""


def photometric_loss(
    rendered: Float[Tensor, "view 3 h w"],
    images: Float[Tensor, "view 3 h w"],
    valid: Bool[Tensor, "view h w"],
    ssim_weight: float = 0.2,
) -> Float[Tensor, ""]:
    """``(1 - w) L1 + w (1 - SSIM)``, averaged over the valid pixels; 0 without any.

    Args:
        images: RGB in [0, 1].
        valid: False for pixels that do not count, such as those of the sky.

    Raises:
        ValueError: images smaller than the window.
    """
    if min(rendered.shape[-2:]) < WINDOW:
        raise ValueError(
            f"photometric_loss needs images of at least {WINDOW}x{WINDOW} pixels, got "
            f"{list(rendered.shape[-2:])}"
        )
    if not valid.any():
        return rendered.sum() * 0.0
    difference = (rendered - images).abs().mean(dim=1)[valid].mean()
    _, similarity = structural_similarity_index_measure(
        rendered, images, kernel_size=WINDOW, data_range=1.0, return_full_image=True
    )
    return (1 - ssim_weight) * difference + ssim_weight * (1 - similarity.mean(dim=1)[valid].mean())
