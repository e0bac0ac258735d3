"""Lamps that shine into a camera: blown out, with a halo."""

from __future__ import annotations

import numpy as np

from training.world.sensors.lights import LampSet
from training.world.sensors.raycast import PosedActors, RayCaster

_MARGIN = 0.1
"""Lamps beyond the edge of the picture still scatter into it, up to this fraction of its width."""
_NEAREST_M = 2.0
_DISC_M, _DISC_LIGHT = 0.12, 30.0
"""Radius of a lamp, and its light relative to that on a surface 1 m away."""
_HALOS = ((0.010, 0.010), (0.045, 0.0012))
"""Standard deviation relative to the width of the picture, and light relative to that at the lens.
"""
_OFF_AXIS = 0.12
"""Lamps look bright from far off their axis: factor on the exponent of their beam."""


def add_lamp_glare(
    radiance: np.ndarray,
    lamps: LampSet,
    scene: tuple[RayCaster, PosedActors],
    world_from_camera: np.ndarray,
    intrinsics: np.ndarray,
    strength: float,
) -> None:
    """Adds to the light float32 [H, W, 3] that lamps send straight into the camera, in place.

    Args:
        radiance: the picture.
        lamps: near the car.
        scene: what may stand before them.
        world_from_camera: [4, 4].
        intrinsics: [3, 3].
        strength: factor on the halos.
    """
    if not strength or not len(lamps.positions):
        return
    height, width = radiance.shape[:2]
    away = lamps.positions - world_from_camera[:3, 3]
    local = away @ world_from_camera[:3, :3]
    distance = np.linalg.norm(away, axis=1)
    cosine = -np.einsum("ni,ni->n", lamps.axes, away) / np.maximum(distance, 1e-3)
    pixel = local @ intrinsics.T
    depth = np.maximum(pixel[:, 2:], 1e-3)
    pixel = pixel[:, :2] / depth
    margin = _MARGIN * width
    shown = (local[:, 2] > _NEAREST_M) & (cosine > 0.0)
    shown &= ((pixel > -margin) & (pixel < np.array([width, height]) + margin)).all(1)
    shown = np.flatnonzero(shown)
    if not len(shown):
        return
    caster, actors = scene
    way = (away[shown] / distance[shown, None]).astype(np.float32)
    eye = world_from_camera[:3, 3].astype(np.float32)
    clear = ~caster.is_blocked(eye, way, distance[shown] - 0.4, actors)
    for index in shown[clear]:
        beam = cosine[index] ** (lamps.sharpness[index] * _OFF_AXIS)
        light = lamps.powers[index] * np.float32(beam / distance[index] ** 2)
        disc_px = max(_DISC_M * intrinsics[0, 0] / distance[index], 0.6)
        disc = lamps.powers[index] * np.float32(beam * _DISC_LIGHT / 100.0)
        _paint(radiance, pixel[index], disc_px, disc)
        for sigma, share in _HALOS:
            spread = sigma * width
            # The same light on fewer pixels is brighter: relative to a picture 352 wide.
            _paint(radiance, pixel[index], spread, light * np.float32(strength * share / sigma))


def _paint(radiance: np.ndarray, centre: np.ndarray, sigma_px: float, light: np.ndarray) -> None:
    """Adds a Gaussian spot with the peak ``light`` [3]."""
    height, width = radiance.shape[:2]
    reach = int(3.5 * sigma_px) + 1
    x0, x1 = (int(np.clip(centre[0] + side * reach, 0, width)) for side in (-1, 1))
    y0, y1 = (int(np.clip(centre[1] + side * reach, 0, height)) for side in (-1, 1))
    if x0 >= x1 or y0 >= y1:
        return
    x = np.exp(-0.5 * ((np.arange(x0, x1) - centre[0]) / sigma_px) ** 2)
    y = np.exp(-0.5 * ((np.arange(y0, y1) - centre[1]) / sigma_px) ** 2)
    spot = (y[:, None] * x).astype(np.float32)
    radiance[y0:y1, x0:x1] += spot[..., None] * light
