"""Poses of bodies on the ground over time: ``StaticPose`` and ``RouteMotion``.

Both are called with a time in seconds and return ``world_from_body`` ``[4, 4]``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.world.places.road.ground import Ground
from training.world.places.road.layout import RoadPlan
from training.world.places.routes import Route


@dataclass(frozen=True)
class StaticPose:
    """A pose that does not change."""

    pose: np.ndarray
    """``world_from_body`` ``[4, 4]``."""

    @classmethod
    def on_road(
        cls, plan: RoadPlan, s: float, d: float, turn: float, level_m: float = 0.0
    ) -> StaticPose:
        """A body that lies on the sloping road, ``level_m`` above the carriageway.

        ``turn`` is its yaw from the road's direction, in radians.
        """
        direction, point = np.array([np.cos(turn), np.sin(turn)]), np.array([s, d])
        slope = _road_slope(plan, point + direction, point - direction)
        height = float(plan.base_height(s, d)) + level_m
        return cls(_pose(plan.world(s, d), float(plan.heading(s)) + turn, height, slope))

    @classmethod
    def upright(cls, plan: RoadPlan, ground: Ground, s: float, d: float, turn: float) -> StaticPose:
        """A body that stands upright on any ground, ``turn`` radians from the road's direction."""
        height = float(ground.height(s, d))
        return cls(_pose(plan.world(s, d), float(plan.heading(s)) + turn, height))

    def __call__(self, t: float) -> np.ndarray:
        return self.pose

    def xy_yaw(self, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """World x, y ``[1, 2]`` in metres and yaw ``[1]`` in radians, for all times."""
        return self.pose[None, :2, 3], np.full(1, np.arctan2(self.pose[1, 0], self.pose[0, 0]))


@dataclass(frozen=True)
class RouteMotion:
    """A body that follows a route, touching it at two points like a vehicle with two axles."""

    plan: RoadPlan
    route: Route
    times_s: np.ndarray
    distance_m: np.ndarray
    """Distance of the body's origin along the route at each of ``times_s``."""
    contacts_m: tuple[float, float]
    """How far before and behind its origin the body touches the route."""
    ground: Ground | None = None
    """If given, the body stands upright on it, pavements included, instead of on the road."""

    def __call__(self, t: float) -> np.ndarray:
        front, rear = self._contacts_sd(np.asarray(float(t)))
        xy, yaw = self._xy_yaw(front, rear)
        origin_sd = rear + (front - rear) * self._origin_fraction
        if self.ground is not None:
            return _pose(xy, float(yaw), float(self.ground.height(*origin_sd)))
        height = float(self.plan.base_height(*origin_sd))
        return _pose(xy, float(yaw), height, _road_slope(self.plan, front, rear))

    def xy_yaw(self, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """World x, y ``[T, 2]`` in metres and yaw ``[T]`` in radians at times ``[T]``."""
        return self._xy_yaw(*self._contacts_sd(np.asarray(t, float)))

    @property
    def _origin_fraction(self) -> float:
        """Where the origin lies on the way from the rear contact to the front one."""
        return self.contacts_m[1] / sum(self.contacts_m)

    def _contacts_sd(self, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        distance = np.interp(t, self.times_s, self.distance_m)
        front, rear = self.contacts_m
        return self.route.at(distance + front), self.route.at(distance - rear)

    def _xy_yaw(self, front_sd: np.ndarray, rear_sd: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        front, rear = (self.plan.world(p[..., 0], p[..., 1]) for p in (front_sd, rear_sd))
        forward = front - rear
        xy = rear + self._origin_fraction * forward
        return xy, np.arctan2(forward[..., 1], forward[..., 0])


def _pose(
    xy: np.ndarray, yaw: float, height: float, slope: tuple[float, float] = (0.0, 0.0)
) -> np.ndarray:
    """``world_from_body``; ``slope`` is the ground's rise per metre forward and to the left."""
    forward = np.array([np.cos(yaw), np.sin(yaw), slope[0]])
    left = np.array([-np.sin(yaw), np.cos(yaw), slope[1]])
    forward /= np.linalg.norm(forward)
    left -= forward * (left @ forward)  # Gram-Schmidt
    left /= np.linalg.norm(left)
    pose = np.eye(4)
    pose[:3, 0], pose[:3, 1], pose[:3, 2] = forward, left, np.cross(forward, left)
    pose[:3, 3] = (*xy, height)
    return pose


def _road_slope(plan: RoadPlan, front_sd: np.ndarray, rear_sd: np.ndarray) -> tuple[float, float]:
    """Rise of the road per metre, forward and to the left, beneath a body between two points."""
    forward = front_sd - rear_sd
    length = float(np.linalg.norm(forward))
    left = 0.8 * (np.array([-forward[1], forward[0]]) / length)  # half a track of 1.6 m
    middle = (front_sd + rear_sd) / 2
    forward_rise = float(plan.base_height(*front_sd) - plan.base_height(*rear_sd)) / length
    left_rise = float(plan.base_height(*(middle + left)) - plan.base_height(*(middle - left))) / 1.6
    return forward_rise, left_rise
