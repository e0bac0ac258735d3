"""Checks of single messages for ``bag_check``."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

from occ_core.geometry.images import decode_jpeg, jpeg_size
from occ_perception_ros.messages import IMAGE_ENCODINGS, POINT_DATATYPES

_JPEG_SIGNATURE = b"\xff\xd8"
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_HEADER_BYTES = 24
"""Signature, and the header chunk up to width and height."""

Fault = tuple[str, str]
"""A key of ``RULES``, and a description."""


def camera_info_faults(message: Any) -> Iterator[Fault]:
    """Faults of a sensor_msgs/CameraInfo of ROS 2, or of ROS 1 with its names in capitals."""
    k, r, p = (np.reshape(_either_case(message, name), (3, -1)) for name in "krp")
    if k[0, 0] <= 0 or k[1, 1] <= 0 or k[2, 2] <= 0:
        yield "zero-intrinsics", f"K = {k.reshape(-1).tolist()} has no focal length"
    if not np.allclose(r @ r.T, np.eye(3), atol=1e-3) or np.linalg.det(r) < 0:
        rank = int(np.linalg.matrix_rank(r))
        yield "bad-rectification", f"R = {r.reshape(-1).tolist()} is not a rotation (rank {rank})"
    if p[0, 0] <= 0 or p[1, 1] <= 0:
        yield "bad-projection", f"P = {p.reshape(-1).tolist()} has no focal length"
    if not message.distortion_model:
        yield "no-distortion-model", "distortion_model is empty"


def image_faults(message: Any) -> Iterator[Fault]:
    """Faults of a sensor_msgs/Image."""
    pixel_bytes = 1
    if message.encoding in IMAGE_ENCODINGS:
        _, pixel_bytes = IMAGE_ENCODINGS[message.encoding]
    else:
        expected = ", ".join(IMAGE_ENCODINGS)
        yield "image-encoding", f"encoding {message.encoding!r} is not one of {expected}"
    size = f"{message.width}x{message.height} {message.encoding}"
    row_is_short = message.step < message.width * pixel_bytes
    if row_is_short or len(message.data) < message.height * message.step:
        text = f"{size} with step {message.step} has {len(message.data)} bytes"
        yield "image-truncated", text


def encoded_image_size(data: bytes) -> tuple[int, int]:
    """``(height, width)`` of the image in a JPEG or PNG file, which is checked for damage.

    A JPEG is decoded by the node's decoder; of a PNG, which the node does not use, only the end is
    checked.

    Raises:
        ValueError: the data are neither JPEG nor PNG, or the file is truncated or damaged.
    """
    if data.startswith(_JPEG_SIGNATURE):
        decode_jpeg(data, min_width=1)  # the smallest size is the fastest
        return jpeg_size(data)
    if data.startswith(_PNG_SIGNATURE):
        if len(data) < _PNG_HEADER_BYTES or b"IEND" not in data[-64:]:
            raise ValueError(f"the PNG of {len(data)} bytes is truncated: it has no end chunk")
        width, height = struct.unpack_from(">II", data, 16)
        return height, width
    raise ValueError(f"neither JPEG nor PNG: it begins with {data[:4].hex() or 'nothing'}")


def cloud_faults(message: Any) -> Iterator[Fault]:
    """Faults of a sensor_msgs/PointCloud2."""
    yield from _layout_faults(message)
    size = f"{message.width}x{message.height} points"
    if message.width * message.height == 0:
        yield "cloud-empty", size
    if (
        message.row_step < message.width * message.point_step
        or len(message.data) < message.height * message.row_step
    ):
        yield (
            "cloud-truncated",
            f"{size} of {message.point_step} bytes in rows of {message.row_step} have "
            f"{len(message.data)} bytes",
        )


def _layout_faults(message: Any) -> Iterator[Fault]:
    types = {field.name: POINT_DATATYPES.get(field.datatype, "u1") for field in message.fields}
    layout = ", ".join(
        f"{field.name}: type {field.datatype} at {field.offset}" for field in message.fields
    )
    layout = f"it has {layout or 'none'}"
    if message.is_bigendian:
        yield "cloud-layout", "the data are big-endian"
    if missing := [name for name in "xyz" if name not in types]:
        yield "cloud-layout", f"fields {', '.join(missing)} are missing; {layout}"
    elif wrong := [name for name in "xyz" if types[name] != "<f4"]:
        yield "cloud-layout", f"fields {', '.join(wrong)} are not float32; {layout}"
    outside = [
        field.name
        for field in message.fields
        if field.offset + np.dtype(types[field.name]).itemsize * max(field.count, 1)
        > message.point_step
    ]
    if outside:
        text = f"fields {', '.join(outside)} end beyond point_step {message.point_step}; {layout}"
        yield "cloud-layout", text
    if "intensity" not in types:
        yield "cloud-without-intensity", layout


def _either_case(message: Any, name: str) -> np.ndarray:
    value = getattr(message, name) if hasattr(message, name) else getattr(message, name.upper())
    return np.asarray(value, np.float64)
