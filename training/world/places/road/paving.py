"""Paints the streets of a plan onto the ground."""

from __future__ import annotations

from training.world.places.road.ground import Ground
from training.world.places.road.layout import CrossStreet, RoadPlan


def pave(plan: RoadPlan, ground: Ground) -> None:
    """Paints pavements, verges, carriageways, parking bays, corners, medians and islands.

    Later paint covers earlier, so that the order matters.
    """
    s_all = plan.s_range_m
    for side, parts in plan.sides.items():
        inner, outer = plan.pavement_m(side)
        forecourt = "yard" if parts.forecourt_m > 3.0 else parts.pavement
        if parts.bank.rise_m:
            forecourt = "grass"
        ground.paint(forecourt, s_all, (side * outer, side * plan.plots_m(side)))
        ground.paint(parts.verge, s_all, (side * plan.kerb_m(side), side * inner))
        ground.paint(parts.pavement, s_all, (side * inner, side * outer))
    for cross in plan.crossings:
        outer = cross.half_m + cross.pavement_m
        for side in cross.sides:
            d = (side * plan.kerb_m(side), side * plan.reach_m)
            ground.paint(plan.sides[side].pavement, (cross.s_m - outer, cross.s_m + outer), d)
    ground.paint("road", s_all, (-plan.edge_m, plan.edge_m))
    for side, parts in plan.sides.items():
        if parts.bay_m:
            ground.paint(parts.bay, s_all, (side * plan.edge_m, side * plan.kerb_m(side)))
    if plan.median_m:
        median = "island" if plan.median_m < 3 else "grass"
        ground.paint(median, s_all, (-plan.median_m / 2, plan.median_m / 2))
    for cross in plan.crossings:
        _pave_crossing(plan, ground, cross)


def _pave_crossing(plan: RoadPlan, ground: Ground, cross: CrossStreet) -> None:
    clear = cross.half_m + cross.corner_m + 4.0
    approach = (cross.s_m - clear, cross.s_m + clear)
    for side, parts in plan.sides.items():
        # People wait at the kerb: there is no verge before a crossing.
        d = (side * plan.kerb_m(side), side * plan.pavement_m(side)[0])
        ground.paint(parts.pavement, approach, d)
    ground.paint("road", approach, (-plan.median_m / 2, plan.median_m / 2))
    for side in cross.sides:
        s = (cross.s_m - cross.half_m, cross.s_m + cross.half_m)
        ground.paint("road", s, (side * plan.edge_m, side * plan.reach_m))
        kerb = plan.kerb_m(side)
        for along in (-1, 1):
            corner = (cross.s_m + along * cross.half_m, side * kerb)
            ground.round_corner(corner, (along, side), cross.corner_m)
        if cross.half_m > 5:
            island = kerb + cross.corner_m + 5.0
            d = (side * island, side * (island + 12.0))
            ground.paint("island", (cross.s_m - 0.5, cross.s_m + 0.5), d)
