"""What a picture looks like, as simple numbers."""

from __future__ import annotations

import cv2
import numpy as np

from training.realism_parts.lidar_statistics import Samples

IMAGE_QUANTITIES = {
    "brightness": "brightness (L of Lab, 0 to 100)",
    "dark": "pixels darker than L 10",
    "blown": "pixels brighter than L 95",
    "contrast": "contrast (standard deviation of L)",
    "chroma": "chroma (distance from grey in Lab)",
    "chroma_spread": "its standard deviation",
    "red_green": "a of Lab (red over green)",
    "yellow_blue": "b of Lab (yellow over blue)",
    "gradient": "gradient (mean change of L a pixel)",
    "fine_detail": "finest detail (what a blur of one pixel removes of L)",
}
"""Titles of the quantities of a picture of ``WIDTH`` pixels."""
WIDTH = 352
"""Pictures are compared at this width."""


def image_samples(rgb: np.ndarray) -> Samples:
    """One number for each quantity of a picture, uint8 [H, W, 3]."""
    height = round(rgb.shape[0] * WIDTH / rgb.shape[1])
    if rgb.shape[1] != WIDTH:
        rgb = cv2.resize(rgb, (WIDTH, height), interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(rgb.astype(np.float32) / 255.0, cv2.COLOR_RGB2LAB)
    light, chroma = lab[..., 0], np.hypot(lab[..., 1], lab[..., 2])
    across, down = np.diff(light, axis=1)[:-1], np.diff(light, axis=0)[:, :-1]
    fine = light - cv2.GaussianBlur(light, (0, 0), 1.0)
    values = {
        "brightness": light.mean(),
        "dark": (light < 10.0).mean(),
        "blown": (light > 95.0).mean(),
        "contrast": light.std(),
        "chroma": chroma.mean(),
        "chroma_spread": chroma.std(),
        "red_green": lab[..., 1].mean(),
        "yellow_blue": lab[..., 2].mean(),
        "gradient": np.hypot(across, down).mean(),
        "fine_detail": fine.std(),
    }
    return {name: np.array([float(value)]) for name, value in values.items()}
