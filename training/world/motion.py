"""Poses of all actors at a given time, interpolated in a table.

Calling the trajectory of each actor thousands of times would be slow.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from training.world.scene import Actor

_STEP_S = 0.1
"""Between two entries, a body that brakes at 4 m/s^2 strays 5 mm from the straight line."""


class ActorPoses:
    """Poses of the actors from 0 to ``duration_s``."""

    def __init__(self, actors: Sequence[Actor], duration_s: float) -> None:
        self.count = len(actors)
        steps = int(np.ceil(duration_s / _STEP_S)) + 1
        self._poses = np.empty((self.count, steps, 4, 4))
        for index, actor in enumerate(actors):
            first, middle, last = (
                actor.world_from_actor(fraction * duration_s) for fraction in (0.0, 0.47, 1.0)
            )
            if np.array_equal(first, middle) and np.array_equal(first, last):
                self._poses[index] = first
            else:
                self._poses[index] = [
                    actor.world_from_actor(step * _STEP_S) for step in range(steps)
                ]

    def at(self, time_s: float | np.ndarray) -> np.ndarray:
        """``world_from_actor`` float64 [A, 4, 4] at one time, or at one time [A] for each actor."""
        position = np.clip(
            np.broadcast_to(np.asarray(time_s, np.float64) / _STEP_S, (self.count,)),
            0,
            self._poses.shape[1] - 1,
        )
        before = np.minimum(position.astype(np.int64), self._poses.shape[1] - 2)
        weight = (position - before)[:, None, None]
        actor = np.arange(self.count)
        return self._poses[actor, before] * (1.0 - weight) + self._poses[actor, before + 1] * weight
