"""The demo's recorder on a real ROS graph, with a small node in a process of its own."""

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
voxels = node.create_publisher(String, "~/output/voxels", 5)  # left out: the demo does not read it
node.create_publisher(String, "/elsewhere", 5).publish(String(data="not recorded"))
node.create_subscription(String, "/lidar", print, 5)
while answers.get_subscription_count() == 0 or times.get_subscription_count() == 0:
    time.sleep(0.05)
for word in ("one", "two", "three"):
    answers.publish(String(data=word))
    times.publish(String(data=word))
    time.sleep(0.2)
while True:
    time.sleep(0.05)
"""
PATIENCE_S = 300.0


def test_the_output_of_a_node_is_in_the_bag(tmp_path: Path) -> None:
    started_ns = time.time_ns()
    module = [sys.executable, "-m", "training.demo_parts.recorder"]
    options = ["--node", "/fake", "--inputs", "/lidar"]
    with Children(tmp_path / "logs", {}, grace_s=PATIENCE_S) as children:
        recorder = children.start("recorder", [*module, tmp_path / "bag", *options])
        children.start("fake", [sys.executable, "-c", FAKE_NODE])
        for line in ("READY", "ANSWER 3"):
            children.wait(lambda line=line: line in recorder.log(), line, PATIENCE_S)
        children.stop(recorder)
    with BagReader(tmp_path / "bag") as reader:
        assert sorted(reader.topics) == [
            "/fake/debug/processing_time/all_ms",
            "/fake/output/occupancy_points",
        ]
        messages = list(reader.messages(["/fake/output/occupancy_points"]))
        assert [reader.decode(message).data for message in messages] == ["one", "two", "three"]
    # Stamped with the time of receipt.
    stamps_ns = [started_ns, *(message.stamp_ns for message in messages), time.time_ns()]
    assert stamps_ns == sorted(stamps_ns)
