"""Camera models, and the calibration file of cameras and sensor mountings. No rclpy import."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from occ_core.geometry.poses import pose_matrix
from occ_perception_ros.transforms import TransformTree


@dataclass(frozen=True, eq=False)
class CameraModel:
    """A pinhole camera whose images are rectified."""

    size: tuple[int, int]
    """``(height, width)`` in pixels."""
    intrinsics: np.ndarray
    """float64 [3, 3], in pixels of ``size``, pixel centres at integer coordinates."""
    rectified_from_camera: np.ndarray
    """float64 [4, 4]: from the TF frame of the image's header to that of the rectified pixels."""


def camera_model(camera: str, info: Any) -> CameraModel:
    """The camera model of a sensor_msgs/CameraInfo: P where it is set, otherwise K.

    Args:
        camera: name for error texts.
        info: the message.

    Raises:
        ValueError: K or P is not a camera matrix, R is not a rotation, or the size is zero; the
            text names the camera.
    """
    k = np.array(_field(info, "k"), dtype=np.float64).reshape(3, 3)
    r = np.array(_field(info, "r"), dtype=np.float64).reshape(3, 3)
    p = np.array(_field(info, "p"), dtype=np.float64).reshape(3, 4)
    if info.width == 0 or info.height == 0:
        raise ValueError(
            f"camera_info of '{camera}' has the size {info.width}x{info.height}; set width and "
            "height"
        )
    intrinsics = p[:, :3] if p[0, 0] else k
    for name, matrix in (("K", k), ("P", intrinsics)):
        if not _is_pinhole(matrix):
            raise ValueError(
                f"camera_info of '{camera}' has no usable {name}: {matrix.ravel().tolist()}; "
                "calibrate the camera, or set its intrinsics in calibration_file"
            )
    if not np.allclose(r @ r.T, np.eye(3), atol=1e-3) or np.linalg.det(r) < 0:
        raise ValueError(
            f"camera_info of '{camera}' has an R that is not a rotation: {r.ravel().tolist()}; "
            "use the identity for a monocular camera, or set its intrinsics in calibration_file"
        )
    rectified_from_camera = np.eye(4)
    rectified_from_camera[:3, :3] = r
    return CameraModel(
        (int(info.height), int(info.width)), intrinsics.copy(), rectified_from_camera
    )


def _is_pinhole(intrinsics: np.ndarray) -> bool:
    return bool(
        np.isfinite(intrinsics).all()
        and intrinsics[0, 0] > 0
        and intrinsics[1, 1] > 0
        and intrinsics[2, 2] == 1
    )


def load_calibration(path: Path, tree: TransformTree) -> dict[str, CameraModel]:
    """Adds the file's static transforms to the tree and returns its camera models by name.

    Format of the file::

        frames:                       # one entry per sensor frame
          cam_front: {parent: base_link, translation: [x, y, z], rotation_xyzw: [x, y, z, w]}
        cameras:                      # optional, replaces CameraInfo
          cam_front: {size: [height, width], intrinsics: [fx, 0, cx, 0, fy, cy, 0, 0, 1]}

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: an entry is missing or malformed; the text names it.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"calibration_file {path} does not exist; nuscenes_to_bag writes calibration.yaml "
            "into the folder of the bag"
        )
    try:
        content = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not a YAML file: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("frames"), dict):
        raise ValueError(f"{path} must have a mapping 'frames' with one entry per sensor frame")
    for frame, entry in content["frames"].items():
        try:
            x, y, z, w = entry["rotation_xyzw"]
            tree.add_static(
                str(entry["parent"]),
                str(frame),
                pose_matrix([float(v) for v in entry["translation"]], (w, x, y, z)),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path}, frames.{frame}: {_reason(error)}; "
                "expected {parent: name, translation: [x, y, z], rotation_xyzw: [x, y, z, w]}"
            ) from error
    models = {}
    for camera, entry in (content.get("cameras") or {}).items():
        try:
            height, width = entry["size"]
            intrinsics = np.array(entry["intrinsics"], dtype=np.float64).reshape(3, 3)
            if not _is_pinhole(intrinsics) or min(height, width) < 1:
                raise ValueError("focal lengths and size must be positive")
            models[str(camera)] = CameraModel((int(height), int(width)), intrinsics, np.eye(4))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path}, cameras.{camera}: {_reason(error)}; "
                "expected {size: [height, width], intrinsics: [9 numbers, row by row]}"
            ) from error
    return models


def _reason(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def _field(info: Any, name: str) -> Sequence[float]:
    # rosbags reads a CameraInfo of ROS 1 with the names K, R and P in capitals.
    return getattr(info, name) if hasattr(info, name) else getattr(info, name.upper())
