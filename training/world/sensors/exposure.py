"""How a camera sets its exposure and colours."""

from __future__ import annotations

import cv2
import numpy as np

from training.world.sensors.camera_look import CameraLook

TONE_RATE, TONE_GAMMA = 1.15, 1 / 2.2
"""The display value of light x is (1 - exp(-rate x)) ^ gamma."""
_MIDDLE_LIGHT = 0.25
"""Light that contrast leaves as it is, relative to what makes a picture white."""
_DARK_GREY = 0.5
"""In the dark, cameras aim at this fraction of their grey, against noise."""


def metered_exposure(
    radiance: np.ndarray, exposure: float, look: CameraLook, *, is_dark: bool
) -> float:
    """The factor on light float32 [H, W, 3] that brings the picture to the camera's grey.

    Args:
        radiance: of the picture.
        exposure: that suits the weather; it stays where the camera does not meter.
        look: of the camera.
        is_dark: whether it is night.
    """
    if not look.metered_grey:
        return exposure
    middle = radiance[radiance.shape[0] // 5 :]
    # The mean of the root: lamps and the sun count less than in a plain mean.
    light = float(np.sqrt(middle.mean(axis=2)).mean()) ** 2
    grey = look.metered_grey * (_DARK_GREY if is_dark else 1.0)
    wanted = -np.log(1.0 - grey ** (1 / TONE_GAMMA)) / TONE_RATE
    return float(
        np.clip(wanted / max(light, 1e-6), exposure / look.max_gain, exposure * look.max_gain)
    )


def set_colours(radiance: np.ndarray, exposure: float, look: CameraLook) -> np.ndarray:
    """White balance, and contrast about middle grey; light float32 [H, W, 3]."""
    if look.white_balance != (1.0, 1.0, 1.0):
        radiance = radiance * np.array(look.white_balance, np.float32)
    if look.contrast != 1.0:
        # On brightness alone: each colour by itself would become gaudier.
        light = radiance.mean(axis=2, keepdims=True) * np.float32(exposure / _MIDDLE_LIGHT)
        radiance = radiance * np.maximum(light, 1e-6) ** np.float32(look.contrast - 1.0)
    return radiance


def sharpen(image: np.ndarray, look: CameraLook) -> np.ndarray:
    """Display values float32 [H, W, 3] in 0..1 with steeper edges."""
    if not look.sharpening:
        return image
    soft = cv2.GaussianBlur(image, (0, 0), 1.0)
    return np.clip(image + np.float32(look.sharpening) * (image - soft), 0.0, 1.0)


def saturate(image: np.ndarray, look: CameraLook) -> np.ndarray:
    """Display values float32 [H, W, 3] in 0..1, moved from or towards grey."""
    if look.saturation == 1.0:
        return image
    grey = image.mean(axis=2, keepdims=True)
    return np.clip(grey + np.float32(look.saturation) * (image - grey), 0.0, 1.0)
