"""Who is on the move: vehicles in the lanes, cyclists, pedestrians on pavements and crossings."""

from __future__ import annotations

import numpy as np

from training.world.places.kerbside import draw_any_bus, stage_pedestrian
from training.world.places.layout import CrossStreet
from training.world.places.stage import Stage
from training.world.places.traffic import (
    Moving,
    Route,
    standing_on_road,
    standing_upright,
    straight_route,
)
from training.world.scene import Mesh
from training.world.things import props, vehicles


def populate(stage: Stage) -> None:
    """Fills lanes, crossings and pavements; whoever would be in another's way stays out."""
    _ego_lane(stage)
    _main_road(stage)
    for number, cross in enumerate(stage.plan.crossings):
        _cross_street(stage, cross, first=number == 0)
    _cyclists(stage)
    _pedestrians(stage)
    _complete(stage)


def _draw_vehicle(stage: Stage) -> tuple[str, Mesh]:
    rng, boston = stage.rng, stage.plan.traffic > 0
    kind = str(
        rng.choice(
            ["car", "bus", "lorry", "pickup", "motorcycle"],
            p=[0.60, 0.08, 0.13, 0.10, 0.09] if boston else [0.60, 0.09, 0.14, 0.03, 0.14],
        )
    )
    match kind:
        case "bus":
            return "vehicle.bus.rigid", draw_any_bus(stage)
        case "lorry":
            load = str(rng.choice(["box", "canopy", "flatbed", "tipper"]))
            return "vehicle.truck", vehicles.draw_lorry(rng, load, bool(rng.random() < 0.5))
        case "pickup":
            return "vehicle.truck", vehicles.draw_pickup(rng)
        case "motorcycle":
            return "vehicle.motorcycle", vehicles.draw_motorcycle(rng, True)
    taxi = (0.15, 0.3, 0.75) if not boston else (0.95, 0.75, 0.1)
    share = [0.2, 0.35, 0.28, 0.07, 0.10] if boston else [0.28, 0.32, 0.14, 0.14, 0.12]
    kind = str(rng.choice(vehicles.CAR_KINDS, p=share))
    return "vehicle.car", vehicles.draw_car(rng, kind, taxi) if rng.random() < 0.08 else stage.car(
        kind
    )


def _length(mesh: Mesh) -> float:
    return float(np.ptp(mesh.vertices[:, 0]))


def _drive(
    stage: Stage, category: str, mesh: Mesh, route: Route, times: np.ndarray, lengths: np.ndarray
) -> None:
    base = _length(mesh) * 0.3
    attribute = (
        "cycle.with_rider"
        if category in ("vehicle.motorcycle", "vehicle.bicycle")
        else "vehicle.moving"
    )
    if attribute == "vehicle.moving" and abs(lengths[-1] - lengths[0]) < 1.0:
        attribute = "vehicle.stopped"
    stage.act(
        category,
        attribute,
        mesh,
        Moving(stage.plan, route, times, lengths, (base, base)),
        margin_m=0.2,
    )


def _ego_lane(stage: Stage) -> None:
    """Vehicles ahead of and behind the ego vehicle keep their distance to it, all the way."""
    rng, ego = stage.rng, stage.ego
    bendy = rng.random() < 0.25
    for ahead in (1, -1):
        gap = 3.6 if ahead > 0 else 1.0
        for _ in range(4):
            category, mesh = _draw_vehicle(stage)
            half = _length(mesh) / 2
            gap += half + float(rng.uniform(3.5, 18.0))
            _drive(stage, category, mesh, ego.route, ego.times_s, ego.travelled_m + ahead * gap)
            gap += half
        if bendy and ahead < 0:
            _bendy_bus(stage, ego.route, ego.times_s, ego.travelled_m - gap - 9.0)


def _bendy_bus(stage: Stage, route: Route, times: np.ndarray, lengths: np.ndarray) -> None:
    """Both sections of a bendy bus, annotated one by one; ``lengths`` are those of the front
    section.
    """
    height, colour = float(stage.rng.uniform(3.0, 3.3)), (0.85, 0.85, 0.8)
    front = vehicles.draw_bus(stage.rng, 10.0, height, colour, section="front")
    rear = vehicles.draw_bus(stage.rng, 7.5, height, colour, section="rear")
    _drive(stage, "vehicle.bus.bendy", front, route, times, lengths)
    _drive(stage, "vehicle.bus.bendy", rear, route, times, lengths - 9.3)


def _main_road(stage: Stage) -> None:
    rng, plan, ego = stage.rng, stage.plan, stage.ego
    ego_d = ego.route.points_sd[0, 1]
    times = np.array([0.0, stage.duration_s + 1.0])
    for forward in (True, False):
        for lane in range(plan.lanes):
            d = plan.lane_d(lane, forward)
            if abs(d - ego_d) < 0.5:
                continue
            way = 1 if forward else -1
            start, end = plan.s_range_m if forward else plan.s_range_m[::-1]
            route = straight_route(plan, (start, d), (end, d))
            cross = plan.crossings[0]
            line = cross.s_m - way * (cross.half_m + cross.corner_m + 4.8)
            halted = stage.manoeuvre == "stop" or (stage.manoeuvre == "far turn" and not forward)
            if halted:
                _queue(stage, (line, d), (way, 0), led_by_bus=not forward)
                _leave(stage, route, (cross.s_m + way * (cross.half_m + cross.corner_m), d), times)
                continue
            speed = float(rng.uniform(5.0, 11.0))
            ahead = (ego.travelled_m[-1] - ego.travelled_m[0]) + 80
            reach = speed * stage.duration_s
            low = route.length_at_s(-80.0 - reach) if forward else 0.0
            length = min(low, 0.0) - 80 - (reach if forward else reach)
            last = route.length_m[-1] if not forward else 110 + ahead
            while length < last:
                category, mesh = _draw_vehicle(stage)
                length += _length(mesh) / 2 + float(rng.uniform(6.0, 30.0))
                _drive(stage, category, mesh, route, times, length + speed * times)
                length += _length(mesh) / 2


def _queue(
    stage: Stage, stop_sd: tuple[float, float], way: tuple[int, int], led_by_bus: bool
) -> None:
    """Vehicles at rest before a stop line; where asked for, and the town still lacks one, a bus is
    the first.
    """
    rng, plan = stage.rng, stage.plan
    back = float(rng.uniform(0.0, 1.0))
    turn = float(np.arctan2(way[1], way[0]))
    bus = led_by_bus and not any("bus" in actor.category for actor in stage.actors)
    for number in range(int(rng.integers(int(bus), 5))):
        category, mesh = (
            ("vehicle.bus.rigid", draw_any_bus(stage))
            if bus and number == 0
            else _draw_vehicle(stage)
        )
        half = _length(mesh) / 2
        s, d = stop_sd[0] - way[0] * (back + half), stop_sd[1] - way[1] * (back + half)
        attribute = "cycle.with_rider" if category == "vehicle.motorcycle" else "vehicle.stopped"
        stage.act(category, attribute, mesh, standing_on_road(plan, s, d, turn), margin_m=0.2)
        back += 2 * half + float(rng.uniform(1.2, 3.0))


def _leave(stage: Stage, route: Route, start_sd: tuple[float, float], times: np.ndarray) -> None:
    """Vehicles that are past a crossing and drive away."""
    rng = stage.rng
    distance = np.abs(route.points_sd - np.asarray(start_sd)).sum(axis=1)
    length, speed = float(route.length_m[distance.argmin()]), float(rng.uniform(4.0, 9.0))
    for _ in range(int(rng.integers(0, 4))):
        category, mesh = _draw_vehicle(stage)
        length += _length(mesh) / 2 + float(rng.uniform(4.0, 20.0))
        _drive(stage, category, mesh, route, times, length + speed * times)
        length += _length(mesh) / 2


def _cross_street(stage: Stage, cross: CrossStreet, first: bool) -> None:
    rng, plan = stage.rng, stage.plan
    times = np.array([0.0, stage.duration_s + 1.0])
    far = max(map(abs, plan.d_range_m))
    offset = plan.traffic * (cross.half_m - plan.lane_m / 2)
    for side in cross.arms:
        inward_s, outward_s = cross.s_m - side * offset, cross.s_m + side * offset
        kerb = plan.kerb_m(side) + cross.corner_m
        inward = straight_route(plan, (inward_s, side * far), (inward_s, -side * far))
        flows = stage.manoeuvre == "stop" and first and len(cross.arms) == 2
        if flows:
            speed = float(rng.uniform(4.5, 8.0))
            length = float(rng.uniform(-speed * stage.duration_s, -speed * stage.duration_s + 20))
            while length < 2 * far:
                category, mesh = _draw_vehicle(stage)
                length += _length(mesh) / 2 + float(rng.uniform(9.0, 40.0))
                _drive(stage, category, mesh, inward, times, length + speed * times)
                length += _length(mesh) / 2
        else:
            _queue(stage, (inward_s, side * (kerb + 4.6)), (0, -side), led_by_bus=first)
            outward = straight_route(plan, (outward_s, side * kerb), (outward_s, side * far))
            _leave(stage, outward, (outward_s, side * (kerb + 1)), times)


def _cyclists(stage: Stage) -> None:
    """Bicycles and motorcycles with riders at the lanes' outer edges, and on the pavements."""
    rng, plan = stage.rng, stage.plan
    times = np.array([0.0, stage.duration_s + 1.0])
    for _ in range(14):
        side = int(rng.choice([-1, 1]))
        way = 1 if side == -plan.traffic else -1
        on_walk = rng.random() < 0.5
        d = side * (plan.edge_m - 0.35 if not on_walk else plan.walk_m(side)[0] + 0.6)
        speed = float(rng.uniform(2.5, 4.0) if on_walk else rng.uniform(3.5, 6.0))
        reach = stage.ego_sd[:, 0]
        s = float(rng.uniform(reach.min() - 30, reach.max() + 50))
        route = straight_route(plan, (s - way * 150, d), (s + way * 150, d))
        mesh = vehicles.draw_bicycle(rng, True)
        base = 0.5
        lengths = 150.0 + speed * (times - stage.duration_s * 0.4)
        ground = stage.ground if on_walk else None
        stage.act(
            "vehicle.bicycle",
            "cycle.with_rider",
            mesh,
            Moving(plan, route, times, lengths, (base, base), ground),
        )


def _pedestrians(stage: Stage) -> None:
    rng, plan = stage.rng, stage.plan
    times = np.array([0.0, stage.duration_s + 1.0])
    reach = stage.ego_sd
    for _ in range(int(rng.integers(60, 120))):
        side = int(rng.choice([-1, 1]))
        walk = plan.walk_m(side)
        d = side * float(
            rng.uniform(walk[0] + 0.3, walk[1] + min(plan.sides[side].front_m, 1.0) - 0.3)
        )
        s = float(rng.uniform(reach[:, 0].min() - 40, reach[:, 0].max() + 60))
        kind = str(rng.choice(["adult", "child", "construction_worker"], p=[0.88, 0.07, 0.05]))
        if rng.random() < 0.25:
            for _ in range(int(rng.integers(1, 4))):
                stage_pedestrian(
                    stage, s + rng.normal(0, 0.8), d + rng.normal(0, 0.4), "standing", kind
                )
            continue
        way = int(rng.choice([-1, 1]))
        _walk(stage, kind, (s - way * 20, d), (s + way * 20, d), 20.0, times)
    for cross in plan.crossings:
        for _ in range(8):
            side = int(rng.choice(cross.arms))
            along = int(rng.choice([-1, 1]))
            s = cross.s_m + along * (cross.half_m + cross.walk_m * rng.uniform(0.3, 0.8))
            start = plan.walk_m(side)[1] + float(rng.uniform(3, 45))
            way = int(rng.choice([-1, 1]))
            _walk(
                stage,
                "adult",
                (s, side * (start - way * 20)),
                (s, side * (start + way * 20)),
                20.0,
                times,
            )
        if stage.manoeuvre in ("stop", "far turn", "start", "near turn"):
            _crossing_walkers(stage, cross)


def _walk(
    stage: Stage,
    kind: str,
    start: tuple[float, float],
    end: tuple[float, float],
    begin_m: float,
    times: np.ndarray,
) -> None:
    rng, plan = stage.rng, stage.plan
    route = straight_route(plan, start, end)
    speed = float(np.clip(rng.normal(1.3, 0.2), 0.7, 1.9))
    lengths = begin_m + speed * (times - stage.duration_s * 0.5)
    mesh = stage.pedestrian(kind, "walking")
    stage.act(
        f"human.pedestrian.{kind}",
        "pedestrian.moving",
        mesh,
        Moving(plan, route, times, lengths, (0.2, 0.2), stage.ground),
    )


def _crossing_walkers(stage: Stage, cross: CrossStreet) -> None:
    """People on the zebra crossings over the main road while traffic on it waits."""
    rng, plan = stage.rng, stage.plan
    kerbs = {side: plan.walk_m(side)[0] + 1.0 for side in (-1, 1)}
    for _ in range(12):
        along, way = int(rng.choice([-1, 1])), int(rng.choice([-1, 1]))
        s = cross.s_m + along * (cross.half_m + cross.corner_m + 1.5 + rng.uniform(-1.1, 1.1))
        start, end = (s, -way * kerbs[-way]), (s, way * kerbs[way])
        begin = float(rng.uniform(5.0, 25.0))
        times = np.array([0.0, stage.duration_s + 1.0])
        _walk(stage, "adult", start, end, begin, times)


def _complete(stage: Stage) -> None:
    """Sees to it that none of the rarer things is absent from the drive's neighbourhood."""
    for wanted, surfaces, tries in (
        ("trafficcone", ("walk", "grass", "soil", "road"), 6),
        ("barrier", ("walk", "grass", "soil", "island"), 5),
        ("bus", ("road",), 1),
        ("construction", ("grass", "soil", "plot", "lot"), 1),
        ("trailer", ("grass", "lot", "plot", "road"), 1),
        ("truck", ("lot", "road"), 1),
        ("motorcycle", ("walk", "lot", "plot"), 2),
        ("bicycle", ("walk", "plot"), 3),
    ):
        here = [actor for actor in stage.actors if wanted in actor.category]
        xy = np.array(
            [actor.world_from_actor(stage.duration_s / 2)[:2, 3] for actor in here]
        ).reshape(-1, 1, 2)
        if (np.linalg.norm(xy - stage.ego_xy, axis=-1) < 40).any():
            continue
        _place_somewhere(stage, wanted, surfaces, tries)


def _place_somewhere(stage: Stage, wanted: str, surfaces: tuple[str, ...], count: int) -> None:
    rng, plan = stage.rng, stage.plan
    draws = {
        "trafficcone": lambda: ("movable_object.trafficcone", "", props.draw_cone(rng)),
        "barrier": lambda: (
            "movable_object.barrier",
            "",
            props.draw_jersey_barrier(rng, (0.9, 0.3, 0.16), "barrier_plastic"),
        ),
        "bus": lambda: ("vehicle.bus.rigid", "vehicle.stopped", draw_any_bus(stage)),
        "construction": lambda: (
            "vehicle.construction",
            "vehicle.parked",
            vehicles.draw_loader(rng),
        ),
        "trailer": lambda: (
            "vehicle.trailer",
            "vehicle.parked",
            vehicles.draw_trailer(rng, "light"),
        ),
        "truck": lambda: (
            "vehicle.truck",
            "vehicle.parked",
            vehicles.draw_lorry(rng, "box", False),
        ),
        "motorcycle": lambda: (
            "vehicle.motorcycle",
            "cycle.without_rider",
            vehicles.draw_motorcycle(rng, False),
        ),
        "bicycle": lambda: (
            "vehicle.bicycle",
            "cycle.without_rider",
            vehicles.draw_bicycle(rng, False),
        ),
    }
    category, attribute, mesh = draws[wanted]()
    half = _length(mesh) / 2
    for _ in range(60):
        near_s, near_d = stage.ego_sd[rng.integers(len(stage.ego_sd))] + rng.uniform(-28, 28, 2)
        turn = 0.0 if near_d * plan.traffic < 0 else np.pi
        if not stage.ground.is_surface(
            near_s + np.array([-half, 0.0, half]), np.full(3, near_d), *surfaces
        ).all():
            continue
        pose = standing_upright(plan, stage.ground, near_s, near_d, turn)
        count -= stage.act(category, attribute, mesh, pose, margin_m=0.3)
        if count == 0:
            return
