"""Parts that plots have in common: walls that keep actors out, and what encloses a plot."""

from __future__ import annotations

from functools import partial

import numpy as np

from training.world.places.planting import plant_hedge, plant_thicket
from training.world.places.stage import Stage
from training.world.things.greenery import draw_ivy
from training.world.things.props.walls import (
    WALLS,
    draw_noise_barrier,
    draw_picket_fence,
    draw_wall,
)

_USUAL = {"hedge": 0.26, "wall": 0.24, "fence": 0.36, "bushes": 0.06, "open": 0.08}


def block_walls(stage: Stage, s0: float, s1: float, d0: float, d1: float) -> None:
    """Blocks the outer 3 m of a building for actors; discs in its core would only cost time."""
    s, d = np.meshgrid(
        np.arange(s0 + 1, s1, 2.0),
        np.linspace(d0, d1, max(2, int(abs(d1 - d0) / 2.0))),
        indexing="ij",
    )
    outer = (s < s0 + 3) | (s > s1 - 3) | (np.abs(d - d0) < 3) | (np.abs(d - d1) < 3)
    stage.clearance.block(stage.plan.world(s[outer], d[outer]), 1.3)


def enclose(stage: Stage, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Puts a hedge, a wall, a fence, bushes or nothing between two points (s, d)."""
    kind = str(stage.rng.choice(list(_USUAL), p=list(_USUAL.values())))
    put_border(stage, kind, start, end)


def put_border(
    stage: Stage, kind: str, start: tuple[float, float], end: tuple[float, float]
) -> None:
    """Separates land from a road, between two points (s, d) at the same d.

    Args:
        kind: hedge, wall, fence, bushes, guard (a crash rail), noise barrier or open.

    Raises:
        ValueError: the kind is unknown.
    """
    rng = stage.rng
    match kind:
        case "hedge":
            plant_hedge(stage, start, end)
        case "wall":
            _wall(stage, str(rng.choice(WALLS)), start, end)
        case "fence":
            if rng.random() < 0.35:
                name = f"picket {int(rng.integers(3))}"
                stage.put_row(name, partial(draw_picket_fence, rng), start, end)
            else:
                stage.fence(str(rng.choice(["railing", "mesh", "mesh", "hoarding"])), start, end)
            if rng.random() < 0.35:
                _hedge_behind(stage, start, end, 0.5)  # which grows through the fence
        case "bushes":
            _bushes(stage, start, end)
        case "guard":
            stage.fence("guard", start, end)
        case "noise barrier":
            height = float(rng.uniform(0.6, 1.5))
            stage.put_row("noise barrier", partial(draw_noise_barrier, rng), start, end, height)
        case "open":
            pass
        case _:
            raise ValueError(
                f"unknown border {kind!r}: hedge, wall, fence, bushes, guard, "
                "noise barrier and open are known"
            )


def _wall(stage: Stage, kind: str, start: tuple[float, float], end: tuple[float, float]) -> None:
    """A wall, some of them with ivy or with a hedge right behind them."""
    rng = stage.rng
    height = float(rng.uniform(0.6, 1.3))
    name = f"wall {kind} {int(rng.integers(3))}"
    stage.put_row(name, partial(draw_wall, rng, kind), start, end, height)
    draw = rng.random()
    if draw < 0.25:
        ivy = f"ivy {int(rng.integers(3))}"
        stage.put_row(ivy, lambda: draw_ivy(rng, stage.season.tint()), start, end, height)
    elif draw < 0.45:
        _hedge_behind(stage, start, end, 0.9)


def _hedge_behind(
    stage: Stage, start: tuple[float, float], end: tuple[float, float], behind_m: float
) -> None:
    """A hedge along a border, ``behind_m`` farther from the road."""
    away = behind_m * np.sign(start[1])
    plant_hedge(stage, (start[0], start[1] + away), (end[0], end[1] + away))


def _bushes(stage: Stage, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Shrubs from knee-high ground cover to the size of a bus, with gaps."""
    rng = stage.rng
    s = start[0]
    while s < end[0] - 1.0:
        low, high = (1.5, 0.8, 0.35), (9.0, 2.2, 3.2)
        length, width, height = rng.uniform(low, high)
        length = min(length, end[0] - s)
        d = start[1] + np.sign(start[1]) * width / 2
        plant_thicket(stage, s + length / 2, d, (length, width, height))
        s += length + max(0.0, rng.normal(0.5, 2.0))
