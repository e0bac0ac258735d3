"""Sun, sky and haze of a drive, in linear light."""

from __future__ import annotations

import numpy as np

from training.world.things.textures import noise
from training.world.weather import Weather

_BLUE_SKY = np.array([0.80, 0.93, 1.12], np.float32)
_GREY_SKY = np.array([0.97, 1.0, 1.03], np.float32)
_CITY_GLOW = np.array([0.02, 0.014, 0.009], np.float32)
"""Light pollution near the horizon at night,"""
_GLOW_SKY = 0.018
"""where the sky is this bright."""
_SUNSET = np.array([1.0, 0.6, 0.32], np.float32)
_DEEP, _CLEAN = np.array([[0.35, 0.65, 1.2], [0.75, 0.92, 1.1]], np.float32)
"""Factors on the sky overhead and at the horizon in clean air."""
_SUN_DISC = 60.0
"""Enough for a halo; ``glow`` is the cosine of the angle to the sun."""


class Sky:
    """The sky of one drive.

    Args:
        weather: brightness of sun and sky, and the cloud cover.
        rng: places the sun and the clouds.
    """

    def __init__(self, weather: Weather, rng: np.random.Generator) -> None:
        azimuth, height = (
            rng.uniform(0, 2 * np.pi),
            np.radians(rng.uniform(*weather.sun_height_deg)),
        )
        self.sun_direction = np.array(
            [np.cos(azimuth) * np.cos(height), np.sin(azimuth) * np.cos(height), np.sin(height)],
            np.float32,
        )
        self._cloud_shift = rng.uniform(0, 1, 2).astype(np.float32)
        self._weather = weather
        cover = np.float32(weather.cloud_cover)
        self.ambient = np.float32(weather.sky) * (_BLUE_SKY * (1 - cover) + _GREY_SKY * cover)
        self.sun_colour = np.float32(weather.sun) * np.array([1.75, 1.6, 1.35], np.float32)
        if weather.sun_warmth:
            self.sun_colour = self.sun_colour * _SUNSET ** np.float32(weather.sun_warmth)
        """Irradiance on a surface that faces the sun."""
        self.zenith = (
            self.ambient * np.array([0.5, 0.65, 0.9], np.float32) * (1 - 0.3 * cover)
            + self.ambient * 0.6 * cover
        )
        self.horizon = self.ambient * np.array([1.25, 1.2, 1.1], np.float32)
        if weather.sky_depth:
            depth = np.float32(weather.sky_depth)
            self.zenith, self.horizon = self.zenith * _DEEP**depth, self.horizon * _CLEAN**depth
        if weather.sun_warmth:
            self.horizon = self.horizon * _SUNSET ** np.float32(0.5 * weather.sun_warmth)
        if weather.is_dark:
            self.horizon = self.horizon + _CITY_GLOW * np.float32(weather.sky / _GLOW_SKY)
        self.haze = self.horizon * np.float32(0.9)
        self.window_brightness = np.float32(1.0 if weather.is_dark else 0.6)
        daylight = 0.6 * weather.sky + 0.55 * weather.sun + 0.12 + weather.wetness
        self.exposure = 4.5 if weather.is_dark else 1.25 / daylight

    def radiance(self, directions: np.ndarray) -> np.ndarray:
        """Light from the sky along unit ``directions`` [N, 3], float32 [N, 3]."""
        up = np.clip(directions[:, 2:3], 0.0, 1.0)
        # Clean air is blue almost down to the horizon.
        rise = up ** np.float32(0.5 - 0.25 * self._weather.sky_depth)
        colour = self.horizon + (self.zenith - self.horizon) * rise
        # Clouds lie on a plane: their pattern shrinks towards the horizon.
        reach = 1.0 / (directions[:, 2] + 0.12).clip(0.05)
        u = directions[:, 0] * reach * 0.11 + self._cloud_shift[0]
        v = directions[:, 1] * reach * 0.11 + self._cloud_shift[1]
        density = (noise(u, v) - 0.68 + 0.4 * self._weather.cloud_cover) * 4.0
        cover = np.clip(density, 0.0, 1.0)[:, None]
        cover *= 1.0 - 0.85 * self._weather.cloud_cover
        cloud = self.ambient.mean() * 2.1
        colour = colour + cover * (cloud - colour)
        if self._weather.sun:
            glow = np.clip(directions @ self.sun_direction, 0.0, 1.0)[:, None]
            colour = colour + self.sun_colour * (0.25 * glow**40 + 6.0 * glow**1500)
            if self._weather.lamp_glare:
                colour = colour + self.sun_colour * (_SUN_DISC * glow**8000 + 0.12 * glow**6)
        return colour.astype(np.float32)

    def environment(self, directions: np.ndarray) -> np.ndarray:
        """Blurred surroundings for glossy surfaces: sky above the roofs, a dim town below."""
        up = np.clip((directions[:, 2:3] - 0.05) * 3.0, 0.0, 1.0)
        town = self.ambient * 0.22 + self.sun_colour * 0.06
        return (town + (0.5 * (self.zenith + self.horizon) - town) * up).astype(np.float32)
