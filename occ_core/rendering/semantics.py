"""Gaussians of classes -> a semantic image and its depth (GaussRender, Eq. 3)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from occ_core.rendering.cameras import Cameras
from occ_core.rendering.rasterize import rasterize
from occ_core.taxonomy import EMPTY
from occ_core.types import Gaussians


class Rendered(NamedTuple):
    """A semantic image and its depth."""

    semantics: Float[Tensor, "class h w"]
    """Probabilities; what is seen through everything is empty."""
    depth_m: Float[Tensor, "h w"]


def render(gaussians: Gaussians, view: Cameras) -> Rendered:
    """Eq. 3, of one view: what shines through everything is the empty class."""
    rendering = rasterize(gaussians, view)
    semantics = rendering.image[0]
    through = (1 - rendering.alpha[0]).clamp(min=0)
    semantics = torch.cat([semantics[:EMPTY], semantics[EMPTY : EMPTY + 1] + through, semantics[EMPTY + 1 :]])
    return Rendered(semantics, rendering.depth[0])
