"""Checks of single messages for ``bag_check``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from occ_perception_ros.calibration import camera_model, has_distortion, is_rotation
from occ_perception_ros.image_files import decode_image_file, image_file_size
from occ_perception_ros.messages import INTENSITY_MAX, intensity_problem, points_from_message
from occ_perception_ros.pixel_formats import IMAGE_ENCODINGS, image_rows

Fault = tuple[str, str]
"""A key of ``RULES``, and a description."""


def camera_info_faults(message: Any) -> Iterator[Fault]:
    """Faults of a sensor_msgs/CameraInfo of ROS 2, or of ROS 1 with its names in capitals."""
    k, r, p = (np.reshape(_either_case(message, name), (3, -1)) for name in "krp")
    has_focal_length = k[0, 0] > 0 and k[1, 1] > 0 and k[2, 2] > 0
    if not has_focal_length:
        yield "zero-intrinsics", f"K = {k.reshape(-1).tolist()} has no focal length"
    if not is_rotation(r):
        rank = int(np.linalg.matrix_rank(r)) if np.isfinite(r).all() else 0
        yield "bad-rectification", f"R = {r.reshape(-1).tolist()} is not a rotation (rank {rank})"
    if p[0, 0] <= 0 or p[1, 1] <= 0:
        yield "bad-projection", f"P = {p.reshape(-1).tolist()} has no focal length"
    if not message.distortion_model:
        yield "no-distortion-model", "distortion_model is empty"
    if has_distortion(message):
        text = f"{message.distortion_model} {_either_case(message, 'd').tolist()}"
        yield "lens-distortion", text
    try:
        camera_model("camera", message)
    except ValueError as error:
        if has_focal_length and is_rotation(r):
            yield "camera-info-unusable", str(error)


def camera_info_size(message: Any) -> tuple[int, int]:
    """``(height, width)`` of the images that a sensor_msgs/CameraInfo is for, which may be binned
    or of a region; the size that it states where it cannot be used.
    """
    try:
        return camera_model("camera", message).size
    except ValueError:
        return int(message.height), int(message.width)


def image_faults(message: Any) -> Iterator[Fault]:
    """Faults of a sensor_msgs/Image; what the node's decoder refuses is an error."""
    if message.encoding not in IMAGE_ENCODINGS:
        expected = ", ".join(IMAGE_ENCODINGS)
        yield "image-encoding", f"encoding {message.encoding!r} is not one of {expected}"
        return
    try:
        image_rows(message)
    except ValueError as error:
        yield "image-truncated", f"{message.width}x{message.height} {message.encoding}: {error}"


def encoded_image_size(data: bytes, form: str = "") -> tuple[int, int]:
    """``(height, width)`` of the image in a JPEG or PNG file, which is decoded as the node does.

    Args:
        data: the file.
        form: ``format`` of the message, if it comes from one.

    Raises:
        ValueError: the data are neither JPEG nor PNG, or the file is truncated or damaged.
    """
    decode_image_file(data, min_width=1, form=form)  # the smallest size is the fastest
    return image_file_size(data, form)


def cloud_faults(message: Any) -> Iterator[Fault]:
    """Faults of a sensor_msgs/PointCloud2; what the node's decoder refuses is an error."""
    try:
        points, counts = points_from_message(message)
    except ValueError as error:
        yield "cloud-unusable", str(error)
        return
    if len(points) == 0:
        yield "cloud-empty", f"{message.width}x{message.height} points, of which none is usable"
    elif "intensity" not in (names := [field.name for field in message.fields]):
        yield "cloud-without-intensity", f"it has {', '.join(names)}"
    elif problem := intensity_problem(points, counts, INTENSITY_MAX):
        yield "intensity-unit", problem
    if counts.get("bad_intensity"):
        yield "intensity-not-finite", f"{counts['bad_intensity']} of {len(points)} points"


def _either_case(message: Any, name: str) -> np.ndarray:
    value = getattr(message, name) if hasattr(message, name) else getattr(message, name.upper())
    return np.asarray(value, np.float64)
