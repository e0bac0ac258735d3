"""Cameras that Gaussians are rendered into."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Cameras:
    """N views of one size."""

    intrinsics: Float[Tensor, "view 3 3"]
    """In pixels; pixel centres at integer coordinates. Of an orthographic camera the focal lengths are pixels per metre."""
    camera_from_grid: Float[Tensor, "view 4 4"]
    """Camera frame: x right, y down, z forward."""
    size: tuple[int, int]
    """(height, width)."""
    orthographic: bool = False
    near_m: float = 0.1
    """What lies nearer along the optical axis is not drawn."""

    def __post_init__(self) -> None:
        if min(self.size) < 1:
            raise ValueError(f"Cameras.size must be at least 1x1 pixels, got {self.size}")
