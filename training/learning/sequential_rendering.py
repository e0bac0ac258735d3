"""The sequential renderer in training: what it needs of a keyframe, the views of this instant and
the one before, its losses.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from occ_core.datasets.frames import NuScenesFrames
from occ_core.geometry.points import project_points, transform_points
from occ_core.geometry.poses import invert_pose
from occ_core.interface import Prediction
from occ_core.losses.depth import NEWEST_S
from occ_core.losses.sequential.renderer import (
    RenderingConfig,
    RenderingLosses,
    SequentialRenderer,
    View,
    frame_views,
)
from occ_core.preprocessing.lidar_filter import surface_points
from occ_core.preprocessing.sky import sky_masks
from occ_core.preprocessing.velocity import point_velocities, voxel_speed
from occ_core.taxonomy import EMPTY
from occ_core.types import Frame
from occ_core.voxel_grid import VoxelGrid


class Surroundings(NamedTuple):
    """What is known of a keyframe without labels."""

    sky: Bool[Tensor, "camera h w"]
    speed_mps: Float[Tensor, "x y z"]
    """Of the voxels of the model's volume."""

    def to(self, device: torch.device | str) -> Surroundings:
        """The same on ``device``."""
        return Surroundings(self.sky.to(device), self.speed_mps.to(device))


class Past(NamedTuple):
    """The instant before, to be rendered from the present."""

    view: View
    world_from_grid: Float[Tensor, "4 4"]
    stamp_ns: int


def surroundings(
    frames: NuScenesFrames, index: int, frame: Frame, mirrors: Float[Tensor, " 3"], grid: VoxelGrid
) -> Surroundings:
    """Sky masks and speeds of a keyframe; made once, then read from ``preprocessed/`` in the data
    root.

    Args:
        frame: the keyframe as the data set has it, not augmented.
        mirrors: signs of x, y, z by which the grid is mirrored in this epoch.
    """
    height, width = frame.images.shape[-2:]
    kept = (
        Path(frames.root)
        / "preprocessed"
        / f"{Path(frames.keyframes[index].lidar.path).name}.{height}x{width}.npz"
    )
    if not kept.exists():
        positions, velocities = point_velocities(frame.points[0].numpy())
        kept.parent.mkdir(exist_ok=True)
        unfinished = kept.with_suffix(
            f".{os.getpid()}.npz"
        )  # several trainings may make it at once
        np.savez_compressed(unfinished, sky=_sky(frame), positions=positions, velocities=velocities)
        unfinished.replace(kept)
    with np.load(kept, allow_pickle=False) as archive:
        speed = voxel_speed(
            archive["positions"] * mirrors.numpy().astype(np.float32), archive["velocities"], grid
        )
        return Surroundings(torch.from_numpy(archive["sky"]), speed)


def _sky(frame: Frame) -> np.ndarray:
    """Sky masks [camera, H, W] of a frame of batch 1; False in cameras that are missing."""
    points = frame.points[0][frame.points[0][:, 4] < NEWEST_S].numpy()
    points = points[surface_points(points, frame.context[0])]
    there = frame.camera_mask[0].nonzero()[:, 0].tolist()
    images = [frame.images[0, camera].permute(1, 2, 0).numpy() for camera in there]
    intrinsics = [frame.intrinsics[0, camera].double().numpy() for camera in there]
    poses = [frame.grid_from_camera[0, camera].double().numpy() for camera in there]
    pixels = [
        project_points(matrix, transform_points(invert_pose(pose), points))[0]
        for matrix, pose in zip(intrinsics, poses, strict=True)
    ]
    world_from_grid = frame.world_from_grid[0].numpy()
    found = sky_masks(images, intrinsics, [world_from_grid @ pose for pose in poses], pixels)
    masks = np.zeros((frame.camera_mask.shape[1], *frame.images.shape[-2:]), dtype=bool)
    for camera, mask in zip(there, found, strict=True):
        masks[camera] = mask
    return masks


def render(
    renderer: SequentialRenderer,
    prediction: Prediction,
    frame: Frame,
    around: Sequence[Surroundings],
    past: Past | None,
) -> tuple[RenderingLosses, Past | None]:
    """Losses of a batch, their mean, and what the next instant will look back on (of a batch of 1).

    Samples without a camera teach nothing.
    """
    occupied = prediction.head.coarse.detach().softmax(dim=1)[:, EMPTY] < 0.5  # [B, X, Y, Z]
    losses, view = [], None
    for sample in range(frame.batch_size):
        if not frame.camera_mask[sample].any():
            continue
        view = frame_views(frame, sample, renderer.config.image_scale, around[sample].sky)
        views = [view] if past is None else [view, _seen_from(past, frame)]
        volume = prediction.volume[sample : sample + 1].float()
        losses.append(
            renderer(
                volume,
                occupied[sample : sample + 1],
                frame.points[sample],
                around[sample].speed_mps,
                views,
            )
        )
    if not losses:
        nothing = prediction.volume.sum() * 0.0
        return RenderingLosses(nothing, nothing.detach(), nothing), None
    mean = RenderingLosses(*(torch.stack(parts).mean() for parts in zip(*losses, strict=True)))
    assert view is not None
    return mean, Past(view, frame.world_from_grid[-1], frame.stamp_ns[-1])


def _seen_from(past: Past, frame: Frame) -> View:
    """The view of the instant before, placed in the present grid."""
    then_from_now = torch.linalg.inv(past.world_from_grid) @ frame.world_from_grid[0]
    return past.view.seen_from(then_from_now, time_s=(past.stamp_ns - frame.stamp_ns[0]) * 1e-9)


def total(occupancy: Tensor, losses: RenderingLosses, config: RenderingConfig) -> Tensor:
    """Eq. 5 after the iteration, ``(1 - lambda) L_occ + lambda L_pc``, and L_rgb where it is asked
    for.
    """
    weight = config.consistency_weight
    return (
        (1 - weight) * occupancy
        + weight * losses.consistency
        + config.photometric_weight * losses.photometric
    )
