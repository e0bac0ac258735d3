"""Adds actors of the rarer classes that the drive would otherwise not meet."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from training.world.places.districts import PLAIN
from training.world.places.stage import Stage
from training.world.scene import Mesh
from training.world.things.meshes import footprint_size
from training.world.things.props.barriers import draw_cone, draw_jersey_barrier
from training.world.things.vehicles.construction import draw_loader
from training.world.things.vehicles.cycles import draw_bicycle, draw_motorcycle
from training.world.things.vehicles.trucks import draw_lorry, draw_trailer

_NEAR_M = 40.0
_TRIES = 60
_SKIPPED = 0.85
"""Chance that a rarer class is not seen to, outside the plain town."""


class _RareClass(NamedTuple):
    category: str
    """A part of the nuScenes category's name."""
    number: int
    """How many of them are added."""
    attribute: str
    surfaces: tuple[str, ...]
    """Surfaces on which it may stand."""
    draw: Callable[[Stage], Mesh]


_RARE_CLASSES = (
    _RareClass(
        "trafficcone",
        6,
        "",
        ("pavement", "grass", "soil", "road"),
        lambda stage: draw_cone(stage.rng),
    ),
    _RareClass(
        "barrier",
        5,
        "",
        ("pavement", "grass", "soil", "island"),
        lambda stage: draw_jersey_barrier(stage.rng, (0.9, 0.3, 0.16), "barrier_plastic"),
    ),
    _RareClass("bus", 1, "vehicle.stopped", ("road",), lambda stage: stage.catalogue.bus()),
    _RareClass(
        "construction",
        1,
        "vehicle.parked",
        ("grass", "soil", "yard", "parking"),
        lambda stage: draw_loader(stage.rng),
    ),
    _RareClass(
        "trailer",
        1,
        "vehicle.parked",
        ("grass", "parking", "yard", "road"),
        lambda stage: draw_trailer(stage.rng, "light"),
    ),
    _RareClass(
        "truck",
        1,
        "vehicle.parked",
        ("parking", "road"),
        lambda stage: draw_lorry(stage.rng, "box", heavy=False),
    ),
    _RareClass(
        "motorcycle",
        2,
        "cycle.without_rider",
        ("pavement", "parking", "yard"),
        lambda stage: draw_motorcycle(stage.rng, rider=False),
    ),
    _RareClass(
        "bicycle",
        3,
        "cycle.without_rider",
        ("pavement", "yard"),
        lambda stage: draw_bicycle(stage.rng, rider=False),
    ),
)


def add_rare_actors(stage: Stage) -> None:
    """Adds actors of the classes that have none near the ego vehicle's path halfway the drive: all
    of them in the plain town, some of them elsewhere.
    """
    for rare in _RARE_CLASSES:
        if stage.district is not PLAIN and stage.rng.random() < _SKIPPED:
            continue
        present = [actor for actor in stage.actors if rare.category in actor.category]
        poses = [actor.world_from_actor(stage.duration_s / 2) for actor in present]
        xy = np.array([pose[:2, 3] for pose in poses]).reshape(-1, 1, 2)
        if not (np.linalg.norm(xy - stage.ego_xy, axis=-1) < _NEAR_M).any():
            _add_anywhere(stage, rare)


def _add_anywhere(stage: Stage, rare: _RareClass) -> None:
    """Tries random places near the ego vehicle's path."""
    rng = stage.rng
    mesh = rare.draw(stage)
    half = footprint_size(mesh)[0] / 2
    missing = rare.number
    for _ in range(_TRIES):
        s, d = stage.ego_sd[rng.integers(len(stage.ego_sd))] + rng.uniform(-28, 28, 2)
        turn = 0.0 if d * stage.plan.driving_side > 0 else np.pi
        ends = s + np.array([-half, 0.0, half])
        if not stage.ground.is_surface(ends, np.full(3, d), *rare.surfaces).all():
            continue
        missing -= stage.add_actor(mesh, stage.upright(s, d, turn), rare.attribute, margin_m=0.3)
        if missing == 0:
            return
