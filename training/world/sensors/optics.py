"""From linear light to an image: exposure, drops on the lens, vignetting, noise, tone curve."""

from __future__ import annotations

import cv2
import numpy as np

from training.world.sensors.camera_look import CameraLook
from training.world.sensors.exposure import TONE_GAMMA, TONE_RATE, saturate, set_colours, sharpen
from training.world.sensors.lens import wet
from training.world.weather import Weather

_BAND_ROWS = 16
_TONE_STEPS, _TONE_MAX = 4096, 3.0
_TONE = (
    (1.0 - np.exp(-TONE_RATE * (np.arange(_TONE_STEPS) / _TONE_STEPS * _TONE_MAX) ** 2))
    ** TONE_GAMMA
).astype(np.float32)
"""Display value over the square root of light, which spaces the steps evenly to the eye."""


def develop(
    radiance: np.ndarray,
    exposure: float,
    weather: Weather,
    rng: np.random.Generator,
    look: CameraLook,
) -> np.ndarray:
    """An RGB image uint8 [H, W, 3] from linear light float32 [H, W, 3]."""
    height, width = radiance.shape[:2]
    radiance = set_colours(radiance, exposure, look)
    # Bands of rows fit into the cache of the processor.
    bands = [slice(start, start + _BAND_ROWS) for start in range(0, height, _BAND_ROWS)]
    gain = _vignette((height, width), look.vignetting) * np.float32(exposure)
    image = np.empty((height, width, 3), np.float32)
    for band in bands:
        root = np.sqrt(radiance[band] * gain[band, :, None]) * np.float32(_TONE_STEPS / _TONE_MAX)
        image[band] = _TONE[np.minimum(root, _TONE_STEPS - 1).astype(np.int32)]
    image = sharpen(saturate(image, look), look)
    if weather.lens_drops:
        if weather.lens_film:
            image = wet(image, weather.lens_drops, rng)
        image = _add_lens_drops(image, weather.lens_drops, rng)
        grey = image.mean(axis=2, keepdims=True)
        image = image * 0.72 + grey * 0.28
    # Shot noise grows with the root of the signal above a noise floor. Every band reads the same
    # noise from a different start, which is much cheaper than fresh noise for every pixel.
    band_size = _BAND_ROWS * width * 3
    noise = rng.standard_normal(2 * band_size, np.float32) * np.float32(
        weather.shot_noise * look.noise
    )
    starts = rng.integers(0, band_size, len(bands))
    developed = np.empty((height, width, 3), np.uint8)
    for start, band in zip(starts, bands, strict=True):
        signal = image[band]
        band_noise = noise[start : start + signal.size].reshape(signal.shape)
        level = 255.0 * signal + band_noise * (0.35 + 0.65 * np.sqrt(2.0 * signal))
        developed[band] = np.clip(level, 0, 255)
    return developed


def encode_jpeg(image: np.ndarray, quality: int = 90) -> bytes:
    """JPEG file of an RGB image uint8 [H, W, 3]."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    _, encoded = cv2.imencode(".jpg", image[..., ::-1], options)
    return encoded.tobytes()


def _vignette(size: tuple[int, int], lost: float) -> np.ndarray:
    y, x = (np.linspace(-1.0, 1.0, count, dtype=np.float32) for count in size)
    return 1.0 - lost * (x[None] ** 2 + y[:, None] ** 2)


def _add_lens_drops(image: np.ndarray, mean_count: int, rng: np.random.Generator) -> np.ndarray:
    """Each drop is a small lens: it shows a wide, upside-down, blurred part of the image."""
    height, width = image.shape[:2]
    image = image.copy()
    for _ in range(rng.poisson(mean_count)):
        radius = width * rng.uniform(0.006, 0.028)
        centre = rng.uniform(0, 1, 2) * (width, height)
        tall = radius * rng.uniform(0.9, 1.5)
        x0, x1 = int(max(centre[0] - radius, 0)), int(min(centre[0] + radius + 1, width))
        y0, y1 = int(max(centre[1] - tall, 0)), int(min(centre[1] + tall + 1, height))
        if x1 <= x0 or y1 <= y0:
            continue
        y, x = np.mgrid[y0:y1, x0:x1].astype(np.float32)
        dx, dy = (x - centre[0]) / radius, (y - centre[1]) / tall
        inside = np.clip((1.0 - np.hypot(dx, dy)) * 3.0, 0.0, 1.0)[..., None]
        source_x = np.clip(centre[0] - dx * radius * 4.0, 0, width - 1).astype(np.float32)
        source_y = np.clip(centre[1] - dy * radius * 4.0, 0, height - 1).astype(np.float32)
        refracted = cv2.remap(image, source_x, source_y, cv2.INTER_LINEAR)
        refracted = cv2.blur(refracted, (3, 3)) * (0.9 + 0.15 * dy[..., None])
        image[y0:y1, x0:x1] += inside * 0.85 * (refracted - image[y0:y1, x0:x1])
    return image
