"""From light to a picture: exposure, drops on the lens, vignetting, noise, tone."""

from __future__ import annotations

import cv2
import numpy as np

from training.world.weather import Weather

JPEG_QUALITY = 90
_BAND = 16
"""Rows."""
_TONE_STEPS, _TONE_REACH = 4096, 3.0
_TONE = (
    (1.0 - np.exp(-1.15 * (np.arange(_TONE_STEPS) / _TONE_STEPS * _TONE_REACH) ** 2)) ** (1 / 2.2)
).astype(np.float32)
"""Display value over the root of light, which spreads the steps as the eye sees them."""


def develop(
    radiance: np.ndarray, exposure: float, weather: Weather, rng: np.random.Generator
) -> np.ndarray:
    """Linear light float32 [H, W, 3] to an RGB image uint8 [H, W, 3]."""
    # In bands that fit the processor's cache.
    height, width = radiance.shape[:2]
    bands = [slice(start, start + _BAND) for start in range(0, height, _BAND)]
    vignette = _vignette((height, width)) * np.float32(exposure)
    image = np.empty((height, width, 3), np.float32)
    for band in bands:
        root = np.sqrt(radiance[band] * vignette[band, :, None]) * np.float32(
            _TONE_STEPS / _TONE_REACH
        )
        image[band] = _TONE[np.minimum(root, _TONE_STEPS - 1).astype(np.int32)]
    if weather.drops:
        image = _through_drops(image, weather.drops, rng)
        grey = image.mean(axis=2, keepdims=True)
        image = image * 0.72 + grey * 0.28
    # Shot noise grows with the root of the signal; a floor stays in the dark. Each band has its own
    # stretch of noise.
    stretch = _BAND * width * 3
    grains = rng.standard_normal(2 * stretch, np.float32) * np.float32(weather.shot_noise)
    starts = rng.integers(0, stretch, len(bands))
    developed = np.empty((height, width, 3), np.uint8)
    for start, band in zip(starts, bands, strict=True):
        piece = image[band]
        grain = grains[start : start + piece.size].reshape(piece.shape)
        level = 255.0 * piece + grain * (0.35 + 0.65 * np.sqrt(2.0 * piece))
        developed[band] = np.clip(level, 0, 255)
    return developed


def encode_jpeg(image: np.ndarray) -> bytes:
    """RGB uint8 [H, W, 3] to JPEG bytes."""
    return cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[
        1
    ].tobytes()


def _vignette(size: tuple[int, int]) -> np.ndarray:
    y, x = (np.linspace(-1.0, 1.0, count, dtype=np.float32) for count in size)
    return 1.0 - 0.16 * (x[None] ** 2 + y[:, None] ** 2)


def _through_drops(image: np.ndarray, mean_count: int, rng: np.random.Generator) -> np.ndarray:
    """Each drop is a small lens: it shows a wide, upside-down, blurred piece of the scene."""
    height, width = image.shape[:2]
    image = image.copy()
    for _ in range(rng.poisson(mean_count)):
        radius = width * rng.uniform(0.006, 0.028)
        centre = rng.uniform(0, 1, 2) * (width, height)
        stretch = rng.uniform(0.9, 1.5)
        x0, x1 = int(max(centre[0] - radius, 0)), int(min(centre[0] + radius + 1, width))
        y0, y1 = (
            int(max(centre[1] - radius * stretch, 0)),
            int(min(centre[1] + radius * stretch + 1, height)),
        )
        if x1 <= x0 or y1 <= y0:
            continue
        y, x = np.mgrid[y0:y1, x0:x1].astype(np.float32)
        dx, dy = (x - centre[0]) / radius, (y - centre[1]) / (radius * stretch)
        inside = np.clip((1.0 - np.hypot(dx, dy)) * 3.0, 0.0, 1.0)[..., None]
        source_x = np.clip(centre[0] - dx * radius * 4.0, 0, width - 1).astype(np.float32)
        source_y = np.clip(centre[1] - dy * radius * 4.0, 0, height - 1).astype(np.float32)
        bent = cv2.remap(image, source_x, source_y, cv2.INTER_LINEAR)
        bent = cv2.blur(bent, (3, 3)) * (0.9 + 0.15 * dy[..., None])
        image[y0:y1, x0:x1] += inside * 0.85 * (bent - image[y0:y1, x0:x1])
    return image
