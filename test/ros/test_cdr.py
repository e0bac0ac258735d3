"""CDR bytes against rclpy's own serialisation."""

from __future__ import annotations

import numpy as np
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Float64MultiArray, Header, String

from occ_perception_ros.cdr import CdrWriter


def test_alignment_counts_from_after_the_encapsulation() -> None:
    cdr = CdrWriter()
    cdr.numbers("B", 1)
    cdr.numbers("d", 2.0)
    # 4 bytes of encapsulation, 1 byte, 7 of padding, 8 of the double
    assert cdr.message() == b"\x00\x01\x00\x00" + b"\x01" + b"\x00" * 7 + np.float64(2.0).tobytes()


def test_rclpy_reads_strings_headers_and_sequences() -> None:
    for text in ("", "a", "map", "ä"):
        cdr = CdrWriter()
        cdr.string(text)
        assert deserialize_message(cdr.message(), String) == String(data=text)
    cdr = CdrWriter()
    cdr.header(1_532_402_927_647_951_000, "lidar_top")
    header = deserialize_message(cdr.message(), Header)
    assert (header.stamp.sec, header.stamp.nanosec) == (1_532_402_927, 647_951_000)
    assert header.frame_id == "lidar_top"
    cdr = CdrWriter()
    cdr.numbers("I", 0)  # layout.dim
    cdr.numbers("I", 0)  # layout.data_offset
    cdr.sequence(np.array([1.0, -2.5]))
    assert deserialize_message(cdr.message(), Float64MultiArray) == Float64MultiArray(
        data=[1.0, -2.5]
    )


def test_rclpy_reads_a_cloud() -> None:
    cloud = PointCloud2(height=1, width=1, point_step=3, row_step=3, data=b"abc", is_dense=True)
    cloud.fields = [PointField(name="x", offset=0, datatype=7, count=1)]
    cdr = CdrWriter()
    cdr.header(0, "")
    cdr.numbers("I", 1, 1, 1)
    cdr.string("x")
    cdr.numbers("I", 0)
    cdr.numbers("B", 7)
    cdr.numbers("I", 1)
    cdr.numbers("B", 0)
    cdr.numbers("I", 3, 3)
    cdr.sequence(np.frombuffer(b"abc", np.uint8))
    cdr.numbers("B", 1)
    assert deserialize_message(cdr.message(), PointCloud2) == cloud
