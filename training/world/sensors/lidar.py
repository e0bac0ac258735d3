"""One LiDAR revolution, compensated for ego motion to the end of the sweep."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.world.scene import Trajectory
from training.world.sensors.raycast import Hits, PosedActors, RayCaster
from training.world.sensors.rig import LIDAR, LidarSpec
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
"""Fraction of the beams on the roof that return: its paint mirrors most of the others away."""

_DETECTION_LIMIT = 1.4e-6
"""Reflectivity x cosine^0.5 / range^2 at which half the beams return."""
_REFLECTIVITY = np.array([material.reflectivity for material in MATERIALS])
_TRANSMISSION = np.array([material.lidar_transmission for material in MATERIALS])
_MAX_PANES = 2
"""Panes of glass that a beam may pass; then the next surface counts."""


@dataclass(frozen=True)
class SimulatedSweep:
    """A revolution in firing order.

    As in nuScenes, a beam without return lies at the origin of the sensor.
    """

    points: np.ndarray
    """float32 [N, 5]: x, y, z (LiDAR frame at the end of the sweep), intensity 0..255, ring."""
    category: np.ndarray
    """uint8 [N], nuScenes-lidarseg index; noise for a beam without return."""
    actor: np.ndarray
    """int32 [N], index of the actor that was hit, negative for none."""
    is_return: np.ndarray
    """bool [N]: whether the beam returned from the world, and not from the car's own roof."""


@dataclass
class _Returns:
    """What the N beams of a sweep measure; each effect changes it in place."""

    distance: np.ndarray
    """float64 [N], metres."""
    intensity: np.ndarray
    """float64 [N]."""
    category: np.ndarray
    actor: np.ndarray
    is_return: np.ndarray
    """bool [N]."""


def scan(
    caster: RayCaster,
    world_from_ego: Trajectory,
    end_s: float,
    actors: PosedActors,
    weather: Weather,
    rng: np.random.Generator,
    lidar: LidarSpec = LIDAR,
) -> SimulatedSweep:
    """The sweep that ends at ``end_s`` seconds.

    Args:
        caster: the drive.
        world_from_ego: motion of the ego vehicle.
        end_s: time of the last firing.
        actors: as ``actors_during_sweep`` places them.
        weather: attenuates and scatters the beams.
        rng: of noise and of lost beams.
        lidar: the sensor.
    """
    times = end_s + lidar.firing_delays_s()
    world_from_lidar = _lidar_poses(world_from_ego, times, lidar)  # [columns, 4, 4]
    rotation = world_from_lidar[:, :3, :3]
    directions = np.einsum("cij,cbj->cbi", rotation, lidar.directions()).reshape(-1, 3)
    origins = np.repeat(world_from_lidar[:, :3, 3], lidar.beams, axis=0)
    hits = _cast_through_glass(caster, origins, directions, actors, rng)
    cosine = np.abs(np.einsum("ni,ni->n", hits.normal, directions.astype(np.float32)))

    returns = _surface_returns(hits, cosine, weather, rng, lidar)
    _add_raindrops(returns, weather, rng)
    on_roof = _add_own_roof(returns, rng, lidar)
    lost = ~returns.is_return
    # The intensities that a nuScenes file has for beams without return.
    stray = rng.choice([1.0, 3.0, 9.0, 11.0, 17.0], len(lost))
    intensity = np.where(lost, stray, returns.intensity)
    returns.category[lost], returns.actor[lost] = NOISE_CATEGORY, -1

    world = origins + directions * np.where(lost, 0.0, returns.distance)[:, None]
    lidar_from_world = np.linalg.inv(world_from_lidar[-1])
    points = np.empty((len(lost), 5), np.float32)
    points[:, :3] = world @ lidar_from_world[:3, :3].T + lidar_from_world[:3, 3]
    points[:, 3] = np.clip(np.round(intensity), 0, 255)
    points[:, 4] = np.tile(np.arange(lidar.beams), lidar.columns)
    return SimulatedSweep(points, returns.category, returns.actor, returns.is_return & ~on_roof)


def actors_during_sweep(
    caster: RayCaster, world_from_ego: Trajectory, end_s: float, lidar: LidarSpec = LIDAR
) -> PosedActors:
    """Each actor where it is when the beam of the sweep that ends at ``end_s`` passes it."""
    middle_s = end_s - 0.5e-6 * lidar.period_us
    lidar_from_world = np.linalg.inv(world_from_ego(middle_s) @ lidar.ego_from_lidar)
    x, y = lidar_from_world[:2] @ caster.actor_poses.at(middle_s)[:, :, 3].T
    turn = (np.degrees(np.arctan2(x, y)) - lidar.first_azimuth_deg) % 360.0 / 360.0
    times = end_s - (1.0 - turn) * lidar.period_us * 1e-6
    return caster.actors_at(times, near_m=world_from_ego(middle_s)[:3, 3])


def _lidar_poses(world_from_ego: Trajectory, times: np.ndarray, lidar: LidarSpec) -> np.ndarray:
    """``world_from_lidar`` [columns, 4, 4], interpolated between the ends of the sweep.

    Over 50 ms the motion of a car is a straight line and a small turn, for which the linear mean of
    rotations is exact to 1e-4.
    """
    first, last = world_from_ego(float(times[0])), world_from_ego(float(times[-1]))
    weight = np.linspace(0.0, 1.0, len(times))[:, None, None]
    return (first * (1.0 - weight) + last * weight) @ lidar.ego_from_lidar


def _cast_through_glass(
    caster: RayCaster,
    origins: np.ndarray,
    directions: np.ndarray,
    actors: PosedActors,
    rng: np.random.Generator,
) -> Hits:
    hits = caster.cast(origins, directions, actors)
    for _ in range(_MAX_PANES):
        is_through = hits.is_hit & (rng.random(len(directions)) < _TRANSMISSION[hits.material])
        through = np.flatnonzero(is_through)
        if not len(through):
            break
        beyond = hits.range_m[through] + 0.01
        behind = caster.cast(
            origins[through] + directions[through] * beyond[:, None], directions[through], actors
        )
        hits.range_m[through] = behind.range_m + beyond
        hits.normal[through], hits.material[through] = behind.normal, behind.material
        hits.category[through], hits.tint[through] = behind.category, behind.tint
        hits.actor[through] = behind.actor
    return hits


def _surface_returns(
    hits: Hits, cosine: np.ndarray, weather: Weather, rng: np.random.Generator, lidar: LidarSpec
) -> _Returns:
    """Returns from the surfaces hit; ``cosine`` [N] is that of the angle of incidence."""
    count = len(cosine)
    flat = np.isin(hits.category, _FLAT_CATEGORIES)
    reflectivity = _REFLECTIVITY[hits.material] * np.where(flat, 1.0 - 0.65 * weather.wetness, 1.0)
    distance = np.where(hits.is_hit, hits.range_m, 1e6).astype(np.float64)
    attenuation = np.exp(-2.0 * weather.extinction_per_m * distance)
    strength = reflectivity * np.sqrt(cosine) * attenuation / distance**2
    # A soft threshold: speckle lets some of the faint beams through and loses some of the strong
    # ones.
    is_detected = strength * rng.lognormal(0.0, 0.7, count) > _DETECTION_LIMIT
    is_return = hits.is_hit & is_detected & (distance < lidar.max_range_m)
    is_return &= rng.random(count) > 0.01
    # A film of water mirrors away beams at grazing incidence.
    is_return &= ~flat | (rng.random(count) > 0.6 * weather.wetness * (1.0 - cosine) ** 2)
    shading = 0.35 + 0.65 * cosine
    intensity = 255.0 * reflectivity * shading * attenuation * rng.lognormal(0.0, 0.35, count)
    distance = distance + rng.normal(0.0, lidar.range_noise_m, count)
    return _Returns(distance, intensity, hits.category.copy(), hits.actor.copy(), is_return)


def _add_raindrops(returns: _Returns, weather: Weather, rng: np.random.Generator) -> None:
    """Drops near the sensor reflect some beams before they reach a surface."""
    count = len(returns.distance)
    is_drop = rng.random(count) < weather.backscatter
    drop_range = 1.0 + rng.exponential(3.0, count)
    is_drop &= drop_range < np.where(returns.is_return, returns.distance, np.inf)
    returns.distance = np.where(is_drop, drop_range, returns.distance)
    returns.intensity = np.where(is_drop, rng.uniform(1.0, 6.0, count), returns.intensity)
    returns.is_return |= is_drop
    returns.category[is_drop], returns.actor[is_drop] = NOISE_CATEGORY, -1


def _add_own_roof(returns: _Returns, rng: np.random.Generator, lidar: LidarSpec) -> np.ndarray:
    """Beams that meet the roof of the car end there; returns which, bool [N]."""
    count = len(returns.distance)
    roof_range = _roof_range_m(lidar).reshape(-1)
    on_roof = np.isfinite(roof_range)
    measured = roof_range + rng.normal(0.0, lidar.range_noise_m, count)
    returns.distance = np.where(on_roof, measured, returns.distance)
    returns.intensity = np.where(on_roof, rng.lognormal(3.1, 0.8, count), returns.intensity)
    returns.is_return = np.where(on_roof, rng.random(count) < _ROOF_RETURNS, returns.is_return)
    returns.category[on_roof], returns.actor[on_roof] = EGO_CATEGORY, -1
    return on_roof


def _roof_range_m(lidar: LidarSpec) -> np.ndarray:
    """Range at which each beam meets the roof, float64 [columns, beams]; inf where it does not."""
    directions = lidar.directions()
    with np.errstate(divide="ignore"):
        distance = np.where(directions[..., 2] < 0, _ROOF_Z_M / directions[..., 2], np.inf)
    x, y = (
        np.where(np.isfinite(distance), distance, 0.0) * directions[..., axis] for axis in (0, 1)
    )
    on_roof = (_ROOF_X_M[0] < x) & (x < _ROOF_X_M[1]) & (_ROOF_Y_M[0] < y) & (y < _ROOF_Y_M[1])
    return np.where(on_roof, distance, np.inf)
