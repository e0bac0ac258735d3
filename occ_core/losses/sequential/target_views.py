"""The camera images that renders of the Gaussians should match."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from occ_core.rendering.cameras import Cameras, frame_cameras
from occ_core.types import Frame


class TargetViews(NamedTuple):
    """Images of one instant that renders of the Gaussians should match."""

    time_s: float
    """Seconds after the frame; negative before it."""
    cameras: Cameras
    images: Float[Tensor, "view 3 h w"]
    """RGB in [0, 1]."""
    valid: Bool[Tensor, "view h w"]
    """False in the sky."""

    def seen_from(self, then_from_now: Float[Tensor, "4 4"], time_s: float) -> TargetViews:
        """The same views in the grid of a later frame.

        Args:
            then_from_now: float64 pose of the later frame's grid in the grid of these views.
            time_s: seconds after the later frame, hence negative.
        """
        moved = (self.cameras.camera_from_grid.double() @ then_from_now).float()
        return self._replace(time_s=time_s, cameras=replace(self.cameras, camera_from_grid=moved))


def target_views(frame: Frame, sample: int, scale: float, sky: Tensor | None = None) -> TargetViews:
    """The images of one sample's available cameras.

    Args:
        scale: size of the result relative to that of the frame's images.
        sky: bool ``[camera, H, W]``, True where the sky is seen; None for nowhere.
    """
    available, cameras = frame.camera_mask[sample], frame_cameras(frame, sample, scale)
    images = frame.images[sample, available].float() / 255
    images = F.interpolate(images, cameras.size, mode="area")
    valid = torch.ones(len(images), *cameras.size, dtype=torch.bool, device=images.device)
    if sky is not None:
        valid = F.adaptive_max_pool2d(sky[available][:, None].float(), cameras.size)[:, 0] == 0
    return TargetViews(0.0, cameras, images, valid)
