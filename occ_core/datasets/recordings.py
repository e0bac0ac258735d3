"""Single recordings of nuScenes: an image or a LiDAR sweep, its file, and its sensor's pose."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from occ_core.geometry.images import decode_jpeg, scale_intrinsics

LIDAR_COLUMNS = 5
"""Floats per point in a LiDAR file."""


@dataclass(frozen=True, slots=True)
class CameraImage:
    """One image: its file and the pose of its camera."""

    channel: str
    path: Path
    stamp_ns: int
    is_keyframe: bool
    size: tuple[int, int]
    """``(height, width)`` in pixels, as the table states it."""
    intrinsics: np.ndarray
    """float64 [3, 3], in pixels of ``size``."""
    ego_from_camera: np.ndarray
    """float64 [4, 4]; camera: x right, y down, z forward. Ego: x forward, y left, z up."""
    world_from_ego: np.ndarray
    """float64 [4, 4], at ``stamp_ns``."""

    @property
    def world_from_camera(self) -> np.ndarray:
        return self.world_from_ego @ self.ego_from_camera

    def read(self, min_width: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The RGB image, uint8 ``[H, W, 3]``, and its intrinsics, float64 ``[3, 3]``.

        Args:
            min_width: see ``decode_jpeg``; the intrinsics are in pixels of the reduced image.

        Raises:
            FileNotFoundError: the file is missing.
            ValueError: the file is not a complete JPEG.
        """
        try:
            image = decode_jpeg(self.path.read_bytes(), min_width)
        except FileNotFoundError:
            raise FileNotFoundError(
                f"{self.path} is missing; extract the nuScenes archive that holds it"
            ) from None
        except ValueError as error:
            raise ValueError(f"{self.path}: {error}; extract the file again") from error
        return image, scale_intrinsics(self.intrinsics, self.size, (image.shape[0], image.shape[1]))


@dataclass(frozen=True, slots=True)
class LidarSweep:
    """One LiDAR revolution: its file and the pose of its sensor."""

    channel: str
    path: Path
    token: str
    stamp_ns: int
    is_keyframe: bool
    ego_from_lidar: np.ndarray
    """float64 [4, 4]; LiDAR: x right, y forward, z up. Ego: x forward, y left, z up."""
    world_from_ego: np.ndarray
    """float64 [4, 4], at ``stamp_ns``."""

    @property
    def world_from_lidar(self) -> np.ndarray:
        return self.world_from_ego @ self.ego_from_lidar

    def read(self) -> np.ndarray:
        """The points, float32 ``[N, 5]``: x, y, z, intensity, ring index.

        Coordinates are metres in the LiDAR frame, intensities are in 0..255.

        Raises:
            FileNotFoundError: the file is missing.
            ValueError: the file does not hold a whole number of points.
        """
        try:
            values = np.fromfile(self.path, dtype=np.uint8)
        except FileNotFoundError:
            raise FileNotFoundError(
                f"{self.path} is missing; extract the nuScenes archive that holds it"
            ) from None
        point_bytes = 4 * LIDAR_COLUMNS
        if values.size == 0 or values.size % point_bytes:
            raise ValueError(
                f"{self.path} holds {values.size} bytes, expected a positive multiple of "
                f"{point_bytes} ({LIDAR_COLUMNS} float32 per point); it is truncated: extract it "
                "again"
            )
        return values.view(np.float32).reshape(-1, LIDAR_COLUMNS)
