"""Plots without buildings: woods, meadows and fields, thickets."""

from __future__ import annotations

import numpy as np

from training.world.places.planting import (
    plant_grass,
    plant_shrub,
    plant_thicket,
    plant_wood,
    plant_wood_tree,
)
from training.world.places.plots import Plot
from training.world.places.stage import Stage

_SEEN_INTO_M = 22.0
"""Depth to which one sees into a wood from the road."""


def wood(stage: Stage, plot: Plot) -> None:
    """Trees from the road's side inwards, with undergrowth between them."""
    rng = stage.rng
    if rng.random() < 0.6:
        stage.ground.paint("soil", (plot.s0, plot.s1), (plot.near_d, plot.far_d))
    depth = min(plot.depth, _SEEN_INTO_M)
    near = (plot.d_at(rng.uniform(0.6, 2.0)), plot.d_at(depth))
    spacing = float(rng.uniform(2.6, 4.2)) * (1.0 if plot.on_street else 1.3)
    plant_wood(stage, (plot.s0 + 1, plot.s1 - 1), near, spacing)
    if plot.on_street and rng.random() < 0.6:
        for s in np.arange(plot.s0, plot.s1, 2.2):
            plant_shrub(stage, s + rng.uniform(-1, 1), plot.d_at(rng.uniform(1.0, 2.2)), 1.2)


def meadow(stage: Stage, plot: Plot) -> None:
    """Grass or a field, often with single trees, bushes, and weeds along the road."""
    rng = stage.rng
    surface = str(rng.choice(["grass", "grass", "field"]))
    stage.ground.paint(surface, (plot.s0, plot.s1), (plot.near_d, plot.far_d))
    for _ in range(int(rng.integers(0, 4))):
        s = rng.uniform(plot.s0 + 1, plot.s1 - 1)
        stage.tree(s, plot.d_at(rng.uniform(3, plot.depth - 1)), ("broad", "low", "old", "sapling"))
    for _ in range(int(rng.integers(0, 5))):
        s = rng.uniform(plot.s0 + 1, plot.s1 - 1)
        plant_shrub(stage, s, plot.d_at(rng.uniform(2, plot.depth - 1)))
    if plot.on_street and rng.random() < 0.7:
        plant_grass(stage, (plot.s0, plot.s1), (plot.d_at(0.2), plot.d_at(rng.uniform(1.0, 4.0))))


def thicket(stage: Stage, plot: Plot) -> None:
    """Shrubs in masses, from knee-high ground cover to the size of a bus."""
    rng = stage.rng
    for d in np.arange(1.5, min(plot.depth, 16.0), 4.5):
        s = plot.s0 + rng.uniform(0, 3)
        while s < plot.s1 - 3:
            length, width, height = rng.uniform((2.0, 1.2, 0.5), (11.0, 3.2, 3.6))
            length, turn = min(length, plot.s1 - s), rng.normal(0, 0.25)
            if rng.random() < 0.8:
                across = plot.d_at(d + width / 2 + rng.uniform(0, 1.5))
                plant_thicket(stage, s + length / 2, across, (length, width, height), turn)
            s += length + rng.uniform(0.0, 5.0)
    for _ in range(int(rng.integers(2, 9))):
        s, d = rng.uniform(plot.s0, plot.s1), plot.d_at(rng.uniform(2, plot.depth))
        plant_wood_tree(stage, s, d, fir=bool(rng.random() < 0.2))
