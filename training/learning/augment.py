"""Random variations of training frames; varied LiDAR also prepares a model for other sensors."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from occ_core.geometry.points import NEWEST_S
from occ_core.types import Frame


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """How often and how much a frame is varied; probabilities are per frame unless noted."""

    flip: float = 0.5
    """Left and right are swapped, and independently front and back."""
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


def augment(
    frame: Frame,
    labels: Tensor,
    config: AugmentConfig,
    rng: np.random.Generator,
    mirrors: np.random.Generator,
) -> tuple[Frame, Tensor]:
    """Varies a frame of batch 1 and its labels; the grid must be symmetric about 0 in x and y.

    Args:
        labels: class ids uint8 ``[X, Y, Z]``.
        rng: source of all random numbers but the flips.
        mirrors: source of the flips; may be the same generator.
    """
    for axis in (0, 1):
        if mirrors.random() < config.flip:
            frame, labels = flip(frame, axis), labels.flip(axis)
    return replace(
        frame,
        images=_photometric(frame.images, config, rng),
        camera_mask=_camera_mask(frame.camera_mask, config, rng),
        points=(_points(frame.points[0], config, rng),),
    ), labels


def flip(frame: Frame, axis: int) -> Frame:
    """Mirrors the grid along ``axis`` (0: x, 1: y). Images stay as they are; their cameras are
    mirrored.
    """
    mirror = torch.eye(4)
    mirror[axis, axis] = -1
    points = tuple(
        cloud * torch.cat([mirror.diagonal()[:3], torch.ones(2)]) for cloud in frame.points
    )
    return replace(
        frame,
        grid_from_camera=mirror @ frame.grid_from_camera,
        points=points,
        world_from_grid=frame.world_from_grid @ mirror.double(),
    )


def _points(points: Tensor, config: AugmentConfig, rng: np.random.Generator) -> Tensor:
    if rng.random() < config.drop_lidar:
        return points[:0]
    draw = rng.random()
    if draw < config.single_sweep:
        points = points[points[:, 4] < NEWEST_S]
    elif draw < config.single_sweep + config.fewer_sweeps:
        points = points[points[:, 4] < rng.uniform(0.03, 0.5)]
    kept = torch.from_numpy(rng.random(len(points)) >= rng.uniform(0, config.drop_points))
    points = points[kept].clone()
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
