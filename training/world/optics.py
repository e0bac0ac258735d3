"""From light to a picture: exposure, drops on the lens, vignetting, noise, tone."""

from __future__ import annotations

import cv2
import numpy as np

from training.world.weather import Weather

JPEG_QUALITY = 90


def develop(radiance: np.ndarray, exposure: float, weather: Weather, rng: np.random.Generator) -> np.ndarray:
    """Linear light float32 [H, W, 3] to an RGB image uint8 [H, W, 3]."""
    light = radiance * np.float32(exposure)
    light = light * _vignette(light.shape[:2])[..., None]
    image = np.power(1.0 - np.exp(-1.15 * light), np.float32(1 / 2.2))
    if weather.drops:
        image = _through_drops(image, weather.drops, rng)
        grey = image.mean(axis=2, keepdims=True)
        image = image * 0.72 + grey * 0.28
    level = 255.0 * image
    grain = rng.standard_normal(level.shape, np.float32)
    # Shot noise grows with the root of the signal; a floor stays in the dark.
    level += grain * weather.shot_noise * (0.35 + 0.65 * np.sqrt(2.0 * image))
    return np.clip(level, 0, 255).astype(np.uint8)


def encode_jpeg(image: np.ndarray) -> bytes:
    """RGB uint8 [H, W, 3] to JPEG bytes."""
    return cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()


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
        y0, y1 = int(max(centre[1] - radius * stretch, 0)), int(min(centre[1] + radius * stretch + 1, height))
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
