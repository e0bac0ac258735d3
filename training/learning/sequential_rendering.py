"""TACOcc's sequential renderer in training: sky masks and point speeds of a keyframe, views of the
current keyframe and of those before it, and the losses.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from occ_core.datasets.samples import LabelledFrames
from occ_core.geometry.points import transform_points
from occ_core.interface import Prediction
from occ_core.losses.sequential.renderer import (
    SequentialRenderer,
    SequentialRendererConfig,
    SequentialRendererLosses,
)
from occ_core.losses.sequential.target_views import TargetViews, target_views
from occ_core.preprocessing.masked_inputs import frame_sky
from occ_core.preprocessing.velocity import point_velocities, voxel_speed
from occ_core.rendering.cameras import Cameras
from occ_core.types import Frame
from occ_core.voxel_grid import VoxelGrid


class SkyAndMotion(NamedTuple):
    """What the renderer needs to know of a keyframe and derives without labels."""

    sky: Bool[Tensor, "camera h w"]
    speed_mps: Float[Tensor, "x y z"]
    """Speed of every voxel of the model's volume."""

    def to(self, device: torch.device | str) -> SkyAndMotion:
        """The same on ``device``."""
        return SkyAndMotion(self.sky.to(device), self.speed_mps.to(device))


class Past(NamedTuple):
    """Camera views of an earlier keyframe of a drive; ``camera_from_grid`` is in its own grid."""

    intrinsics: Float[Tensor, "view 3 3"]
    camera_from_grid: Float[Tensor, "view 4 4"]
    images: Float[Tensor, "view 3 h w"]
    """RGB in [0, 1]."""
    valid: Bool[Tensor, "view h w"]
    """False in the sky."""
    world_from_grid: Float[Tensor, "4 4"]
    """float64."""
    stamp_ns: int


def sky_and_motion(
    frames: LabelledFrames,
    index: int,
    frame: Frame,
    grid_from_stored: Float[np.ndarray, "4 4"],
    grid: VoxelGrid,
) -> SkyAndMotion:
    """Sky masks and speeds of a keyframe, computed once and cached in ``preprocessed/`` in the data
    root.

    Args:
        frame: the keyframe as stored, not augmented.
        grid_from_stored: how the grid is mirrored, turned and lifted in this epoch.
        grid: grid of the volume that is rendered.
    """
    height, width = frame.images.shape[-2:]
    name = f"{frames.name(index).replace('/', '_')}.{height}x{width}.npz"
    cached = frames.root / "preprocessed" / name
    if not cached.exists():
        positions, velocities = point_velocities(frame.points[0].numpy())
        cached.parent.mkdir(exist_ok=True)
        part = cached.with_suffix(f".{os.getpid()}.npz")  # other trainings may write it as well
        sky = frame_sky(frame, 0).numpy()
        np.savez_compressed(part, sky=sky, positions=positions, velocities=velocities)
        part.replace(cached)
    with np.load(cached, allow_pickle=False) as archive:
        positions = transform_points(grid_from_stored, archive["positions"])
        speed = voxel_speed(positions, archive["velocities"], grid)
        return SkyAndMotion(torch.from_numpy(archive["sky"]), speed)


def render(
    renderer: SequentialRenderer,
    prediction: Prediction,
    frame: Frame,
    extras: Sequence[SkyAndMotion],
    past: tuple[Past, ...],
    empty: int = 0,
) -> tuple[SequentialRendererLosses, tuple[Past, ...]]:
    """Mean losses of a batch and the views for the drive's next keyframe (of the last sample, as
    drives come in batches of 1).

    Args:
        extras: one per sample.
        past: views of the keyframes before, the newest last; rendered from the current Gaussians
            too.
        empty: id of the empty class.

    Samples without a camera add no loss; where no sample has one, the losses are zero, and the past
    stays as it is.
    """
    occupied = prediction.head.coarse.detach().softmax(dim=1)[:, empty] < 0.5  # [B, X, Y, Z]
    losses, view = [], None
    for sample in range(frame.batch_size):
        if not frame.camera_mask[sample].any():
            continue
        view = target_views(frame, sample, renderer.config.image_scale, extras[sample].sky)
        views = [view, *(_seen_from(earlier, frame) for earlier in past)]
        volume = prediction.volume[sample : sample + 1].float()
        losses.append(
            renderer(
                volume,
                occupied[sample : sample + 1],
                frame.points[sample],
                extras[sample].speed_mps,
                views,
            )
        )
    if not losses:
        nothing = prediction.volume.sum() * 0.0
        return SequentialRendererLosses(nothing, nothing.detach(), nothing), past
    mean = SequentialRendererLosses(
        *(torch.stack(parts).mean() for parts in zip(*losses, strict=True))
    )
    assert view is not None
    cameras, pose, stamp_ns = view.cameras, frame.world_from_grid[-1], frame.stamp_ns[-1]
    present = Past(
        cameras.intrinsics, cameras.camera_from_grid, view.images, view.valid, pose, stamp_ns
    )
    return mean, (*past, present)[-(renderer.config.frames - 1) :]


def _seen_from(past: Past, frame: Frame) -> TargetViews:
    """The past views, placed in the frame's grid."""
    height, width = past.images.shape[-2:]
    cameras = Cameras(past.intrinsics, past.camera_from_grid, (height, width))
    then_from_now = torch.linalg.inv(past.world_from_grid) @ frame.world_from_grid[0]
    time_s = (past.stamp_ns - frame.stamp_ns[0]) * 1e-9
    return TargetViews(0.0, cameras, past.images, past.valid).seen_from(then_from_now, time_s)


def total_loss(
    occupancy: Float[Tensor, ""], losses: SequentialRendererLosses, config: SequentialRendererConfig
) -> Float[Tensor, ""]:
    """TACOcc's Eq. 5 after the inner optimisation, ``(1 - lambda) L_occ + lambda L_pc``, plus
    weighted L_rgb.
    """
    weight = config.consistency_weight
    return (
        (1 - weight) * occupancy
        + weight * losses.consistency
        + config.photometric_weight * losses.photometric
    )
