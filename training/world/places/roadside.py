"""Furnishes the roadsides: traffic lights, lamps, trees, hedges, signs and street furniture."""

from __future__ import annotations

from functools import partial

import numpy as np

from training.world.places.districts import PLAIN
from training.world.places.look_alikes import put_look_alike
from training.world.places.pavement_edges import line_pavement
from training.world.places.stage import Stage
from training.world.places.verges import STREET_TREES, overgrow_verge
from training.world.things.props.furniture import (
    draw_bench,
    draw_bin,
    draw_bollard,
    draw_cabinet,
    draw_hydrant,
)
from training.world.things.props.signals import draw_direction_sign, draw_sign, draw_traffic_light


def add_signals(stage: Stage) -> None:
    """Puts traffic lights at all approaches to crossings, and a direction sign before the first."""
    plan = stage.plan
    if not (plan.crossings and plan.has_signals):
        return
    main_red = stage.manoeuvre == "stop"
    arm = 5.0 if plan.lanes > 1 else 0.0
    main = f"signal {arm} {main_red}", partial(draw_traffic_light, arm, main_red)
    cross = f"cross signal {not main_red}", partial(draw_traffic_light, 0.0, not main_red)
    mirror = (1.0, float(plan.driving_side), 1.0)  # the arm reaches over the lanes
    for crossing in plan.crossings:
        for along, turn in ((-1, np.pi), (1, 0.0)):
            side = -along * plan.driving_side
            s = crossing.s_m + along * (crossing.half_m + crossing.corner_m + 3.2)
            d = side * (plan.kerb_m(side) + 0.6)
            stage.put(*main, s, d, turn, mirror, blocks_m=0.4)
        for side in crossing.sides:
            s = crossing.s_m + side * plan.driving_side * (crossing.half_m + 0.6)
            d = side * (plan.kerb_m(side) + crossing.corner_m + 3.4)
            stage.put(*cross, s, d, side * np.pi / 2, blocks_m=0.4)
    first, side = plan.crossings[0], plan.driving_side
    s, d = first.s_m - first.half_m - 40.0, plan.pavement_m(side)[1]
    has_room = d - plan.kerb_m(side) >= 2.0
    if has_room and stage.no_driveway(s, side * (d - 0.5), 2.0):
        stage.put("direction sign", draw_direction_sign, s, side * (d - 1.2), np.pi, blocks_m=1.3)


def furnish_roadside(stage: Stage, side: int) -> None:
    """Furnishes one side of the main road (+1 left, -1 right).

    Lamps stand at even distances along the kerb; between them, and on the outer edge of wide
    pavements, trees, signs and street furniture; hedges and railings separate wide verges.
    """
    rng, plan = stage.rng, stage.plan
    parts, kerb = plan.sides[side], plan.kerb_m(side)
    has_verge = parts.verge_m >= 1.5
    is_plain = stage.district is PLAIN
    d = side * (kerb + (parts.verge_m / 2 if has_verge else 0.45))
    spacing = float(rng.uniform(24, 32))
    has_trees = rng.random() < stage.district.tree_share
    has_lamps = is_plain or rng.random() < (0.35 if stage.district.is_rural else 0.9)
    for start, end in stage.stretches(margin_m=3.0):
        for number, position in enumerate(np.arange(start + 1, end, spacing / 4)):
            s = position + rng.uniform(-0.8, 0.8)
            if not (
                stage.no_driveway(s, d, 1.0)
                and stage.ground.is_surface(s, d, "grass", "pavement", "shoulder", "yard")
            ):
                continue
            if number % 4 == 0 and has_lamps:
                stage.lamp(s, d, -side * np.pi / 2)
            elif has_trees and (has_verge or not is_plain) and rng.random() < 0.75:
                forms = None if parts.verge_m >= 2 else ("young", "columnar")
                stage.tree(s, d, forms if is_plain else STREET_TREES)
            elif is_plain or rng.random() < 0.35:
                _put_furniture(stage, s, d, side)
            else:
                put_look_alike(stage, s, d, side)
    if not is_plain:
        overgrow_verge(stage, side)
        line_pavement(stage, side)
    if parts.pavement_m >= 2.5 and rng.random() < 0.8:
        d = side * (plan.pavement_m(side)[1] - 0.45)
        for start, end in stage.stretches(margin_m=3.0):
            for s in np.arange(start + 3, end, 13.0):
                if stage.no_driveway(s, d, 1.5) and rng.random() < 0.5:
                    _put_furniture(stage, s + rng.uniform(-4, 4), d, side)
    if has_verge and rng.random() < 0.35:
        _line_verge(stage, side * (kerb + parts.verge_m - 0.5))


def _line_verge(stage: Stage, d: float) -> None:
    """Hedges and railings with gaps between them."""
    rng = stage.rng
    for start, end in stage.stretches(margin_m=5.0):
        s = start + rng.uniform(0, 20)
        while s < end - 8:
            length = min(float(rng.uniform(6, 18)), end - s)
            if stage.no_driveway(s + length / 2, d, length / 2):
                if rng.random() < 0.6:
                    stage.hedge((s, d), (s + length, d))
                else:
                    stage.fence("railing", (s, d), (s + length, d))
            s += length + rng.uniform(5, 25)


def _put_furniture(stage: Stage, s: float, d: float, side: int) -> None:
    """Puts a sign, a bin, a hydrant, a cabinet, bollards, a bench or a bush."""
    rng = stage.rng
    to_road = -side * np.pi / 2
    draw = rng.random()
    if draw < 0.22:
        name, to_traffic = f"sign {int(rng.integers(5))}", _towards_traffic(stage, side)
        stage.put(name, lambda: draw_sign(rng), s, d, to_traffic, blocks_m=0.4)
    elif draw < 0.36:
        name, turn = f"bin {int(rng.integers(3))}", rng.uniform(0, 6.28)
        stage.put(name, lambda: draw_bin(rng), s, d, turn, blocks_m=0.45)
    elif draw < 0.46:
        stage.put("hydrant", draw_hydrant, s, d, to_road, blocks_m=0.4)
    elif draw < 0.58:
        name = f"cabinet {int(rng.integers(3))}"
        stage.put(name, lambda: draw_cabinet(rng), s, d, to_road, blocks_m=0.8)
    elif draw < 0.72:
        for step in np.arange(-2.2, 2.3, 1.1):
            stage.put("bollard", draw_bollard, s + step, d, blocks_m=0.25)
    elif draw < 0.84:
        stage.put("bench", draw_bench, s, d, to_road, blocks_m=0.7)
        if rng.random() < 0.5:
            mesh = stage.catalogue.pedestrian("adult", "sitting")
            pose = stage.upright(s + 0.35, d, to_road)
            # The bench blocks its place, which the margin ignores.
            stage.add_actor(mesh, pose, "pedestrian.sitting_lying_down", margin_m=-2.0)
    else:
        stage.bush(s, d)


def _towards_traffic(stage: Stage, side: int) -> float:
    """Yaw from the road's direction of a sign that faces the traffic on its side of the road."""
    return np.pi if side == stage.plan.driving_side else 0.0


def furnish_median(stage: Stage) -> None:
    """Puts trees, a hedge, a railing, a crash rail, barriers or nothing onto the median."""
    rng = stage.rng
    kinds = ["trees", "railing", "barriers", "hedge", "guard", "bare"]
    if stage.district is not PLAIN and rng.random() < 0.6:
        kinds.remove("barriers")
    kind = str(rng.choice(kinds))
    for start, end in stage.stretches(margin_m=6.0):
        match kind:
            case "railing" | "guard":
                stage.fence(kind, (start, 0.0), (end, 0.0))
            case "hedge":
                stage.hedge((start, 0.0), (end, 0.0))
            case "barriers":
                low, high = stage.ego_sd[:, 0].min() - 30, stage.ego_sd[:, 0].max() + 40
                barrier = "plastic" if stage.tropical else "concrete"
                stage.barriers(max(start, low), min(end, high), 0.0, barrier)
            case "trees":
                narrow = ("young", "palm", "columnar") if stage.tropical else ("young", "columnar")
                for s in np.arange(start + 2, end, 9.0):
                    stage.tree(s, 0.0, narrow)
                    stage.bush(s + 4, 0.0)


def furnish_cross_streets(stage: Stage) -> None:
    """Puts lamps and trees along the cross streets."""
    rng, plan = stage.rng, stage.plan
    for cross in plan.crossings:
        for side in cross.sides:
            start = plan.kerb_m(side) + cross.corner_m + 8.0
            for along, turn in ((-1, 0.0), (1, np.pi)):
                lamp_s = cross.s_m + along * (cross.half_m + 0.5)
                tree_s = cross.s_m + along * (cross.half_m + cross.pavement_m - 0.5)
                for number, d in enumerate(np.arange(start, start + 60, 8.5)):
                    if number % 3 == 0:
                        stage.lamp(lamp_s, side * d, turn)
                    elif cross.pavement_m >= 2.5 and rng.random() < 0.5:
                        stage.tree(tree_s, side * d, ("young", "columnar"))
