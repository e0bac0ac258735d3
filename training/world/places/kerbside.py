"""Uses of the kerb: parked vehicles, bus stops, loading, road works."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.world.places.districts import PLAIN
from training.world.places.stage import Stage
from training.world.scene import Mesh
from training.world.things.meshes import footprint_size
from training.world.things.props.furniture import draw_bus_stop
from training.world.things.vehicles.cars import draw_pickup
from training.world.things.vehicles.construction import draw_excavator, draw_loader, draw_roller
from training.world.things.vehicles.cycles import draw_bicycle, draw_motorcycle
from training.world.things.vehicles.trucks import draw_lorry, draw_trailer

_REQUIRED = ("works", "bus", "trailer", "lorry", "cycles", "motorcycles")
"""Uses that each side of the road has once near the drive, if there is room."""
_SEEN_TO = 0.25
"""Chance that a side of the road has one of them outside the plain town."""
_FREQUENCIES = {
    "car": 0.63,
    "gap": 0.13,
    "lorry": 0.05,
    "pickup": 0.03,
    "motorcycles": 0.05,
    "cycles": 0.04,
    "barriers": 0.02,
    "trailer": 0.02,
    "cones": 0.03,
}

_RARER = {
    "lorry": 0.015,
    "pickup": 0.01,
    "motorcycles": 0.008,
    "cycles": 0.008,
    "barriers": 0.008,
    "trailer": 0.003,
    "cones": 0.01,
}
"""Frequencies of the rarer uses outside the plain town."""


@dataclass(frozen=True)
class _Slot:
    """The stretch of kerb that is still unused."""

    side: int
    """Side of the road: +1 left, -1 right."""
    s: float
    """Where it begins."""
    end: float
    middle_d: float
    """The d of the middle of the parking bay, or of the kerb where there is none."""
    turn: float
    """Yaw from the road's direction of a vehicle that parks in driving direction."""
    on_pavement: float = 0.0
    """Where there is no bay: the fraction of a car's width that is on the pavement; 0 if none park.
    """


def use_kerb(stage: Stage, side: int) -> None:
    """Uses the kerb on one side of the main road (+1 left, -1 right), stretch after stretch."""
    rng, plan = stage.rng, stage.plan
    turn = 0.0 if side == plan.driving_side else np.pi
    middle_d = side * (plan.edge_m + plan.sides[side].bay_m / 2)
    required = list(rng.permutation(_REQUIRED))
    frequencies = _FREQUENCIES
    if stage.district is not PLAIN:
        required = required[: int(rng.random() < _SEEN_TO)]
        frequencies = _vary_uses(stage)
    on_pavement = _pavement_parking(stage, side)
    shares = np.array(list(frequencies.values()))
    near_start, near_end = stage.ego_sd[0, 0] - 10, stage.ego_sd[-1, 0] + 35
    for start, end in stage.stretches(margin_m=6.0):
        s = start + rng.uniform(0, 4)
        while s < end - 5:
            if near_start < s < near_end and required and rng.random() < 0.6:
                use = required.pop()
            else:
                use = str(rng.choice(list(frequencies), p=shares / shares.sum()))
            s += _use(stage, use, _Slot(side, s, end, middle_d, turn, on_pavement))


def _pavement_parking(stage: Stage, side: int) -> float:
    """``_Slot.on_pavement`` of one side of the road, as frequent as it is in the district."""
    rng, parts = stage.rng, stage.plan.sides[side]
    share = stage.district.pavement_parking
    # without a draw of a random number where no car may: the plain town stays what it is
    if not share or parts.bay_m or parts.verge_m or rng.random() >= share:
        return 0.0
    return 1.0 if parts.pavement_m >= 3.0 and rng.random() < 0.5 else float(rng.uniform(0.3, 0.7))


def _vary_uses(stage: Stage) -> dict[str, float]:
    """Frequencies of the uses of one kerb; one of the rarer ones may be frequent here."""
    rng = stage.rng
    parked = float(rng.uniform(*stage.district.parked))
    uses = dict(_RARER)
    uses |= {"car": 1.4 * parked, "van": 0.15 * parked, "gap": 0.7 * (1.0 - parked)}
    uses[str(rng.choice(list(_RARER)))] *= float(rng.choice([1.0, 3.0, 6.0]))
    return uses


def _use(stage: Stage, use: str, slot: _Slot) -> float:
    """Fills the beginning of the slot; returns the length used."""
    rng = stage.rng
    match use:
        case "car":
            return _park(stage, slot, stage.catalogue.car())
        case "van":
            return _park(stage, slot, stage.catalogue.tall_van())
        case "gap":
            return float(rng.uniform(4, 14))
        case "lorry":
            return _lorry(stage, slot)
        case "pickup":
            mesh = draw_lorry(rng, "flatbed", heavy=False) if stage.tropical else draw_pickup(rng)
            return _park(stage, slot, mesh)
        case "trailer":
            kind = str(rng.choice(["semi", "container", "light"]))
            return _park(stage, slot, draw_trailer(rng, kind))
        case "motorcycles":
            return _motorcycles(stage, slot)
        case "cycles":
            return _bicycles(stage, slot)
        case "barriers":
            return _barriers(stage, slot)
        case "cones":
            return _cones(stage, slot)
        case "bus":
            return _bus_stop(stage, slot)
        case "works":
            return _road_works(stage, slot)
    raise ValueError(f"unknown use of the kerb: {use!r}")


def _park(stage: Stage, slot: _Slot, mesh: Mesh, attribute: str = "vehicle.parked") -> float:
    """Parks a vehicle, if there is room and no driveway; returns the length that it takes."""
    rng, side = stage.rng, slot.side
    parts = stage.plan.sides[side]
    length, width = footprint_size(mesh)
    across = 0.0
    if parts.bay_m > 4.0 and length < parts.bay_m + 0.5:
        across, length = rng.choice([-np.pi / 2, np.pi / 2]), width
    s = slot.s + length / 2
    has_room = parts.bay_m > 0 or (slot.on_pavement and width < 2.2)
    if has_room and stage.no_driveway(s, side * (stage.plan.kerb_m(side) + 0.75), length / 2):
        d = slot.middle_d + rng.normal(0, 0.08)
        turn = slot.turn + across + rng.normal(0, 0.015)
        level_m = stage.ground.level_m(parts.bay)
        if not parts.bay_m:
            d += side * width * (slot.on_pavement - 0.5)
            level_m = slot.on_pavement * stage.ground.level_m(parts.pavement)
        stage.add_actor(mesh, stage.on_road(s, d, turn, level_m), attribute)
    return length + float(rng.uniform(0.7, 2.5))


def _lorry(stage: Stage, slot: _Slot) -> float:
    """A lorry, half of them with two cones behind them."""
    rng = stage.rng
    load = str(rng.choice(["box", "box", "canopy", "flatbed", "tipper"]))
    mesh = draw_lorry(rng, load, heavy=bool(rng.random() < 0.6))
    length = _park(stage, slot, mesh)
    if rng.random() < 0.5 and stage.plan.sides[slot.side].bay_m:
        for step in (0.6, 1.8):
            stage.cone(slot.s + length + step, slot.middle_d - slot.side * 0.8)
        length += 3.0
    return length


def _barriers(stage: Stage, slot: _Slot) -> float:
    length = min(float(stage.rng.uniform(8, 26)), slot.end - slot.s)
    d = slot.side * (stage.plan.kerb_m(slot.side) - 0.5)
    kind = "plastic" if stage.tropical else "concrete"
    stage.barriers(slot.s, slot.s + length, d, kind)
    return length


def _cones(stage: Stage, slot: _Slot) -> float:
    """A row of cones in the bay, or behind the kerb where there is none."""
    plan, side = stage.plan, slot.side
    length = min(float(stage.rng.uniform(5, 12)), slot.end - slot.s)
    d = side * (plan.kerb_m(side) + (-0.45 if plan.sides[side].bay_m else 0.4))
    for step in np.arange(0.5, length, 2.0):
        stage.cone(slot.s + step, d)
    return length + 1.0


def _bus_stop(stage: Stage, slot: _Slot) -> float:
    """A bus stop with people, and with its bus where there is a bay."""
    rng, plan, side = stage.rng, stage.plan, slot.side
    inner, outer = plan.pavement_m(side)
    s = slot.s + 7.0
    if slot.end - slot.s < 14 or not stage.no_driveway(s, side * (inner + 0.5), 6.0):
        return 1.0
    if outer - inner + plan.sides[side].forecourt_m >= 2.5:
        d, turn = side * max(outer - 0.3, inner + 1.2), -side * np.pi / 2
        stage.put("bus stop", lambda: draw_bus_stop(5.0), s, d, turn, blocks_m=2.2)
    _park(stage, slot, stage.catalogue.bus(), "vehicle.stopped")
    for _ in range(int(rng.integers(2, 6))):
        along = rng.uniform(-4, 4)
        stage.person(s + along, side * rng.uniform(inner + 0.3, max(outer - 0.9, inner + 0.3)))
    return 15.0


def _bicycles(stage: Stage, slot: _Slot) -> float:
    """Bicycles side by side on the pavement."""
    rng, plan, side = stage.rng, stage.plan, slot.side
    d = side * (plan.pavement_m(side)[0] + 0.9)
    count = int(rng.integers(2, 6))
    if not stage.no_driveway(slot.s + count * 0.35, d, 1.5):
        return 1.0
    for number in range(count):
        pose = stage.upright(slot.s + 0.7 * number, d, side * np.pi / 2 + rng.normal(0, 0.12))
        mesh = draw_bicycle(rng, rider=False)
        stage.add_actor(mesh, pose, "cycle.without_rider", margin_m=-0.25)
    return 1.0 if plan.sides[side].bay_m else count * 0.7 + 3.0


def _motorcycles(stage: Stage, slot: _Slot) -> float:
    """Motorcycles at an angle in the bay, or on the pavement where there is none."""
    rng, plan, side = stage.rng, stage.plan, slot.side
    count = int(rng.integers(1, 4))
    in_bay = plan.sides[side].bay_m > 0
    d = slot.middle_d if in_bay else side * (plan.pavement_m(side)[0] + 1.1)
    if not stage.no_driveway(slot.s + count * 0.5, side * (plan.kerb_m(side) + 0.3), 1.5):
        return 2.0
    for number in range(count):
        turn = side * np.pi / 2 + 0.5 + rng.normal(0, 0.1)
        s = slot.s + 0.8 + 1.1 * number
        pose = stage.on_road(s, d, turn) if in_bay else stage.upright(s, d, turn)
        mesh = draw_motorcycle(rng, rider=False)
        stage.add_actor(mesh, pose, "cycle.without_rider", margin_m=-0.15)
    return count * 1.1 + 1.5


def _road_works(stage: Stage, slot: _Slot) -> float:
    """Dug-up ground behind barriers and a taper of cones, with a machine and workers."""
    rng, plan, side = stage.rng, stage.plan, slot.side
    length = min(float(rng.uniform(16, 26)), slot.end - slot.s)
    parts, kerb, pavement = plan.sides[side], plan.kerb_m(side), plan.pavement_m(side)[0]
    middle_s = slot.s + length / 2
    if length < 12 or not stage.no_driveway(middle_s, side * (pavement + 0.3), length / 2):
        return 1.0
    # From the lane's edge into the pavement; all of the pavement where there is little else.
    inner = plan.edge_m + 0.3 if parts.bay_m else kerb + 0.3
    outer = pavement + (1.0 if parts.bay_m + parts.verge_m > 3.5 else parts.pavement_m)
    if outer - kerb > 0.9:
        hole_s, hole_d = (slot.s + 2, slot.s + length - 2), (side * kerb, side * (outer - 0.5))
        stage.ground.paint("soil", hole_s, hole_d)
    kinds = ["plastic", "works"] if stage.tropical else ["concrete", "works", "plastic"]
    kind = str(rng.choice(kinds))
    stage.barriers(slot.s + 2.5, slot.s + length - 2.5, side * (inner + 0.35), kind)
    depth = outer - inner - 0.6
    for fraction in np.linspace(0, 1, int(length / 2.2)):
        taper = min(1.0, 5 * fraction, 5 * (1 - fraction))
        stage.cone(slot.s + fraction * length, side * (inner + (-0.15 + depth * (1 - taper))))
    draw = (draw_excavator, draw_loader, draw_roller)[int(rng.integers(3))]
    machine = draw(rng)
    if outer - inner > footprint_size(machine)[1] + 0.4:
        d = side * (inner + 0.75 + (outer - inner - 0.5) / 2)
        pose = stage.on_road(slot.s + length * 0.5, d, rng.choice([0, np.pi]))
        stage.add_actor(machine, pose, "vehicle.parked", margin_m=-0.2)
    for _ in range(int(rng.integers(1, 4))):
        s = slot.s + rng.uniform(3, length - 3)
        d = side * rng.uniform(inner + 0.9, max(outer - 0.3, inner + 0.9))
        stage.person(s, d, "construction_worker")
    return length + 2.0
