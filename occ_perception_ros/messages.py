"""From ROS messages to numpy.

No rclpy import: the messages may be rclpy's or those of rosbags, since only attributes are read.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from occ_core.geometry.images import decode_jpeg, jpeg_size, scale_intrinsics
from occ_perception_ros.calibration import CameraModel

NS = 1_000_000_000

IMAGE_ENCODINGS = {
    "rgb8": ([0, 1, 2], 3),
    "bgr8": ([2, 1, 0], 3),
    "rgba8": ([0, 1, 2], 4),
    "bgra8": ([2, 1, 0], 4),
    "mono8": ([0, 0, 0], 1),
    "8UC3": ([2, 1, 0], 3),  # OpenCV's order, as cv_bridge writes it
}
"""Indices of R, G and B, and bytes per pixel, by encoding."""

POINT_DATATYPES = {1: "i1", 2: "u1", 3: "<i2", 4: "<u2", 5: "<i4", 6: "<u4", 7: "<f4", 8: "<f8"}
"""numpy types by the constants of sensor_msgs/PointField."""


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
    """Decodes a sensor_msgs/Image or CompressedImage (JPEG).

    Args:
        camera: name for error texts.
        message: the image message.
        model: the camera's model, for the message's full size.
        min_width: allows a JPEG to be decoded at a reduced size of at least this width.

    Returns:
        The RGB image, uint8 ``[H, W, 3]``, and the intrinsics ``[3, 3]`` in its pixels.

    Raises:
        ValueError: the encoding is unknown, the size differs from the model's, or the data are
            truncated or corrupt; the text names the camera.
    """
    try:
        if hasattr(message, "encoding"):
            image, size = _raw_image(message), (int(message.height), int(message.width))
        else:
            data = bytes(memoryview(message.data))
            size = jpeg_size(data)
            _check_size(size, model)
            image = decode_jpeg(data, min_width)
        _check_size(size, model)
    except ValueError as error:
        raise ValueError(f"image of '{camera}': {error}") from error
    return image, scale_intrinsics(model.intrinsics, model.size, (image.shape[0], image.shape[1]))


def _check_size(size: tuple[int, int], model: CameraModel) -> None:
    if size != model.size:
        raise ValueError(
            f"it is {size[1]}x{size[0]}, but its camera_info is for "
            f"{model.size[1]}x{model.size[0]}; publish camera_info for the size of the images"
        )


def _raw_image(message: Any) -> np.ndarray:
    if message.encoding not in IMAGE_ENCODINGS:
        raise ValueError(
            f"encoding '{message.encoding}' is not supported; expected one of "
            f"{list(IMAGE_ENCODINGS)}"
        )
    channels, pixel_bytes = IMAGE_ENCODINGS[message.encoding]
    height, width, step = int(message.height), int(message.width), int(message.step)
    if step < width * pixel_bytes:
        raise ValueError(f"step {step} is less than a row of {width} pixels of {pixel_bytes} bytes")
    data = np.frombuffer(memoryview(message.data), dtype=np.uint8)
    if len(data) < height * step:
        raise ValueError(
            f"it has {len(data)} bytes, but {height} rows of step {step} need {height * step}"
        )
    rows = data[: height * step].reshape(height, step)[:, : width * pixel_bytes]
    return np.ascontiguousarray(rows.reshape(height, width, pixel_bytes)[:, :, channels])


def points_from_message(
    message: Any, max_points: int | None = None
) -> tuple[np.ndarray, dict[str, int]]:
    """Decodes a sensor_msgs/PointCloud2.

    Points that are not finite, or exactly zero as the drop-outs of some drivers, are dropped. The
    intensity is 0 where the cloud has none.

    Args:
        message: the cloud.
        max_points: a larger cloud is thinned evenly to at most this number of points.

    Returns:
        Points float32 ``[N, 4]`` (x, y, z in metres in the sensor's frame, intensity), and the
        numbers of dropped points by reason: ``not_finite``, ``zero`` and ``over_limit``.

    Raises:
        ValueError: a field is missing or has a wrong type, the data are big-endian, or sizes
            contradict one another.
    """
    dropped = {"not_finite": 0, "zero": 0, "over_limit": 0}
    if int(message.width) * int(message.height) == 0:
        return np.empty((0, 4), np.float32), dropped
    cloud = _point_records(message, _point_dtype(message))
    # One row for each coordinate: numpy is several times faster along them.
    rows = np.zeros((4, len(cloud)), np.float32)
    for row, name in zip(rows, cloud.dtype.names or (), strict=False):  # intensity may be missing
        row[:] = cloud[name]
    finite = np.isfinite(rows).all(axis=0)
    zero = finite & (rows[:3] == 0).all(axis=0)
    dropped["not_finite"], dropped["zero"] = int((~finite).sum()), int(zero.sum())
    points = np.take(rows, np.flatnonzero(finite & ~zero), axis=1).T
    if max_points is not None and len(points) > max_points:
        kept = points[:: -(-len(points) // max_points)]
        dropped["over_limit"] = len(points) - len(kept)
        points = kept
    return points, dropped


def _point_dtype(message: Any) -> np.dtype:
    """x, y, z and, where the cloud has it, intensity, as fields of a point."""
    if message.is_bigendian:
        raise ValueError("the point cloud is big-endian; only little-endian clouds are supported")
    fields = {field.name: field for field in message.fields}
    layout = ", ".join(
        f"{field.name}:{POINT_DATATYPES.get(field.datatype, field.datatype)}"
        for field in message.fields
    )
    expected = f"(it has {layout}); expected x, y, z as float32"
    for name in "xyz":
        if name not in fields:
            raise ValueError(f"the point cloud has no field '{name}' {expected}")
        if POINT_DATATYPES.get(fields[name].datatype) not in ("<f4", "<f8"):
            raise ValueError(f"the point cloud's '{name}' is not a float {expected}")
    names = [name for name in ("x", "y", "z", "intensity") if name in fields]
    for name in names:
        if fields[name].datatype not in POINT_DATATYPES or fields[name].count > 1:
            raise ValueError(f"the point cloud's '{name}' is not a single number (it has {layout})")
    types = [POINT_DATATYPES[fields[name].datatype] for name in names]
    offsets = [int(fields[name].offset) for name in names]
    point_step = int(message.point_step)
    end = max(offset + np.dtype(kind).itemsize for offset, kind in zip(offsets, types, strict=True))
    if end > point_step:
        raise ValueError(
            f"the point cloud's fields end at byte {end}, beyond point_step {point_step}"
        )
    return np.dtype({"names": names, "formats": types, "offsets": offsets, "itemsize": point_step})


def _point_records(message: Any, dtype: np.dtype) -> np.ndarray:
    """The points ``[height * width]`` without the padding at the end of each row."""
    width, height, row_step = int(message.width), int(message.height), int(message.row_step)
    if row_step < width * dtype.itemsize:
        raise ValueError(
            f"the point cloud's row_step {row_step} is less than {width} points of "
            f"{dtype.itemsize} bytes"
        )
    data = np.frombuffer(memoryview(message.data), dtype=np.uint8)
    if len(data) < height * row_step:
        raise ValueError(
            f"the point cloud is truncated: {len(data)} bytes, but {height} rows of {row_step} "
            f"need {height * row_step}"
        )
    rows = data[: height * row_step].reshape(height, row_step)[:, : width * dtype.itemsize]
    return np.ascontiguousarray(rows).view(dtype).reshape(-1)
