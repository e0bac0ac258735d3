"""Lamps that light the scene at night: the car's own, other traffic's, and street lamps. None of
them casts shadows.
"""

from __future__ import annotations

import numpy as np

from training.world.scene import Drive

_REACH_M = 60.0
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


class LampSet:
    """All lamps near the car at one moment."""

    def __init__(
        self, drive: Drive, world_from_ego: np.ndarray, world_from_actor: np.ndarray
    ) -> None:
        """Poses of the car [4, 4] and of all actors [A, 4, 4] at that moment."""
        here = world_from_ego[:2, 3]
        positions, axes, sharpness, powers, radii = [], [], [], [], []

        def add(
            position: np.ndarray, axis: np.ndarray, sharp: float, power: np.ndarray, radius: float
        ) -> None:
            positions.append(position)
            axes.append(axis / np.linalg.norm(axis))
            sharpness.append(sharp)
            powers.append(power)
            radii.append(radius)

        def add_vehicle(
            pose: np.ndarray, front_m: float, back_m: float, headlights_m: tuple[float, ...]
        ) -> None:
            for side_m in headlights_m:
                power = _HEADLIGHT * np.float32(2 / len(headlights_m))
                add(
                    (pose @ [front_m, side_m, 0.65, 1])[:3],
                    pose[:3, :3] @ [1.0, 0.0, -0.045],
                    40.0,
                    power,
                    45.0,
                )
            add(
                (pose @ [back_m, 0.0, 0.8, 1])[:3],
                pose[:3, :3] @ [-1.0, 0.0, -0.2],
                1.5,
                _TAIL_LIGHT,
                8.0,
            )

        add_vehicle(world_from_ego, 3.8, -1.0, (-0.65, 0.65))
        for actor, pose in zip(drive.actors, world_from_actor, strict=True):
            driving = actor.attribute != "vehicle.parked" and actor.category.startswith(_VEHICLES)
            if driving and np.hypot(*(pose[:2, 3] - here)) < _REACH_M:
                length = actor.size_wlh[1]
                add_vehicle(
                    pose, length / 2, -length / 2, (0.0,)
                )  # from outside a pair looks like one lamp
        near = (
            np.hypot(*(drive.lamps[:, :2] - here).T) < _REACH_M
            if len(drive.lamps)
            else np.zeros(0, bool)
        )
        for lamp in drive.lamps[near]:
            add(lamp.astype(np.float64), np.array([0.0, 0.0, -1.0]), 1.2, _STREET_LAMP, 22.0)
        self.positions, self.axes = np.array(positions, np.float32), np.array(axes, np.float32)
        self.sharpness, self.powers, self.radii = (
            np.array(sharpness),
            np.array(powers, np.float32),
            np.array(radii),
        )

    def irradiance(self, points: np.ndarray, normal: np.ndarray) -> np.ndarray:
        """Lamp light on surface points [N, 3] with unit normals [N, 3]; float32 [N, 3]."""
        order = np.argsort(points[:, 0])
        x, y, z = np.ascontiguousarray(
            points[order].T, np.float32
        )  # sorted by x: a lamp's reach is a slice
        normals = np.ascontiguousarray(normal[order].T, np.float32)
        light = np.zeros((3, len(points)), np.float32)
        for (px, py, pz), axis, sharp, power, radius in zip(
            self.positions, self.axes, self.sharpness, self.powers, self.radii, strict=True
        ):
            first, last = np.searchsorted(x, [px - radius, px + radius])
            dx, dy, dz = px - x[first:last], py - y[first:last], pz - z[first:last]
            squared = dx * dx + dy * dy + dz * dz + np.float32(0.05)
            ahead = -(dx * axis[0] + dy * axis[1] + dz * axis[2])
            near = np.flatnonzero((squared < radius * radius) & (ahead > 0))
            if not len(near):
                continue
            dx, dy, dz, squared, ahead = dx[near], dy[near], dz[near], squared[near], ahead[near]
            near += first
            distance = np.sqrt(squared)
            facing = (
                np.maximum(
                    dx * normals[0, near] + dy * normals[1, near] + dz * normals[2, near], 0.0
                )
                / distance
            )
            beam = (ahead / distance) ** np.float32(sharp)
            strength = facing * beam * (1.0 - squared / np.float32(radius * radius)) / squared
            light[:, near] += power[:, None] * strength
        unsorted = np.empty((len(points), 3), np.float32)
        unsorted[order] = light.T
        return unsorted
