"""Values of nuScenes' tables as other makers write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from occ_core.datasets import nuscenes_values as values

TABLE = Path("sample_data.json")
GARBAGE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.one_of(st.floats(), st.none(), st.text(max_size=2)), max_size=5),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
)


def record(**fields: Any) -> dict[str, Any]:
    return {"token": "t1", **fields}


@pytest.mark.parametrize(
    ("timestamp", "expected_ns"),
    [
        (0, 0),
        (1_700_000_000_000_000, 1_700_000_000_000_000_000),
        (1_700_000_000_000_000.25, 1_700_000_000_000_000_000),  # a quarter of a microsecond
        (1_700_000_000_000_000.75, 1_700_000_000_000_001_000),
        (5.0, 5_000),
    ],
)
def test_stamps_are_microseconds(timestamp: float, expected_ns: int) -> None:
    assert values.stamp_ns(TABLE, record(timestamp=timestamp)) == expected_ns


@pytest.mark.parametrize(
    "timestamp",
    [
        "1700000000000000",
        None,
        True,
        -1,
        float("nan"),
        float("inf"),
        1_700_000_000_000_000_000,  # nanoseconds
        1_700_000_000.25,  # seconds
    ],
)
def test_other_stamps_are_refused(timestamp: Any) -> None:
    with pytest.raises(ValueError, match=r"sample_data.json: timestamp of 't1' must be micro"):
        values.stamp_ns(TABLE, record(timestamp=timestamp))


def test_a_pose() -> None:
    found = values.pose(TABLE, record(translation=[1, 2, 3], rotation=[1, 0, 0, 0]))
    np.testing.assert_allclose(found, [[1, 0, 0, 1], [0, 1, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]])


@pytest.mark.parametrize(
    ("translation", "rotation"),
    [
        ([float("nan")] * 3, [1, 0, 0, 0]),
        ([1, 2], [1, 0, 0, 0]),
        (None, [1, 0, 0, 0]),
        ([0, 0, 0], [0, 0, 0, 0]),
        ([0, 0, 0], [1, 0, 0]),
        ([0, 0, 0], "1000"),
    ],
)
def test_unusable_poses_are_named(translation: Any, rotation: Any) -> None:
    with pytest.raises(ValueError, match=r"sample_data.json: the pose of 't1' is unusable"):
        values.pose(TABLE, record(translation=translation, rotation=rotation))


def test_image_sizes() -> None:
    assert values.image_size(TABLE, record(height=900, width=1600.0)) == (900, 1600)
    for height, width in ((0, 0), (None, None), (900, 0), (None, 1600)):
        assert values.image_size(TABLE, record(height=height, width=width)) == (0, 0)
    for height in (-1, 1.5, "900", float("nan")):
        with pytest.raises(ValueError, match="height of 't1' must be a whole number"):
            values.image_size(TABLE, record(height=height, width=1600))


def test_intrinsics() -> None:
    good = [[300, 0, 160], [0, 310, 90], [0, 0, 1]]
    found = values.camera_intrinsics(TABLE, record(camera_intrinsic=good))
    assert found.dtype == np.float64 and found.tolist() == good
    no_focal_length = [[0, 0, 160], [0, 310, 90], [0, 0, 1]]
    for bad in (None, [], [1, 2, 3], no_focal_length, [[float("nan")] * 3] * 3, "abc"):
        with pytest.raises(ValueError, match="camera_intrinsic of 't1' must be 3x3 numbers"):
            values.camera_intrinsics(TABLE, record(camera_intrinsic=bad))


def test_other_fields() -> None:
    assert values.size_wlh(TABLE, record(size=[2, 4, 1.5])).tolist() == [2, 4, 1.5]
    assert values.whole_number(TABLE, record(num_lidar_pts=7.0), "num_lidar_pts") == 7
    assert values.flag(TABLE, record(is_key_frame=1), "is_key_frame") is True
    assert values.text(TABLE, record(description=None), "description") == ""
    windows = values.file_path(Path("root"), TABLE, record(filename="samples\\CAM\\a.jpg"))
    assert windows == Path("root/samples/CAM/a.jpg")
    with pytest.raises(ValueError, match="'false'"):
        values.flag(TABLE, record(is_key_frame="false"), "is_key_frame")


def test_names_and_indices() -> None:
    assert values.name(TABLE, record(channel="CAM/1"), "channel") == "CAM/1"
    for bad in (None, "", 3, ["CAM"]):
        with pytest.raises(ValueError, match="channel of 't1' must be text, and not empty"):
            values.name(TABLE, record(channel=bad), "channel")
    assert values.category_index(TABLE, record(index=255), order=7) == 255
    assert values.category_index(TABLE, record(), order=7) == 7
    for bad in (None, "3", 256, 1.5, -1):
        with pytest.raises(ValueError, match="index of 't1' must be a whole number of 0"):
            values.category_index(TABLE, record(index=bad), order=7)


@given(value=GARBAGE, other=GARBAGE)
def test_garbage_is_taken_or_named(value: Any, other: Any) -> None:
    fields = record(
        timestamp=value,
        translation=value,
        rotation=other,
        camera_intrinsic=value,
        height=value,
        width=other,
        size=value,
        filename=value,
        is_key_frame=value,
        num_lidar_pts=value,
    )
    for read in (
        lambda: values.stamp_ns(TABLE, fields),
        lambda: values.pose(TABLE, fields),
        lambda: values.camera_intrinsics(TABLE, fields),
        lambda: values.image_size(TABLE, fields),
        lambda: values.size_wlh(TABLE, fields),
        lambda: values.file_path(Path("root"), TABLE, fields),
        lambda: values.flag(TABLE, fields, "is_key_frame"),
        lambda: values.whole_number(TABLE, fields, "num_lidar_pts"),
    ):
        try:
            read()
        except ValueError as error:
            assert "sample_data.json" in str(error) and "'t1'" in str(error)
