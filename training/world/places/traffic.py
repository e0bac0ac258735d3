"""How things move: routes in road coordinates, the ego vehicle's speed, poses on the ground, and
who is in whose way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.world.places.ground import Ground
from training.world.places.layout import CrossStreet, RoadPlan
from training.world.scene import Mesh

STEP_S = 0.05
MANOEUVRES = ("through", "start", "stop", "near turn", "far turn")


def ground_pose(
    plan: RoadPlan,
    xy: np.ndarray,
    yaw: float,
    height: float,
    slope: tuple[float, float] = (0.0, 0.0),
) -> np.ndarray:
    """``world_from_body`` at world ``xy``; ``slope`` is the ground's rise per metre forward and to
    the left.
    """
    forward = np.array([np.cos(yaw), np.sin(yaw), slope[0]])
    left = np.array([-np.sin(yaw), np.cos(yaw), slope[1]])
    forward /= np.linalg.norm(forward)
    left -= forward * (left @ forward)
    left /= np.linalg.norm(left)
    pose = np.eye(4)
    pose[:3, 0], pose[:3, 1], pose[:3, 2] = forward, left, np.cross(forward, left)
    pose[:3, 3] = (*xy, height)
    return pose


class Route:
    """A line in road coordinates, measured by the metres one drives along it."""

    def __init__(self, plan: RoadPlan, points_sd: np.ndarray) -> None:
        self.points_sd = points_sd
        steps = np.linalg.norm(
            np.diff(plan.world(points_sd[:, 0], points_sd[:, 1]), axis=0), axis=1
        )
        self.length_m = np.concatenate([[0.0], np.cumsum(steps)])

    def at(self, length: np.ndarray) -> np.ndarray:
        """Road coordinates ``[..., 2]``; beyond its ends a route goes straight on."""
        ends = self.length_m[[0, -1]]
        inside = np.clip(length, *ends)
        point = np.stack(
            [np.interp(inside, self.length_m, self.points_sd[:, axis]) for axis in (0, 1)], axis=-1
        )
        first, last = self.points_sd[1] - self.points_sd[0], self.points_sd[-1] - self.points_sd[-2]
        way = np.where(
            (length > inside)[..., None], last / np.linalg.norm(last), first / np.linalg.norm(first)
        )
        return point + (length - inside)[..., None] * way

    def length_at_s(self, s: float) -> float:
        """Length at which ``s`` is first reached."""
        return float(self.length_m[np.argmax(self.points_sd[:, 0] >= s)])


def straight_route(
    plan: RoadPlan, start_sd: tuple[float, float], end_sd: tuple[float, float]
) -> Route:
    """A straight line in road coordinates."""
    count = max(2, int(np.hypot(end_sd[0] - start_sd[0], end_sd[1] - start_sd[1]) / 2))
    return Route(plan, np.linspace(start_sd, end_sd, count))


@dataclass(frozen=True)
class Standing:
    """A pose that does not change."""

    pose: np.ndarray

    def __call__(self, t: float) -> np.ndarray:
        return self.pose

    def places(self, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        yaw = np.arctan2(self.pose[1, 0], self.pose[0, 0])
        return np.broadcast_to(self.pose[:2, 3], (1, 2)), np.full(1, yaw)


@dataclass(frozen=True)
class Moving:
    """A body that follows a route; ``base_m`` is how far before and behind its origin it touches
    the ground.
    """

    plan: RoadPlan
    route: Route
    times_s: np.ndarray
    travelled_m: np.ndarray
    """Where on the route the origin is at each of ``times_s``."""
    base_m: tuple[float, float]
    walks_on: Ground | None = None
    """Where given, the body stands upright on the ground there, kerbs included."""

    def _contacts(self, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        length = np.interp(t, self.times_s, self.travelled_m)
        return self.route.at(length + self.base_m[0]), self.route.at(length - self.base_m[1])

    def places(self, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """World x, y ``[T, 2]`` and yaw ``[T]``."""
        return self._places(*self._contacts(np.asarray(t, float)))

    def _places(self, front_sd: np.ndarray, rear_sd: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        front, rear = (self.plan.world(p[..., 0], p[..., 1]) for p in (front_sd, rear_sd))
        share = self.base_m[1] / sum(self.base_m)
        way = front - rear
        return rear + share * way, np.arctan2(way[..., 1], way[..., 0])

    def __call__(self, t: float) -> np.ndarray:
        front, rear = self._contacts(np.asarray(float(t)))
        xy, yaw = self._places(front, rear)
        middle = rear + (front - rear) * (self.base_m[1] / sum(self.base_m))
        if self.walks_on is not None:
            return ground_pose(self.plan, xy, float(yaw), float(self.walks_on.height(*middle)))
        return ground_pose(
            self.plan,
            xy,
            float(yaw),
            float(self.plan.base_height(*middle)),
            ground_slope(self.plan, front, rear),
        )


def ground_slope(plan: RoadPlan, front_sd: np.ndarray, rear_sd: np.ndarray) -> tuple[float, float]:
    """Rise of the road per metre, forward and to the left, under a body between two points in road
    coordinates.
    """
    way = front_sd - rear_sd
    length = float(np.linalg.norm(way))
    left = np.array([-way[1], way[0]]) / length
    middle = (front_sd + rear_sd) / 2
    forward_rise = float(plan.base_height(*front_sd) - plan.base_height(*rear_sd)) / length
    left_rise = (
        float(plan.base_height(*(middle + 0.8 * left)) - plan.base_height(*(middle - 0.8 * left)))
        / 1.6
    )
    return forward_rise, left_rise


def standing_on_road(
    plan: RoadPlan, s: float, d: float, turn: float, level_m: float = 0.0
) -> Standing:
    """A body at rest whose forward direction is ``turn`` from that of the road."""
    way = np.array([np.cos(turn), np.sin(turn)])
    place = np.array([s, d])
    slope = ground_slope(plan, place + way, place - way)
    return Standing(
        ground_pose(
            plan,
            plan.world(s, d),
            float(plan.heading(s)) + turn,
            float(plan.base_height(s, d)) + level_m,
            slope,
        )
    )


def standing_upright(plan: RoadPlan, ground: Ground, s: float, d: float, turn: float) -> Standing:
    """The same, upright on whatever ground is there."""
    return Standing(
        ground_pose(
            plan, plan.world(s, d), float(plan.heading(s)) + turn, float(ground.height(s, d))
        )
    )


def ego_route(plan: RoadPlan, lane: int, turn: int, cross: CrossStreet | None) -> Route:
    """The ego vehicle's way: along its lane and, where ``turn`` is +1 (left) or -1 (right), into
    ``cross``.
    """
    d = plan.lane_d(lane)
    if not turn or cross is None:
        return straight_route(plan, (plan.s_range_m[0], d), (plan.s_range_m[1], d))
    near = turn == -plan.traffic
    s_exit = cross.s_m + (-1 if near else 1) * (cross.half_m - plan.lane_m / 2)
    if near:
        radius = min(
            cross.corner_m + cross.half_m - plan.lane_m / 2,
            cross.corner_m + plan.kerb_m(turn) - abs(d),
        )
    else:
        radius = 9.0
    angle = np.linspace(0.0, np.pi / 2, 40)
    arc = np.column_stack(
        [s_exit - radius + radius * np.sin(angle), d + turn * radius * (1 - np.cos(angle))]
    )
    before = np.column_stack(
        [
            np.arange(plan.s_range_m[0], arc[0, 0], 0.5),
            np.full(len(np.arange(plan.s_range_m[0], arc[0, 0], 0.5)), d),
        ]
    )
    after_d = arc[-1, 1] + turn * np.arange(0.5, 120.0, 0.5)
    after = np.column_stack([np.full(len(after_d), s_exit), after_d])
    points = np.concatenate([before, arc, after])
    smooth = np.stack(
        [
            np.convolve(
                np.pad(points[:, axis], 4, mode="reflect", reflect_type="odd"),
                np.full(9, 1 / 9),
                "valid",
            )
            for axis in (0, 1)
        ],
        1,
    )
    return Route(plan, smooth)


def driven_lengths(
    route: Route,
    start_m: float,
    speed_m_s: float,
    start_speed_m_s: float,
    wait_s: float,
    slow: list[tuple[float, float, float]],
    duration_s: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Times and lengths along the route of a driver who accelerates by 1.4 and brakes by 2 m/s2.

    Args:
        wait_s: stands still until then.
        slow: stretches ``(from, to, speed)`` of the route with a lower speed; 0 is a stop line.
    """
    grid = np.arange(0.0, route.length_m[-1] + 1.0, 0.5)
    allowed = np.full(len(grid), speed_m_s)
    for low, high, limit in slow:
        allowed[(grid >= low) & (grid <= high)] = limit
    for index in range(len(grid) - 2, -1, -1):
        allowed[index] = min(allowed[index], np.sqrt(allowed[index + 1] ** 2 + 2 * 2.0 * 0.5))
    times = np.arange(0.0, duration_s + 1.0 + STEP_S, STEP_S)
    lengths = np.empty(len(times))
    length, speed = start_m, start_speed_m_s if wait_s <= 0 else 0.0
    for index, time in enumerate(times):
        lengths[index] = length
        limit = float(np.interp(length, grid, allowed))
        speed = min(speed + 1.4 * STEP_S, limit) if time >= wait_s else 0.0
        length += speed * STEP_S
    return times, lengths


class Clearance:
    """Knows where everything is at every moment, as discs, and whether a newcomer would touch any
    of it.
    """

    def __init__(self, duration_s: float) -> None:
        self._times = np.arange(0.0, duration_s + 0.2, 0.2)
        self._fixed = np.empty((0, 3))
        self._moving: list[tuple[np.ndarray, np.ndarray]] = []

    def _discs(
        self, motion: Standing | Moving, length: float, width: float, centre_m: float
    ) -> tuple[np.ndarray, float]:
        xy, yaw = motion.places(self._times)
        count = max(1, int(np.ceil(length / max(width, 0.6))))
        along = (np.arange(count) + 0.5) / count * length - length / 2 + centre_m
        way = np.stack([np.cos(yaw), np.sin(yaw)], axis=-1)
        radius = float(np.hypot(width / 2, length / count / 2)) * 0.92
        return xy[:, None] + along[None, :, None] * way[:, None], radius

    def block(self, xy: np.ndarray, radius: np.ndarray | float) -> None:
        """Static obstacles: discs at ``xy [N, 2]``."""
        radii = np.broadcast_to(np.asarray(radius, float), (len(xy),))
        self._fixed = np.concatenate([self._fixed, np.column_stack([xy, radii])])

    def admit(
        self, motion: Standing | Moving, length: float, width: float, centre_m: float = 0.0
    ) -> bool:
        """Takes the newcomer in where it touches nothing at any time; says whether it did."""
        discs, radius = self._discs(motion, length, width, centre_m)  # [T or 1, K, 2]
        flat = discs.reshape(-1, 2)
        low, high = flat.min(axis=0) - radius, flat.max(axis=0) + radius
        fixed = self._fixed
        near = fixed[
            np.all(
                (fixed[:, :2] + fixed[:, 2:] >= low) & (fixed[:, :2] - fixed[:, 2:] <= high), axis=1
            )
        ]
        if len(near) and _any_within(flat[:, None], near[None, :, :2], near[:, 2] + radius):
            return False
        for others, bounds in self._moving:
            reach = bounds[4] + radius
            if (bounds[:2] - reach > flat.max(axis=0)).any() or (
                bounds[2:4] + reach < flat.min(axis=0)
            ).any():
                continue
            if _any_within(others[:, :, None], discs[:, None], reach):
                return False
        if isinstance(motion, Standing):
            self.block(flat, radius)
        else:
            self._moving.append((discs, np.array([*flat.min(axis=0), *flat.max(axis=0), radius])))
        return True


def _any_within(first: np.ndarray, second: np.ndarray, reach: np.ndarray | float) -> bool:
    x, y = first[..., 0] - second[..., 0], first[..., 1] - second[..., 1]
    return bool((x * x + y * y < np.square(reach)).any())


def mesh_size(mesh: Mesh) -> tuple[float, float]:
    """Length and width of a mesh's footprint."""
    extent = np.ptp(mesh.vertices[:, :2], axis=0)
    return float(extent[0]), float(extent[1])
