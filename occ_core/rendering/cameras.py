"""Cameras that Gaussians are rendered into."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from occ_core.geometry.images import scale_intrinsics
from occ_core.types import Frame


@dataclass(frozen=True, slots=True)
class Cameras:
    """N views of one size.

    Raises:
        ValueError: the size is below 1x1 pixels.
    """

    intrinsics: Float[Tensor, "view 3 3"]
    """Camera matrices in pixels, whose centres lie at integer coordinates. The focal lengths of an
    orthographic camera are in pixels per metre.
    """
    camera_from_grid: Float[Tensor, "view 4 4"]
    """Poses of the camera frames: x right, y down, z forward."""
    size: tuple[int, int]
    """(height, width)."""
    orthographic: bool = False
    near_m: float = 0.1
    """Gaussians whose centre is nearer along the optical axis are not drawn."""

    def __post_init__(self) -> None:
        if min(self.size) < 1:
            raise ValueError(f"Cameras.size must be at least 1x1 pixels, got {self.size}")

    def only(self, view: int) -> Cameras:
        """The cameras with a single one of the views."""
        return replace(
            self,
            intrinsics=self.intrinsics[view : view + 1],
            camera_from_grid=self.camera_from_grid[view : view + 1],
        )


def frame_cameras(frame: Frame, sample: int, scale: float = 1.0) -> Cameras:
    """The available cameras of one sample of a frame, for images ``scale`` times as large."""
    available = frame.camera_mask[sample]
    from_size = frame.images.shape[-2], frame.images.shape[-1]
    size = round(from_size[0] * scale), round(from_size[1] * scale)
    scaling = torch.from_numpy(scale_intrinsics(np.eye(3), from_size, size)).to(frame.intrinsics)
    camera_from_grid = torch.linalg.inv(frame.grid_from_camera[sample, available].double()).float()
    return Cameras(scaling @ frame.intrinsics[sample, available], camera_from_grid, size)
