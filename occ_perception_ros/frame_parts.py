"""The parts that a frame is built of: messages with their poses resolved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from occ_core.types import DriveContext
from occ_perception_ros.calibration import CameraModel
from occ_perception_ros.messages import points_from_message


class SweepMessage:
    """A point cloud message, decoded once however many frames it is part of.

    Args:
        message: a PointCloud2.
        max_points: larger clouds are thinned to at most this number of points.
    """

    def __init__(self, message: Any, max_points: int) -> None:
        self.frame_id: str = message.header.frame_id.lstrip("/")
        self._message: Any = message
        self._max_points = max_points
        self._decoded: tuple[np.ndarray, dict[str, int]] | None = None

    def points(self) -> tuple[np.ndarray, dict[str, int]]:
        """The result of ``points_from_message``.

        Raises:
            ValueError: the cloud is malformed.
        """
        if self._decoded is None:
            self._decoded = points_from_message(self._message, self._max_points)
            self._message = None  # the bytes are no longer needed
        return self._decoded


@dataclass(frozen=True, slots=True)
class CameraPart:
    """One camera's image with its model and its pose at the image's stamp."""

    message: Any
    stamp_ns: int
    model: CameraModel
    grid_from_camera: np.ndarray


@dataclass(frozen=True, slots=True)
class FrameParts:
    """Everything that one frame is built of; later messages do not change it."""

    stamp_ns: int
    cameras: dict[str, CameraPart]
    """The cameras that are used, by name."""
    masked: dict[str, str]
    """Why each of the other cameras is not used, by name."""
    sweeps: tuple[tuple[int, SweepMessage, np.ndarray], ...]
    """Stamp, sweep and world_from_lidar [4, 4] of each sweep; the anchor last."""
    grid_from_lidar: np.ndarray
    world_from_grid: np.ndarray
    context: DriveContext
    ego_box_m: tuple[float, ...]
    """See ``AssemblerConfig``."""
    reset_reason: str | None
    """Why the memory of earlier frames is not valid for this one; None where it is valid."""
