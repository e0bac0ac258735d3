"""Random variations of training frames. The fields of ``AugmentConfig`` itself vary a frame mildly;
what it holds in ``lidar`` and ``images`` makes it one of other sensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from occ_core.geometry.points import NEWEST_S
from occ_core.types import Frame
from occ_core.voxel_grid import VoxelGrid
from training.learning.augment_images import ImageAugmentConfig, vary_images
from training.learning.augment_lidar import LidarAugmentConfig, SweepPose, vary_lidar
from training.learning.symmetries import (
    Labelled,
    check_square,
    flip,
    lift,
    mirrored_axes,
    quarter_turns,
)


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """How often and how much a frame is varied; probabilities are per frame unless noted."""

    flip: float = 0.5
    """Left and right are swapped, and independently front and back, each where the grid is centred
    at the sensor in that direction.
    """
    single_sweep: float = 0.1
    """All sweeps but the newest are dropped."""
    fewer_sweeps: float = 0.15
    """A random number of the oldest sweeps is dropped."""
    drop_points: float = 0.2
    """Largest fraction of points that are dropped; the fraction is drawn uniformly."""
    drop_intensity: float = 0.05
    """All intensities are set to 0, which leaves only shape."""
    scale_intensity: float = 1.4
    """Largest factor by which intensities are multiplied or divided: sensors differ."""
    range_noise_m: float = 0.03
    """Standard deviation of the noise on every coordinate."""
    drop_camera: float = 0.08
    """A camera is masked; per camera."""
    drop_all_cameras: float = 0.03
    """All cameras are masked."""
    drop_lidar: float = 0.02
    """All points are dropped."""
    brightness: float = 0.2
    """Largest deviation from 1 of the factors on brightness and on contrast."""
    quarter_turn: float | None = None
    """The frame is turned about the vertical by 90, 180 or 270 degrees; 0.75 makes every yaw, and
    with ``flip`` each of the eight symmetries, equally frequent.
    """
    lift_voxels: int | None = None
    """Largest number of voxels by which the grid is raised or lowered, as if the LiDAR were mounted
    at another height.
    """
    lidar: LidarAugmentConfig | None = None
    """LiDAR of other sensors."""
    images: ImageAugmentConfig | None = None
    """Images of other rigs."""

    def __post_init__(self) -> None:
        if self.quarter_turn is not None and not 0 <= self.quarter_turn <= 1:
            raise ValueError(
                f"AugmentConfig.quarter_turn must be in [0, 1], got {self.quarter_turn}"
            )
        if self.lift_voxels is not None and self.lift_voxels < 1:
            raise ValueError(
                f"AugmentConfig.lift_voxels must be at least 1 or None, got {self.lift_voxels}"
            )


def other_sensors() -> AugmentConfig:
    """Strong variation, for a model that is to work with sensors that it was not trained on."""
    return AugmentConfig(
        fewer_sweeps=0,  # LidarAugmentConfig does these three
        drop_points=0,
        range_noise_m=0,
        drop_intensity=0.15,
        drop_lidar=0.1,
        quarter_turn=0.75,
        lift_voxels=1,
        lidar=LidarAugmentConfig(),
        images=ImageAugmentConfig(),
    )


def augment(
    frame: Frame,
    labels: Tensor,
    grid: VoxelGrid,
    sweeps: Sequence[SweepPose],
    config: AugmentConfig,
    rng: np.random.Generator,
    drive_rng: np.random.Generator,
) -> Labelled:
    """Varies a frame of batch 1 and its labels.

    Args:
        labels: class ids uint8 ``[X, Y, Z]`` on ``grid``.
        sweeps: poses of the sweeps in ``frame.points``; only ``config.lidar`` reads them.
        rng: source of all random numbers but the grid's.
        drive_rng: source of how the grid is mirrored, turned and lifted; may be the same generator.

    Raises:
        ValueError: the grid does not map onto itself as it is mirrored or turned.
    """
    if config.lidar is not None:
        points = vary_lidar(frame.points[0], sweeps, config.lidar, rng)
        frame = replace(frame, points=(points,))
    frame, labels = _grid(frame, labels, grid, config, drive_rng)
    frame = replace(
        frame,
        images=_photometric(frame.images, config, rng),
        camera_mask=_camera_mask(frame.camera_mask, config, rng),
        points=(_points(frame.points[0], config, rng),),
    )
    if config.images is not None:
        frame = vary_images(frame, config.images, rng)
    return frame, labels


def _grid(
    frame: Frame, labels: Tensor, grid: VoxelGrid, config: AugmentConfig, rng: np.random.Generator
) -> Labelled:
    mirrored = mirrored_axes(grid) if config.flip else ()
    if config.quarter_turn:
        check_square(grid)
    for axis in (0, 1):
        # Drawn for both, so that the numbers that follow are the same on every grid.
        if rng.random() < config.flip and axis in mirrored:
            frame, labels = flip(frame, labels, axis)
    if config.quarter_turn is not None and rng.random() < config.quarter_turn:
        frame, labels = quarter_turns(frame, labels, int(rng.integers(1, 4)))
    if config.lift_voxels is not None:
        voxels = int(rng.integers(-config.lift_voxels, config.lift_voxels, endpoint=True))
        frame, labels = lift(frame, labels, voxels, grid.voxel_size_m)
    return frame, labels


def _points(points: Tensor, config: AugmentConfig, rng: np.random.Generator) -> Tensor:
    if rng.random() < config.drop_lidar:
        return points[:0]
    draw = rng.random()
    if draw < config.single_sweep:
        points = points[points[:, 4] < NEWEST_S]
    elif draw < config.single_sweep + config.fewer_sweeps:
        points = points[points[:, 4] < rng.uniform(0.03, 0.5)]
    points = points.clone()
    if config.drop_points:
        kept = torch.from_numpy(rng.random(len(points)) >= rng.uniform(0, config.drop_points))
        points = points[kept]
    if config.range_noise_m:
        noise_m = rng.normal(0, config.range_noise_m, (len(points), 3)).astype(np.float32)
        points[:, :3] += torch.from_numpy(noise_m)
    factor = 0.0
    if rng.random() >= config.drop_intensity:
        factor = config.scale_intensity ** rng.uniform(-1, 1)
    points[:, 3] = (points[:, 3] * factor).clamp(0, 255)
    return points


def _camera_mask(mask: Tensor, config: AugmentConfig, rng: np.random.Generator) -> Tensor:
    if rng.random() < config.drop_all_cameras:
        return torch.zeros_like(mask)
    return mask & torch.from_numpy(rng.random(mask.shape) >= config.drop_camera)


def _photometric(images: Tensor, config: AugmentConfig, rng: np.random.Generator) -> Tensor:
    contrast, brightness = rng.uniform(1 - config.brightness, 1 + config.brightness, 2)
    tint = torch.from_numpy(rng.uniform(0.9, 1.1, 3).astype(np.float32)).view(3, 1, 1)
    mean = images.float().mean()
    varied = ((images.float() - mean) * contrast + mean) * brightness * tint
    return varied.clamp(0, 255).to(torch.uint8)
