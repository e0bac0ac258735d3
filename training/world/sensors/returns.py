"""The beams of one LiDAR revolution on their way, and what they measure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.world.sensors.raycast import Hits

NOISE_CATEGORY = 0


@dataclass(frozen=True)
class Beams:
    """N beams in firing order, ring by ring within a column, and the surfaces that they meet."""

    origins: np.ndarray
    """float64 [N, 3], world frame."""
    directions: np.ndarray
    """float64 [N, 3], unit, world frame."""
    hits: Hits
    """Beyond the panes of glass that were passed; ranges count from the origin."""
    cosine: np.ndarray
    """float32 [N], of the angle of incidence."""
    panes: np.ndarray
    """int64 [N], panes of glass that were passed."""


@dataclass
class Returns:
    """What the N beams of a sweep measure; each effect changes it in place."""

    distance: np.ndarray
    """float64 [N], metres."""
    intensity: np.ndarray
    """float64 [N]."""
    category: np.ndarray
    """uint8 [N], nuScenes-lidarseg index."""
    actor: np.ndarray
    """int32 [N], index of the actor that was hit, negative for none."""
    is_return: np.ndarray
    """bool [N]."""

    def put_noise(self, beams: np.ndarray, distance: np.ndarray, intensity: np.ndarray) -> None:
        """The beams with these indices return from something that is no surface."""
        self.distance[beams], self.intensity[beams] = distance, intensity
        self.category[beams], self.actor[beams] = NOISE_CATEGORY, -1
        self.is_return[beams] = True
