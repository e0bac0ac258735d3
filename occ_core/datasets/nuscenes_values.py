"""Values of nuScenes' tables, checked as they are used.

Makers of other data sets write the same tables with other types: stamps as floats or text, sizes of
zero, poses that are not finite. Each check names the table and the record.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from occ_core.datasets.nuscenes_tables import Record
from occ_core.geometry.poses import pose_matrix

_MAX_STAMP_US = 2**31 * 10**6
"""The seconds of a ROS stamp have 31 bits."""
_MIN_FLOAT_US = 10**12
"""Stamps with a fraction below this, which is in January 1970, are in seconds."""


def stamp_ns(table: Path, record: Record) -> int:
    """The field ``timestamp`` in nanoseconds; a fraction of a microsecond is rounded.

    Raises:
        ValueError: it is not a number of microseconds since 1970.
    """
    value = record["timestamp"]
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if (
        not number
        or not 0 <= value < _MAX_STAMP_US
        or (value != int(value) and value < _MIN_FLOAT_US)
    ):
        raise _error(table, record, "timestamp", "microseconds since 1970, below 2**31 seconds")
    return round(value) * 1000


def pose(table: Path, record: Record) -> np.ndarray:
    """``translation`` and ``rotation`` (w, x, y, z) as a pose, float64 ``[4, 4]``.

    Raises:
        ValueError: they are not three and four finite numbers, or the rotation is zero.
    """
    try:
        return pose_matrix(_numbers(record["translation"], 3), _numbers(record["rotation"], 4))
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{table}: the pose of {record['token']!r} is unusable: {error}") from None


def camera_intrinsics(table: Path, record: Record) -> np.ndarray:
    """The field ``camera_intrinsic``, float64 ``[3, 3]``.

    Raises:
        ValueError: it is not a camera matrix.
    """
    try:
        matrix = np.array(record["camera_intrinsic"], dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        matrix = np.empty(0)
    if matrix.shape != (3, 3) or not np.isfinite(matrix).all() or min(np.diag(matrix)) <= 0:
        expected = "3x3 numbers with positive focal lengths"
        raise _error(table, record, "camera_intrinsic", expected)
    return matrix


def image_size(table: Path, record: Record) -> tuple[int, int]:
    """``height`` and ``width`` in pixels; (0, 0) where the table does not state them.

    Raises:
        ValueError: they are not whole numbers.
    """
    height, width = (
        whole_number(table, record, name) if record[name] is not None else 0
        for name in ("height", "width")
    )
    return (height, width) if height and width else (0, 0)


def size_wlh(table: Path, record: Record) -> np.ndarray:
    """The field ``size`` of a box: width, length and height in metres, float64 ``[3]``.

    Raises:
        ValueError: it is not three positive numbers.
    """
    try:
        size = _numbers(record["size"], 3)
    except (TypeError, ValueError, OverflowError):
        size = np.zeros(3)
    if not (size > 0).all():
        raise _error(table, record, "size", "three positive numbers of metres")
    return size


def whole_number(table: Path, record: Record, name: str) -> int:
    """A field that counts something.

    Raises:
        ValueError: it is not a whole number of 0 or more.
    """
    value = record[name]
    if not isinstance(value, (int, float)) or not 0 <= value < 2**31 or value != int(value):
        raise _error(table, record, name, "a whole number of 0 or more")
    return int(value)


def flag(table: Path, record: Record, name: str) -> bool:
    """A field that is true or false.

    Raises:
        ValueError: it is neither.
    """
    value = record[name]
    if not isinstance(value, (bool, int)) or value not in (0, 1):
        raise _error(table, record, name, "true or false")
    return bool(value)


def text(table: Path, record: Record, name: str) -> str:
    """A field with words; empty where it is null.

    Raises:
        ValueError: it is something else.
    """
    value = record[name]
    if not isinstance(value, (str, type(None))):
        raise _error(table, record, name, "text")
    return value or ""


def name(table: Path, record: Record, field: str) -> str:
    """A field that names something.

    Raises:
        ValueError: it is not text, or empty.
    """
    value = record[field]
    if not isinstance(value, str) or not value:
        raise _error(table, record, field, "text, and not empty")
    return value


def category_index(table: Path, record: Record, order: int) -> int:
    """The field ``index`` of a category, by which files of a byte for each point refer to it.

    Args:
        table: path of the table.
        record: the category.
        order: its place in the table, which is its index where the table has none.

    Raises:
        ValueError: it is not a whole number of a byte.
    """
    numbered = {"index": order, **record}
    index = whole_number(table, numbered, "index")
    if index > 255:
        raise _error(table, numbered, "index", "a whole number of 0 to 255")
    return index


def plain_name(table: Path, record: Record) -> str:
    """The field ``name``, of which files and folders are made.

    Raises:
        ValueError: it is not text, or would lead to another folder.
    """
    value = text(table, record, "name")
    if value in ("", ".", "..") or any(part in value for part in "/\\\0"):
        raise _error(table, record, "name", "a plain name, without a path")
    return value


def file_path(root: Path, table: Path, record: Record) -> Path:
    """The file of a recording, also where the table was written on Windows.

    Raises:
        ValueError: the field ``filename`` is not text, is empty, or leads out of the data root.
    """
    path = PurePosixPath(name(table, record, "filename").replace("\\", "/"))
    if path.is_absolute() or not path.parts or ".." in path.parts or "\0" in str(path):
        raise _error(table, record, "filename", "a path within the data root")
    return root / path


def _numbers(values: Any, count: int) -> np.ndarray:
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        raise ValueError(f"expected {count} finite numbers, got {values!r}")
    return numbers


def _error(table: Path, record: Record, name: str, expected: str) -> ValueError:
    return ValueError(
        f"{table}: {name} of {record['token']!r} must be {expected}, got {record[name]!r}"
    )
