"""Images of other rigs: fewer cameras, other lenses, exposures and formats."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from jaxtyping import Bool, UInt8
from torch import Tensor

from occ_core.types import Frame
from training.learning import image_effects
from training.learning.probabilities import check_probabilities

ZOOM = (0.8, 1.4)
"""Factors on the focal length."""

Effect = Callable[[np.ndarray, np.random.Generator], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class ImageAugmentConfig:
    """How often a frame's images are those of another rig; every field is a probability per image
    unless noted.
    """

    fewer_cameras: float = 0.2
    """A random number of cameras is masked, at least one stays; per frame."""
    flip: float = 0.5
    """The image is mirrored, and its camera with it."""
    zoom: float = 0.5
    """The image is scaled by 0.8 to 1.4 and shifted, and the intrinsics follow."""
    lens_drops: float = 0.05
    motion_blur: float = 0.1
    blur: float = 0.15
    sensor_noise: float = 0.25
    tone: float = 0.5
    """Another gamma, contrast and brightness."""
    white_balance: float = 0.3
    saturation: float = 0.3
    grey: float = 0.05
    jpeg: float = 0.2
    erase: float = 0.1
    """One to three rectangles hide parts of the image."""

    def __post_init__(self) -> None:
        check_probabilities(self)


def vary_images(frame: Frame, config: ImageAugmentConfig, rng: np.random.Generator) -> Frame:
    """The frame of batch 1 with images as another rig might have taken them; those of masked
    cameras stay as they are.
    """
    mask = frame.camera_mask
    if rng.random() < config.fewer_cameras:
        mask = _fewer(mask, rng)
    # [camera, H, W, 3] as images lie in memory
    images = frame.images[0].permute(0, 2, 3, 1).numpy().copy()
    intrinsics = frame.intrinsics[0].numpy().astype(np.float64)
    poses = frame.grid_from_camera[0].numpy().copy()
    effects = _effects(config)
    for camera in mask[0].nonzero()[:, 0].tolist():
        image, matrix = images[camera], intrinsics[camera]
        if rng.random() < config.flip:
            image, matrix, poses[camera] = _flipped(image, matrix, poses[camera])
        if rng.random() < config.zoom:
            image, matrix = _zoomed(image, matrix, rng)
        for probability, effect in effects:
            if rng.random() < probability:
                image = effect(image, rng)
        images[camera], intrinsics[camera] = image, matrix
    return replace(
        frame,
        images=_as_frame_images(images),
        camera_mask=mask,
        intrinsics=torch.from_numpy(intrinsics.astype(np.float32))[None],
        grid_from_camera=torch.from_numpy(poses)[None],
    )


def _effects(config: ImageAugmentConfig) -> tuple[tuple[float, Effect], ...]:
    """Probabilities and effects, in the order of the light's way."""
    return (
        (config.lens_drops, image_effects.lens_drops),
        (config.motion_blur, image_effects.motion_blur),
        (config.blur, image_effects.blur),
        (config.sensor_noise, image_effects.sensor_noise),
        (config.tone, image_effects.tone),
        (config.white_balance, image_effects.white_balance),
        (config.saturation, image_effects.saturation),
        (config.grey, image_effects.grey),
        (config.jpeg, image_effects.jpeg),
        (config.erase, image_effects.erase),
    )


def _as_frame_images(images: np.ndarray) -> UInt8[Tensor, "1 camera 3 h w"]:
    return torch.from_numpy(images).permute(0, 3, 1, 2)[None]


def _fewer(mask: Bool[Tensor, "1 camera"], rng: np.random.Generator) -> Bool[Tensor, "1 camera"]:
    """Keeps a random number of the cameras that there are, each number with the same
    probability.
    """
    cameras = mask[0].nonzero()[:, 0].numpy()
    if not len(cameras):
        return mask
    kept = rng.permutation(cameras)[: rng.integers(1, len(cameras), endpoint=True)]
    fewer = torch.zeros_like(mask)
    fewer[0, torch.from_numpy(kept)] = True
    return fewer


def _flipped(
    image: np.ndarray, intrinsics: np.ndarray, grid_from_camera: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The mirrored image of a mirrored camera: column u becomes W - 1 - u as x becomes -x."""
    mirror_u = np.array([[-1.0, 0.0, image.shape[1] - 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    mirror_x = np.diag([-1.0, 1.0, 1.0])
    pose = grid_from_camera.copy()
    pose[:3, :3] = pose[:3, :3] @ mirror_x
    return cv2.flip(image, 1), mirror_u @ intrinsics @ mirror_x, pose


def _zoomed(
    image: np.ndarray, intrinsics: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A random window of the image at the image's size, or the whole within a black margin."""
    scale = rng.uniform(*ZOOM)
    height, width = image.shape[:2]
    # Edge of the window, in pixels from the image's edge; negative where there is a margin.
    left, top = rng.random(2) * (1 - 1 / scale) * (width, height)
    # The image's edge lies at -0.5: u' + 0.5 = scale * (u + 0.5 - left).
    zoom = np.array(
        [
            [scale, 0.0, scale * (0.5 - left) - 0.5],
            [0.0, scale, scale * (0.5 - top) - 0.5],
            [0.0, 0.0, 1.0],
        ]
    )
    return cv2.warpAffine(image, zoom[:2], (width, height)), zoom @ intrinsics
