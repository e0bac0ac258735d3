"""Vehicles and cyclists on the roads: moving, or waiting at stop lines."""

from __future__ import annotations

import numpy as np

from training.world.places.districts import PLAIN
from training.world.places.road.layout import CrossStreet
from training.world.places.routes import Route, straight_route
from training.world.places.stage import Stage
from training.world.places.trajectories import RouteMotion
from training.world.scene import Mesh
from training.world.things.meshes import category_name, footprint_size
from training.world.things.vehicles.buses import draw_bus
from training.world.things.vehicles.cycles import draw_bicycle

_ARTICULATED_BUS = (0.85, 0.85, 0.8)
_PLAIN_CYCLISTS, _CYCLISTS = 14, 5
"""Cyclists of the plain town, and of a street elsewhere with as many people."""
_PLAIN_BUSES, _BUSES = (0.25, 1.0), (0.04, 0.2)
"""Share of the drives with an articulated bus behind them, and of the queues that wait for a first
bus: in the plain town, and elsewhere.
"""


def add_traffic(stage: Stage) -> None:
    """Fills all lanes; vehicles that would touch another actor are left out."""
    _ego_lane(stage)
    _main_road(stage)
    for number, cross in enumerate(stage.plan.crossings):
        _cross_street(stage, cross, first=number == 0)
    _cyclists(stage)


def _bus_shares(stage: Stage) -> tuple[float, float]:
    return _PLAIN_BUSES if stage.district is PLAIN else _BUSES


def _half_length(mesh: Mesh) -> float:
    return footprint_size(mesh)[0] / 2


def _drive(
    stage: Stage, mesh: Mesh, route: Route, times_s: np.ndarray, distance_m: np.ndarray
) -> None:
    """Adds a vehicle that is at ``distance_m`` along the route at ``times_s``."""
    axle = footprint_size(mesh)[0] * 0.3
    if "cycle" in category_name(mesh):
        attribute = "cycle.with_rider"
    else:
        stopped = abs(distance_m[-1] - distance_m[0]) < 1.0
        attribute = "vehicle.stopped" if stopped else "vehicle.moving"
    motion = RouteMotion(stage.plan, route, times_s, distance_m, (axle, axle))
    stage.add_actor(mesh, motion, attribute, margin_m=0.2)


def _drive_steadily(
    stage: Stage, route: Route, start_m: float, speed: float, gap_m: tuple[float, float]
) -> float:
    """Adds a vehicle of constant speed at a random gap from ``start_m`` along the route.

    Returns:
        The distance of its front along the route at time 0.
    """
    mesh = stage.catalogue.traffic()
    half = _half_length(mesh)
    middle = start_m + (half + float(stage.rng.uniform(*gap_m)) * stage.district.headway)
    times = stage.ends_s
    _drive(stage, mesh, route, times, middle + speed * times)
    return middle + half


def _ego_lane(stage: Stage) -> None:
    """Vehicles ahead of and behind the ego vehicle, which keep their distance to it."""
    rng, ego = stage.rng, stage.ego
    articulated_bus = rng.random() < _bus_shares(stage)[0]
    for ahead in (1, -1):
        gap = 3.6 if ahead > 0 else 1.0  # the ego vehicle's front and rear end from its axle
        for _ in range(4):
            mesh = stage.catalogue.traffic()
            half = _half_length(mesh)
            gap += half + float(rng.uniform(3.5, 18.0)) * stage.district.headway
            _drive(stage, mesh, ego.route, ego.times_s, ego.distance_m + ahead * gap)
            gap += half
        if articulated_bus and ahead < 0:
            _articulated_bus(stage, ego.distance_m - gap - 9.0)


def _articulated_bus(stage: Stage, distance_m: np.ndarray) -> None:
    """Both sections of a bus on the ego vehicle's route, which nuScenes annotates separately.

    ``distance_m`` is that of the front section at the ego vehicle's times.
    """
    rng, ego = stage.rng, stage.ego
    height = float(rng.uniform(3.0, 3.3))
    front = draw_bus(rng, 10.0, height, _ARTICULATED_BUS, section="front")
    rear = draw_bus(rng, 7.5, height, _ARTICULATED_BUS, section="rear")
    _drive(stage, front, ego.route, ego.times_s, distance_m)
    _drive(stage, rear, ego.route, ego.times_s, distance_m - 9.3)


def _main_road(stage: Stage) -> None:
    """All lanes of the main road but the ego vehicle's."""
    ego_d = stage.ego.route.points_sd[0, 1]
    for forward in (True, False):
        for lane in range(stage.plan.lanes):
            d = stage.plan.lane_d(lane, forward)
            if abs(d - ego_d) >= 0.5:
                _main_road_lane(stage, d, forward)


def _main_road_lane(stage: Stage, d: float, forward: bool) -> None:
    """A queue before the first crossing, or steady traffic, depending on the lights."""
    rng, plan = stage.rng, stage.plan
    direction = 1 if forward else -1
    start_s, end_s = plan.s_range_m[::direction]
    route = straight_route(plan, (start_s, d), (end_s, d))
    if stage.manoeuvre == "stop" or (stage.manoeuvre == "far turn" and not forward):
        cross = plan.crossings[0]
        border = cross.half_m + cross.corner_m
        stop_line = (cross.s_m - direction * (border + 4.8), d)
        _queue(stage, stop_line, (direction, 0), led_by_bus=not forward)
        _leave(stage, route, (cross.s_m + direction * border, d))
        return
    speed = float(rng.uniform(5.0, 11.0))
    # From vehicles that arrive at the end of the drive to those that have just left the view.
    driven = speed * stage.duration_s
    if forward:
        distance = min(route.distance_at_s(-80.0 - driven), 0.0) - 80 - driven
        last = 110 + (stage.ego.distance_m[-1] - stage.ego.distance_m[0]) + 80
    else:
        distance, last = -80 - driven, route.distance_m[-1]
    while distance < last:
        distance = _drive_steadily(stage, route, distance, speed, gap_m=(6.0, 30.0))


def _queue(
    stage: Stage, stop_sd: tuple[float, float], direction: tuple[int, int], led_by_bus: bool
) -> None:
    """Vehicles at rest before a stop line.

    Args:
        stop_sd: the stop line.
        direction: of the vehicles, along s and d.
        led_by_bus: the first one is a bus if the town has none yet.
    """
    rng = stage.rng
    queue_m = float(rng.uniform(0.0, 1.0))
    turn = float(np.arctan2(direction[1], direction[0]))
    share = _bus_shares(stage)[1]
    bus = led_by_bus and not any("bus" in actor.category for actor in stage.actors)
    bus = bus and (share == 1.0 or rng.random() < share)
    for number in range(int(rng.integers(int(bus), 5))):
        mesh = stage.catalogue.bus() if bus and number == 0 else stage.catalogue.traffic()
        half = _half_length(mesh)
        s, d = (stop - step * (queue_m + half) for stop, step in zip(stop_sd, direction))
        motorcycle = category_name(mesh) == "vehicle.motorcycle"
        attribute = "cycle.with_rider" if motorcycle else "vehicle.stopped"
        stage.add_actor(mesh, stage.on_road(s, d, turn), attribute, margin_m=0.2)
        queue_m += 2 * half + float(rng.uniform(1.2, 3.0))


def _leave(stage: Stage, route: Route, start_sd: tuple[float, float]) -> None:
    """A few vehicles that have passed a crossing at ``start_sd`` and drive away."""
    rng = stage.rng
    offset = np.abs(route.points_sd - np.asarray(start_sd)).sum(axis=1)
    distance, speed = float(route.distance_m[offset.argmin()]), float(rng.uniform(4.0, 9.0))
    for _ in range(int(rng.integers(0, 4))):
        distance = _drive_steadily(stage, route, distance, speed, gap_m=(4.0, 20.0))


def _cross_street(stage: Stage, cross: CrossStreet, first: bool) -> None:
    """Traffic across the main road while the ego vehicle stops, else queues before it."""
    rng, plan = stage.rng, stage.plan
    far = plan.reach_m
    offset = -plan.driving_side * (cross.half_m - plan.lane_m / 2)
    for side in cross.sides:
        inward_s, outward_s = cross.s_m - side * offset, cross.s_m + side * offset
        kerb = plan.kerb_m(side) + cross.corner_m
        if stage.manoeuvre == "stop" and first and len(cross.sides) == 2:
            inward = straight_route(plan, (inward_s, side * far), (inward_s, -side * far))
            speed = float(rng.uniform(4.5, 8.0))
            driven = speed * stage.duration_s
            distance = float(rng.uniform(-driven, -driven + 20))
            while distance < 2 * far:
                distance = _drive_steadily(stage, inward, distance, speed, gap_m=(9.0, 40.0))
        else:
            _queue(stage, (inward_s, side * (kerb + 4.6)), (0, -side), led_by_bus=first)
            outward = straight_route(plan, (outward_s, side * kerb), (outward_s, side * far))
            _leave(stage, outward, (outward_s, side * (kerb + 1)))


def _cyclists(stage: Stage) -> None:
    """Bicycles with riders at the outer edges of the lanes, and on the pavements."""
    rng, plan = stage.rng, stage.plan
    reach = 150.0
    usual = _PLAIN_CYCLISTS if stage.district is PLAIN else _CYCLISTS
    for _ in range(stage.district.fewer(usual)):
        side = int(rng.choice([-1, 1]))
        direction = 1 if side == plan.driving_side else -1
        on_pavement = rng.random() < 0.5
        d = side * (plan.pavement_m(side)[0] + 0.6 if on_pavement else plan.edge_m - 0.35)
        speed = float(rng.uniform(2.5, 4.0) if on_pavement else rng.uniform(3.5, 6.0))
        s = float(rng.uniform(stage.ego_sd[:, 0].min() - 30, stage.ego_sd[:, 0].max() + 50))
        route = straight_route(plan, (s - direction * reach, d), (s + direction * reach, d))
        mesh = draw_bicycle(rng, rider=True)
        # In the middle of the route at 40 % of the drive.
        distance = reach + speed * (stage.ends_s - stage.duration_s * 0.4)
        ground = stage.ground if on_pavement else None
        motion = RouteMotion(plan, route, stage.ends_s, distance, (0.5, 0.5), ground)
        stage.add_actor(mesh, motion, "cycle.with_rider")
