"""Plots with a house in a garden, behind a hedge, wall or fence, and a car on the drive."""

from __future__ import annotations

import numpy as np

from training.world.places.land_parts import block_walls, enclose
from training.world.places.planting import plant_hedge, plant_shrub, plant_thicket
from training.world.places.plots import Plot
from training.world.places.stage import Stage
from training.world.things.houses import draw_house
from training.world.things.props.boxes import draw_shed
from training.world.things.vehicles.trucks import draw_trailer


def home(stage: Stage, plot: Plot) -> None:
    """One or two houses with their gardens."""
    rng = stage.rng
    if plot.width > 24 and rng.random() < 0.8:
        middle = round(2 * (plot.s0 + plot.s1) / 2) / 2
        parts = [(plot.s0, middle), (middle, plot.s1)]
    else:
        parts = [(plot.s0, plot.s1)]
    for s0, s1 in parts:
        _house(stage, Plot(plot.side, s0, s1, plot.near_d, plot.far_d, plot.on_street))


def _house(stage: Stage, plot: Plot) -> None:
    rng = stage.rng
    setback = min(float(rng.choice([2.0, 3.5, 5.0, 7.0, 9.0])), plot.depth - 8.0)
    depth = min(float(rng.uniform(7, 12)), plot.depth - setback - 1.0)
    width = min(plot.width - 1.0, float(rng.uniform(7.0, 15.0)))
    drive_left = rng.random() < 0.5
    spare = max(plot.width - width - 0.8, 0.0)
    middle = plot.middle[0] + (0.5 if drive_left else -0.5) * spare
    stage.put_once(draw_house(rng, width, depth), middle, plot.d_at(setback), plot.turn)
    front, rear = plot.d_at(setback), plot.d_at(setback + depth)
    block_walls(stage, middle - width / 2, middle + width / 2, front, rear)
    gate = plot.s0 + 2.0 if drive_left else plot.s1 - 2.0
    has_drive = plot.on_street and rng.random() < 0.7
    if has_drive:
        _drive(stage, plot, gate, max(setback, 6.0))
    if plot.on_street:
        _front_garden(stage, plot, gate if has_drive else middle, setback)
    for s in (plot.s0 + 0.4, plot.s1 - 0.4):  # between neighbours
        if rng.random() < 0.5:
            plant_hedge(stage, (s, plot.d_at(1.0)), (s, plot.d_at(plot.depth - 1)))
    _back_garden(stage, plot, setback + depth)


def _drive(stage: Stage, plot: Plot, gate: float, length: float) -> None:
    """A private drive over a dropped kerb, often with a vehicle on it."""
    rng, plan, side = stage.rng, stage.plan, plot.side
    inner, outer = plan.pavement_m(side)
    s = (gate - 1.5, gate + 1.5)
    stage.ground.paint("drive", s, (side * plan.kerb_m(side), plot.d_at(length)))
    if plan.sides[side].pavement == "pavement":
        stage.ground.paint("dropped", s, (side * inner, side * outer))
    draw = rng.random()
    if draw > 0.65:
        return
    mesh = stage.catalogue.car() if draw < 0.6 else draw_trailer(rng, "light")
    turn = side * np.pi / 2 + (np.pi if rng.random() < 0.6 else 0.0)
    level = stage.ground.level_m("drive")
    pose = stage.on_road(gate, plot.d_at(length / 2 + 0.3), turn, level_m=level)
    stage.add_actor(mesh, pose, "vehicle.parked")


def _front_garden(stage: Stage, plot: Plot, gate: float, setback: float) -> None:
    """What stands between the house and the road; in the middle an opening of 3 m."""
    rng = stage.rng
    if rng.random() < 0.25:
        surface = str(rng.choice(["yard", "gravel", "soil"]))
        stage.ground.paint(surface, (plot.s0, plot.s1), (plot.near_d, plot.d_at(setback)))
    for start, end in ((plot.s0 + 0.3, gate - 1.8), (gate + 1.8, plot.s1 - 0.3)):
        if end - start > 1.5:
            enclose(stage, (start, plot.d_at(0.6)), (end, plot.d_at(0.6)))
    for _ in range(int(rng.integers(0, 6))):
        s = rng.uniform(plot.s0 + 0.8, plot.s1 - 0.8)
        if abs(s - gate) > 2.6:
            plant_shrub(stage, s, plot.d_at(rng.uniform(1.2, max(setback - 0.8, 1.4))), 0.9)
    if setback >= 3.5 and rng.random() < 0.5:
        s = rng.uniform(plot.s0 + 2, plot.s1 - 2)
        if abs(s - gate) > 3.5:
            stage.tree(s, plot.d_at(rng.uniform(1.6, setback - 1.4)))


def _back_garden(stage: Stage, plot: Plot, begin: float) -> None:
    rng = stage.rng
    if plot.depth - begin < 5:
        return
    for _ in range(int(rng.integers(1, 6))):
        s, d = rng.uniform(plot.s0 + 1, plot.s1 - 1), plot.d_at(rng.uniform(begin + 2, plot.depth))
        stage.tree(s, d)
    if rng.random() < 0.4:
        size = tuple(rng.uniform((2.0, 1.0, 1.0), (6.0, 2.5, 2.8)))
        plant_thicket(stage, plot.middle[0], plot.d_at(begin + 3.0), size)
    if rng.random() < 0.4:
        s, turn = rng.uniform(plot.s0 + 3, plot.s1 - 3), rng.uniform(0, 6.28)
        name = f"shed {int(rng.integers(3))}"
        stage.put(name, lambda: draw_shed(rng), s, plot.d_at(begin + 3.5), turn, blocks_m=2.5)
