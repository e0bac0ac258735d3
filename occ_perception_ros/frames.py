"""From the parts of a frame to the model's ``Frame``: decoding images and joining sweeps.

This is the heavy work on the input. It may run in another thread, since the parts hold everything
it needs. No rclpy import.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from occ_core.datasets.sensors import CameraSample, frame_from_sensors
from occ_core.geometry.points import NO_BOX_M, accumulate_sweeps, inside_polygon, transform_points
from occ_core.types import Frame, Occupancy
from occ_perception_ros.frame_parts import CameraPart, FrameParts, NoSweep, PlacedSweep
from occ_perception_ros.messages import image_from_message
from occ_perception_ros.synchronizer import NS


class FrameError(ValueError):
    """A frame cannot be built from its parts; the text gives the reason."""


class Engine(Protocol):
    """The interface of ``occ_core.engine.OccupancyEngine`` that node and offline run use."""

    def step(self, frame: Frame) -> Occupancy: ...

    def reset(self, reason: str) -> None: ...


@dataclass(frozen=True, slots=True)
class FrameReport:
    """Which of a frame's parts were not used."""

    masked: dict[str, str]
    """Why each masked camera is not used, by name."""
    points: int
    """Number of points in the frame."""
    points_dropped: dict[str, int]
    """Number of the anchor sweep's points that were dropped or changed, by reason; ``over_limit``
    is of all sweeps."""
    warnings: dict[str, str]
    """What seems wrong with the data that were used, by a short key."""


def build_frame(
    parts: FrameParts, cameras: Sequence[str], image_size: tuple[int, int]
) -> tuple[Frame, FrameReport]:
    """Decodes the images, joins the sweeps and builds the model's frame.

    A camera whose image is corrupt is masked.

    Args:
        parts: the parts of one frame.
        cameras: names in the model's order.
        image_size: ``(height, width)`` of the model's images.

    Raises:
        FrameError: the anchor sweep is malformed or has no usable point.
    """
    masked = dict(parts.masked)
    # Decoding releases Python's lock, so that the images are decoded while the sweeps are joined.
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        decoding = {
            camera: pool.submit(_camera_sample, camera, part, image_size)
            for camera, part in parts.cameras.items()
        }
        points, dropped, warnings = _joined_points(parts)
    samples: dict[str, CameraSample] = {}
    for camera, decoded in decoding.items():
        try:
            samples[camera] = decoded.result()
        except ValueError as error:
            masked[camera] = str(error)
    frame = frame_from_sensors(
        [samples.get(camera) for camera in cameras],
        points,
        parts.world_from_grid,
        parts.stamp_ns,
        parts.context,
        image_size,
    )
    return frame, FrameReport(masked, len(points), dropped, warnings)


def _camera_sample(camera: str, part: CameraPart, image_size: tuple[int, int]) -> CameraSample:
    image, intrinsics = image_from_message(
        camera, part.message, part.model, min_width=image_size[1]
    )
    return CameraSample.fitted(image, intrinsics, part.grid_from_camera, image_size)


def _joined_points(parts: FrameParts) -> tuple[np.ndarray, dict[str, int], dict[str, str]]:
    """All points in the grid frame, numbers of dropped points by reason, and warnings by key."""
    clouds: list[tuple[np.ndarray, PlacedSweep]] = []
    counts: dict[str, int] = {}
    warnings: dict[str, str] = {}
    for posed in parts.sweeps:
        try:
            points, sweep_counts = posed.sweep.points()
        except ValueError as error:
            if posed is parts.sweeps[-1]:
                raise FrameError(str(error)) from error
            continue  # a frame with one old sweep less is still useful
        clouds.append((points, posed))
        if posed is parts.sweeps[-1]:
            counts = dict(sweep_counts)
            if len(points) == 0 and not isinstance(posed.sweep, NoSweep):
                raise FrameError(
                    f"the point cloud at {posed.stamp_ns / NS:.3f} s has no usable point "
                    f"(dropped: {counts})"
                )
            if problem := posed.sweep.problem():
                warnings["intensity"] = problem
    over_limit = sum(posed.sweep.points()[1].get("over_limit", 0) for _, posed in clouds)
    total = sum(len(points) for points, _ in clouds)
    if total > parts.max_points:
        clouds = _thinned(clouds, -(-total // parts.max_points))
        over_limit += total - sum(len(points) for points, _ in clouds)
    if over_limit:
        counts["over_limit"] = over_limit
        warnings["max_points"] = (
            f"{over_limit} points of {len(clouds)} sweeps are beyond max_points "
            f"({parts.max_points}) and left out; raise it, or lower sync.sweeps"
        )
    in_grid = [(_in_grid(points, posed, parts), posed) for points, posed in clouds]
    box = NO_BOX_M if parts.ego_polygon_m else parts.ego_box_m
    joined = [(points, posed.world_from_grid, posed.stamp_ns) for points, posed in in_grid]
    return accumulate_sweeps(joined, ego_box_m=box), counts, warnings


def _thinned(
    clouds: list[tuple[np.ndarray, PlacedSweep]], step: int
) -> list[tuple[np.ndarray, PlacedSweep]]:
    """Every ``step``-th of all points, counted through all clouds."""
    thinned, before = [], 0
    for points, posed in clouds:
        thinned.append((points[-before % step :: step], posed))
        before += len(points)
    return thinned


def _in_grid(points: np.ndarray, posed: PlacedSweep, parts: FrameParts) -> np.ndarray:
    """The points in the grid frame at their own stamp, where the vehicle is always in one place."""
    if not np.array_equal(posed.grid_from_lidar, np.eye(4)):
        points = transform_points(posed.grid_from_lidar, points)
    if parts.ego_polygon_m:
        corners = np.reshape(parts.ego_polygon_m, (-1, 2))
        on_vehicle = inside_polygon(points[:, :2], corners)
        on_vehicle &= (points[:, 2] > parts.ego_box_m[2]) & (points[:, 2] < parts.ego_box_m[5])
        points = points[~on_vehicle]
    return points
