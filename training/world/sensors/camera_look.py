"""What the lens and the electronics of one camera do to the light."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class CameraLook:
    """The defaults are a well-set camera, the same in every drive."""

    jpeg_quality: int = 90
    vignetting: float = 0.16
    """Light lost at the middle of an edge; twice that in the corners."""
    metered_grey: float = 0.0
    """Display value 0..1 to which exposure brings the middle of a picture; 0 leaves the exposure to
    the weather.
    """
    max_gain: float = 1.0
    """Limit of what exposure adds to that of the weather."""
    white_balance: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Factors on red, green and blue light."""
    saturation: float = 1.0
    """Factor on the distance of a colour from grey."""
    contrast: float = 1.0
    """Exponent on light: above 1 dark becomes darker and bright brighter."""
    blur_px: float = 0.0
    """Standard deviation of the blur of the lens, in pixels of an image 1600 wide."""
    sharpening: float = 0.0
    """Share of what a blur of one pixel removes that is added again."""
    noise: float = 1.0
    """Factor on the noise of the sensor."""
    shutter_s: float = 0.0
    """Exposure time by day; four times that in the dark."""


def draw_look(rng: np.random.Generator) -> CameraLook:
    """A camera among many: well or badly set, sharp or soft, of any white balance."""
    warm, green = rng.normal(0.0, 0.06), rng.normal(0.0, 0.025)
    return CameraLook(
        jpeg_quality=int(rng.integers(65, 96)),
        vignetting=float(rng.uniform(0.03, 0.3)),
        metered_grey=float(np.clip(rng.normal(0.43, 0.07), 0.25, 0.62)),
        max_gain=float(rng.uniform(1.5, 6.0)),
        white_balance=(
            float(np.exp(warm)),
            float(np.exp(green)),
            float(np.exp(-warm + rng.normal(0.0, 0.03))),
        ),
        saturation=float(np.clip(rng.normal(0.95, 0.25), 0.4, 1.6)),
        contrast=float(np.clip(rng.normal(1.45, 0.3), 0.85, 2.2)),
        blur_px=float(rng.exponential(0.7)),
        sharpening=float(rng.uniform(0.0, 0.7)),
        noise=float(np.exp(rng.normal(0.0, 0.5))),
        shutter_s=float(rng.uniform(0.001, 0.008)),
    )
