"""The ego vehicle's route and speed."""

from __future__ import annotations

import numpy as np

from training.world.places.road.layout import CrossStreet, RoadPlan
from training.world.places.routes import Route, straight_route

MANOEUVRES = ("through", "start", "stop", "near turn", "far turn")
"""What the ego vehicle does; a near turn does not cross the oncoming lanes, a far turn does."""

_STEP_S = 0.05
_CELL_M = 0.5
_ACCELERATION, _DECELERATION = 1.4, 2.0  # m/s^2


def ego_route(plan: RoadPlan, lane: int, turn: int, cross: CrossStreet | None) -> Route:
    """The route along a lane of the main road, and into the cross street if it turns.

    Args:
        lane: 0 is next to the middle of the road.
        turn: +1 left, -1 right, 0 straight on.
        cross: where it turns; None if it does not.
    """
    d = plan.lane_d(lane)
    if not turn or cross is None:
        return straight_route(plan, (plan.s_range_m[0], d), (plan.s_range_m[1], d))
    near = turn == plan.driving_side
    lane_offset = cross.half_m - plan.lane_m / 2  # of the outermost lane
    s_exit = cross.s_m + (-lane_offset if near else lane_offset)
    radius = 9.0
    if near:
        radius = min(cross.corner_m + lane_offset, cross.corner_m + plan.kerb_m(turn) - abs(d))
    angle = np.linspace(0.0, np.pi / 2, 40)
    arc_s = s_exit - radius + radius * np.sin(angle)
    arc_d = d + turn * radius * (1 - np.cos(angle))
    before_s = np.arange(plan.s_range_m[0], arc_s[0], 0.5)
    after_d = arc_d[-1] + turn * np.arange(0.5, 120.0, 0.5)
    points = np.column_stack(
        [
            np.concatenate([before_s, arc_s, np.full(len(after_d), s_exit)]),
            np.concatenate([np.full(len(before_s), d), arc_d, after_d]),
        ]
    )
    # A moving average over 9 points: the curvature changes gradually, since steering takes time.
    padded = np.pad(points, ((4, 4), (0, 0)), mode="reflect", reflect_type="odd")
    smooth = [np.convolve(padded[:, axis], np.full(9, 1 / 9), "valid") for axis in (0, 1)]
    return Route(plan, np.stack(smooth, axis=1))


def simulate_driver(
    route: Route,
    start_m: float,
    speed_m_s: float,
    start_speed_m_s: float,
    wait_s: float,
    limits: list[tuple[float, float, float]],
    duration_s: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Times and distances along the route of a driver who sees speed limits ahead.

    Args:
        start_m: distance along the route at time 0.
        speed_m_s: the speed aimed at.
        wait_s: time until which the vehicle stands still.
        limits: stretches ``(from, to, speed)`` of the route in m and m/s; 0 is a stop line.
        duration_s: the result goes 1 s beyond it.

    Returns:
        Times in seconds and distances in metres, each ``[T]``.
    """
    grid = np.arange(0.0, route.distance_m[-1] + 1.0, _CELL_M)
    allowed = np.full(len(grid), speed_m_s)
    for low, high, limit in limits:
        allowed[(grid >= low) & (grid <= high)] = limit
    # Backwards along the route: slow enough to brake down to the next cell's limit, v^2 = 2 a x.
    for cell in range(len(grid) - 2, -1, -1):
        braking = np.sqrt(allowed[cell + 1] ** 2 + 2 * _DECELERATION * _CELL_M)
        allowed[cell] = min(allowed[cell], braking)
    times = np.arange(0.0, duration_s + 1.0 + _STEP_S, _STEP_S)
    distances = np.empty(len(times))
    distance, speed = start_m, start_speed_m_s if wait_s <= 0 else 0.0
    for index, time in enumerate(times):
        distances[index] = distance
        limit = float(np.interp(distance, grid, allowed))
        speed = min(speed + _ACCELERATION * _STEP_S, limit) if time >= wait_s else 0.0
        distance += speed * _STEP_S
    return times, distances
