"""Publishers whose quality of service does not fit."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticStatus
from nav_msgs.msg import Odometry
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage, PointCloud2

from occ_perception_ros.node import OccupancyNode
from occ_perception_ros.parameters import ParameterError

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


def start(tmp_path: Path, context: Any, **given: object) -> OccupancyNode:
    calibration = tmp_path / "calibration.yaml"
    calibration.write_text("frames: {}\n")
    overrides = {"calibration_file": str(calibration), **given}
    return OccupancyNode(
        lambda config: (UnusedEngine(), (64, 64)),
        context=context,
        parameter_overrides=[Parameter(name, value=value) for name, value in overrides.items()],
    )


@pytest.fixture
def context() -> Iterator[Any]:
    made = rclpy.Context()
    rclpy.init(context=made)
    yield made
    rclpy.shutdown(context=made)


OVERRIDE = "qos_overrides./occupancy_node/input/points.subscription."


def test_the_quality_of_service_of_one_input_can_be_overridden(
    tmp_path: Path, context: Any
) -> None:
    node = start(tmp_path, context, **{OVERRIDE + "reliability": "reliable", OVERRIDE + "depth": 7})
    try:
        by_topic = {end.topic_name: end.qos_profile for end in node.subscriptions}
        changed = by_topic["/occupancy_node/input/points"]
        assert (changed.reliability, changed.depth) == (ReliabilityPolicy.RELIABLE, 7)
        others = by_topic["/occupancy_node/input/odometry"]
        assert (others.reliability, others.depth) == (ReliabilityPolicy.BEST_EFFORT, 1000)
    finally:
        node.stop()
        node.destroy_node()


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("qos_overrides./lidar.subscription.depth", 7, "/lidar.subscription.depth would have no"),
        ("qos_overrides.nonsense", "x", "qos_overrides.nonsense would have no effect"),
        (OVERRIDE + "deadline", 1, "deadline would have no effect"),
        (OVERRIDE + "reliability", "certain", "input/points': Unexpected QoS override"),
        (OVERRIDE + "depth", "deep", "input/points'"),
    ],
)
def test_overrides_without_effect_are_refused_by_name(
    tmp_path: Path, context: Any, name: str, value: object, reason: str
) -> None:
    with pytest.raises(ParameterError, match=re.escape(reason)):
        start(tmp_path, context, **{name: value})


@pytest.mark.parametrize("name", ["odometry", "cam_front/image"])
def test_a_message_that_cannot_be_read_is_counted_and_named(
    name: str, tmp_path: Path, context: Any
) -> None:
    """Two bytes of a string that is to be five long; rclpy alone would drop it without a word."""
    node, other = start(tmp_path, context), Node("other", context=context)
    kind: Any = Odometry if name == "odometry" else CompressedImage
    publisher = other.create_publisher(kind, f"/occupancy_node/input/{name}", 1)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    header = serialize_message(kind())[:12]  # of the encoding, and the stamp
    deadline = time.monotonic() + WAIT_S

    def until(done: Callable[[], bool], message: Any) -> None:
        while not done():
            assert time.monotonic() < deadline
            publisher.publish(message)
            executor.spin_once(timeout_sec=0.05)

    def problems() -> str:
        return " ".join(
            value
            for status in node.health.message(0, time.monotonic()).status
            for value in (status.message, *(pair.value for pair in status.values))
        )

    try:
        until(lambda: node.health.counted("malformed") > 2, header + b"\5\0\0\0ab")
        assert f"is no {kind.__name__}: " in problems()
        until(lambda: f"is no {kind.__name__}: " not in problems(), kind())
    finally:
        node.stop()
        executor.shutdown()
        node.destroy_node()
        other.destroy_node()
