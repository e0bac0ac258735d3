"""Frames whose sensors see less than they might."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from occ_core.config import OccupancyConfig
from occ_core.geometry.points import NEWEST_S
from occ_core.types import Frame

ALL_SENSORS, ONE_SWEEP = "all_sensors", "one_sweep"


def without_cameras(frame: Frame) -> Frame:
    """The frame with every camera masked."""
    return replace(frame, camera_mask=torch.zeros_like(frame.camera_mask))


def without_lidar(frame: Frame) -> Frame:
    """The frame without LiDAR points."""
    return replace(frame, points=tuple(points[:0] for points in frame.points))


def newest_sweep(frame: Frame) -> Frame:
    """The frame without the points of earlier sweeps."""
    return replace(frame, points=tuple(points[points[:, 4] < NEWEST_S] for points in frame.points))


def conditions(model: OccupancyConfig) -> dict[str, Callable[[Frame], Frame]]:
    """The conditions by name under which a model is scored: with all that its sensors give, then
    with less. A model of a single sensor is not scored without it.
    """
    by_name: dict[str, Callable[[Frame], Frame]] = {ALL_SENSORS: lambda frame: frame}
    if model.lidar:
        by_name[ONE_SWEEP] = newest_sweep
    if model.lidar and model.camera:
        by_name |= {"without_cameras": without_cameras, "without_lidar": without_lidar}
    return by_name
