"""Gaussians with class probabilities -> a semantic image and its depth (GaussRender, Eq. 3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from occ_core.rendering.cameras import Cameras
from occ_core.rendering.rasterize import rasterize_many
from occ_core.taxonomy import EMPTY
from occ_core.types import Gaussians


class SemanticImage(NamedTuple):
    """A semantic image and its depth."""

    semantics: Float[Tensor, "class h w"]
    """Class probabilities; the transmittance counts as the empty class."""
    depth_m: Float[Tensor, "h w"]
    """Weighted sum of the depths."""


def render(gaussians: Gaussians, view: Cameras, empty: int = EMPTY) -> SemanticImage:
    """Renders one view.

    Args:
        empty: id of the empty class.

    Raises:
        ValueError: ``view`` holds several views, or none.
    """
    return render_many(gaussians, [view], empty)[0]


def render_many(
    gaussians: Gaussians, views: Sequence[Cameras], empty: int = EMPTY
) -> list[SemanticImage]:
    """As ``render``, for views of different sizes or kinds, which share the CPU's threads."""
    counts = [len(view.intrinsics) for view in views]
    if any(count != 1 for count in counts):
        raise ValueError(
            f"render takes cameras of one view each, see Cameras.only; got some of {counts} views"
        )
    images = []
    for raster in rasterize_many(gaussians, views):
        features, depth, alpha = (part.squeeze(0) for part in raster)
        transmittance = (1 - alpha).clamp(min=0)[..., None]  # [H, W, 1]
        # [H, W, class], as the features lie in memory
        background = F.pad(transmittance, (empty, len(features) - 1 - empty))
        images.append(SemanticImage(features + background.permute(2, 0, 1), depth))
    return images
