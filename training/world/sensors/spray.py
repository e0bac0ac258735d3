"""Spray that the wheels of a vehicle throw up from a wet road, as a LiDAR sees it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from training.world.scene import Trajectory
from training.world.sensors.lidar_traits import IntensityResponse
from training.world.sensors.raycast import PosedActors, RayCaster
from training.world.sensors.returns import Beams, Returns

_REACH_M = 50.0
_SLOWEST_MPS = 2.5
_STEP_S = 0.1
_EGO_BACK_M, _EGO_WIDTH_M = -1.0, 1.8


class _Plume(NamedTuple):
    world_from_vehicle: np.ndarray
    """[4, 4]."""
    low_m: np.ndarray
    high_m: np.ndarray
    """Corners [3] of the box that the spray fills, in the vehicle's frame."""
    density: float
    """Relative to that behind a vehicle at 10 m/s."""


def add_spray(
    returns: Returns,
    beams: Beams,
    plumes: list[_Plume],
    spray_per_m: float,
    response: IntensityResponse,
    rng: np.random.Generator,
) -> None:
    """Beams return from the drops behind vehicles, the more the longer their way through them."""
    for plume in plumes:
        centre = plume.world_from_vehicle @ [*(plume.low_m + plume.high_m) / 2, 1.0]
        towards = centre[:3] - beams.origins[0]
        along = beams.directions @ towards
        radius = np.linalg.norm(plume.high_m - plume.low_m) / 2 + 1.0
        near = np.flatnonzero((towards @ towards - along**2 < radius**2) & (along > -radius))
        rotation = plume.world_from_vehicle[:3, :3]
        start = (beams.origins[near] - plume.world_from_vehicle[:3, 3]) @ rotation
        way = beams.directions[near] @ rotation
        way = np.where(np.abs(way) < 1e-9, 1e-9, way)
        one, other = (plume.low_m - start) / way, (plume.high_m - start) / way
        enter = np.maximum(np.minimum(one, other).max(1), 0.3)
        stop = np.where(returns.is_return[near], returns.distance[near], np.inf)
        chord = np.minimum(np.maximum(one, other).min(1), stop) - enter
        crossing = np.flatnonzero(chord > 0)
        near, enter, chord = near[crossing], enter[crossing], chord[crossing]
        met = rng.exponential(1.0 / (spray_per_m * plume.density), len(near))
        hit = np.flatnonzero(met < chord)
        distance = enter[hit] + met[hit]
        strength = rng.uniform(1.0, 8.0, len(hit))
        returns.put_noise(near[hit], distance, response.intensity(strength, distance))


def plumes_at(
    caster: RayCaster, actors: PosedActors, world_from_ego: Trajectory, time_s: float
) -> list[_Plume]:
    """The spray behind the ego vehicle and all vehicles near it that move."""
    return list(_plumes(caster, actors, world_from_ego, time_s))


def _plumes(
    caster: RayCaster, actors: PosedActors, world_from_ego: Trajectory, time_s: float
) -> Iterator[_Plume]:
    ego, before = world_from_ego(time_s), world_from_ego(time_s - _STEP_S)
    speed = float(np.linalg.norm(ego[:3, 3] - before[:3, 3])) / _STEP_S
    if speed > _SLOWEST_MPS:
        yield _plume(ego, _EGO_BACK_M, _EGO_WIDTH_M, speed)
    moved = caster.actor_poses.at(time_s) - caster.actor_poses.at(time_s - _STEP_S)
    speeds = np.linalg.norm(moved[:, :3, 3], axis=1) / _STEP_S
    away = np.hypot(*(actors.world_from_actor[:, :2, 3] - ego[:2, 3]).T)
    for index in np.flatnonzero((speeds > _SLOWEST_MPS) & (away < _REACH_M)):
        actor = caster.drive.actors[index]
        if actor.category.startswith("vehicle."):
            width, length, _ = actor.size_wlh
            yield _plume(actors.world_from_actor[index], -length / 2, width, float(speeds[index]))


def _plume(world_from_vehicle: np.ndarray, back_m: float, width_m: float, speed: float) -> _Plume:
    half, reach = 0.6 * width_m, 2.0 + 0.6 * speed
    low, high = np.array([back_m - reach, -half, 0.0]), np.array([back_m, half, 1.3])
    return _Plume(world_from_vehicle, low, high, speed / 10.0)
