"""From ROS messages to numpy.

No rclpy import: the messages may be rclpy's or those of rosbags, since only attributes are read.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from occ_core.geometry.images import scale_intrinsics
from occ_core.ops.cpu.move_points import FAR, KEPT, NOT_FINITE, ZERO, classify_points
from occ_perception_ros.calibration import CameraModel
from occ_perception_ros.clouds import point_records
from occ_perception_ros.image_files import decode_image_file, image_file_size
from occ_perception_ros.pixel_formats import decode_image

NS = 1_000_000_000

INTENSITY_MAX = 255.0
"""Largest intensity that the model knows: nuScenes' and that of an 8-bit sensor."""
MAX_COORDINATE_M = 1e7
"""Larger coordinates do not exist on Earth, map coordinates included; such points are dropped."""

_NEEDED_FOR_UNIT = 100
"""Fewer points say nothing about the unit of their intensities."""
_OTHER_UNIT = 0.1
"""Share of intensities out of range above which none is used. Limited to the largest one, all would
be alike and as bright as a road sign, which misleads a model more than none do.
"""


def stamp_ns(header: Any) -> int:
    """The header's stamp in nanoseconds."""
    return int(header.stamp.sec) * NS + int(header.stamp.nanosec)


def check_header(topic: str, header: Any) -> int:
    """The stamp in nanoseconds of a usable header.

    Args:
        topic: name for error texts.
        header: a std_msgs/Header.

    Raises:
        ValueError: the stamp is zero or the frame is empty, as some nuScenes converters write it.
    """
    stamp = stamp_ns(header)
    if stamp == 0:
        raise ValueError(
            f"'{topic}' has a zero header stamp; sensor data cannot be matched without stamps. "
            "Convert nuScenes with nuscenes_to_bag"
        )
    if not header.frame_id:
        raise ValueError(
            f"'{topic}' has an empty header.frame_id, so its transform cannot be looked up. "
            "Convert nuScenes with nuscenes_to_bag"
        )
    return stamp


def image_from_message(
    camera: str, message: Any, model: CameraModel, min_width: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Decodes a sensor_msgs/Image or CompressedImage (JPEG or PNG) and removes lens distortion.

    Args:
        camera: name for error texts.
        message: the image message.
        model: the camera's model, for the message's full size.
        min_width: allows a JPEG to be decoded at a reduced size of at least this width.

    Returns:
        The RGB image, uint8 ``[H, W, 3]``, and the intrinsics ``[3, 3]`` in its pixels.

    Raises:
        ValueError: the encoding is unknown, the size differs from the model's, or the data are
            truncated or damaged; the text names the camera.
    """
    try:
        if hasattr(message, "encoding"):
            _check_size((int(message.height), int(message.width)), model)
            image = decode_image(message)
        else:
            data = bytes(memoryview(message.data))
            _check_size(image_file_size(data, message.format), model)
            image = decode_image_file(data, min_width, message.format)
    except ValueError as error:
        raise ValueError(f"image of '{camera}': {error}") from error
    shape = (image.shape[0], image.shape[1])
    intrinsics = scale_intrinsics(model.intrinsics, model.size, shape)
    if model.lens is not None:
        image = model.lens.rectified(image, intrinsics)
    return image, intrinsics


def _check_size(size: tuple[int, int], model: CameraModel) -> None:
    if size != model.size:
        raise ValueError(
            f"it is {size[1]}x{size[0]}, but its camera_info is for "
            f"{model.size[1]}x{model.size[0]}; publish camera_info for the size of the images"
        )


def points_from_message(
    message: Any, max_points: int | None = None, intensity_max: float = INTENSITY_MAX
) -> tuple[np.ndarray, dict[str, int]]:
    """Decodes a sensor_msgs/PointCloud2.

    Points whose coordinates are not finite, absurd, or exactly zero as the drop-outs of some
    drivers, are dropped. The intensity is scaled to 0..255 and limited to that; it is 0 where the
    cloud has none, or none that is finite, or where too many lie outside for it to be the unit.

    Args:
        message: the cloud.
        max_points: a larger cloud is thinned evenly to at most this number of points.
        intensity_max: the intensity that becomes 255.

    Returns:
        Points float32 ``[N, 4]`` (x, y, z in metres in the sensor's frame, intensity), and the
        numbers of dropped points by reason: ``not_finite``, ``zero``, ``over_limit`` and, only
        where there are some, ``out_of_range``. Points that stay are counted there under
        ``bad_intensity`` (not finite) and ``clamped_intensity``.

    Raises:
        ValueError: a field is missing or has a wrong type, the data are big-endian, or sizes
            contradict one another.
    """
    counts = {"not_finite": 0, "zero": 0, "over_limit": 0}
    if int(message.width) * int(message.height) == 0:
        return np.empty((0, 4), np.float32), counts
    cloud = point_records(message)
    # One row for each coordinate: numpy is several times faster along them.
    rows = np.zeros((4, len(cloud)), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # a float64 beyond float32 becomes infinite
        for row, name in zip(rows, cloud.dtype.names or (), strict=False):  # or no intensity
            row[:] = cloud[name]
    kinds = np.empty(len(cloud), np.uint8)
    classify_points(rows, MAX_COORDINATE_M, kinds)
    points = rows
    if kinds.any():  # anything but KEPT, which is rare
        counts["not_finite"] = int(np.count_nonzero(kinds == NOT_FINITE))
        counts["zero"] = int(np.count_nonzero(kinds == ZERO))
        if far := int(np.count_nonzero(kinds == FAR)):
            counts["out_of_range"] = far
        points = np.compress(kinds == KEPT, rows, axis=1)
    if max_points is not None and (kept := points.shape[1]) > max_points:
        points = np.ascontiguousarray(points[:, :: -(-kept // max_points)])
        counts["over_limit"] = kept - points.shape[1]
    _scale_intensity(points[3], intensity_max, counts)
    return points.T, counts


def intensity_problem(points: np.ndarray, counts: dict[str, int], intensity_max: float) -> str:
    """Why the intensities do not seem to have the unit that they are said to have; empty: they may.

    Args:
        points: decoded points ``[N, 4]``.
        counts: what ``points_from_message`` counted for them.
        intensity_max: the intensity that became 255.
    """
    if len(points) < _NEEDED_FOR_UNIT:
        return ""
    clamped = counts.get("clamped_intensity", 0)
    if clamped > len(points) / 100:  # a few are nonsense, not another unit
        used = "none is used" if clamped > _OTHER_UNIT * len(points) else "is limited to that"
        return (
            f"the intensity of {clamped} of {len(points)} points lies outside "
            f"0..{intensity_max:g} and {used}; set intensity_max to the sensor's "
            "largest value, for example 65535"
        )
    largest = float(points[:, 3].max()) / INTENSITY_MAX * intensity_max
    if intensity_max > 1 and 0 < largest <= 1:
        return (
            f"no intensity of {len(points)} points is above {largest:g}, where "
            f"{intensity_max:g} is the largest; if the sensor's unit is 0..1, set intensity_max to "
            "1.0"
        )
    return ""


def _scale_intensity(intensity: np.ndarray, intensity_max: float, counts: dict[str, int]) -> None:
    """Scales to 0..255 in place and counts what was not in 0..``intensity_max``."""
    bad = ~np.isfinite(intensity)
    if number := int(np.count_nonzero(bad)):
        counts["bad_intensity"] = number
        intensity[bad] = 0.0
    clamped = int(np.count_nonzero((intensity < 0) | (intensity > intensity_max)))
    if clamped:
        counts["clamped_intensity"] = clamped
        np.clip(intensity, 0.0, intensity_max, out=intensity)
    if len(intensity) >= _NEEDED_FOR_UNIT and clamped > _OTHER_UNIT * len(intensity):
        intensity[:] = 0.0
    if intensity_max != INTENSITY_MAX:
        intensity *= np.float32(INTENSITY_MAX / intensity_max)
