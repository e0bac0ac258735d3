"""Along the kerbs: lamps, trees, signs, street furniture, bus stops, parked vehicles, works."""

from __future__ import annotations

from functools import partial

import numpy as np

from training.world.places.plots import barrier_row
from training.world.places.stage import Stage
from training.world.places.traffic import Standing, standing_on_road, standing_upright
from training.world.scene import Mesh
from training.world.things import props, vehicles


def line_kerbs(stage: Stage) -> None:
    """Furnishes both sides of the main road, the median, and the corners of crossings."""
    _signals(stage)
    for side in (-1, 1):
        _use_kerb(stage, side)
        _furnish(stage, side)
    if stage.plan.median_m:
        _median(stage)
    _side_streets(stage)


def _stretches(stage: Stage, side: int, margin_m: float) -> list[tuple[float, float]]:
    """Stretches of the main road within reach and away from crossings."""
    plan = stage.plan
    low, high = stage.ego_sd[:, 0].min() - 75, stage.ego_sd[:, 0].max() + 75
    pieces = [(max(low, plan.s_range_m[0]), min(high, plan.s_range_m[1]))]
    for cross in plan.crossings:
        clear = cross.half_m + cross.corner_m + margin_m
        pieces = [
            p
            for a, b in pieces
            for p in ((a, min(b, cross.s_m - clear)), (max(a, cross.s_m + clear), b))
            if p[1] - p[0] > 4
        ]
    return pieces


def _free(stage: Stage, s: float, d: float, reach_m: float) -> bool:
    """Whether the ground within ``reach_m`` along the road is no driveway."""
    return not stage.ground.is_surface(
        s + np.array([-reach_m, 0.0, reach_m]), np.full(3, d), "lot", "dropped"
    ).any()


def _use_kerb(stage: Stage, side: int) -> None:
    """What stands at the kerb, one after another: parked vehicles, bus stops, loading, works."""
    rng, plan = stage.rng, stage.plan
    parts = plan.sides[side]
    turn = 0.0 if side == -plan.traffic else np.pi
    middle = side * (plan.edge_m + parts.bay_m / 2)
    wanted = list(rng.permutation(["works", "bus", "trailer", "lorry", "cycles", "motorcycles"]))
    ends = (stage.ego_sd[0, 0] - 10, stage.ego_sd[-1, 0] + 35)
    for start, end in _stretches(stage, side, 6.0):
        s = start + rng.uniform(0, 4)
        while s < end - 5:
            near = ends[0] < s < ends[1]
            if near and wanted and rng.random() < 0.6:
                kind = wanted.pop()
            else:
                kind = str(
                    rng.choice(
                        [
                            "car",
                            "gap",
                            "lorry",
                            "pickup",
                            "motorcycles",
                            "cycles",
                            "barriers",
                            "trailer",
                            "cones",
                        ],
                        p=[0.63, 0.13, 0.05, 0.03, 0.05, 0.04, 0.02, 0.02, 0.03],
                    )
                )
            s += _KERB_USES[kind](stage, side, s, end, middle, turn)


def _park(
    stage: Stage,
    mesh: Mesh,
    category: str,
    s: float,
    middle: float,
    turn: float,
    attribute: str = "vehicle.parked",
) -> float:
    """Parks a vehicle that begins at ``s``; returns the room it takes."""
    length = float(np.ptp(mesh.vertices[:, 0]))
    place, rng = s + length / 2, stage.rng
    if stage.plan.sides[int(np.sign(middle))].bay_m and _free(
        stage, place, middle + np.sign(middle) * 2.0, length / 2
    ):
        pose = standing_on_road(
            stage.plan, place, middle + rng.normal(0, 0.08), turn + rng.normal(0, 0.015)
        )
        stage.act(category, attribute, mesh, pose)
    return length + float(rng.uniform(0.7, 2.5))


def _car(stage: Stage, side: int, s: float, end: float, middle: float, turn: float) -> float:
    return _park(stage, stage.car(), "vehicle.car", s, middle, turn)


def _pickup(stage: Stage, side: int, s: float, end: float, middle: float, turn: float) -> float:
    draw = (
        vehicles.draw_pickup
        if stage.plan.traffic > 0
        else lambda rng: vehicles.draw_lorry(rng, "flatbed", False)
    )
    return _park(stage, draw(stage.rng), "vehicle.truck", s, middle, turn)


def _lorry(stage: Stage, side: int, s: float, end: float, middle: float, turn: float) -> float:
    rng = stage.rng
    mesh = vehicles.draw_lorry(
        rng,
        str(rng.choice(["box", "box", "canopy", "flatbed", "tipper"])),
        bool(rng.random() < 0.6),
    )
    room = _park(stage, mesh, "vehicle.truck", s, middle, turn)
    if rng.random() < 0.5 and stage.plan.sides[side].bay_m:
        for step in (0.6, 1.8):
            cone(stage, s + room + step, middle - side * 0.8)
        room += 3.0
    return room


def _trailer(stage: Stage, side: int, s: float, end: float, middle: float, turn: float) -> float:
    mesh = vehicles.draw_trailer(stage.rng, str(stage.rng.choice(["semi", "container", "light"])))
    return _park(stage, mesh, "vehicle.trailer", s, middle, turn, "vehicle.parked")


def _gap(stage: Stage, side: int, s: float, end: float, middle: float, turn: float) -> float:
    return float(stage.rng.uniform(4, 14))


def _barriers(stage: Stage, side: int, s: float, end: float, middle: float, turn: float) -> float:
    length = min(float(stage.rng.uniform(8, 26)), end - s)
    barrier_row(
        stage,
        s,
        s + length,
        side * (stage.plan.kerb_m(side) - 0.5),
        "plastic" if stage.tropical else "concrete",
    )
    return length


def _cones(stage: Stage, side: int, s: float, end: float, middle: float, turn: float) -> float:
    length = min(float(stage.rng.uniform(5, 12)), end - s)
    for step in np.arange(0.5, length, 2.0):
        cone(
            stage,
            s + step,
            side * (stage.plan.kerb_m(side) - 0.45)
            if stage.plan.sides[side].bay_m
            else side * (stage.plan.kerb_m(side) + 0.4),
        )
    return length + 1.0


def _bus(stage: Stage, side: int, s: float, end: float, middle: float, turn: float) -> float:
    """A bus stop, with its bus where there is a bay."""
    rng, plan = stage.rng, stage.plan
    walk = plan.walk_m(side)
    place = s + 7.0
    if end - s < 14 or not _free(stage, place, side * (walk[0] + 0.5), 6.0):
        return 1.0
    if walk[1] - walk[0] + plan.sides[side].front_m >= 2.5:
        stage.put(
            "bus stop",
            lambda: props.draw_bus_stop(5.0),
            place,
            side * (walk[1] - 0.3),
            -side * np.pi / 2,
            blocks_m=2.2,
        )
    mesh = draw_any_bus(stage)
    _park(stage, mesh, "vehicle.bus.rigid", s, middle, turn, "vehicle.stopped")
    for _ in range(int(rng.integers(2, 6))):
        spot = place + rng.uniform(-4, 4), side * rng.uniform(walk[0] + 0.3, walk[1] - 0.9)
        stage_pedestrian(stage, *spot, "standing")
    return 15.0


def draw_any_bus(stage: Stage) -> Mesh:
    """A bus as the region has them."""
    rng = stage.rng
    if stage.plan.traffic > 0:
        if rng.random() < 0.4:
            return vehicles.draw_school_bus(rng)
        return vehicles.draw_bus(
            rng, float(rng.uniform(10.5, 12.2)), float(rng.uniform(2.95, 3.2)), (0.92, 0.92, 0.88)
        )
    double = rng.random() < 0.4
    colour = rng.choice([(0.25, 0.65, 0.25), (0.70, 0.12, 0.15), (0.45, 0.2, 0.5)])
    return vehicles.draw_bus(
        rng, float(rng.uniform(9.0, 12.2)), 4.3 if double else float(rng.uniform(2.95, 3.4)), colour
    )


def _cycles(stage: Stage, side: int, s: float, end: float, middle: float, turn: float) -> float:
    """Bicycles at a rail on the pavement."""
    rng, plan = stage.rng, stage.plan
    walk = plan.walk_m(side)
    d = side * (walk[0] + 0.9)
    count = int(rng.integers(2, 6))
    if not _free(stage, s + count * 0.35, d, 1.5):
        return 1.0
    for number in range(count):
        place = standing_upright(
            plan, stage.ground, s + 0.7 * number, d, side * np.pi / 2 + rng.normal(0, 0.12)
        )
        stage.act(
            "vehicle.bicycle",
            "cycle.without_rider",
            vehicles.draw_bicycle(rng, False),
            place,
            margin_m=-0.25,
        )
    return 1.0 if plan.sides[side].bay_m else count * 0.7 + 3.0


def _motorcycles(
    stage: Stage, side: int, s: float, end: float, middle: float, turn: float
) -> float:
    rng, plan = stage.rng, stage.plan
    count = int(rng.integers(1, 4))
    in_bay = plan.sides[side].bay_m > 0
    d = middle if in_bay else side * (plan.walk_m(side)[0] + 1.1)
    if not _free(stage, s + count * 0.5, side * (plan.kerb_m(side) + 0.3), 1.5):
        return 2.0
    for number in range(count):
        turned = side * np.pi / 2 + 0.5 + rng.normal(0, 0.1)
        where = s + 0.8 + 1.1 * number
        pose = (
            standing_on_road(plan, where, d, turned)
            if in_bay
            else standing_upright(plan, stage.ground, where, d, turned)
        )
        stage.act(
            "vehicle.motorcycle",
            "cycle.without_rider",
            vehicles.draw_motorcycle(rng, False),
            pose,
            margin_m=-0.15,
        )
    return count * 1.1 + 1.5


def _works(stage: Stage, side: int, s: float, end: float, middle: float, turn: float) -> float:
    """Road works: dug-up ground from the lane's edge to the pavement, barriers around, cones, a
    machine, workers.
    """
    rng, plan = stage.rng, stage.plan
    length = min(float(rng.uniform(16, 26)), end - s)
    parts = plan.sides[side]
    inner, outer = (
        plan.edge_m + 0.3,
        plan.walk_m(side)[0] + (1.0 if parts.bay_m + parts.verge_m > 3.5 else parts.walk_m),
    )
    if length < 12 or not _free(
        stage, s + length / 2, side * (plan.walk_m(side)[0] + 0.3), length / 2
    ):
        return 1.0
    if not parts.bay_m:
        inner = plan.kerb_m(side) + 0.3
    if outer - plan.kerb_m(side) > 0.9:
        stage.ground.paint(
            "soil", (s + 2, s + length - 2), (side * plan.kerb_m(side), side * (outer - 0.5))
        )
    kind = (
        str(rng.choice(["plastic", "works"]))
        if stage.tropical
        else str(rng.choice(["concrete", "works", "plastic"]))
    )
    barrier_row(stage, s + 2.5, s + length - 2.5, side * (inner + 0.35), kind)
    room = outer - inner - 0.6
    for share in np.linspace(0, 1, int(length / 2.2)):
        taper = min(1.0, 5 * share, 5 * (1 - share))
        depth = -0.15 + room * (1 - taper)
        cone(stage, s + share * length, side * (inner + depth))
    machine = [vehicles.draw_excavator, vehicles.draw_loader, vehicles.draw_roller][
        int(rng.integers(3))
    ](rng)
    width = float(np.ptp(machine.vertices[:, 1]))
    if outer - inner > width + 0.4:
        pose = standing_on_road(
            plan,
            s + length * 0.5,
            side * (inner + 0.75 + (outer - inner - 0.5) / 2),
            rng.choice([0, np.pi]),
            0.0,
        )
        stage.act("vehicle.construction", "vehicle.parked", machine, pose, margin_m=-0.2)
    for _ in range(int(rng.integers(1, 4))):
        spot = s + rng.uniform(3, length - 3), side * rng.uniform(inner + 0.9, outer - 0.3)
        stage_pedestrian(stage, *spot, "standing", "construction_worker")
    return length + 2.0


def cone(stage: Stage, s: float, d: float) -> None:
    """A traffic cone."""
    mesh = stage.template(f"cone {int(stage.rng.integers(6))}", lambda: props.draw_cone(stage.rng))
    pose = standing_upright(stage.plan, stage.ground, s, d, stage.rng.uniform(0, 6.28))
    stage.act("movable_object.trafficcone", "", mesh, pose, margin_m=-0.2)


def stage_pedestrian(stage: Stage, s: float, d: float, pose: str, kind: str = "adult") -> bool:
    """A person at rest."""
    mesh = stage.pedestrian(kind, pose)
    motion: Standing = standing_upright(stage.plan, stage.ground, s, d, stage.rng.uniform(0, 6.28))
    attribute = "pedestrian.sitting_lying_down" if pose == "sitting" else "pedestrian.standing"
    return stage.act(f"human.pedestrian.{kind}", attribute, mesh, motion)


_KERB_USES = {
    "car": _car,
    "pickup": _pickup,
    "lorry": _lorry,
    "trailer": _trailer,
    "gap": _gap,
    "barriers": _barriers,
    "cones": _cones,
    "bus": _bus,
    "cycles": _cycles,
    "motorcycles": _motorcycles,
    "works": _works,
}


def _furnish(stage: Stage, side: int) -> None:
    """Lamps at even distances; between them trees, signs and small things on the verge or the
    pavement's outer edge.
    """
    rng, plan = stage.rng, stage.plan
    parts = plan.sides[side]
    verge = parts.verge_m >= 1.5
    strip = side * (plan.kerb_m(side) + (parts.verge_m / 2 if verge else 0.45))
    spacing = float(rng.uniform(24, 32))
    trees = rng.random() < 0.8
    for start, end in _stretches(stage, side, 3.0):
        for number, s in enumerate(np.arange(start + 1, end, spacing / 4)):
            place = s + rng.uniform(-0.8, 0.8)
            if not _free(stage, place, strip, 1.0) or not stage.ground.is_surface(
                place, strip, "grass", "walk"
            ):
                continue
            if number % 4 == 0:
                stage.lamp(place, strip, -side * np.pi / 2)
            elif trees and verge and rng.random() < 0.75:
                stage.tree(place, strip, None if parts.verge_m >= 2 else ("young", "columnar"))
            else:
                _small_thing(stage, place, strip, side)
    if parts.walk_m >= 2.5 and rng.random() < 0.8:
        back = side * (plan.walk_m(side)[1] - 0.45)
        for start, end in _stretches(stage, side, 3.0):
            for s in np.arange(start + 3, end, 13.0):
                if _free(stage, s, back, 1.5) and rng.random() < 0.5:
                    _small_thing(stage, s + rng.uniform(-4, 4), back, side)
    if verge and rng.random() < 0.35:
        inner = side * (plan.kerb_m(side) + parts.verge_m - 0.5)
        for start, end in _stretches(stage, side, 5.0):
            s = start + rng.uniform(0, 20)
            while s < end - 8:
                length = min(float(rng.uniform(6, 18)), end - s)
                if _free(stage, s + length / 2, inner, length / 2):
                    if rng.random() < 0.6:
                        stage.hedge((s, inner), (s + length, inner))
                    else:
                        stage.fence("railing", (s, inner), (s + length, inner))
                s += length + rng.uniform(5, 25)


def _small_thing(stage: Stage, s: float, d: float, side: int) -> None:
    rng = stage.rng
    inward = -side * np.pi / 2
    draw = rng.random()
    oncoming = np.pi if side == -stage.plan.traffic else 0.0
    if draw < 0.22:
        stage.put(
            f"sign {int(rng.integers(5))}",
            lambda: props.draw_sign(rng),
            s,
            d,
            oncoming,
            blocks_m=0.4,
        )
    elif draw < 0.36:
        stage.put(
            f"bin {int(rng.integers(3))}",
            lambda: props.draw_bin(rng),
            s,
            d,
            rng.uniform(0, 6.28),
            blocks_m=0.45,
        )
    elif draw < 0.46:
        stage.put("hydrant", props.draw_hydrant, s, d, inward, blocks_m=0.4)
    elif draw < 0.58:
        stage.put(
            f"cabinet {int(rng.integers(3))}",
            lambda: props.draw_cabinet(rng),
            s,
            d,
            inward,
            blocks_m=0.8,
        )
    elif draw < 0.72:
        for step in np.arange(-2.2, 2.3, 1.1):
            stage.put("bollard", props.draw_bollard, s + step, d, blocks_m=0.25)
    elif draw < 0.84:
        stage.put("bench", props.draw_bench, s, d, inward, blocks_m=0.7)
        if rng.random() < 0.5:
            _sitter(stage, s, d, inward)
    else:
        stage.bush(s, d)


def _sitter(stage: Stage, s: float, d: float, turn: float) -> None:
    """Someone on the bench that stands there."""
    mesh = stage.pedestrian("adult", "sitting")
    motion = standing_upright(stage.plan, stage.ground, s + 0.35, d, turn)
    stage.act(
        "human.pedestrian.adult", "pedestrian.sitting_lying_down", mesh, motion, margin_m=-2.0
    )


def _median(stage: Stage) -> None:
    rng = stage.rng
    kind = str(rng.choice(["trees", "railing", "barriers", "hedge", "guard", "bare"]))
    for start, end in _stretches(stage, 1, 6.0):
        if kind in ("railing", "guard"):
            stage.fence(kind, (start, 0.0), (end, 0.0))
        elif kind == "hedge":
            stage.hedge((start, 0.0), (end, 0.0))
        elif kind == "barriers":
            low, high = stage.ego_sd[:, 0].min() - 30, stage.ego_sd[:, 0].max() + 40
            barrier_row(
                stage,
                max(start, low),
                min(end, high),
                0.0,
                "plastic" if stage.tropical else "concrete",
            )
        elif kind == "trees":
            for s in np.arange(start + 2, end, 9.0):
                stage.tree(
                    s,
                    0.0,
                    ("young", "palm", "columnar") if stage.tropical else ("young", "columnar"),
                )
                stage.bush(s + 4, 0.0)


def _signals(stage: Stage) -> None:
    """Traffic lights at every approach to the crossings, and a direction sign before the first."""
    plan = stage.plan
    main_red = stage.manoeuvre == "stop"
    for cross in plan.crossings:
        for along in (-1, 1):
            side = along * plan.traffic
            s = cross.s_m + along * (cross.half_m + cross.corner_m + 3.2)
            d = side * (plan.kerb_m(side) + 0.6)
            facing = np.pi if along < 0 else 0.0
            arm = 5.0 if plan.lanes > 1 else 0.0
            name = f"signal {arm} {main_red} {plan.traffic}"
            mirror = (1.0, float(-plan.traffic), 1.0)
            stage.put(
                name,
                partial(props.draw_traffic_light, arm, main_red),
                s,
                d,
                facing,
                mirror,
                blocks_m=0.4,
            )
        for side in cross.arms:
            s = cross.s_m - side * plan.traffic * (cross.half_m + 0.6)
            d = side * (plan.kerb_m(side) + cross.corner_m + 3.4)
            stage.put(
                f"signal side {not main_red}",
                lambda: props.draw_traffic_light(0.0, not main_red),
                s,
                d,
                side * np.pi / 2,
                blocks_m=0.4,
            )
    first = plan.crossings[0]
    side = -plan.traffic
    s = first.s_m - first.half_m - 40.0
    if _free(stage, s, side * (plan.walk_m(side)[1] - 0.5), 2.0):
        stage.put(
            "gantry",
            props.draw_gantry_sign,
            s,
            side * (plan.walk_m(side)[1] - 1.2),
            np.pi,
            blocks_m=1.3,
        )


def _side_streets(stage: Stage) -> None:
    """Trees, lamps and parked cars along the streets that cross."""
    rng, plan = stage.rng, stage.plan
    for cross in plan.crossings:
        for side in cross.arms:
            start = plan.kerb_m(side) + cross.corner_m + 8.0
            for along in (-1, 1):
                s = cross.s_m + along * (cross.half_m + 0.5)
                for number, d in enumerate(np.arange(start, start + 60, 8.5)):
                    if number % 3 == 0:
                        stage.lamp(s, side * d, 0.0 if along < 0 else np.pi)
                    elif cross.walk_m >= 2.5 and rng.random() < 0.5:
                        stage.tree(
                            cross.s_m + along * (cross.half_m + cross.walk_m - 0.5),
                            side * d,
                            ("young", "columnar"),
                        )
