"""Colours of the paint of cars and cycles, as often as they are seen on the road."""

from __future__ import annotations

import numpy as np

_PAINTS = np.array([  # frequency, red, green, blue
    [0.17, 0.95, 0.95, 0.95], [0.12, 0.90, 0.90, 0.91], [0.17, 0.62, 0.63, 0.65],
    [0.13, 0.35, 0.36, 0.38], [0.15, 0.09, 0.09, 0.10], [0.07, 0.55, 0.09, 0.08],
    [0.06, 0.12, 0.20, 0.42], [0.04, 0.28, 0.35, 0.42], [0.03, 0.62, 0.58, 0.50],
    [0.02, 0.12, 0.28, 0.20], [0.02, 0.85, 0.62, 0.10], [0.02, 0.20, 0.42, 0.55],
])  # fmt: skip


def paint_colour(rng: np.random.Generator) -> np.ndarray:
    """A random colour ``[3]`` in 0..1: mostly white, grey and black."""
    frequency = _PAINTS[:, 0]
    row = rng.choice(len(_PAINTS), p=frequency / frequency.sum())
    return np.clip(_PAINTS[row, 1:] + rng.normal(0, 0.02, 3), 0.03, 1.0)
