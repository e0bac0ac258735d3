"""ROS messages to numpy and back. Works on rclpy's messages and on rosbags' alike: only attributes
are read; no rclpy import.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from occ_core.geometry.images import decode_jpeg, jpeg_size, scale_intrinsics
from occ_perception_ros.calibration import CameraModel

NS = 1_000_000_000

_CHANNELS = {
    "rgb8": ([0, 1, 2], 3),
    "bgr8": ([2, 1, 0], 3),
    "rgba8": ([0, 1, 2], 4),
    "bgra8": ([2, 1, 0], 4),
    "mono8": ([0, 0, 0], 1),
    "8UC3": ([2, 1, 0], 3),  # OpenCV's order, as cv_bridge writes it
}
"""Encoding -> where R, G, B are, and bytes a pixel."""

_DATATYPES = {1: "i1", 2: "u1", 3: "<i2", 4: "<u2", 5: "<i4", 6: "<u4", 7: "<f4", 8: "<f8"}
"""sensor_msgs/PointField's constants."""


def stamp_ns(header: Any) -> int:
    """The header's stamp in nanoseconds."""
    return int(header.stamp.sec) * NS + int(header.stamp.nanosec)


def check_header(topic: str, header: Any) -> int:
    """The stamp in nanoseconds of a header that can be used.

    Raises:
        ValueError: the stamp is zero or the frame is not named; some nuScenes converters write such
            headers.
    """
    stamp = stamp_ns(header)
    if stamp == 0:
        raise ValueError(
            f"'{topic}' has a zero header stamp; sensors cannot be matched without stamps. Convert "
            "the bag with nuscenes_to_bag"
        )
    if not header.frame_id:
        raise ValueError(
            f"'{topic}' has an empty header.frame_id; its transform cannot be looked up. Convert "
            "the bag with nuscenes_to_bag"
        )
    return stamp


def image_from_message(
    camera: str, message: Any, model: CameraModel, min_width: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """RGB uint8 ``[H, W, 3]`` of an Image or CompressedImage, and the intrinsics ``[3, 3]`` in its
    pixels.

    Args:
        camera: name for error texts.
        model: of the camera, at the message's full size.
        min_width: a JPEG may come reduced, as long as it stays this wide.

    Raises:
        ValueError: unknown encoding, sizes that do not fit, truncated or corrupt data; names the
            camera.
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
            f"{model.size[1]}x{model.size[0]}; "
            "publish camera_info for the images' size"
        )


def _raw_image(message: Any) -> np.ndarray:
    if message.encoding not in _CHANNELS:
        raise ValueError(
            f"encoding '{message.encoding}' is not supported; expected one of {list(_CHANNELS)}"
        )
    channels, pixel_bytes = _CHANNELS[message.encoding]
    height, width, step = int(message.height), int(message.width), int(message.step)
    if step < width * pixel_bytes:
        raise ValueError(f"step {step} is less than a row of {width} pixels of {pixel_bytes} bytes")
    data = np.frombuffer(memoryview(message.data), dtype=np.uint8)
    if len(data) < height * step:
        raise ValueError(
            f"{len(data)} bytes of data, but {height} rows of step {step} need {height * step}"
        )
    rows = data[: height * step].reshape(height, step)[:, : width * pixel_bytes]
    return np.ascontiguousarray(rows.reshape(height, width, pixel_bytes)[:, :, channels])


def points_from_message(
    message: Any, max_points: int | None = None
) -> tuple[np.ndarray, dict[str, int]]:
    """Points float32 ``[N, 4]`` (x, y, z in metres in the sensor's frame, intensity) of a
    PointCloud2.

    Points that are not finite or exactly zero (drop-outs) are left out; intensity is 0 where the
    cloud has none.

    Args:
        max_points: of more, every k-th is kept.

    Returns:
        The points, and how many were left out: ``{"not_finite": ..., "zero": ..., "over_limit":
        ...}``.

    Raises:
        ValueError: a field is missing or of a wrong type, big-endian data, sizes that do not fit.
    """
    fields = {field.name: field for field in message.fields}
    width, height = int(message.width), int(message.height)
    dropped = {"not_finite": 0, "zero": 0, "over_limit": 0}
    if width * height == 0:
        return np.empty((0, 4), np.float32), dropped
    if message.is_bigendian:
        raise ValueError("the point cloud is big-endian; only little-endian clouds are supported")
    layout = ", ".join(
        f"{field.name}:{_DATATYPES.get(field.datatype, field.datatype)}" for field in message.fields
    )
    for name in "xyz":
        if name not in fields:
            raise ValueError(
                f"the point cloud has no field '{name}' (it has {layout}); expected x, y, z as "
                "float32"
            )
        if _DATATYPES.get(fields[name].datatype) not in ("<f4", "<f8"):
            raise ValueError(
                f"the point cloud's '{name}' is no float (it has {layout}); expected x, y, z as "
                "float32"
            )
    names = [name for name in ("x", "y", "z", "intensity") if name in fields]
    for name in names:
        if fields[name].datatype not in _DATATYPES or fields[name].count > 1:
            raise ValueError(f"the point cloud's '{name}' is no single number (it has {layout})")
    point_step, row_step = int(message.point_step), int(message.row_step)
    ends = [
        fields[name].offset + np.dtype(_DATATYPES[fields[name].datatype]).itemsize for name in names
    ]
    if max(ends) > point_step or row_step < width * point_step:
        raise ValueError(
            f"the point cloud's sizes do not fit: fields end at byte {max(ends)}, point_step "
            f"{point_step}, "
            f"row_step {row_step}, width {width}"
        )
    data = np.frombuffer(memoryview(message.data), dtype=np.uint8)
    if len(data) < height * row_step:
        raise ValueError(
            f"the point cloud is truncated: {len(data)} bytes, but {height} rows of {row_step} "
            f"need {height * row_step}"
        )
    dtype = np.dtype(
        {
            "names": names,
            "formats": [_DATATYPES[fields[name].datatype] for name in names],
            "offsets": [fields[name].offset for name in names],
            "itemsize": point_step,
        }
    )
    rows = data[: height * row_step].reshape(height, row_step)[:, : width * point_step]
    cloud = np.ascontiguousarray(rows).view(dtype).reshape(-1)
    rows = np.zeros(
        (4, len(cloud)), np.float32
    )  # coordinate rows: numpy works several times faster along them
    for row, name in zip(rows, names, strict=False):  # intensity may be missing
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
