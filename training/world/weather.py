"""What each weather does to light and to laser beams."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Weather:
    """Physical settings of one of ``occ_core.taxonomy.WEATHERS``."""

    sun: float
    """Irradiance of the sun on a surface facing it; 0 without shadows."""
    sky: float
    """Irradiance of the whole sky."""
    sky_cover: float
    """0 blue with few clouds, 1 overcast."""
    wet: float
    """0 dry road, 1 water film: darker, mirrors the scene, throws laser light away."""
    visibility_m: float
    """Distance over which haze takes 1 - 1/e of the contrast."""
    drops: int
    """Mean number of drops on a lens."""
    lamps: bool
    """Headlights, rear lights, street lamps and windows are lit."""
    shot_noise: float
    """Standard deviation of the sensor noise of a mid-grey pixel, in 0..255."""
    extinction_per_m: float
    """Of the laser light."""
    backscatter: float
    """Share of beams that a raindrop near the car throws back."""

    @property
    def dark(self) -> bool:
        """Whether lamps light the scene noticeably."""
        return self.sky < 0.1


WEATHER_SETTINGS: dict[str, Weather] = {
    "clear": Weather(
        sun=1.0,
        sky=0.55,
        sky_cover=0.15,
        wet=0.0,
        visibility_m=1200.0,
        drops=0,
        lamps=False,
        shot_noise=2.0,
        extinction_per_m=0.0,
        backscatter=0.0,
    ),
    "rain": Weather(
        sun=0.0,
        sky=0.75,
        sky_cover=1.0,
        wet=1.0,
        visibility_m=350.0,
        drops=10,
        lamps=True,
        shot_noise=3.5,
        extinction_per_m=0.012,
        backscatter=0.015,
    ),
    "night": Weather(
        sun=0.0,
        sky=0.018,
        sky_cover=0.3,
        wet=0.0,
        visibility_m=900.0,
        drops=0,
        lamps=True,
        shot_noise=9.0,
        extinction_per_m=0.0,
        backscatter=0.0,
    ),
    "rain at night": Weather(
        sun=0.0,
        sky=0.018,
        sky_cover=1.0,
        wet=1.0,
        visibility_m=300.0,
        drops=10,
        lamps=True,
        shot_noise=10.0,
        extinction_per_m=0.012,
        backscatter=0.015,
    ),
}


def settings(weather: str) -> Weather:
    """The settings of a weather by name.

    Raises:
        ValueError: the name is none of clear, rain, night, rain at night.
    """
    if weather not in WEATHER_SETTINGS:
        raise ValueError(
            f"no sensor settings for weather {weather!r}; known: {', '.join(WEATHER_SETTINGS)}"
        )
    return WEATHER_SETTINGS[weather]
