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
from occ_core.geometry.points import accumulate_sweeps
from occ_core.types import Frame, Occupancy
from occ_perception_ros.frame_parts import CameraPart, FrameParts
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
    """Number of the anchor sweep's points that were dropped, by reason."""


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
        points, dropped = _joined_points(parts)
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
    return frame, FrameReport(masked, len(points), dropped)


def _camera_sample(camera: str, part: CameraPart, image_size: tuple[int, int]) -> CameraSample:
    image, intrinsics = image_from_message(
        camera, part.message, part.model, min_width=image_size[1]
    )
    return CameraSample.fitted(image, intrinsics, part.grid_from_camera, image_size)


def _joined_points(parts: FrameParts) -> tuple[np.ndarray, dict[str, int]]:
    """All points in the grid frame, and how many of the anchor's were dropped, by reason."""
    clouds = []
    dropped: dict[str, int] = {}
    for stamp, sweep, world_from_lidar in parts.sweeps:
        try:
            points, sweep_dropped = sweep.points()
        except ValueError as error:
            if stamp == parts.stamp_ns:
                raise FrameError(str(error)) from error
            continue  # a frame with one old sweep less is still useful
        clouds.append((points, world_from_lidar, stamp))
        if stamp == parts.stamp_ns:
            dropped = sweep_dropped
            if len(points) == 0:
                raise FrameError(
                    f"the point cloud at {stamp / NS:.3f} s has no usable point "
                    f"(dropped: {dropped})"
                )
    return accumulate_sweeps(clouds, parts.grid_from_lidar, parts.ego_box_m), dropped
