"""What other cameras, lenses and formats do to an image; each function takes and returns RGB, uint8
``[H, W, 3]``.
"""

from __future__ import annotations

import cv2
import numpy as np
import simplejpeg

Rng = np.random.Generator

_LUMA = np.array([0.299, 0.587, 0.114])
"""ITU-R BT.601."""


def tone(image: np.ndarray, rng: Rng) -> np.ndarray:
    """Another gamma (0.5 to 2), contrast and brightness."""
    values = np.linspace(0, 1, 256) ** 2 ** rng.uniform(-1, 1)
    values = (values - 0.5) * rng.uniform(0.6, 1.4) + 0.5
    return _look_up(image, np.tile(values * rng.uniform(0.6, 1.3), (3, 1)))


def white_balance(image: np.ndarray, rng: Rng) -> np.ndarray:
    """Another gain of every colour, 0.8 to 1.25."""
    gains = 0.8 ** rng.uniform(-1, 1, 3)
    return _look_up(image, np.linspace(0, 1, 256) * gains[:, None])


def saturation(image: np.ndarray, rng: Rng) -> np.ndarray:
    """Colours from faint (0.3) to strong (1.6)."""
    return _saturated(image, rng.uniform(0.3, 1.6))


def grey(image: np.ndarray, _: Rng) -> np.ndarray:
    """No colour."""
    return _saturated(image, 0.0)


def blur(image: np.ndarray, rng: Rng) -> np.ndarray:
    """Out of focus: a Gaussian of 0.4 to 1.5 pixels."""
    return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.5))


def motion_blur(image: np.ndarray, rng: Rng) -> np.ndarray:
    """Moved during the exposure by 3 to 9 pixels, mostly sideways as in turns."""
    length, angle = rng.uniform(3, 9), rng.normal(0, 0.4)
    size = 2 * int(np.ceil(length / 2)) + 1
    reach = 0.5 * length * np.array([np.cos(angle), np.sin(angle)])
    ends = [tuple(np.round(size // 2 + sign * reach).astype(int).tolist()) for sign in (-1, 1)]
    kernel = cv2.line(np.zeros((size, size), dtype=np.float32), ends[0], ends[1], 1.0)
    return cv2.filter2D(image, -1, kernel / kernel.sum())


def sensor_noise(image: np.ndarray, rng: Rng) -> np.ndarray:
    """Read-out noise of up to 8 levels, and shot noise that grows with the root of the light."""
    read_out, shot = rng.uniform(0, 8), rng.uniform(0, 0.6)
    deviations = np.sqrt(read_out**2 + shot**2 * np.arange(256)).astype(np.float32)
    noise = rng.standard_normal(image.shape, dtype=np.float32) * cv2.LUT(image, deviations)
    return cv2.add(image, noise, dtype=cv2.CV_8U)


def jpeg(image: np.ndarray, rng: Rng) -> np.ndarray:
    """Compressed with a quality of 15 to 90."""
    data = simplejpeg.encode_jpeg(
        np.ascontiguousarray(image), quality=int(rng.integers(15, 91)), colorsubsampling="420"
    )
    decoded: np.ndarray = simplejpeg.decode_jpeg(data, "RGB")
    return decoded


def erase(image: np.ndarray, rng: Rng) -> np.ndarray:
    """One to three rectangles of one colour hide up to a third of the height and width each
    (Zhong et al. 2020).
    """
    erased = image.copy()
    height, width = image.shape[:2]
    for _ in range(rng.integers(1, 4)):
        rows, columns = (max(int(rng.uniform(0.05, 0.33) * size), 1) for size in (height, width))
        top, left = rng.integers(height - rows + 1), rng.integers(width - columns + 1)
        erased[top : top + rows, left : left + columns] = rng.integers(0, 256, 3)
    return erased


def lens_drops(image: np.ndarray, rng: Rng) -> np.ndarray:
    """One to eight drops on the lens, through which everything is a blur."""
    height, width = image.shape[:2]
    small = (max(width // 8, 1), max(height // 8, 1))
    veil = np.zeros((small[1], small[0]), dtype=np.float32)
    for _ in range(rng.integers(1, 9)):
        centre = (int(rng.integers(small[0])), int(rng.integers(small[1])))
        radius = max(round(rng.uniform(0.02, 0.1) * small[0]), 1)
        cv2.circle(veil, centre, radius, rng.uniform(0.5, 1.0), cv2.FILLED)
    veil = cv2.resize(veil, (width, height), interpolation=cv2.INTER_LINEAR)
    blurred = cv2.resize(cv2.resize(image, small, interpolation=cv2.INTER_AREA), (width, height))
    return cv2.blendLinear(image, blurred, 1 - veil, veil)


def _look_up(image: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Replaces levels by ``values`` ``[3, 256]``, in 0..1."""
    table = np.clip(np.round(values * 255), 0, 255).astype(np.uint8)
    return cv2.LUT(image, np.ascontiguousarray(table.T)[None])


def _saturated(image: np.ndarray, factor: float) -> np.ndarray:
    return cv2.transform(image, factor * np.eye(3) + (1 - factor) * _LUMA)
