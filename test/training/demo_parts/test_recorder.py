"""The demo's recorder on a real ROS graph: a node made of a few lines, in a process of its own."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from occ_perception_ros.bags.reader import BagReader
from training.demo_parts.processes import Children

pytest.importorskip("rclpy", reason="no rclpy; install the ros extra")

FAKE_NODE = """
import time, rclpy
from std_msgs.msg import String
rclpy.init()
node = rclpy.create_node("fake")
answers = node.create_publisher(String, "~/output/occupancy_points", 5)
times = node.create_publisher(String, "~/debug/processing_time/all_ms", 5)
node.create_publisher(String, "/elsewhere", 5).publish(String(data="not wanted"))
node.create_subscription(String, "/lidar", print, 5)
while answers.get_subscription_count() == 0 or times.get_subscription_count() == 0:
    time.sleep(0.05)
for word in ("one", "two", "three"):
    answers.publish(String(data=word))
    times.publish(String(data=word))
    time.sleep(0.2)
node.destroy_node()
rclpy.shutdown()
"""


def test_what_a_node_publishes_is_in_the_bag(tmp_path: Path) -> None:
    started_ns = time.time_ns()
    with Children(tmp_path / "logs", {}) as children:
        recorder = children.start(
            "recorder",
            [
                sys.executable,
                "-m",
                "training.demo_parts.recorder",
                tmp_path / "bag",
                "--node",
                "/fake",
                "--inputs",
                "/lidar",
            ],
        )
        fake = children.start("fake", [sys.executable, "-c", FAKE_NODE])
        children.wait(
            lambda: "ANSWER 3" in recorder.log(), "three answers", timeout_s=60, ending=fake
        )
        assert recorder.log().index("READY") >= 0
        children.stop(recorder)
    with BagReader(tmp_path / "bag") as reader:
        assert sorted(reader.topics) == [
            "/fake/debug/processing_time/all_ms",
            "/fake/output/occupancy_points",
        ]
        messages = list(reader.messages(["/fake/output/occupancy_points"]))
        assert [reader.decode(message).data for message in messages] == ["one", "two", "three"]
    received_ns = [message.stamp_ns for message in messages]
    assert (
        started_ns < received_ns[0] < received_ns[1] < received_ns[2] < time.time_ns()
    )  # stamped at their coming
