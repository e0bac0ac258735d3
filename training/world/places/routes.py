"""Routes in road coordinates, along which vehicles and people move."""

from __future__ import annotations

import numpy as np

from training.world.places.road.layout import RoadPlan


class Route:
    """A line in road coordinates, parametrised by the distance along it in metres.

    Attributes:
        points_sd: ``[P, 2]``.
        distance_m: ``[P]``, distance of each point from the first one, measured in the world.
    """

    def __init__(self, plan: RoadPlan, points_sd: np.ndarray) -> None:
        self.points_sd = points_sd
        points_xy = plan.world(points_sd[:, 0], points_sd[:, 1])
        steps = np.linalg.norm(np.diff(points_xy, axis=0), axis=1)
        self.distance_m = np.concatenate([[0.0], np.cumsum(steps)])

    def at(self, distance_m: np.ndarray) -> np.ndarray:
        """Road coordinates ``[..., 2]``; beyond its ends a route continues straight on."""
        inside = np.clip(distance_m, *self.distance_m[[0, -1]])
        point = np.stack(
            [np.interp(inside, self.distance_m, self.points_sd[:, axis]) for axis in (0, 1)], -1
        )
        first, last = self.points_sd[1] - self.points_sd[0], self.points_sd[-1] - self.points_sd[-2]
        beyond = (distance_m - inside)[..., None]
        direction = np.where(beyond > 0, last / np.linalg.norm(last), first / np.linalg.norm(first))
        return point + beyond * direction

    def distance_at_s(self, s: float) -> float:
        """Distance at which ``s`` is first reached."""
        return float(self.distance_m[np.argmax(self.points_sd[:, 0] >= s)])


def straight_route(
    plan: RoadPlan, start_sd: tuple[float, float], end_sd: tuple[float, float]
) -> Route:
    """A route that is straight in road coordinates, with a point every 2 m or so."""
    count = max(2, int(np.hypot(end_sd[0] - start_sd[0], end_sd[1] - start_sd[1]) / 2))
    return Route(plan, np.linspace(start_sd, end_sd, count))
