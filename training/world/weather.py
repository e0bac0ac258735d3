"""Effects of each weather on light and laser beams."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np


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
    film_losses: float = 0.6
    """Fraction of the beams that a wet road mirrors away at grazing incidence."""
    puddle_losses: float = 0.0
    """Fraction of the beams that a puddle mirrors away."""
    spray_per_m: float = 0.0
    """Beams that spray reflects, per metre of their way behind a vehicle at 10 m/s."""
    lamp_glare: float = 0.0
    """Light that the lens scatters around a lamp; see ``glare.add_lamp_glare``."""
    lens_film: bool = False
    """Whether water also runs down the lens and blurs parts of the picture."""
    sun_height_deg: tuple[float, float] = (28.0, 65.0)
    """Lowest and highest sun."""
    sky_depth: float = 0.0
    """0 is a pale blue, 1 that of clean air."""
    sun_warmth: float = 0.0
    """0 is white sunlight, 1 that of a sunset."""

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
    """The mild physical properties of the weather with this name.

    Raises:
        ValueError: the name is not one of clear, rain, night, rain at night.
    """
    if name not in _SETTINGS:
        raise ValueError(f"no sensor settings for weather {name!r}; known: {', '.join(_SETTINGS)}")
    return _SETTINGS[name]


def harsh_settings(name: str, rng: np.random.Generator) -> Weather:
    """Weather as real sensors suffer it: skies of all kinds, heavy rain, nights that are dark.

    Raises:
        ValueError: as ``weather_settings``.
    """
    weather = replace(weather_settings(name), lamp_glare=1.0)
    if name.startswith("rain"):
        heavy = float(rng.uniform(0.85, 1.1))
        weather = replace(
            weather,
            extinction_per_m=0.03 * heavy,
            backscatter=0.05 * heavy,
            visibility_m=float(rng.uniform(110.0, 350.0)),
            wetness=float(rng.uniform(0.75, 1.0)),
            lens_drops=int(rng.integers(5, 24)),
            lens_film=True,
            film_losses=0.95,
            puddle_losses=0.9,
            spray_per_m=0.12 * heavy,
            lamp_glare=1.8,
            sky=float(rng.uniform(0.35, 0.75)),
        )
    if weather_settings(name).is_dark:
        return replace(
            weather,
            sky=float(rng.uniform(0.0015, 0.008)),
            visibility_m=weather.visibility_m * float(rng.uniform(0.5, 1.2)),
            shot_noise=float(rng.uniform(7.0, 14.0)),
        )
    return _daylight(weather, rng) if name == "clear" else weather


def _daylight(weather: Weather, rng: np.random.Generator) -> Weather:
    """Blue, cloudy, overcast, low sun, or haze."""
    kind = rng.choice(
        ["blue", "clouds", "overcast", "low sun", "haze"], p=[0.3, 0.2, 0.2, 0.18, 0.12]
    )
    if kind == "blue":
        cover, depth = float(rng.uniform(0.0, 0.2)), float(rng.uniform(0.2, 1.0))
        sun, sky = float(rng.uniform(0.9, 1.6)), float(rng.uniform(0.2, 0.45))
        return replace(weather, cloud_cover=cover, sun=sun, sky=sky, sky_depth=depth)
    if kind == "clouds":
        cover, sun = float(rng.uniform(0.35, 0.7)), float(rng.uniform(0.5, 1.0))
        return replace(weather, cloud_cover=cover, sun=sun, sky=0.6, sky_depth=0.5)
    if kind == "overcast":
        sky = float(rng.uniform(0.5, 0.9))
        return replace(weather, cloud_cover=1.0, sun=0.0, sky=sky, visibility_m=700.0)
    if kind == "low sun":
        warmth, sun = float(rng.uniform(0.3, 1.0)), float(rng.uniform(0.6, 1.0))
        heights = (5.0, 18.0)
        low = replace(weather, sun_warmth=warmth, sun_height_deg=heights)
        return replace(low, sun=sun, sky=0.3, sky_depth=0.5)
    visibility, sun = float(rng.uniform(70.0, 250.0)), float(rng.uniform(0.0, 0.5))
    return replace(weather, cloud_cover=0.8, sun=sun, sky=0.7, visibility_m=visibility)
