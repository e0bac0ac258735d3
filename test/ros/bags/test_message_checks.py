"""Sizes of encoded images, damage to their files, and clouds: as the node judges them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rosbags.typesys.stores import ros2_jazzy as ros

from occ_perception_ros.bags.message_checks import cloud_faults, encoded_image_size
from occ_perception_ros.bags.nuscenes_messages import header
from occ_perception_ros.bags.rules import RULES
from occ_perception_ros.messages import points_from_message

IMAGE = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)


def encode(ending: str) -> bytes:
    return bytes(cv2.imencode(ending, IMAGE)[1])


@pytest.mark.parametrize("ending", [".jpg", ".png"])
def test_height_and_width_of_a_file(ending: str) -> None:
    assert encoded_image_size(encode(ending)) == (24, 40)


def test_bytes_after_the_end_of_a_jpeg_are_allowed() -> None:
    assert encoded_image_size(encode(".jpg") + bytes(500)) == (24, 40)  # some cameras pad


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (encode(".jpg")[:-100], "truncated"),
        (encode(".jpg")[:10], "truncated"),
        (encode(".png")[:-20], "truncated"),
        (encode(".png")[:12], "truncated"),
        (b"GIF89a", "neither JPEG nor PNG: it begins with 47494638"),
        (b"", "it begins with nothing"),
    ],
)
def test_damaged_and_other_files_are_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        encoded_image_size(data)


FIELDS = st.lists(
    st.tuples(
        st.sampled_from(["x", "y", "z", "intensity", "ring"]),
        st.integers(0, 40),  # offset
        st.integers(0, 9),  # type; those of sensor_msgs/PointField are 1 to 8
        st.integers(0, 2),  # count
    ),
    max_size=6,
)
WELL_FORMED = st.just([(name, 8 * index, 8, 1) for index, name in enumerate("xyz")])


@given(
    fields=FIELDS | WELL_FORMED,
    shape=st.tuples(st.integers(0, 3), st.integers(0, 4)),
    point_step=st.sampled_from([0, 16, 24, 40]),
    padding=st.integers(-8, 8),
    missing=st.integers(-3, 3),
    big_endian=st.booleans(),
)
def test_a_cloud_is_an_error_if_and_only_if_the_node_refuses_it(
    fields: list[tuple[str, int, int, int]],
    shape: tuple[int, int],
    point_step: int,
    padding: int,
    missing: int,
    big_endian: bool,
) -> None:
    height, width = shape
    row_step = max(width * point_step + padding, 0)
    data = np.random.default_rng(0).integers(0, 256, max(height * row_step - missing, 0))
    cloud = ros.sensor_msgs__msg__PointCloud2(
        header(1, "lidar"),
        height,
        width,
        [ros.sensor_msgs__msg__PointField(*field) for field in fields],
        big_endian,
        point_step,
        row_step,
        data.astype(np.uint8),
        True,
    )
    found = {RULES[code].severity for code, _ in cloud_faults(cloud)}
    try:
        points_from_message(cloud)
    except ValueError:
        assert "error" in found
    else:
        assert "error" not in found
