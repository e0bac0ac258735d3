"""Publishers whose quality of service does not fit."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import PointCloud2

from occ_perception_ros.node import OccupancyNode

WAIT_S = 600.0
"""A limit for hangs; the test does not need it."""


class UnusedEngine:
    def step(self, frame: Any) -> Any:
        raise NotImplementedError

    def reset(self, reason: str) -> None: ...


def test_an_incompatible_publisher_is_an_error_of_its_sensor(tmp_path: Path) -> None:
    calibration = tmp_path / "calibration.yaml"
    calibration.write_text("frames: {}\n")
    given = {"calibration_file": str(calibration), "input_qos": "reliable"}
    context = rclpy.Context()
    rclpy.init(context=context)
    node = OccupancyNode(
        lambda config: (UnusedEngine(), (64, 64)),
        context=context,
        parameter_overrides=[Parameter(name, value=value) for name, value in given.items()],
    )
    other = Node("other", context=context)
    best_effort = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    other.create_publisher(PointCloud2, "/occupancy_node/input/points", best_effort)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    try:
        deadline = time.monotonic() + WAIT_S
        while node.health.overall(0.0)[0] != DiagnosticStatus.ERROR:
            assert time.monotonic() < deadline
            executor.spin_once(timeout_sec=0.02)
        assert node.health.overall(0.0)[1] == (
            "a publisher of '/occupancy_node/input/points' does not offer reliable, volatile "
            "quality of service; its messages are not received"
        )
    finally:
        assert node.stop()
        executor.shutdown()
        node.destroy_node()
        other.destroy_node()
        rclpy.shutdown(context=context)
