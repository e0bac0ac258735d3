"""One LiDAR revolution, compensated for ego motion to the end of the sweep."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.world.scene import Trajectory
from training.world.sensors.lidar_losses import (
    add_bloom,
    add_ghosts,
    blur_edges,
    dimming,
    end_in_pile,
    lose_beams,
    lose_in_puddles,
)
from training.world.sensors.raycast import Hits, PosedActors, RayCaster
from training.world.sensors.returns import NOISE_CATEGORY, Beams, Returns
from training.world.sensors.rig import LIDAR, LidarSpec
from training.world.sensors.spray import add_spray, plumes_at
from training.world.things.materials import MATERIALS
from training.world.weather import Weather

EGO_CATEGORY = 31
_FLAT_CATEGORIES = (24, 25, 26, 27)

_REFLECTIVITY = np.array([material.reflectivity for material in MATERIALS])
_BRIGHT_IN_INFRARED = np.isin(
    [material.name for material in MATERIALS], ("grass", "tall_grass", "foliage", "cloth")
)
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
    is_measured: np.ndarray
    """bool [N]: whether the beam returned from anywhere."""


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
    hits, panes = _cast_through_glass(caster, origins, directions, actors, rng)
    cosine = np.abs(np.einsum("ni,ni->n", hits.normal, directions.astype(np.float32)))
    beams = Beams(origins, directions, hits, cosine, panes)

    returns = _surface_returns(hits, cosine, weather, rng, lidar)
    _lose_and_mirror(returns, beams, (caster, actors), weather, rng, lidar)
    _add_raindrops(returns, weather, rng, lidar)
    if weather.spray_per_m:
        plumes = plumes_at(caster, actors, world_from_ego, end_s)
        add_spray(returns, beams, plumes, weather.spray_per_m, lidar.response, rng)
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
    return SimulatedSweep(points, returns.category, returns.actor, ~lost & ~on_roof, ~lost)


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
) -> tuple[Hits, np.ndarray]:
    """The hits behind glass, and the number of panes int64 [N] that each beam passed."""
    hits = caster.cast(origins, directions, actors)
    panes = np.zeros(len(directions), np.int64)
    for _ in range(_MAX_PANES):
        is_through = hits.is_hit & (rng.random(len(directions)) < _TRANSMISSION[hits.material])
        through = np.flatnonzero(is_through)
        if not len(through):
            break
        panes[through] += 1
        beyond = hits.range_m[through] + 0.01
        behind = caster.cast(
            origins[through] + directions[through] * beyond[:, None], directions[through], actors
        )
        hits.range_m[through] = behind.range_m + beyond
        hits.normal[through], hits.material[through] = behind.normal, behind.material
        hits.category[through], hits.tint[through] = behind.category, behind.tint
        hits.reflectance[through] = behind.reflectance
        hits.actor[through] = behind.actor
    return hits, panes


def _surface_returns(
    hits: Hits, cosine: np.ndarray, weather: Weather, rng: np.random.Generator, lidar: LidarSpec
) -> Returns:
    """Returns from the surfaces hit; ``cosine`` [N] is that of the angle of incidence."""
    count = len(cosine)
    flat = np.isin(hits.category, _FLAT_CATEGORIES)
    reflectivity = _REFLECTIVITY[hits.material] * hits.reflectance
    reflectivity *= np.where(_BRIGHT_IN_INFRARED[hits.material], lidar.response.infrared, 1.0)
    reflectivity *= np.where(flat, 1.0 - 0.65 * weather.wetness, 1.0)
    reflectivity *= dimming(hits, cosine, lidar.losses)
    distance = np.where(hits.is_hit, hits.range_m, 1e6).astype(np.float64)
    attenuation = np.exp(-2.0 * weather.extinction_per_m * distance)
    strength = reflectivity * np.sqrt(cosine) * attenuation / distance**2
    # A soft threshold: speckle lets some of the faint beams through and loses some of the strong
    # ones.
    is_detected = strength * rng.lognormal(0.0, 0.7, count) > lidar.detection_limit
    is_return = hits.is_hit & is_detected & (distance < lidar.max_range_m)
    is_return &= rng.random(count) > lidar.dropout
    # A film of water mirrors away beams at grazing incidence.
    is_return &= ~flat | (
        rng.random(count) > weather.film_losses * weather.wetness * (1.0 - cosine) ** 2
    )
    shading = 0.35 + 0.65 * cosine
    speckle = rng.lognormal(0.0, lidar.response.speckle, count)
    level = 255.0 * reflectivity * shading * attenuation * speckle
    intensity = lidar.response.intensity(level, distance)
    distance = distance + rng.normal(0.0, lidar.range_noise_m, count)
    return Returns(distance, intensity, hits.category.copy(), hits.actor.copy(), is_return)


def _lose_and_mirror(
    returns: Returns,
    beams: Beams,
    scene: tuple[RayCaster, PosedActors],
    weather: Weather,
    rng: np.random.Generator,
    lidar: LidarSpec,
) -> None:
    """What grass, dark and glossy surfaces, water, edges and retroreflectors do to the beams."""
    end_in_pile(returns, beams, lidar.losses.pile, rng)
    mirrored = lose_beams(returns, beams, lidar.losses, rng)
    is_flat = np.isin(beams.hits.category, _FLAT_CATEGORIES)
    mirrored |= lose_in_puddles(returns, beams, is_flat, weather, rng)
    blur_edges(returns, beams, lidar.beams, lidar.losses.edges, rng)
    add_ghosts(returns, beams, mirrored, lidar.losses.ghosts, scene, lidar.max_range_m, rng)
    add_bloom(returns, beams, lidar.beams, lidar.losses.bloom, rng)


def _add_raindrops(
    returns: Returns, weather: Weather, rng: np.random.Generator, lidar: LidarSpec
) -> None:
    """Drops near the sensor reflect some beams before they reach a surface."""
    count = len(returns.distance)
    is_drop = rng.random(count) < weather.backscatter
    drop_range = 1.0 + rng.exponential(3.0, count)
    is_drop &= drop_range < np.where(returns.is_return, returns.distance, np.inf)
    level = lidar.response.intensity(rng.uniform(1.0, 6.0, count), drop_range)
    drops = np.flatnonzero(is_drop)
    returns.put_noise(drops, drop_range[drops], level[drops])


def _add_own_roof(returns: Returns, rng: np.random.Generator, lidar: LidarSpec) -> np.ndarray:
    """Beams that meet the roof of the car end there; returns which, bool [N]."""
    count = len(returns.distance)
    roof_range = _roof_range_m(lidar).reshape(-1)
    on_roof = np.isfinite(roof_range)
    measured = roof_range + rng.normal(0.0, lidar.range_noise_m, count)
    returns.distance = np.where(on_roof, measured, returns.distance)
    level = lidar.response.intensity(rng.lognormal(3.1, 0.8, count), roof_range)
    returns.intensity = np.where(on_roof, level, returns.intensity)
    is_seen = rng.random(count) < lidar.roof.returns
    returns.is_return = np.where(on_roof, is_seen, returns.is_return)
    returns.category[on_roof], returns.actor[on_roof] = EGO_CATEGORY, -1
    return on_roof


def _roof_range_m(lidar: LidarSpec) -> np.ndarray:
    """Range at which each beam meets the roof, float64 [columns, beams]; inf where it does not."""
    directions, roof = lidar.directions(), lidar.roof
    with np.errstate(divide="ignore"):
        distance = np.where(directions[..., 2] < 0, roof.z_m / directions[..., 2], np.inf)
    x, y = (
        np.where(np.isfinite(distance), distance, 0.0) * directions[..., axis] for axis in (0, 1)
    )
    # To the right of the car and ahead of it.
    turn = np.radians(lidar.yaw_deg + 90.0)
    right, forward = np.cos(turn) * x - np.sin(turn) * y, np.sin(turn) * x + np.cos(turn) * y
    on_roof = (roof.right_m[0] < right) & (right < roof.right_m[1])
    on_roof &= (roof.forward_m[0] < forward) & (forward < roof.forward_m[1])
    return np.where(on_roof, distance, np.inf)
