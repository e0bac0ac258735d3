"""One LiDAR revolution: ranges, intensities, rings and what was hit, ego-motion compensated to the
end of the sweep.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.world.scene import Pose
from training.world.sensors.raycast import ActorsAt, Hits, RayCaster
from training.world.sensors.rig import LIDAR, Lidar
from training.world.things.materials import MATERIALS
from training.world.weather import Weather

NOISE_CATEGORY = 0
EGO_CATEGORY = 31
_FLAT_CATEGORIES = (24, 25, 26, 27)

_ROOF_Z_M = -0.36
"""Height of the car's own roof in the LiDAR frame."""
_ROOF_X_M = (-0.52, 0.52)
_ROOF_Y_M = (-0.90, 0.68)
_ROOF_RETURNS = 0.72
"""Share of the beams on the roof that come back: its paint mirrors most of the others away."""

_FAINTEST = 1.4e-6
"""Reflectivity x cosine^0.5 / range^2 of which half the beams come back."""
_REFLECTIVITY = np.array([material.reflectivity for material in MATERIALS])
_TRANSMISSION = np.array([material.lidar_transmission for material in MATERIALS])
_PANES = 2
"""Panes of glass that a beam may pass before what it then meets counts."""


@dataclass(frozen=True)
class Sweep:
    """A revolution in firing order; beams without return lie in the sensor's centre, as nuScenes
    writes them.
    """

    points: np.ndarray
    """float32 [N, 5]: x, y, z (LiDAR frame at the sweep's end), intensity 0..255, ring."""
    category: np.ndarray
    """uint8 [N], nuScenes-lidarseg index; noise where nothing came back."""
    actor: np.ndarray
    """int32 [N], index of the actor hit, negative for none."""
    returned: np.ndarray
    """bool [N]: something of the world (not the own car) came back."""


def scan(
    caster: RayCaster,
    world_from_ego: Pose,
    end_s: float,
    actors: ActorsAt,
    weather: Weather,
    rng: np.random.Generator,
    lidar: Lidar = LIDAR,
) -> Sweep:
    """The sweep that ends at ``end_s`` seconds, of a car that moves as ``world_from_ego`` says,
    past ``actors_as_passed``.
    """
    times = end_s + lidar.firing_delays_s()
    world_from_lidar = _poses(world_from_ego, times, lidar)  # [columns, 4, 4]
    directions = np.einsum("cij,cbj->cbi", world_from_lidar[:, :3, :3], lidar.directions()).reshape(
        -1, 3
    )
    origins = np.repeat(world_from_lidar[:, :3, 3], lidar.beams, axis=0)
    hits = _cast_through_glass(caster, origins, directions, actors, rng)
    ring = np.tile(np.arange(lidar.beams), lidar.columns)
    count = len(ring)

    cosine = np.abs(np.einsum("ni,ni->n", hits.normal, directions.astype(np.float32)))
    flat = np.isin(hits.category, _FLAT_CATEGORIES)
    reflectivity = _REFLECTIVITY[hits.material] * np.where(flat, 1.0 - 0.65 * weather.wet, 1.0)
    distance = np.where(hits.hit, hits.range_m, 1e6).astype(np.float64)
    fading = np.exp(-2.0 * weather.extinction_per_m * distance)
    strength = reflectivity * np.sqrt(cosine) * fading / distance**2
    # A soft threshold: speckle lets some of the faint beams through and loses some of the strong
    # ones.
    returned = (
        hits.hit
        & (strength * rng.lognormal(0.0, 0.7, count) > _FAINTEST)
        & (distance < lidar.max_range_m)
    )
    returned &= rng.random(count) > 0.01
    # A water film mirrors away what arrives at a grazing angle.
    returned &= ~flat | (rng.random(count) > 0.6 * weather.wet * (1.0 - cosine) ** 2)
    intensity = (
        255.0 * reflectivity * (0.35 + 0.65 * cosine) * fading * rng.lognormal(0.0, 0.35, count)
    )
    category, actor = hits.category.copy(), hits.actor.copy()
    distance = distance + rng.normal(0.0, lidar.range_noise_m, count)

    drop = rng.random(count) < weather.backscatter
    drop_range = 1.0 + rng.exponential(3.0, count)
    drop &= drop_range < np.where(returned, distance, np.inf)
    distance = np.where(drop, drop_range, distance)
    intensity = np.where(drop, rng.uniform(1.0, 6.0, count), intensity)
    returned |= drop
    category[drop], actor[drop] = NOISE_CATEGORY, -1

    roof_range = _roof_range_m(lidar).reshape(-1)
    on_roof = np.isfinite(roof_range)
    distance = np.where(on_roof, roof_range + rng.normal(0.0, lidar.range_noise_m, count), distance)
    intensity = np.where(on_roof, rng.lognormal(3.1, 0.8, count), intensity)
    returned = np.where(on_roof, rng.random(count) < _ROOF_RETURNS, returned)
    category[on_roof], actor[on_roof] = EGO_CATEGORY, -1

    intensity = np.where(returned, intensity, rng.choice([1.0, 3.0, 9.0, 11.0, 17.0], count))
    category[~returned], actor[~returned] = NOISE_CATEGORY, -1
    world = origins + directions * np.where(returned, distance, 0.0)[:, None]
    lidar_from_world = np.linalg.inv(world_from_lidar[-1])
    points = np.empty((count, 5), np.float32)
    points[:, :3] = world @ lidar_from_world[:3, :3].T + lidar_from_world[:3, 3]
    points[:, 3] = np.clip(np.round(intensity), 0, 255)
    points[:, 4] = ring
    return Sweep(points, category, actor, returned & ~on_roof)


def _cast_through_glass(
    caster: RayCaster,
    origins: np.ndarray,
    directions: np.ndarray,
    actors: ActorsAt,
    rng: np.random.Generator,
) -> Hits:
    hits = caster.cast(origins, directions, actors)
    for _ in range(_PANES):
        passed = np.flatnonzero(
            hits.hit & (rng.random(len(directions)) < _TRANSMISSION[hits.material])
        )
        if not len(passed):
            break
        beyond = hits.range_m[passed] + 0.01
        behind = caster.cast(
            origins[passed] + directions[passed] * beyond[:, None], directions[passed], actors
        )
        hits.range_m[passed] = behind.range_m + beyond
        hits.normal[passed], hits.material[passed], hits.category[passed] = (
            behind.normal,
            behind.material,
            behind.category,
        )
        hits.tint[passed], hits.actor[passed] = behind.tint, behind.actor
    return hits


def _poses(world_from_ego: Pose, times: np.ndarray, lidar: Lidar) -> np.ndarray:
    """``world_from_lidar`` [columns, 4, 4]: the ends of the sweep are asked for, the middle is
    interpolated.

    Over 50 ms a car's motion is a straight line and a small turn, for which the linear mean of
    rotations is exact to 1e-4.
    """
    first, last = world_from_ego(float(times[0])), world_from_ego(float(times[-1]))
    weight = np.linspace(0.0, 1.0, len(times))[:, None, None]
    return (first * (1.0 - weight) + last * weight) @ lidar.ego_from_lidar


def actors_as_passed(
    caster: RayCaster, world_from_ego: Pose, end_s: float, lidar: Lidar = LIDAR
) -> ActorsAt:
    """Each actor where it is when the beam of the sweep that ends at ``end_s`` passes it."""
    middle_s = end_s - 0.5e-6 * lidar.period_us
    lidar_from_world = np.linalg.inv(world_from_ego(middle_s) @ lidar.ego_from_lidar)
    x, y = lidar_from_world[:2] @ caster.motion.at(middle_s)[:, :, 3].T
    turn = (np.degrees(np.arctan2(x, y)) - lidar.first_azimuth_deg) % 360.0 / 360.0
    times = end_s - (1.0 - turn) * lidar.period_us * 1e-6
    return caster.actors_at(times, near_m=world_from_ego(middle_s)[:3, 3])


def _roof_range_m(lidar: Lidar) -> np.ndarray:
    """Range at which each beam meets the car's own roof, float64 [columns, beams]; inf where it
    does not.
    """
    directions = lidar.directions()
    with np.errstate(divide="ignore"):
        distance = np.where(directions[..., 2] < 0, _ROOF_Z_M / directions[..., 2], np.inf)
    x, y = (
        np.where(np.isfinite(distance), distance, 0.0) * directions[..., axis] for axis in (0, 1)
    )
    on_roof = (_ROOF_X_M[0] < x) & (x < _ROOF_X_M[1]) & (_ROOF_Y_M[0] < y) & (y < _ROOF_Y_M[1])
    return np.where(on_roof, distance, np.inf)
