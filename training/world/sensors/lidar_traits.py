"""What tells one LiDAR from another besides its beams: intensities, losses, the car below it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class IntensityResponse:
    """How a LiDAR turns the strength of a return into an intensity of 0 to ``ceiling``.

    The defaults are those of the nuScenes cars.
    """

    gain: float = 1.0
    gamma: float = 1.0
    """Exponent; below 1, dark surfaces gain on bright ones."""
    falloff: float = 0.0
    """Exponent of ``_FALLOFF_M`` / range beyond that distance; 0 for a compensated sensor."""
    speckle: float = 0.35
    """Standard deviation of the logarithm of repeated measurements."""
    ceiling: float = 255.0
    floor: float = 0.0
    """Strength that is taken off every return: what is no stronger has intensity 0."""
    infrared: float = 1.0
    """Factor on the reflectivity of green plants and clothes, which are far brighter in the near
    infrared than they look; how much depends on the laser's wavelength.
    """

    def intensity(self, strength: np.ndarray, distance_m: np.ndarray) -> np.ndarray:
        """The intensity float64 [N], not rounded, for ``strength`` [N], nuScenes' in 0..255."""
        above = np.maximum(strength - self.floor, 0.0)
        level = self.gain * above**self.gamma * 255.0 ** (1.0 - self.gamma)
        if self.falloff:
            level = level * (_FALLOFF_M / np.maximum(distance_m, _FALLOFF_M)) ** self.falloff
        return np.minimum(level, self.ceiling)


_FALLOFF_M = 5.0


@dataclass(frozen=True)
class LidarLosses:
    """How readily a LiDAR loses beams, sees what is not there, or measures wrong; 0 by default."""

    dark_paint: float = 0.0
    """Fraction of the beams that black paint swallows at grazing incidence."""
    gloss: float = 0.0
    """Fraction of the light that a glossy surface loses away from normal incidence, or a dark one.
    """
    mirrors: float = 0.0
    """Fraction of the beams that a perfect mirror sends away."""
    grazing: float = 0.0
    """Fraction of the beams lost that graze a surface 60 m away."""
    bloom: float = 0.0
    """Fraction of the beams beside a near retroreflector that see it too."""
    ghosts: float = 0.0
    """Fraction of the mirrored beams that return from what they meet next."""
    pile: float = 0.0
    """Height of grass and litter relative to ``Material.pile_m``; beams end within it."""
    edges: float = 0.0
    """Fraction of the beams at an object's edge that return from between it and what is behind:
    a beam is some centimetres wide.
    """


@dataclass(frozen=True)
class OwnRoof:
    """The part of the car that the beams meet: a rectangle below the LiDAR, parallel to the car."""

    z_m: float = -0.36
    """Height in the LiDAR frame."""
    right_m: tuple[float, float] = (-0.52, 0.52)
    forward_m: tuple[float, float] = (-0.90, 0.68)
    returns: float = 0.72
    """Fraction of the beams on it that return: its paint mirrors most of the others away."""
