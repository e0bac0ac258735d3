"""Light on its way through a lens: halos of bright lights, blur, motion, and water on the glass."""

from __future__ import annotations

import cv2
import numpy as np

from training.world.sensors.camera_look import CameraLook

_BRIGHT, _BRIGHTEST = 2.0, 40.0
"""Light that a lens scatters, relative to what makes a picture white, and its limit."""
_HALOS = ((0.006, 0.10), (0.035, 0.05))
"""Standard deviation of a halo relative to the width of the picture, and its share of the light."""
_NEAR_M = 10.0
"""Distance at which the ego motion blurs fully."""


def scatter_lights(radiance: np.ndarray, exposure: float) -> np.ndarray:
    """Adds halos around lights that are too bright for the picture, float32 [H, W, 3]."""
    excess = np.clip(radiance * np.float32(exposure) - _BRIGHT, 0.0, _BRIGHTEST)
    if not excess.any():
        return radiance
    height, width = radiance.shape[:2]
    # Halos are smooth, so a quarter of the size is enough.
    small = cv2.resize(excess, (width // 4, height // 4), interpolation=cv2.INTER_AREA)
    halo = sum(
        np.float32(share) * cv2.GaussianBlur(small, (0, 0), max(sigma * width / 4, 0.5))
        for sigma, share in _HALOS
    )
    grown = cv2.resize(halo, (width, height), interpolation=cv2.INTER_LINEAR)
    # A narrow halo keeps as much light as a wide one, so it is brighter.
    return radiance + grown * np.float32(4.0 / exposure)


def blur(
    radiance: np.ndarray, depth_m: np.ndarray, look: CameraLook, travel: float, focal_px: float
) -> np.ndarray:
    """Blurs as the lens and the motion during the exposure do, float32 [H, W, 3].

    Args:
        radiance: [H, W, 3].
        depth_m: [H, W].
        look: of the camera.
        travel: metres that the camera moves to its right while the shutter is open.
        focal_px: of the picture.
    """
    sigma = look.blur_px * radiance.shape[1] / 1600.0
    if sigma > 0.2:
        radiance = cv2.GaussianBlur(radiance, (0, 0), sigma)
    length = round(abs(travel) * focal_px / _NEAR_M)
    if length >= 2:
        smeared = cv2.blur(radiance, (min(length, 25), 1))
        share = np.clip(_NEAR_M / np.maximum(depth_m, 1.0), 0.0, 1.0)[..., None]
        radiance = radiance + share.astype(np.float32) * (smeared - radiance)
    return radiance


def wet(image: np.ndarray, drops: int, rng: np.random.Generator) -> np.ndarray:
    """A film of water that blurs parts of the picture, and streaks that run down; [H, W, 3]."""
    height, width = image.shape[:2]
    soft = cv2.GaussianBlur(image, (0, 0), 0.008 * width)
    patches = rng.random((5, 8), np.float32) ** 2 * min(drops / 16.0, 1.3)
    film = cv2.resize(patches, (width, height), interpolation=cv2.INTER_CUBIC)
    column = np.arange(width, dtype=np.float32)
    row = np.arange(height, dtype=np.float32)[:, None]
    for _ in range(rng.poisson(drops / 5.0)):
        middle, slant = rng.uniform(0, width), rng.normal(0.0, 0.12)
        top, length = rng.uniform(-0.3, 0.7) * height, rng.uniform(0.2, 0.9) * height
        half = width * rng.uniform(0.003, 0.012)
        off = (column - middle - slant * (row - top)) / half
        along = (row - top) / length
        film = film + np.exp(-(off**2)) * ((along > 0) & (along < 1))
    return image + np.clip(film, 0.0, 1.0)[..., None] * (soft - image)
