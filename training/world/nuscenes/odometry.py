"""Messages of the car's own motion sensors, in the layout of the nuScenes CAN bus expansion."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from training.world.nuscenes import tables
from training.world.nuscenes.map_mask import MapFrame
from training.world.nuscenes.scene_names import SceneNames
from training.world.nuscenes.tables import Record
from training.world.scene import Trajectory

ODOMETRY_HZ = 50
_STEP_S = 0.01
"""Step of the finite differences."""
_GRAVITY = [0.0, 0.0, 9.81]


def odometry(
    world_from_ego: Trajectory, span_s: tuple[float, float], names: SceneNames, frame: MapFrame
) -> list[Record]:
    """The contents of ``can_bus/<scene>_pose.json`` between two times."""
    times = np.arange(*span_s, 1.0 / ODOMETRY_HZ)
    return [_message(world_from_ego, float(time_s), names, frame) for time_s in times]


def _message(
    world_from_ego: Trajectory, time_s: float, names: SceneNames, frame: MapFrame
) -> Record:
    before, now, after = (world_from_ego(time_s + shift) for shift in (-_STEP_S, 0.0, _STEP_S))
    ego_from_world = now[:3, :3].T
    velocity = ego_from_world @ (after[:3, 3] - before[:3, 3]) / (2 * _STEP_S)
    # An accelerometer at rest measures the push of the ground upwards.
    acceleration = (after[:3, 3] - 2 * now[:3, 3] + before[:3, 3]) / _STEP_S**2 + _GRAVITY
    acceleration = ego_from_world @ acceleration
    turn = Rotation.from_matrix(before[:3, :3].T @ after[:3, :3]).as_rotvec() / (2 * _STEP_S)
    pose = tables.pose_fields(frame.map_from_body(now))
    vectors = {"vel": velocity, "accel": acceleration, "rotation_rate": turn}
    rounded = {name: [round(float(c), 6) for c in vector] for name, vector in vectors.items()}
    return {
        "utime": names.stamp_us(time_s),
        "pos": pose["translation"],
        "orientation": pose["rotation"],
        **rounded,
    }
