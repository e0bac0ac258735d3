"""The layout of sensor_msgs/PointCloud2. No rclpy import."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

_DATATYPES = {1: "i1", 2: "u1", 3: "<i2", 4: "<u2", 5: "<i4", 6: "<u4", 7: "<f4", 8: "<f8"}
"""numpy types by the constants of sensor_msgs/PointField."""


def point_records(message: Any) -> np.ndarray:
    """The points of a sensor_msgs/PointCloud2, without the padding at the end of each row.

    Returns:
        A structured array ``[height * width]`` of x, y, z and, where the cloud has it, intensity.

    Raises:
        ValueError: a field is missing or has a wrong type, the data are big-endian, or sizes
            contradict one another.
    """
    names, types, offsets = _fields(message, int(message.point_step))
    return _records(message, names, types, offsets)


def named_records(message: Any, types: Mapping[str, str]) -> np.ndarray:
    """The points of a sensor_msgs/PointCloud2 that has certain fields, whatever else it has.

    Args:
        message: the cloud.
        types: numpy type, such as ``<f4``, by the name of the field.

    Returns:
        A structured array ``[height * width]`` of these fields.

    Raises:
        ValueError: a field is missing or has another type, the data are big-endian, or sizes
            contradict one another.
    """
    if message.is_bigendian:
        raise ValueError("the point cloud is big-endian; only little-endian clouds are supported")
    fields = {field.name: field for field in message.fields}
    for name, kind in types.items():
        if name not in fields:
            raise ValueError(
                f"the point cloud has no field '{name}' (it has {', '.join(fields) or 'none'})"
            )
        if _DATATYPES.get(fields[name].datatype) != kind or fields[name].count != 1:
            raise ValueError(f"the point cloud's '{name}' is not a single {np.dtype(kind).name}")
    offsets = [int(fields[name].offset) for name in types]
    _check_end(list(types.values()), offsets, int(message.point_step))
    return _records(message, list(types), list(types.values()), offsets)


def _records(message: Any, names: list[str], types: list[str], offsets: list[int]) -> np.ndarray:
    width, height, row_step = int(message.width), int(message.height), int(message.row_step)
    point_step = int(message.point_step)
    if row_step < width * point_step:
        raise ValueError(
            f"the point cloud's row_step {row_step} is less than {width} points of "
            f"{point_step} bytes"
        )
    data = np.frombuffer(memoryview(message.data), dtype=np.uint8)
    if len(data) < height * row_step:
        raise ValueError(
            f"the point cloud is truncated: {len(data)} bytes, but {height} rows of {row_step} "
            f"need {height * row_step}"
        )
    rows = data[: height * row_step].reshape(height, row_step)[:, : width * point_step]
    dtype = np.dtype({"names": names, "formats": types, "offsets": offsets, "itemsize": point_step})
    return np.ascontiguousarray(rows).view(dtype).reshape(-1)


def _fields(message: Any, point_step: int) -> tuple[list[str], list[str], list[int]]:
    """Names, numpy types and offsets of x, y, z and, where the cloud has it, intensity."""
    if message.is_bigendian:
        raise ValueError("the point cloud is big-endian; only little-endian clouds are supported")
    fields = {field.name: field for field in message.fields}
    layout = ", ".join(
        f"{field.name}:{_DATATYPES.get(field.datatype, field.datatype)}" for field in message.fields
    )
    expected = f"(it has {layout}); expected x, y, z as float32"
    for name in "xyz":
        if name not in fields:
            raise ValueError(f"the point cloud has no field '{name}' {expected}")
        if _DATATYPES.get(fields[name].datatype) not in ("<f4", "<f8"):
            raise ValueError(f"the point cloud's '{name}' is not a float {expected}")
    names = [name for name in ("x", "y", "z", "intensity") if name in fields]
    for name in names:
        if fields[name].datatype not in _DATATYPES or fields[name].count > 1:
            raise ValueError(f"the point cloud's '{name}' is not a single number (it has {layout})")
    types = [_DATATYPES[fields[name].datatype] for name in names]
    offsets = [int(fields[name].offset) for name in names]
    _check_end(types, offsets, point_step)
    return names, types, offsets


def _check_end(types: list[str], offsets: list[int], point_step: int) -> None:
    end = max(offset + np.dtype(kind).itemsize for offset, kind in zip(offsets, types, strict=True))
    if end > point_step:
        raise ValueError(
            f"the point cloud's fields end at byte {end}, beyond point_step {point_step}"
        )
