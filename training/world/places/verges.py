"""Lets verges and pavements without paving grow over: weeds, shrubs, ground cover, overhang."""

from __future__ import annotations

import numpy as np

from training.world.places.planting import plant_grass, plant_shrub, plant_thicket
from training.world.places.road.ground import SURFACES
from training.world.places.stage import Stage

STREET_TREES = ("broad", "broad", "old", "round", "young", "columnar")
"""Their crowns hang over pavement and road, 3 m above it or more."""


def overgrow_verge(stage: Stage, side: int) -> None:
    """Grows weeds, shrubs and ground cover on one side of the road, where it is not paved."""
    rng, plan = stage.rng, stage.plan
    parts, kerb = plan.sides[side], plan.kerb_m(side)
    inner, outer = plan.pavement_m(side)
    strips = [(kerb + 0.2, inner - 0.2)] if parts.verge_m >= 1.0 else []
    if SURFACES[parts.pavement].category == "flat.terrain":
        strips.append((inner + 0.2, outer - 0.2))
    if parts.bank.rise_m:
        strips.append((outer, outer + parts.bank.width_m))
    for low, high in strips:
        weeds, shrubs = rng.uniform(0.0, 0.8), rng.uniform(0.0, 0.5)
        for start, end in stage.stretches(margin_m=7.0):
            for s in np.arange(start, end, 8.0):
                _grow(stage, (s, min(s + 8.0, end)), (side * low, side * high), weeds, shrubs)


def _grow(
    stage: Stage,
    s_range: tuple[float, float],
    d_range: tuple[float, float],
    weeds: float,
    shrubs: float,
) -> None:
    """Plants one stretch with the shares of weeds and shrubs."""
    rng = stage.rng
    middle_s, middle_d = float(np.mean(s_range)), float(np.mean(d_range))
    width = abs(d_range[1] - d_range[0])
    if not stage.no_driveway(middle_s, middle_d, 4.0):
        return
    if rng.random() < weeds:
        plant_grass(stage, s_range, d_range)
    if rng.random() < shrubs:
        if rng.random() < 0.5:
            size = (
                float(rng.uniform(2.0, 7.0)),
                max(0.8 * width, 0.6),
                float(rng.uniform(0.3, 1.4)),
            )
            plant_thicket(stage, middle_s, middle_d, size)
        else:
            for _ in range(int(rng.integers(1, 5))):
                s, d = rng.uniform(*s_range), rng.uniform(min(d_range), max(d_range))
                plant_shrub(stage, s, d, min(0.45 * width, 1.3))
