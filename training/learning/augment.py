"""Variations of a frame that a drive could as well have had; those of the LiDAR carry a model to
another sensor.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from occ_core.types import Frame


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """How often and how far; probabilities per frame unless said otherwise."""

    flip: float = 0.5
    """Mirror left and right; independently, front and back."""
    single_sweep: float = 0.1
    """Only the newest sweep is left."""
    fewer_sweeps: float = 0.15
    """A random number of the oldest sweeps is dropped."""
    drop_points: float = 0.2
    """At most this share of the points is dropped, uniformly drawn."""
    drop_intensity: float = 0.05
    """All intensities are set to 0: what remains is shape."""
    scale_intensity: float = 1.4
    """Intensities are multiplied by up to this factor or divided by it: sensors differ."""
    range_noise_m: float = 0.03
    """Standard deviation of noise on every coordinate."""
    drop_camera: float = 0.08
    """Per camera: it is masked."""
    drop_all_cameras: float = 0.03
    drop_lidar: float = 0.02
    """No points at all."""
    brightness: float = 0.2
    """Images times a factor up to 1 plus or minus this, and the same for contrast."""


def augment(
    frame: Frame,
    labels: Tensor,
    config: AugmentConfig,
    rng: np.random.Generator,
    mirrors: np.random.Generator,
) -> tuple[Frame, Tensor]:
    """A varied frame of batch 1 and its labels ``[X, Y, Z]``; the grid must be symmetric about 0 in
    x and y.

    ``mirrors`` draws the flips, ``rng`` the rest; they may be one.
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
    """The mirrored frame: grid coordinates change sign along ``axis`` (0: x, 1: y), images stay
    (their cameras are mirrored).
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
        points = points[points[:, 4] < 1e-3]
    elif draw < config.single_sweep + config.fewer_sweeps:
        points = points[points[:, 4] < rng.uniform(0.03, 0.5)]
    kept = torch.from_numpy(rng.random(len(points)) >= rng.uniform(0, config.drop_points))
    points = points[kept].clone()
    points[:, :3] += torch.from_numpy(
        rng.normal(0, config.range_noise_m, (len(points), 3)).astype(np.float32)
    )
    factor = (
        config.scale_intensity ** rng.uniform(-1, 1)
        if rng.random() >= config.drop_intensity
        else 0.0
    )
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
    return (
        (((images.float() - mean) * contrast + mean) * brightness * tint)
        .clamp(0, 255)
        .to(torch.uint8)
    )
