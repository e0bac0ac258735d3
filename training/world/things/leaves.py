"""Colours of leaves in the seasons."""

from __future__ import annotations

import numpy as np

_SUMMER = np.array([
    [1.0, 1.0, 0.9], [0.7, 0.85, 0.7], [0.5, 0.62, 0.55], [1.25, 1.15, 0.8], [0.85, 1.1, 0.8],
    [1.2, 1.0, 1.3],
])  # fmt: skip
_DRY = np.array([[1.5, 1.05, 0.9], [1.9, 1.2, 1.0], [1.1, 0.9, 0.8], [0.7, 0.7, 0.6]])
_AUTUMN = np.array([
    [3.4, 1.1, 0.6], [3.0, 1.6, 0.6], [1.9, 0.85, 0.7], [2.2, 0.6, 0.6], [1.2, 1.0, 0.8],
    [0.7, 0.8, 0.6],
])  # fmt: skip
_SEASONS = (_SUMMER, _SUMMER, _SUMMER, _DRY, _AUTUMN)


class Season:
    """The leaves of one drive: those of a season, and some that are evergreen.

    Args:
        rng: draws the season.
        spread: standard deviation of the logarithm of their brightness.
    """

    def __init__(self, rng: np.random.Generator, spread: float) -> None:
        self._rng, self._spread = rng, spread
        self._tints = _SEASONS[int(rng.integers(len(_SEASONS)))]
        self._mean = float(rng.uniform(0.6, 1.15))

    def tint(self) -> np.ndarray:
        """Factor [3] on the colour of the foliage of one plant."""
        rng = self._rng
        tints = self._tints if rng.random() < 0.75 else _SUMMER
        shade = self._mean * np.exp(rng.normal(0.0, self._spread))
        return tints[int(rng.integers(len(tints)))] * shade * np.exp(rng.normal(0.0, 0.06, 3))
