"""Keeps bodies from touching one another at any time of a drive."""

from __future__ import annotations

import numpy as np

from training.world.places.trajectories import RouteMotion, StaticPose

_STEP_S = 0.2


class Clearance:
    """Discs that cover every body and obstacle, at rest or at each step of its motion."""

    def __init__(self, duration_s: float) -> None:
        self._times = np.arange(0.0, duration_s + _STEP_S, _STEP_S)
        self._fixed = np.empty((0, 3))  # x, y, radius
        # Discs [T, K, 2] of each moving body; lowest and highest x, y of them, and their radius.
        self._moving: list[tuple[np.ndarray, tuple[np.ndarray, np.ndarray, float]]] = []

    def block(self, xy: np.ndarray, radius_m: np.ndarray | float) -> None:
        """Adds obstacles: discs at world ``[N, 2]`` with one radius or ``[N]`` radii."""
        radii = np.broadcast_to(np.asarray(radius_m, float), (len(xy),))
        self._fixed = np.concatenate([self._fixed, np.column_stack([xy, radii])])

    def is_clear(self, xy: np.ndarray, radius_m: float) -> bool:
        """Whether nothing at rest reaches into a circle around world ``xy``, ``[2]``."""
        away = np.linalg.norm(self._fixed[:, :2] - xy, axis=1)
        return bool((away > self._fixed[:, 2] + radius_m).all())

    def admit(
        self,
        motion: StaticPose | RouteMotion,
        length_m: float,
        width_m: float,
        centre_m: float = 0.0,
    ) -> bool:
        """Adds a body if it never touches another one; returns whether it was added.

        ``centre_m`` is how far its middle is ahead of its origin.
        """
        discs, radius = self._discs(motion, length_m, width_m, centre_m)
        flat = discs.reshape(-1, 2)
        low, high = flat.min(axis=0), flat.max(axis=0)
        # Boxes around the discs first: few bodies come near each other.
        xy, reach = self._fixed[:, :2], self._fixed[:, 2:]
        close = (xy + reach >= low - radius) & (xy - reach <= high + radius)
        near = self._fixed[close.all(axis=1)]
        if len(near) and _any_within(flat[:, None], near[None, :, :2], near[:, 2] + radius):
            return False
        for other_discs, (other_low, other_high, other_radius) in self._moving:
            distance = other_radius + radius
            if (other_low - distance > high).any() or (other_high + distance < low).any():
                continue
            if _any_within(other_discs[:, :, None], discs[:, None], distance):
                return False
        if isinstance(motion, StaticPose):
            self.block(flat, radius)
        else:
            self._moving.append((discs, (low, high, radius)))
        return True

    def _discs(
        self, motion: StaticPose | RouteMotion, length: float, width: float, centre_m: float
    ) -> tuple[np.ndarray, float]:
        """Centres ``[T or 1, K, 2]`` and radius of the discs along a body."""
        xy, yaw = motion.xy_yaw(self._times)
        count = max(1, int(np.ceil(length / max(width, 0.6))))
        along = (np.arange(count) + 0.5) / count * length - length / 2 + centre_m
        forward = np.stack([np.cos(yaw), np.sin(yaw)], axis=-1)
        # Around each piece of the body; a little less, since corners of bodies are round.
        radius = float(np.hypot(width / 2, length / count / 2)) * 0.92
        return xy[:, None] + along[None, :, None] * forward[:, None], radius


def _any_within(first: np.ndarray, second: np.ndarray, reach: np.ndarray | float) -> bool:
    """Whether any two points are closer than ``reach``."""
    x, y = first[..., 0] - second[..., 0], first[..., 1] - second[..., 1]
    return bool((x * x + y * y < np.square(reach)).any())
