"""Outputs of the live node in another program's message_filters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from nav_msgs.msg import OccupancyGrid
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import Imu, PointCloud2

Live = Callable[..., Any]
"""``conftest.Graph``."""
OUTPUT = "/occupancy_node/output"


def test_outputs_are_matched_with_another_topic_by_their_exact_stamp(graph: Live) -> None:
    filters = pytest.importorskip(
        "message_filters", reason="message_filters is part of ROS 2 and not on PyPI"
    )
    live = graph()
    imu = live.other.create_publisher(Imu, "/imu", 100)
    sources = [
        filters.Subscriber(live.other, PointCloud2, f"{OUTPUT}/voxels", qos_profile=100),
        filters.Subscriber(live.other, OccupancyGrid, f"{OUTPUT}/occupancy_grid", qos_profile=100),
        filters.Subscriber(live.other, Imu, "/imu", qos_profile=100),
    ]
    live.listened += [f"{OUTPUT}/voxels", f"{OUTPUT}/occupancy_grid"]
    matched: list[tuple[Any, ...]] = []
    synchronizer = filters.TimeSynchronizer(sources, 100)
    synchronizer.registerCallback(lambda *messages: matched.append(messages))
    live.connect()
    live.until(lambda: imu.get_subscription_count() == 1, "subscriber of the IMU")
    # The IMU has a message at the stamp of every sweep; three of the sweeps are answered.
    for topic, data in live.messages:
        if topic == "/lidar_top":
            message = Imu()
            message.header.stamp = deserialize_message(data, PointCloud2).header.stamp
            imu.publish(message)
    live.play()
    live.until(lambda: len(matched) >= 3, "matches")
    stamps = [frame.stamp_ns[0] for frame in live.engine.frames]
    assert len(stamps) == 3
    for messages, stamp in zip(matched, stamps, strict=True):
        found = {m.header.stamp.sec * 10**9 + m.header.stamp.nanosec for m in messages}
        assert found == {stamp}
