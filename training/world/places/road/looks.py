"""Gives every patch of ground a material, a colour and a LiDAR reflectivity of its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from training.world.places.road.ground import SURFACE_ID, SURFACES, Ground, Look
from training.world.places.road.layout import CELL_M, RoadPlan
from training.world.scene import Mesh
from training.world.style import PlaceStyle
from training.world.things.textures import noise

_Choice = tuple[float, str, tuple[float, float, float]]
"""Frequency, material, tint."""

_ASPHALTS: tuple[_Choice, ...] = (
    (0.26, "asphalt", (1.0, 1.0, 1.0)),
    (0.28, "asphalt_cracked", (1.0, 1.0, 1.0)),
    (0.22, "asphalt_worn", (1.0, 1.0, 1.0)),
    (0.06, "asphalt", (0.6, 0.6, 0.62)),
    (0.08, "asphalt_worn", (1.18, 0.96, 0.88)),
)
_PAVINGS: tuple[_Choice, ...] = (
    (0.25, "paving", (1.0, 1.0, 1.0)),
    (0.18, "paving", (0.78, 0.82, 0.86)),
    (0.14, "paving", (1.05, 0.76, 0.66)),
    (0.10, "concrete", (1.0, 1.0, 1.0)),
    (0.10, "cobbles", (1.0, 1.0, 1.0)),
)
_PAVED_WITH_ASPHALT: tuple[_Choice, ...] = (
    (0.10, "asphalt_worn", (1.0, 1.0, 1.0)),
    (0.08, "asphalt", (1.0, 1.0, 1.0)),
    (0.04, "asphalt_worn", (1.18, 0.96, 0.88)),
)
_GROUND_SPREAD = 0.5
"""Share of the spread of reflectivities: one asphalt is more like another than two objects are."""
_BRIGHTER = {"paving": 1.5, "concrete": 1.3, "cobbles": 1.2}
"""Factors on the reflectivity of what pavements are made of: slabs and concrete return two to three
times as much infrared light as asphalt.
"""
_GREENS: tuple[_Choice, ...] = (
    (0.40, "grass", (1.0, 1.0, 1.0)),
    (0.20, "grass", (0.75, 0.85, 0.75)),
    (0.18, "grass", (1.45, 1.15, 0.95)),
    (0.12, "grass", (1.85, 1.35, 1.15)),
    (0.10, "litter", (1.0, 1.0, 1.0)),
)
_EARTHS: tuple[_Choice, ...] = (
    (0.4, "soil", (1.0, 1.0, 1.0)),
    (0.3, "litter", (0.9, 0.8, 0.75)),
    (0.3, "gravel", (1.0, 0.95, 0.85)),
)
_LOOKS: dict[str, tuple[_Choice, ...]] = {
    "road": (*_ASPHALTS, (0.06, "cobbles", (0.9, 0.9, 0.9)), (0.06, "concrete", (1.0, 1.0, 1.0))),
    "parking": (*_ASPHALTS, (0.25, "cobbles", (1.0, 0.97, 0.93)), (0.2, "paving", (0.8, 0.8, 0.8))),
    "pavement": (*_PAVINGS, *_PAVED_WITH_ASPHALT),
    "dropped": (*_PAVINGS, *_PAVED_WITH_ASPHALT),
    "grass": _GREENS,
    "soil": _EARTHS,
    "yard": (*_PAVINGS, *_ASPHALTS, (0.15, "gravel", (1.0, 1.0, 1.0))),
    "island": (*_PAVINGS, (0.3, "asphalt_worn", (1.0, 1.0, 1.0))),
    "gravel": ((0.7, "gravel", (1.0, 1.0, 1.0)), (0.3, "gravel", (1.15, 1.0, 0.8))),
    "shoulder": (*_EARTHS, (0.4, "gravel", (1.0, 1.0, 1.0))),
    "field": (*_EARTHS, (0.5, "tall_grass", (1.9, 1.5, 1.1)), (0.4, "grass", (1.1, 1.1, 0.9))),
    "drive": (*_PAVINGS, *_ASPHALTS, (0.25, "gravel", (1.0, 1.0, 1.0))),
}
_NATURAL = tuple(name for name, each in SURFACES.items() if each.category == "flat.terrain")
_NOISE_M = 55.0
"""Period of the noise that mottles terrain; its finest octave is a 64th of it."""


def dress_ground(
    ground: Ground, style: PlaceStyle, rng: np.random.Generator, s_near_m: tuple[float, float]
) -> None:
    """Gives every painted region a look; the style's spreads say how far looks differ.

    Terrain is mottled, and roads are mended in patches and dirty at their edges. In the plain town
    all stays as it is.

    Args:
        s_near_m: the stretch of the main road that the drive comes near.
    """
    if not style.districts:
        return
    usual = {name: _draw_look(name, style, rng) for name in SURFACES}
    mottle = _mottle(ground, rng)
    key = ground.region.astype(np.int64) * len(SURFACES) + ground.surface
    for value in np.unique(key):
        name = tuple(SURFACES)[int(value) % len(SURFACES)]
        base = usual[name] if rng.random() < 0.65 else _draw_look(name, style, rng)
        cells = key == value
        ground.look[cells] = ground.add_look(_vary(base, style, rng, 0.3))
        if name in _NATURAL:
            for level in (1, 2):
                variant = _draw_look(name, style, rng) if level == 2 else _vary(base, style, rng)
                ground.look[cells & (mottle == level)] = ground.add_look(variant)
    _mend(ground, usual["road"], style, rng, s_near_m)
    _dirty_edges(ground.plan, ground, style, rng, s_near_m)


def _draw_look(name: str, style: PlaceStyle, rng: np.random.Generator) -> Look:
    choices = _LOOKS[name]
    shares = np.array([choice[0] for choice in choices])
    _, material, tint = choices[int(rng.choice(len(choices), p=shares / shares.sum()))]
    return _vary(Look(material, np.array(tint), _BRIGHTER.get(material, 1.0)), style, rng)


def _vary(look: Look, style: PlaceStyle, rng: np.random.Generator, share: float = 1.0) -> Look:
    """The look with another shade and reflectivity, by ``share`` of the style's spreads."""
    shade = np.exp(rng.normal(0.0, share * style.colour_spread))
    hue = np.exp(rng.normal(0.0, 0.2 * share * style.colour_spread, 3))
    reflectance = np.exp(rng.normal(0.0, share * _GROUND_SPREAD * style.reflectance_spread))
    return Look(look.material, look.tint * shade * hue, float(look.reflectance * reflectance))


def _mottle(ground: Ground, rng: np.random.Generator) -> np.ndarray:
    """Level 0, 1 or 2 of every cell, int64 ``[S, D]``: soft blotches in steps of 1 m."""
    rows, columns = ground.surface.shape
    s, d = np.meshgrid(np.arange(0, rows, 2), np.arange(0, columns, 2), indexing="ij")
    shift = rng.uniform(0, 1, 2)
    cloud = noise(s * CELL_M / _NOISE_M + shift[0], d * CELL_M / _NOISE_M + shift[1])
    levels = np.digitize(cloud, rng.uniform((0.45, 0.62), (0.55, 0.75)))
    return levels.repeat(2, axis=0).repeat(2, axis=1)[:rows, :columns]


def _mend(
    ground: Ground,
    usual: Look,
    style: PlaceStyle,
    rng: np.random.Generator,
    s_near_m: tuple[float, float],
) -> None:
    """Patches, trenches and strips of other asphalt."""
    edge = ground.plan.edge_m
    looks = [ground.add_look(_vary(usual, style, rng)) for _ in range(4)]
    looks += [ground.add_look(_draw_look("road", style, rng)) for _ in range(2)]
    for _ in range(int(rng.integers(0, 3))):  # a lane's width or a part of it, all along
        d = rng.uniform(-edge, edge)
        width = (d, d + rng.uniform(0.5, 3.5))
        ground.cover(int(rng.choice(looks[:4])), ground.plan.s_range_m, width, "road")
    for _ in range(int(rng.integers(4, 36))):
        s, d = rng.uniform(*s_near_m), rng.uniform(-edge - 1, edge)
        size = rng.uniform((0.6, 0.5), (9.0, 3.0))
        if rng.random() < 0.15:  # a trench across the road
            d, size = -edge - 2, np.array([rng.uniform(0.5, 1.5), 2 * edge + 4])
        ground.cover(
            int(rng.choice(looks)),
            (s, s + size[0]),
            (d, d + size[1]),
            "road",
            "parking",
            "pavement",
        )


def _dirty_edges(
    plan: RoadPlan,
    ground: Ground,
    style: PlaceStyle,
    rng: np.random.Generator,
    s_near_m: tuple[float, float],
) -> None:
    """Leaves and earth along the edges of the carriageway, in stretches."""
    leaves = ground.add_look(_vary(Look("litter", np.ones(3), 1.0), style, rng))
    earth = ground.add_look(_vary(Look("asphalt", np.array([1.5, 1.35, 1.1]), 1.2), style, rng))
    for _ in range(int(rng.integers(0, 14))):
        side, s = int(rng.choice([-1, 1])), rng.uniform(*s_near_m)
        kerb = plan.kerb_m(side)
        d = (side * (kerb - rng.choice([0.5, 0.5, 1.0])), side * kerb)
        ground.cover(int(rng.choice([leaves, earth])), (s, s + rng.uniform(2, 25)), d, "road")


def draw_levels(style: PlaceStyle, rng: np.random.Generator) -> dict[str, float]:
    """Heights of surfaces above the carriageway: nearly equal, or with kerbs of any height.

    Those of the plain town are as they are, and so not named.
    """
    if not style.districts:
        return {}
    if rng.random() < style.flush_share:
        return {name: float(rng.uniform(0.0, 0.03)) for name in SURFACE_ID if name != "road"}
    kerb = rng.uniform(0.4, 1.15)
    grass = rng.choice([0.3, 1.0, 1.4])
    return {
        name: float(surface.level_m * kerb * (grass if surface.category == "flat.terrain" else 1.0))
        for name, surface in SURFACES.items()
    }


def wear(marks: Mesh, style: PlaceStyle, rng: np.random.Generator) -> Mesh:
    """Markings as worn as on any road: of any shade, and reflecting more or less.

    Those of the plain town are new.
    """
    if not style.districts:
        return marks
    shade = np.float32(rng.uniform(0.45, 1.05))
    reflectance = np.float32(np.exp(rng.normal(-0.3, style.reflectance_spread)))
    return replace(marks, tint=marks.tint * shade, reflectance=marks.reflectance * reflectance)
