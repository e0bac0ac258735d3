"""Lamps that light the scene at night: of the ego vehicle, of other traffic, and of the street.

They cast no shadows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from training.world.scene import Drive

_REACH_M = 60.0
"""Lamps farther away from the ego vehicle are left out."""
_HEADLIGHT = np.array([3.2, 3.1, 2.8], np.float32) * 30.0
_TAIL_LIGHT = np.array([1.6, 0.06, 0.04], np.float32)
_STREET_LAMP = np.array([3.0, 2.2, 1.2], np.float32) * 4.0
_VEHICLES = (
    "vehicle.car",
    "vehicle.truck",
    "vehicle.bus",
    "vehicle.construction",
    "vehicle.trailer",
)


class _Lamp(NamedTuple):
    position: np.ndarray
    """[3], world frame."""
    axis: np.ndarray
    """[3], direction of the brightest light; need not be a unit vector."""
    sharpness: float
    """Exponent of the cosine to the axis: the larger, the narrower the beam."""
    power: np.ndarray
    """RGB, float32 [3]."""
    radius_m: float
    """Light ends here."""


class LampSet:
    """All lamps near the ego vehicle at one time.

    Args:
        drive: its actors and street lamps.
        world_from_ego: [4, 4].
        world_from_actor: poses of all actors, [A, 4, 4].
    """

    def __init__(
        self, drive: Drive, world_from_ego: np.ndarray, world_from_actor: np.ndarray
    ) -> None:
        lamps = list(_lamps_near(drive, world_from_ego, world_from_actor))
        axes = [lamp.axis / np.linalg.norm(lamp.axis) for lamp in lamps]
        self.positions = np.array([lamp.position for lamp in lamps], np.float32)
        self.axes = np.array(axes, np.float32)
        self.sharpness = np.array([lamp.sharpness for lamp in lamps])
        self.powers = np.array([lamp.power for lamp in lamps], np.float32)
        self.radii_m = np.array([lamp.radius_m for lamp in lamps])

    def irradiance(self, points: np.ndarray, normal: np.ndarray) -> np.ndarray:
        """Lamp light on surface points [N, 3] with unit normals [N, 3]; float32 [N, 3]."""
        # Sorted by x, the points within reach of a lamp are a slice.
        order = np.argsort(points[:, 0])
        x, y, z = np.ascontiguousarray(points[order].T, np.float32)
        normals = np.ascontiguousarray(normal[order].T, np.float32)
        light = np.zeros((3, len(points)), np.float32)
        for (px, py, pz), axis, sharpness, power, radius in zip(
            self.positions, self.axes, self.sharpness, self.powers, self.radii_m, strict=True
        ):
            first, last = np.searchsorted(x, [px - radius, px + radius])
            dx, dy, dz = px - x[first:last], py - y[first:last], pz - z[first:last]
            squared = dx * dx + dy * dy + dz * dz + np.float32(0.05)
            ahead = -(dx * axis[0] + dy * axis[1] + dz * axis[2])
            lit = np.flatnonzero((squared < radius * radius) & (ahead > 0))
            if not len(lit):
                continue
            dx, dy, dz, squared, ahead = dx[lit], dy[lit], dz[lit], squared[lit], ahead[lit]
            lit += first
            distance = np.sqrt(squared)
            towards = dx * normals[0, lit] + dy * normals[1, lit] + dz * normals[2, lit]
            facing = np.maximum(towards, 0.0) / distance
            beam = (ahead / distance) ** np.float32(sharpness)
            # Inverse-square law, faded out towards the radius.
            strength = facing * beam * (1.0 - squared / np.float32(radius * radius)) / squared
            light[:, lit] += power[:, None] * strength
        unsorted = np.empty((len(points), 3), np.float32)
        unsorted[order] = light.T
        return unsorted


def _lamps_near(
    drive: Drive, world_from_ego: np.ndarray, world_from_actor: np.ndarray
) -> Iterator[_Lamp]:
    here = world_from_ego[:2, 3]
    yield from _vehicle_lamps(world_from_ego, 3.8, -1.0, (-0.65, 0.65))
    for actor, pose in zip(drive.actors, world_from_actor, strict=True):
        is_driving = actor.attribute != "vehicle.parked" and actor.category.startswith(_VEHICLES)
        if is_driving and np.hypot(*(pose[:2, 3] - here)) < _REACH_M:
            length = actor.size_wlh[1]
            # From outside, a pair of headlights looks like one.
            yield from _vehicle_lamps(pose, length / 2, -length / 2, (0.0,))
    down = np.array([0.0, 0.0, -1.0])
    for position in drive.lamps:
        if np.hypot(*(position[:2] - here)) < _REACH_M:
            yield _Lamp(position.astype(np.float64), down, 1.2, _STREET_LAMP, 22.0)


def _vehicle_lamps(
    world_from_vehicle: np.ndarray, front_m: float, back_m: float, headlights_m: tuple[float, ...]
) -> Iterator[_Lamp]:
    """Headlights, each at its offset to the left, and one tail light for both."""
    rotation = world_from_vehicle[:3, :3]
    for left_m in headlights_m:
        position = (world_from_vehicle @ [front_m, left_m, 0.65, 1])[:3]
        power = _HEADLIGHT * np.float32(2 / len(headlights_m))
        yield _Lamp(position, rotation @ [1.0, 0.0, -0.045], 40.0, power, 45.0)
    position = (world_from_vehicle @ [back_m, 0.0, 0.8, 1])[:3]
    yield _Lamp(position, rotation @ [-1.0, 0.0, -0.2], 1.5, _TAIL_LIGHT, 8.0)
