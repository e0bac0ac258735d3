"""The live node on /tf and /tf_static, with the real messages of tf2_msgs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import TransformStamped
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import PointCloud2

tf2 = pytest.importorskip("tf2_msgs.msg", reason="tf2_msgs is part of ROS 2 and not on PyPI")

Live = Callable[..., Any]
"""``conftest.Graph``."""
LATCHED = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
NS = 1_000_000_000


def started(graph: Live, static_qos: QoSProfile = LATCHED) -> Any:
    """The node on TF alone, and a publisher for either topic."""
    live = graph(pose_source="tf", calibration_file="")
    live.publishers["/tf"] = live.other.create_publisher(tf2.TFMessage, "/tf", 1000)
    live.publishers["/tf_static"] = live.other.create_publisher(
        tf2.TFMessage, "/tf_static", static_qos
    )
    live.publishers.pop("/odom")
    return live


def poses(live: Any) -> np.ndarray:
    return np.stack([frame.world_from_grid[0].numpy() for frame in live.engine.frames])


def test_chains_of_tf_give_the_poses_of_the_drive(graph: Live) -> None:
    """map -> base_link moves, base_link -> sensors are static: the grid's pose is their product."""
    live = started(graph)
    live.connect()
    live.play()
    assert live.counts() == (3, 3, 0)
    sweeps = [deserialize_message(d, PointCloud2) for t, d in live.messages if t == "/lidar_top"]
    transforms = [
        each
        for topic, data in live.messages
        if topic in ("/tf", "/tf_static")
        for each in deserialize_message(data, tf2.TFMessage).transforms
    ]
    (mounting,) = [each for each in transforms if each.child_frame_id == "lidar_top"]
    for sweep, pose in zip(sweeps[::10], poses(live), strict=True):
        (motion,) = [
            each
            for each in transforms
            if each.child_frame_id == "base_link" and each.header.stamp == sweep.header.stamp
        ]
        np.testing.assert_allclose(pose, matrix(motion) @ matrix(mounting), atol=1e-9)
    assert [bool(frame.camera_mask.all()) for frame in live.engine.frames] == [True] * 3


def matrix(stamped: TransformStamped) -> np.ndarray:
    """By the formula of a rotation matrix for a unit quaternion."""
    q, t = stamped.transform.rotation, stamped.transform.translation
    x, y, z, w = q.x, q.y, q.z, q.w
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y), t.x],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x), t.y],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y), t.z],
            [0, 0, 0, 1],
        ]
    )


def test_static_transforms_of_a_volatile_publisher_are_heard(graph: Live) -> None:
    """As rosbag2 plays those that were recorded without their quality of service."""
    live = started(graph, QoSProfile(depth=100))
    live.connect()
    live.play()
    assert live.counts() == (3, 3, 0)


def test_static_transforms_from_before_the_start_are_heard(graph: Live) -> None:
    """The publisher says them once, before the node's subscription has found it."""
    live = started(graph)
    (static,) = [data for topic, data in live.messages if topic == "/tf_static"]
    live.publishers["/tf_static"].publish(static)
    live.publishers.pop("/tf_static")
    live.until(lambda: live.node.assembler.tree._static, "static transforms")
    live.received = 0
    live.connect()
    live.play()
    assert live.counts() == (3, 3, 0)


def shifted(data: bytes, shift_s: float) -> bytes:
    """A TFMessage with other stamps."""
    message = deserialize_message(data, tf2.TFMessage)
    for each in message.transforms:
        stamp = each.header.stamp
        total = stamp.sec * NS + stamp.nanosec + round(shift_s * NS)
        stamp.sec, stamp.nanosec = divmod(total, NS)
    return bytes(serialize_message(message))


@pytest.mark.parametrize("shift_s", [-0.05, 0.05])
def test_poses_slightly_beside_a_sweep_are_still_used(graph: Live, shift_s: float) -> None:
    """Within ``pose_tolerance_s``, 0.06 s, at the ends of the drive."""
    live = started(graph)
    live.connect()
    live.play(change=lambda t, data: shifted(data, shift_s) if t == "/tf" else data)
    live.until(lambda: live.counts()[0] >= 3, "frames that waited for a pose")
    live.settle(3)
    assert live.counts() == (3, 3, 0)


@pytest.mark.parametrize("shift_s", [-20.0, 20.0])
def test_poses_of_another_time_are_never_used(graph: Live, shift_s: float) -> None:
    """Extrapolation into the far past or future would be a guess."""
    live = started(graph)
    live.connect()
    live.play(change=lambda t, data: shifted(data, shift_s) if t == "/tf" else data)
    assert live.counts() == (0, 0, 0) and not live.engine.frames


def test_a_jump_back_starts_anew(graph: Live) -> None:
    """A bag that loops: the second pass gives what the first one gave, and resets the memory."""
    live = started(graph)
    live.connect()
    live.play()
    first = poses(live)
    live.play()
    assert live.counts() == (6, 6, 0)
    np.testing.assert_array_equal(poses(live)[3:], first)
    assert len(live.engine.resets) == 1


def test_a_transform_that_is_no_number_is_counted_and_left_out(graph: Live) -> None:
    def spoil(topic: str, data: bytes) -> bytes:
        if topic != "/tf" or spoiled:
            return data
        spoiled.append(topic)
        message = deserialize_message(data, tf2.TFMessage)
        message.transforms[0].transform.translation.x = float("nan")
        return bytes(serialize_message(message))

    spoiled: list[str] = []
    live = started(graph)
    live.connect()
    live.play(change=spoil)
    assert spoiled and live.node.assembler.counts["bad_poses"] == 1
    assert np.isfinite(poses(live)).all()
