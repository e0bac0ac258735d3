"""Effects of each weather on light and laser beams."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Weather:
    """Physical properties of one of ``occ_core.taxonomy.WEATHERS``."""

    sun: float
    """Irradiance of the sun on a surface that faces it; 0 means no shadows."""
    sky: float
    """Irradiance of the whole sky."""
    cloud_cover: float
    """0 is blue with few clouds, 1 overcast."""
    wetness: float
    """0 is a dry road, 1 a film of water: darker, reflecting, and deflecting laser light."""
    visibility_m: float
    """Distance over which haze removes 1 - 1/e of the contrast."""
    lens_drops: int
    """Mean number of drops on a lens."""
    lamps_lit: bool
    """Whether headlights, rear lights, street lamps and windows are lit."""
    shot_noise: float
    """Standard deviation of the sensor noise of a mid-grey pixel, in 0..255."""
    extinction_per_m: float
    """Extinction coefficient of the laser light."""
    backscatter: float
    """Fraction of the beams that a raindrop near the car reflects."""

    @property
    def is_dark(self) -> bool:
        """Whether lamps light the scene noticeably."""
        return self.sky < 0.1


_SETTINGS = {
    # sun, sky, cloud_cover, wetness, visibility_m, lens_drops, lamps_lit, shot_noise,
    # extinction_per_m, backscatter
    "clear": Weather(1.0, 0.55, 0.15, 0.0, 1200.0, 0, False, 2.0, 0.0, 0.0),
    "rain": Weather(0.0, 0.75, 1.0, 1.0, 350.0, 10, True, 3.5, 0.012, 0.015),
    "night": Weather(0.0, 0.018, 0.3, 0.0, 900.0, 0, True, 9.0, 0.0, 0.0),
    "rain at night": Weather(0.0, 0.018, 1.0, 1.0, 300.0, 10, True, 10.0, 0.012, 0.015),
}


def weather_settings(name: str) -> Weather:
    """The physical properties of the weather with this name.

    Raises:
        ValueError: the name is not one of clear, rain, night, rain at night.
    """
    if name not in _SETTINGS:
        raise ValueError(f"no sensor settings for weather {name!r}; known: {', '.join(_SETTINGS)}")
    return _SETTINGS[name]
