"""Single recordings of nuScenes: an image or a LiDAR sweep, its file, and its sensor's pose."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from occ_core.geometry.images import decode_jpeg, jpeg_size, scale_intrinsics
from occ_core.geometry.png import decode_png, is_png, png_size

LIDAR_COLUMNS = 5
"""Floats per point in a LiDAR file."""
_COLUMNS = "x, y, z, intensity and ring, with 0 for a ring that is not known"
_MAX_RINGS = 256
_MAX_COORDINATE_M = 1e4


@dataclass(frozen=True, slots=True)
class CameraImage:
    """One image: its file and the pose of its camera."""

    channel: str
    path: Path
    stamp_ns: int
    is_keyframe: bool
    size: tuple[int, int]
    """``(height, width)`` in pixels, as the table states it; (0, 0): the size of the file."""
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
            ValueError: the file is neither a complete JPEG nor a complete PNG.
        """
        try:
            data = self.path.read_bytes()
            if is_png(data):
                image, file_size = decode_png(data), png_size(data)
            else:
                image, file_size = decode_jpeg(data, min_width), jpeg_size(data)
        except FileNotFoundError:
            raise FileNotFoundError(
                f"{self.path} is missing; extract the nuScenes archive that holds it"
            ) from None
        except ValueError as error:
            raise ValueError(f"{self.path}: {error}; extract the file again") from error
        return image, self.scaled_intrinsics(file_size, (image.shape[0], image.shape[1]))

    def scaled_intrinsics(self, file_size: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
        """The intrinsics, float64 ``[3, 3]``, in pixels of the image when it is scaled.

        Args:
            file_size: ``(height, width)`` of the image in the file.
            size: likewise, after scaling.
        """
        stated = self.size if all(self.size) else file_size
        return scale_intrinsics(self.intrinsics, stated, size)


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
            ValueError: the file does not hold a whole number of points, or its points have other
                columns.
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
                f"{point_bytes} ({LIDAR_COLUMNS} float32 per point); "
                f"{_other_columns(values) or 'it is truncated: extract it again'}"
            )
        points = values.view(np.float32).reshape(-1, LIDAR_COLUMNS)
        if not _are_rings(points[:, 4]):
            raise ValueError(
                f"{self.path}: the fifth float32 of every point must be its ring, a whole number "
                f"below {_MAX_RINGS}, which it is not; "
                f"{_other_columns(values) or f'write {_COLUMNS}'}"
            )
        return points


def _are_rings(values: np.ndarray) -> bool:
    return bool(((values >= 0) & (values < _MAX_RINGS) & (values == np.floor(values))).all())


def _other_columns(values: np.ndarray) -> str:
    """Text about the columns that a file's bytes seem to have; empty if that is not clear."""
    for columns in (4, 6, 3):
        if values.size == 0 or values.size % (4 * columns):
            continue
        points = values.view(np.float32).reshape(-1, columns)
        # Read with a wrong number of columns, coordinates appear among the intensities and rings.
        plausible = (np.abs(points[:, :3]) < _MAX_COORDINATE_M).all()
        if columns > 3:
            plausible &= ((points[:, 3] >= 0) & (points[:, 3] < 2**16)).all()
        if columns > 4:
            plausible &= _are_rings(points[:, 4])
        if plausible:
            return f"it looks like {columns} float32 per point: write {_COLUMNS}"
    return ""
