"""GaussRender's moving camera (section 3.2, appendix E.4): one camera of the vehicle, moved.

It keeps its intrinsics, and its pose is drawn at random in every step. The z axis of the grid
points up.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from occ_core.rendering.cameras import Cameras
from occ_core.voxel_grid import VoxelGrid

Strategy = Literal["sensor", "lifted", "elevated", "elevated_around", "random", "dynamic"]
"""How a camera of the vehicle is moved. ``lifted``, by 2 m, is the default of the authors' code;
the others are those of the paper's Table 5.
"""
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)

STATIC_STRATEGIES: tuple[Strategy, ...] = ("sensor", "lifted")
"""Strategies whose cameras are the same in every epoch."""

LIFT_M, PITCH_DEGREES, YAW_DEGREES = 8.0, 20.0, 5.0
"""Parameters of ``elevated`` in the authors' code (the paper gives none); the yaw is drawn from
either side of 0.
"""
FRONT, BACK = 1, 4
"""Two of the six cameras of nuScenes, in the order of ``NUSCENES_CAMERAS``."""


def virtual_camera(
    strategy: Strategy,
    sensors: Cameras,
    weights: Float[Tensor, " view"],
    grid: VoxelGrid,
    random: np.random.Generator,
    target_m: Float[Tensor, " 3"] | None = None,
) -> Cameras:
    """Draws one camera of ``sensors`` and moves it.

    Args:
        weights: unnormalised probability of each camera; see ``view_weights``.
        random: draws the camera and its motion.
        target_m: the point that ``dynamic`` looks at; see ``worst_location``.

    Raises:
        ValueError: ``dynamic`` without a target.
    """
    probabilities = weights.double().numpy() / weights.double().sum().item()
    drawn = int(random.choice(len(weights), p=probabilities))
    grid_from_camera = torch.linalg.inv(sensors.camera_from_grid[drawn].double()).cpu().numpy()
    target = None if target_m is None else target_m.double().cpu().numpy()
    pose = _move(strategy, grid_from_camera, grid, random, target)
    camera_from_grid = torch.from_numpy(np.linalg.inv(pose)).to(sensors.camera_from_grid)
    return replace(sensors.only(drawn), camera_from_grid=camera_from_grid[None])


def _move(
    strategy: Strategy,
    pose: np.ndarray,
    grid: VoxelGrid,
    random: np.random.Generator,
    target: np.ndarray | None,
) -> np.ndarray:
    """``grid_from_camera`` of the moved camera."""
    half_range_m = (grid.range_m[3] - grid.range_m[0]) / 4  # half the range to either side
    if strategy == "sensor":
        return pose
    if strategy == "lifted":
        return _raise(pose, 2.0)
    if strategy in ("elevated", "elevated_around"):
        yaw = random.uniform(-YAW_DEGREES, YAW_DEGREES)
        moved = _raise(pose, LIFT_M) @ _rotation(PITCH_DEGREES, yaw)
        if strategy == "elevated_around":
            moved[:2, 3] += random.uniform(-half_range_m, half_range_m, 2)
        return moved
    if strategy == "random":
        pitch = random.uniform(0, PITCH_DEGREES)
        raised = _raise(pose, LIFT_M * pitch / PITCH_DEGREES + random.uniform(0, 2))
        moved = raised @ _rotation(pitch, random.uniform(-10, 10))
        moved[:2, 3] = random.uniform(grid.range_m[:2], grid.range_m[3:5])
        return moved
    if target is None:
        raise ValueError("the strategy 'dynamic' needs a target to look at, got none")
    azimuth, distance = random.uniform(0, 2 * math.pi), random.uniform(0.2, 1) * half_range_m
    position = target + [distance * math.cos(azimuth), distance * math.sin(azimuth), LIFT_M]
    return look_at_pose(position, target)


def view_weights(sensors: Cameras) -> Float[Tensor, " view"]:
    """Unnormalised probability of each camera: equal, but of the six of nuScenes front and back are
    twice as likely as the others (as in the authors' code).
    """
    weights = torch.ones(len(sensors.intrinsics))
    if len(weights) == 6:
        weights[[FRONT, BACK]] = 2
    return weights


def worst_location(
    cross_entropy: Float[Tensor, "x y z"], grid: VoxelGrid, side: int = 8
) -> Float[Tensor, " 3"]:
    """Centre in metres of the block of ``side`` x ``side`` columns with the highest mean cross
    entropy.
    """
    columns = cross_entropy.detach().mean(dim=2)[None, None]
    blocks = torch.nn.functional.avg_pool2d(columns, side, ceil_mode=True)[0, 0]
    i, j = divmod(int(blocks.argmax()), blocks.shape[1])
    x, y, z = grid.shape
    cell = torch.tensor([min((i + 0.5) * side, x - 1), min((j + 0.5) * side, y - 1), z / 2])
    return torch.tensor(grid.min_m) + cell * grid.voxel_size_m


def look_at_pose(position: np.ndarray, target: np.ndarray) -> np.ndarray:
    """``grid_from_camera`` [4, 4] of an upright camera that looks at a point, which must not lie
    straight above or below.
    """
    forward = (target - position) / np.linalg.norm(target - position)
    right = np.cross(forward, [0.0, 0, 1])
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
    pose[:3, 3] = position
    return pose


def _raise(pose: np.ndarray, metres: float) -> np.ndarray:
    raised = pose.copy()
    raised[2, 3] += metres
    return raised


def _rotation(pitch_degrees: float, yaw_degrees: float) -> np.ndarray:
    """``camera_from_rotated`` [4, 4]: a yaw to the right about y, which points down, then a pitch
    down about x.
    """
    pitch, yaw = math.radians(pitch_degrees), math.radians(yaw_degrees)
    cos_pitch, sin_pitch = math.cos(pitch), math.sin(pitch)
    cos_yaw, sin_yaw = math.cos(yaw), math.sin(yaw)
    about_y = np.array([[cos_yaw, 0, sin_yaw], [0, 1, 0], [-sin_yaw, 0, cos_yaw]])
    about_x = np.array([[1, 0, 0], [0, cos_pitch, sin_pitch], [0, -sin_pitch, cos_pitch]])
    rotation = np.eye(4)
    rotation[:3, :3] = about_y @ about_x
    return rotation
