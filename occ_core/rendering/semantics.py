"""Gaussians of classes -> a semantic image and its depth (GaussRender, Eq. 3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from occ_core.rendering.cameras import Cameras
from occ_core.rendering.rasterize import rasterize_each
from occ_core.taxonomy import EMPTY
from occ_core.types import Gaussians


class Rendered(NamedTuple):
    """A semantic image and its depth."""

    semantics: Float[Tensor, "class h w"]
    """Probabilities; what is seen through everything is empty."""
    depth_m: Float[Tensor, "h w"]


def render(gaussians: Gaussians, view: Cameras) -> Rendered:
    """Eq. 3, of one view: what shines through everything is the empty class."""
    return render_each(gaussians, [view])[0]


def render_each(gaussians: Gaussians, views: Sequence[Cameras]) -> list[Rendered]:
    """The same of several views, each of its own size and kind; on the CPU sooner than one by one."""
    counts = [len(view.intrinsics) for view in views]
    if any(count != 1 for count in counts):
        raise ValueError(
            f"render takes cameras of one view each, see Cameras.only; got some of {counts} views"
        )
    rendered = []
    for rendering in rasterize_each(gaussians, views):
        image, depth, alpha = (part.squeeze(0) for part in rendering)
        through = F.pad(
            (1 - alpha).clamp(min=0)[..., None], (EMPTY, len(image) - 1 - EMPTY)
        )  # [H, W, class], as the image lies
        rendered.append(Rendered(image + through.permute(2, 0, 1), depth))
    return rendered
