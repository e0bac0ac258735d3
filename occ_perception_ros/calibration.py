"""Camera models, and the calibration file of cameras and sensor mountings. No rclpy import."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from occ_core.geometry.images import scale_intrinsics
from occ_core.geometry.poses import pose_matrix
from occ_perception_ros.lenses import FISHEYE_MODELS, Lens
from occ_perception_ros.transforms import TransformError, TransformTree
from occ_perception_ros.yaml_files import read_yaml

MAX_SIDE = 32_000
"""Largest width and height of an image in pixels, the limit of OpenCV's maps."""

MAX_FOCAL_PX = 1e6
"""Larger intrinsics are nonsense: the picture of such a camera would show less than a millimetre at
a distance of 50 m."""

_ROI_FIELDS = ("x_offset", "y_offset", "width", "height")


@dataclass(frozen=True, eq=False)
class CameraModel:
    """A pinhole camera, with the lens through which its images come."""

    size: tuple[int, int]
    """``(height, width)`` of the images in pixels."""
    intrinsics: np.ndarray
    """float64 [3, 3] of the rectified image, in pixels of ``size``, pixel centres at integer
    coordinates."""
    rectified_from_camera: np.ndarray
    """float64 [4, 4]: from the TF frame of the image's header to that of the rectified pixels."""
    lens: Lens | None = None
    """Rectifies the images; None: they come rectified."""


def camera_model(camera: str, info: Any, rectified: bool = False) -> CameraModel:
    """The camera model of a sensor_msgs/CameraInfo.

    Rectified images have the intrinsics P, or K where P is not set, and axes turned by R. Others
    are rectified to just these by the model's ``lens``; where K is zero, P is set and there is no
    distortion, images count as rectified. Binning and the region of interest are
    taken into account. The baseline in P's last column is not: TF says where each camera is.

    Args:
        camera: name for error texts.
        info: the message.
        rectified: whether the images are already rectified.

    Raises:
        ValueError: K or P is not a camera matrix, R is not a rotation, the size is zero or beyond
            ``MAX_SIDE``, binning or region do not fit it, or the distortion model is not known;
            the text names the camera.
    """
    k = np.array(_field(info, "k"), dtype=np.float64).reshape(3, 3)
    r = np.array(_field(info, "r"), dtype=np.float64).reshape(3, 3)
    p = np.array(_field(info, "p"), dtype=np.float64).reshape(3, 4)
    if info.width == 0 or info.height == 0:
        raise ValueError(
            f"camera_info of '{camera}' has the size {info.width}x{info.height}; set width and "
            "height"
        )
    if max(info.width, info.height) > MAX_SIDE:
        raise ValueError(
            f"camera_info of '{camera}' has the size {info.width}x{info.height}; the limit is "
            f"{MAX_SIDE}"
        )
    p_is_set = bool(p[0, 0])
    if p_is_set and not k.any() and (rectified or not has_distortion(info)):
        k, rectified = p[:, :3], True  # from a source that has only rectified images
    for name, matrix in (("K", k), ("P", p[:, :3] if p_is_set else k)):
        if not _is_pinhole(matrix):
            raise ValueError(
                f"camera_info of '{camera}' has no usable {name}: {matrix.ravel().tolist()}; "
                "calibrate the camera, or set its intrinsics in calibration_file"
            )
    if not is_rotation(r):
        raise ValueError(
            f"camera_info of '{camera}' has an R that is not a rotation: {r.ravel().tolist()}; "
            "use the identity for a monocular camera, or set its intrinsics in calibration_file"
        )
    rectified_from_camera = np.eye(4)
    rectified_from_camera[:3, :3] = r
    try:
        size, (k, intrinsics) = _window(info, (k, p[:, :3] if p_is_set else k))
        lens = None if rectified else Lens(info.distortion_model, _field(info, "d"), k, r, size)
    except ValueError as error:
        raise ValueError(f"camera_info of '{camera}' has {error}") from error
    if lens is not None and not lens.changes(intrinsics):
        lens = None
    return CameraModel(size, intrinsics, rectified_from_camera, lens)


def info_key(info: Any) -> tuple[Any, ...]:
    """Everything of a sensor_msgs/CameraInfo that a camera's model depends on, for comparison."""
    roi = info.roi
    return (
        info.width,
        info.height,
        info.binning_x,
        info.binning_y,
        info.distortion_model,
        *(getattr(roi, name) for name in _ROI_FIELDS),
        *(tuple(_field(info, name)) for name in "dkrp"),
    )


def has_distortion(info: Any) -> bool:
    """Whether a sensor_msgs/CameraInfo describes a lens that is not a pinhole."""
    return any(_field(info, "d")) or info.distortion_model in FISHEYE_MODELS


def is_rectified(topic: str, rectified_images: str) -> bool:
    """Whether the images of a topic come rectified: by its name, unless that is settled.

    Args:
        topic: the topic's name; image_proc calls rectified ones ``image_rect...``.
        rectified_images: ``"always"``, ``"never"`` or ``"auto"``, by the name.
    """
    return rectified_images == "always" or (rectified_images == "auto" and "rect" in topic.lower())


def _window(
    info: Any, matrices: tuple[np.ndarray, ...]
) -> tuple[tuple[int, int], tuple[np.ndarray, ...]]:
    """Size ``(height, width)`` and intrinsics of the images, which are a window of the sensor,
    binned.

    Raises:
        ValueError: the window is not within the sensor, or smaller than the bins.
    """
    roi = info.roi
    x, y, width, height = (int(getattr(roi, name)) for name in _ROI_FIELDS)
    width, height = width or int(info.width), height or int(info.height)
    bin_x, bin_y = max(int(info.binning_x), 1), max(int(info.binning_y), 1)
    if x + width > info.width or y + height > info.height:
        raise ValueError(
            f"a region of interest of {width}x{height} at ({x}, {y}) that is not within "
            f"{info.width}x{info.height}"
        )
    binned = height // bin_y, width // bin_x
    if min(binned) < 1:
        raise ValueError(f"a binning of {bin_x}x{bin_y} for {width}x{height} pixels")
    shift = np.array([[1.0, 0.0, -x], [0.0, 1.0, -y], [0.0, 0.0, 1.0]])
    full = binned[0] * bin_y, binned[1] * bin_x
    return binned, tuple(scale_intrinsics(shift @ matrix, full, binned) for matrix in matrices)


def is_rotation(matrix: np.ndarray) -> bool:
    """Whether ``[3, 3]`` is a rotation, to a thousandth."""
    return bool(
        (np.abs(matrix) < 2).all()  # also refuses what is not finite
        and np.allclose(matrix @ matrix.T, np.eye(3), atol=1e-3)
        and np.linalg.det(matrix) > 0
    )


def _is_pinhole(intrinsics: np.ndarray) -> bool:
    return bool(
        np.isfinite(intrinsics).all()
        and intrinsics[0, 0] > 0
        and intrinsics[1, 1] > 0
        and intrinsics[2, 2] == 1
        and np.abs(intrinsics).max() < MAX_FOCAL_PX
    )


def load_calibration(path: Path, tree: TransformTree) -> dict[str, CameraModel]:
    """Adds the file's static transforms to the tree and returns its camera models by name.

    Format of the file::

        frames:                       # one entry per sensor frame
          cam_front: {parent: base_link, translation: [x, y, z], rotation_xyzw: [x, y, z, w]}
        cameras:                      # optional, replaces CameraInfo
          cam_front:
            size: [height, width]
            intrinsics: [fx, 0, cx, 0, fy, cy, 0, 0, 1]
            distortion_model: plumb_bob      # optional, for images that are not rectified
            distortion: [k1, k2, p1, p2, k3]

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: an entry is missing or malformed; the text names it.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"calibration_file {path} does not exist; nuscenes_to_bag writes calibration.yaml "
            "into the folder of the bag"
        )
    content = read_yaml(path)
    if not isinstance(content, dict) or not isinstance(content.get("frames"), dict):
        raise ValueError(f"{path} must have a mapping 'frames' with one entry per sensor frame")
    cameras = content.get("cameras") or {}
    if not isinstance(cameras, dict):
        raise ValueError(f"{path} must have a mapping 'cameras' with one entry per camera, or none")
    for frame, entry in content["frames"].items():
        try:
            x, y, z, w = entry["rotation_xyzw"]
            tree.add_static(
                str(entry["parent"]),
                str(frame),
                pose_matrix([float(v) for v in entry["translation"]], (w, x, y, z)),
            )
        except (KeyError, TypeError, ValueError, OverflowError, TransformError) as error:
            raise ValueError(
                f"{path}, frames.{frame}: {_reason(error)}; "
                "expected {parent: name, translation: [x, y, z], rotation_xyzw: [x, y, z, w]}"
            ) from error
    models = {}
    for camera, entry in cameras.items():
        try:
            models[str(camera)] = _fixed_model(entry)
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(
                f"{path}, cameras.{camera}: {_reason(error)}; "
                "expected {size: [height, width], intrinsics: [9 numbers, row by row]} and, with "
                "lens distortion, {distortion_model: name, distortion: [numbers]}"
            ) from error
    return models


def _fixed_model(entry: Any) -> CameraModel:
    """The camera model of an entry of the calibration file."""
    height, width = entry["size"]
    intrinsics = np.array(entry["intrinsics"], dtype=np.float64).reshape(3, 3)
    if not _is_pinhole(intrinsics) or min(height, width) < 1:
        raise ValueError("focal lengths and size must be positive")
    if max(height, width) > MAX_SIDE:
        raise ValueError(f"the size must be at most {MAX_SIDE}")
    size = (int(height), int(width))
    distortion = [float(value) for value in entry.get("distortion", ())]
    kind = str(entry.get("distortion_model", ""))
    lens = Lens(kind, distortion, intrinsics, np.eye(3), size)
    return CameraModel(size, intrinsics, np.eye(4), lens if lens.changes(intrinsics) else None)


def _reason(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def _field(info: Any, name: str) -> Sequence[float]:
    # rosbags reads a CameraInfo of ROS 1 with the names K, R and P in capitals.
    return getattr(info, name) if hasattr(info, name) else getattr(info, name.upper())
