"""The parts that a frame is built of: messages with their poses resolved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from occ_core.taxonomy import DriveContext
from occ_perception_ros.calibration import CameraModel
from occ_perception_ros.messages import intensity_problem, points_from_message


class Sweep(Protocol):
    """The points of a sweep, which may not have been decoded yet."""

    @property
    def frame_id(self) -> str: ...

    def points(self) -> tuple[np.ndarray, dict[str, int]]: ...

    def problem(self) -> str: ...


class SweepMessage:
    """A point cloud message, decoded once however many frames it is part of.

    Args:
        message: a PointCloud2.
        max_points: larger clouds are thinned to at most this number of points.
        intensity_max: the intensity that becomes 255.
    """

    def __init__(self, message: Any, max_points: int, intensity_max: float) -> None:
        self.frame_id: str = message.header.frame_id.lstrip("/")
        self._message: Any = message
        self._max_points = max_points
        self._intensity_max = intensity_max
        self._decoded: tuple[np.ndarray, dict[str, int]] | None = None

    def points(self) -> tuple[np.ndarray, dict[str, int]]:
        """The result of ``points_from_message``.

        Raises:
            ValueError: the cloud is malformed.
        """
        if self._decoded is None:
            self._decoded = points_from_message(
                self._message, self._max_points, self._intensity_max
            )
            self._message = None  # the bytes are no longer needed
        return self._decoded

    def problem(self) -> str:
        """The result of ``intensity_problem``.

        Raises:
            ValueError: the cloud is malformed.
        """
        return intensity_problem(*self.points(), self._intensity_max)


@dataclass(frozen=True, slots=True)
class NoSweep:
    """Stands for the sweep at an image's stamp, where there is no LiDAR."""

    frame_id: str

    def points(self) -> tuple[np.ndarray, dict[str, int]]:
        return np.empty((0, 4), np.float32), {}

    def problem(self) -> str:
        return ""


class PlacedSweep(NamedTuple):
    """A sweep and where it was taken."""

    stamp_ns: int
    sweep: Sweep
    world_from_grid: np.ndarray
    """float64 [4, 4], at the sweep's stamp."""
    grid_from_lidar: np.ndarray
    """float64 [4, 4], from the frame of the cloud."""


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
    sweeps: tuple[PlacedSweep, ...]
    """The anchor last."""
    world_from_grid: np.ndarray
    context: DriveContext
    ego_box_m: tuple[float, ...]
    """See ``AssemblerConfig``, as for the next two."""
    ego_polygon_m: tuple[float, ...]
    max_points: int
    reset_reason: str | None
    """Why the memory of earlier frames is not valid for this one; None where it is valid."""
