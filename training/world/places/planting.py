"""Plants masses of vegetation: woods, thickets, tall hedges, verges of grass and weeds."""

from __future__ import annotations

import numpy as np

from training.world.places.stage import SCENERY_REACH_M, Stage
from training.world.things.greenery import (
    draw_conifer,
    draw_shrub,
    draw_tall_grass,
    draw_tall_hedge,
    draw_thicket,
    draw_wood_tree,
)

_TREE_VARIANTS = 7
_TUFT_M = 0.6
"""Half the width of a tuft of grass."""


def plant_wood(
    stage: Stage, s_range: tuple[float, float], d_range: tuple[float, float], spacing_m: float
) -> None:
    """Plants trees and undergrowth at random over a rectangle; denser at its edge to the road.

    Args:
        spacing_m: mean distance between neighbouring trees.
    """
    rng = stage.rng
    depth = abs(d_range[1] - d_range[0])
    firs = float(rng.choice([0.0, 0.15, 0.6]))
    count = int((s_range[1] - s_range[0]) * depth / spacing_m**2)
    for s, fraction in zip(rng.uniform(*s_range, count), rng.uniform(0, 1, count) ** 1.4):
        d = d_range[0] + fraction * (d_range[1] - d_range[0])
        if rng.random() < 0.35:
            plant_shrub(stage, s, d)
        else:
            plant_wood_tree(stage, s, d, fir=bool(rng.random() < firs))


def plant_wood_tree(stage: Stage, s: float, d: float, fir: bool = False) -> None:
    """Plants one of a few wood trees or firs, in any size."""
    rng = stage.rng
    variant = int(rng.integers(_TREE_VARIANTS))
    draw, name = (draw_conifer, "fir") if fir else (draw_wood_tree, "wood tree")
    wide, tall = rng.uniform(0.7, 1.3), rng.uniform(0.6, 1.3)
    stage.put(
        f"{name} {variant}",
        lambda: draw(rng, stage.season.tint()),
        s,
        d,
        rng.uniform(0, 6.28),
        (wide, wide, tall),
        blocks_m=0.5,
        tint=_shade(rng),
    )


def plant_shrub(stage: Stage, s: float, d: float, largest: float = 1.8) -> None:
    """Plants a shrub of up to ``largest`` times 2 m."""
    rng = stage.rng
    wide, tall = largest * rng.uniform(0.25, 1.0, 2)
    stage.put(
        f"shrub {int(rng.integers(5))}",
        lambda: draw_shrub(rng, stage.season.tint()),
        s,
        d,
        rng.uniform(0, 6.28),
        (wide, wide * rng.uniform(0.7, 1.3), tall),
        blocks_m=wide,
        tint=_shade(rng),
    )


def plant_thicket(
    stage: Stage, s: float, d: float, size: tuple[float, float, float], turn: float = 0.0
) -> None:
    """Plants shrubs that fill a box of ``size``: along, across and height in metres."""
    if stage.distance(s, d) > SCENERY_REACH_M:
        return
    mesh = draw_thicket(stage.rng, size, stage.season.tint())
    stage.put_once(mesh, s, d, turn)
    along = np.arange(-size[0] / 2, size[0] / 2 + 0.1, max(size[1], 0.5))
    xy = stage.plan.world(s + along * np.cos(turn), d + along * np.sin(turn))
    stage.clearance.block(xy, size[1] / 2 + 0.2)


def plant_hedge(stage: Stage, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Plants a hedge of 1 to 4 m, trimmed or ragged, from one point (s, d) to another."""
    rng = stage.rng
    name = f"tall hedge {int(rng.integers(5))}"
    height = float(rng.choice([0.5, 0.8, 1.0, 1.3, 2.0])) * float(rng.uniform(0.85, 1.15))
    stage.put_row(name, lambda: draw_tall_hedge(rng, stage.season.tint()), start, end, height)


def plant_grass(stage: Stage, s_range: tuple[float, float], d_range: tuple[float, float]) -> None:
    """Plants tufts of tall grass and weeds over a strip along the road."""
    rng = stage.rng
    low, high = min(d_range), max(d_range)
    count = int((s_range[1] - s_range[0]) * max(high - low, 1.0) * 0.28)
    inset = min(_TUFT_M, (high - low) / 2)
    for s, d in zip(rng.uniform(*s_range, count), rng.uniform(low + inset, high - inset, count)):
        tall = rng.uniform(0.5, 1.6)
        stage.put(
            f"tall grass {int(rng.integers(4))}",
            lambda: draw_tall_grass(rng, stage.season.tint()),
            s,
            d,
            rng.choice([0.0, np.pi]) + rng.normal(0, 0.15),
            (1.0, 0.8, tall),
            tint=_shade(rng),
        )


def _shade(rng: np.random.Generator) -> tuple[float, float, float]:
    red, green, blue = np.exp(rng.normal(0.0, 0.2)) * rng.uniform(0.9, 1.1, 3)
    return red, green, blue
