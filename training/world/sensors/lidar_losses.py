"""Beams that dark, glossy and grazed surfaces swallow, and returns from where nothing is."""

from __future__ import annotations

import numpy as np

from training.world.sensors.lidar_traits import LidarLosses
from training.world.sensors.raycast import Hits, PosedActors, RayCaster
from training.world.sensors.returns import NOISE_CATEGORY, Beams, Returns
from training.world.things.materials import MATERIAL_ID, MATERIALS
from training.world.things.textures import noise
from training.world.weather import Weather

_SPECULAR = np.array([material.specular for material in MATERIALS])
_IS_GLASS = np.array([material.lidar_transmission > 0 for material in MATERIALS])
_IS_RETROREFLECTOR = np.array([material.reflectivity > 0.55 for material in MATERIALS])
_LUMINANCE = np.array([0.3, 0.6, 0.1])
_CLEAR_COAT = 0.95
"""``_SPECULAR``, doubled, of car paint: its clear coat mirrors what hits it at an angle."""
_DARK_PAINT = 0.25
"""Paint of less luminance swallows beams."""
_GLASS_IN, _THROUGH_GLASS = 0.85, 0.5
"""Fraction of the beams that a pane mirrors away of those that it stops, and of those behind it."""
_GRAZING_M = 60.0
_PILE_M = np.array([material.pile_m for material in MATERIALS])
_MAX_SHORTER_M = 1.5
"""Longest way of a beam through grass."""
_EDGE_M = (0.3, 3.0)
"""Steps in range at which a beam may return from in between; beyond them it returns twice."""
_PUDDLE, _PUDDLE_M = 0.55, 19.0
"""Where the noise that the camera draws as puddles exceeds this, water stands; size of its tile."""
_BLOOM_M = 40.0
_BLOOM = {(-1, 0): 1.0, (1, 0): 1.0, (0, -1): 0.7, (0, 1): 0.7, (-2, 0): 0.4, (2, 0): 0.4}
"""Neighbours (columns, rings) of a beam, and how readily they see its retroreflector."""


def dimming(hits: Hits, cosine: np.ndarray, losses: LidarLosses) -> np.ndarray | float:
    """Factor [N] on the reflectivity of surfaces that shine, and of paint by its colour."""
    if not losses.gloss:
        return 1.0
    is_paint = hits.material == MATERIAL_ID["paint"]
    shine = np.where(is_paint, _CLEAR_COAT, np.minimum(2.0 * _SPECULAR[hits.material], 1.0))
    bright = np.where(is_paint, np.clip(hits.tint @ _LUMINANCE, 0.05, 1.0), 1.0)
    return (1.0 - losses.gloss * shine * (1.0 - cosine**4)) * (1.0 - losses.gloss * (1.0 - bright))


def lose_beams(
    returns: Returns, beams: Beams, losses: LidarLosses, rng: np.random.Generator
) -> np.ndarray:
    """Loses beams on surfaces; those that a mirror sends elsewhere, bool [N]."""
    count = len(returns.distance)
    mirrored = np.zeros(count, bool)
    hits, away = beams.hits, 1.0 - beams.cosine
    if losses.dark_paint:
        is_paint = hits.material == MATERIAL_ID["paint"]
        darkness = np.clip(1.0 - hits.tint @ _LUMINANCE / _DARK_PAINT, 0.0, 1.0)
        risk = losses.dark_paint * darkness * (0.4 + 0.6 * away)
        returns.is_return &= ~is_paint | (rng.random(count) > risk)
    if losses.mirrors:
        risk = np.minimum(_SPECULAR[hits.material] * 1.5 * away, 1.0)
        risk = np.where(_IS_GLASS[hits.material], _GLASS_IN, risk)
        mirrored = returns.is_return & (rng.random(count) < losses.mirrors * risk)
        returns.is_return &= ~mirrored
        returns.is_return &= rng.random(count) < _THROUGH_GLASS**beams.panes
    if losses.grazing:
        reach = np.minimum(returns.distance / _GRAZING_M, 1.5)
        returns.is_return &= rng.random(count) > losses.grazing * away**4 * reach
    return mirrored


def lose_in_puddles(
    returns: Returns, beams: Beams, is_flat: np.ndarray, weather: Weather, rng: np.random.Generator
) -> np.ndarray:
    """Loses beams in the puddles of flat ground; those that they mirror away, bool [N]."""
    mirrored = np.zeros(len(returns.distance), bool)
    if not weather.puddle_losses:
        return mirrored
    on_ground = np.flatnonzero(returns.is_return & is_flat)
    points = beams.origins[on_ground] + (
        beams.directions[on_ground] * returns.distance[on_ground, None]
    )
    depth = noise(points[:, 0] / _PUDDLE_M, points[:, 1] / _PUDDLE_M) - _PUDDLE
    risk = weather.puddle_losses * np.clip(8.0 * depth, 0.0, 1.0)
    mirrored[on_ground] = rng.random(len(on_ground)) < risk
    returns.is_return &= ~mirrored
    return mirrored


def end_in_pile(returns: Returns, beams: Beams, pile: float, rng: np.random.Generator) -> None:
    """Beams that meet grass, litter or grains end above the ground, at exponential heights."""
    height_m = pile * _PILE_M[beams.hits.material]
    within = np.flatnonzero(returns.is_return & (height_m > 0))
    up_m = height_m[within] * rng.exponential(1.0, len(within))
    way_m = np.minimum(up_m / np.maximum(beams.cosine[within], 0.02), _MAX_SHORTER_M)
    returns.distance[within] -= np.minimum(way_m, 0.5 * returns.distance[within])


def blur_edges(
    returns: Returns, beams: Beams, rings: int, fraction: float, rng: np.random.Generator
) -> None:
    """Beams beside a step in range return from within the step, on either side of it.

    On a slanting surface the steps to both neighbours cancel out, which is no edge.
    """
    if not fraction:
        return
    distance = np.where(returns.is_return, returns.distance, np.nan)
    steps = np.stack([np.roll(distance, way * rings) - distance for way in (1, -1)])
    steps = np.nan_to_num(steps)  # a beam without return is no neighbour
    is_edge = np.abs(steps.sum(axis=0)) > _EDGE_M[0]
    sizes = np.abs(steps)
    near = np.where((sizes > _EDGE_M[0]) & (sizes < _EDGE_M[1]), sizes, np.inf)
    side = near.argmin(axis=0)
    at_edge = np.flatnonzero(is_edge & np.isfinite(near.min(axis=0)))
    at_edge = at_edge[rng.random(len(at_edge)) < fraction]
    step = steps[side[at_edge], at_edge]
    returns.distance[at_edge] += step * rng.uniform(0.0, 1.0, len(at_edge))
    returns.category[at_edge], returns.actor[at_edge] = NOISE_CATEGORY, -1


def add_ghosts(
    returns: Returns,
    beams: Beams,
    mirrored: np.ndarray,
    fraction: float,
    scene: tuple[RayCaster, PosedActors],
    max_range_m: float,
    rng: np.random.Generator,
) -> None:
    """A few of the ``mirrored`` beams return from what they meet next, as if it lay straight on."""
    if not fraction:
        return
    ghost = np.flatnonzero(mirrored & (rng.random(len(mirrored)) < fraction))
    if not len(ghost):
        return
    normal, way = beams.hits.normal[ghost].astype(np.float64), beams.directions[ghost]
    onwards = way - 2.0 * np.einsum("ni,ni->n", way, normal)[:, None] * normal
    first_m = beams.hits.range_m[ghost].astype(np.float64)
    mirror = beams.origins[ghost] + way * first_m[:, None] + normal * 0.02
    caster, actors = scene
    total_m = first_m + caster.cast(mirror, onwards, actors).range_m
    seen = total_m < 0.7 * max_range_m
    returns.put_noise(ghost[seen], total_m[seen], 0.3 * returns.intensity[ghost[seen]])


def add_bloom(
    returns: Returns, beams: Beams, rings: int, fraction: float, rng: np.random.Generator
) -> None:
    """Beams beside a near retroreflector see it too: its outline grows."""
    if not fraction:
        return
    bright = returns.is_return & _IS_RETROREFLECTOR[beams.hits.material]
    bright &= (returns.distance < _BLOOM_M) & (beams.panes == 0)
    source = np.flatnonzero(bright)
    column, ring = source // rings, source % rings
    columns = len(bright) // rings
    for (column_step, ring_step), share in _BLOOM.items():
        beside = (column + column_step) % columns * rings + ring + ring_step
        inside = (ring + ring_step >= 0) & (ring + ring_step < rings)
        seen = inside & (rng.random(len(source)) < fraction * share)
        to, origin = beside[seen], source[seen]
        reach_m = np.where(returns.is_return[to], returns.distance[to], np.inf)
        behind = ~bright[to] & (reach_m > returns.distance[origin] + 0.5)
        to, origin = to[behind], origin[behind]
        returns.put_noise(to, returns.distance[origin], 0.4 * returns.intensity[origin])
