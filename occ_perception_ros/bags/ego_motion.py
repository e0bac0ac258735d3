"""The ego vehicle's velocity, from nuScenes' CAN bus expansion or else from the ego poses."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from occ_core.datasets.recordings import CameraImage, LidarSweep
from occ_core.geometry.poses import quaternion_from_rotation

_HALF_WINDOW_NS = 50_000_000
"""Poses are differentiated over a tenth of a second. Cameras fire milliseconds apart, and over so
short a time noise would dominate."""
_CAN_GAP_NS = 100_000_000
"""Largest distance from a message of the CAN bus, which come at 50 Hz."""

CanVelocities = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Stamps [M] in nanoseconds, ascending; linear [M, 3] in m/s; angular [M, 3] in rad/s."""


class EgoMotion:
    """Linear and angular velocity in the ego frame over a drive.

    Args:
        stamps_ns: ``[N]``, ascending.
        world_from_ego: ``[N, 4, 4]``, the poses at these stamps.
        can: velocities from the CAN bus, which take precedence.
    """

    def __init__(
        self, stamps_ns: np.ndarray, world_from_ego: np.ndarray, can: CanVelocities | None = None
    ) -> None:
        self._stamps_ns = stamps_ns
        self._world_from_ego = world_from_ego
        self._can = can

    @classmethod
    def from_scene(
        cls, root: Path, scene_name: str, recordings: Sequence[CameraImage | LidarSweep]
    ) -> EgoMotion:
        """The motion from a scene's poses and, if it exists, ``can_bus/<scene>_pose.json``.

        Raises:
            ValueError: the file of the CAN bus is malformed.
        """
        poses = {recording.stamp_ns: recording.world_from_ego for recording in recordings}
        stamps_ns = np.array(sorted(poses), np.int64)
        return cls(
            stamps_ns,
            np.stack([poses[stamp] for stamp in stamps_ns.tolist()]),
            _read_can_pose(root, scene_name),
        )

    def at(self, stamp_ns: int) -> tuple[np.ndarray, np.ndarray]:
        """Linear velocity ``[3]`` in m/s and angular velocity ``[3]`` in rad/s.

        Both are zero if there is only one pose.
        """
        return self._from_can(stamp_ns) or self._from_poses(stamp_ns)

    def _from_can(self, stamp_ns: int) -> tuple[np.ndarray, np.ndarray] | None:
        if self._can is None:
            return None
        stamps_ns, linear, angular = self._can
        after = int(np.searchsorted(stamps_ns, stamp_ns))
        before = max(after - 1, 0)
        if after == len(stamps_ns):
            return None
        if max(stamps_ns[after] - stamp_ns, stamp_ns - stamps_ns[before]) > _CAN_GAP_NS:
            return None
        fraction = 0.0
        if after != before:
            fraction = (stamp_ns - stamps_ns[before]) / (stamps_ns[after] - stamps_ns[before])
        return (
            linear[before] + fraction * (linear[after] - linear[before]),
            angular[before] + fraction * (angular[after] - angular[before]),
        )

    def _from_poses(self, stamp_ns: int) -> tuple[np.ndarray, np.ndarray]:
        last = len(self._stamps_ns) - 1
        before = int(np.searchsorted(self._stamps_ns, stamp_ns - _HALF_WINDOW_NS))
        after = min(int(np.searchsorted(self._stamps_ns, stamp_ns + _HALF_WINDOW_NS)), last)
        if after <= before:
            return np.zeros(3), np.zeros(3)
        seconds = (self._stamps_ns[after] - self._stamps_ns[before]) * 1e-9
        now = int(np.searchsorted(self._stamps_ns, stamp_ns))
        first, second = self._world_from_ego[before], self._world_from_ego[after]
        ego_from_world = self._world_from_ego[min(now, last)][:3, :3].T
        linear = ego_from_world @ (second[:3, 3] - first[:3, 3]) / seconds
        return linear, _rotation_vector(first[:3, :3].T @ second[:3, :3]) / seconds


def _rotation_vector(rotation: np.ndarray) -> np.ndarray:
    """Axis times angle in radians, ``[3]``, of a rotation matrix."""
    quaternion = quaternion_from_rotation(rotation)
    sine = np.linalg.norm(quaternion[1:])
    if sine < 1e-12:
        return 2 * quaternion[1:]
    return quaternion[1:] * (2 * np.arctan2(sine, quaternion[0]) / sine)


def _read_can_pose(root: Path, scene_name: str) -> CanVelocities | None:
    """``vel`` and ``rotation_rate`` of the CAN bus expansion, both in the ego frame."""
    path = root / "can_bus" / f"{scene_name}_pose.json"
    if not path.is_file():
        return None
    try:
        records = sorted(json.loads(path.read_bytes()), key=lambda record: record["utime"])
        stamps_ns = np.array([record["utime"] * 1000 for record in records], np.int64)
        linear = np.array([record["vel"] for record in records], np.float64)
        angular = np.array([record["rotation_rate"] for record in records], np.float64)
        velocities = (stamps_ns, linear.reshape(-1, 3), angular.reshape(-1, 3))
    except (ValueError, LookupError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(
            f"{path} is not a pose file of the nuScenes CAN bus expansion ({error!r}); extract it "
            "again"
        ) from error
    return velocities if len(records) else None
