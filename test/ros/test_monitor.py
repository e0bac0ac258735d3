"""What the node's monitor tells of a missing clock and of camera offsets, on rclpy."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock

from occ_perception_ros.assembler import FrameAssembler
from occ_perception_ros.assembler_config import AssemblerConfig
from occ_perception_ros.diagnostics import Health
from occ_perception_ros.monitor import CLOCK_TIMEOUT_S, SETS_FOR_OFFSETS, Monitor
from occ_perception_ros.sensor_health import ERROR
from occ_perception_ros.synchronizer import SyncConfig

WAIT_S = 600.0
"""A limit for hangs; no test needs it."""
MS = 1_000_000


@pytest.fixture
def make_node() -> Iterator[Callable[..., Node]]:
    """Makes nodes with parameters, in a context of their own."""
    context = rclpy.Context()
    rclpy.init(context=context)
    nodes: list[Node] = []

    def make(name: str, **parameters: object) -> Node:
        overrides = [Parameter(key, value=value) for key, value in parameters.items()]
        nodes.append(Node(name, context=context, parameter_overrides=overrides))
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()
    rclpy.shutdown(context=context)


def monitor(node: Node, assembler: FrameAssembler) -> tuple[Monitor, Health]:
    topics = {"points": "/lidar_top", **{name: f"/{name}" for name in assembler.config.cameras}}
    health = Health("/occupancy_node", topics, silence_s=2.0, max_processing_ms=500)
    return Monitor(node, assembler, health, lambda key, text: None), health


def test_time_that_does_not_come_is_an_error_after_a_while(make_node: Callable[..., Node]) -> None:
    node, other = make_node("node", use_sim_time=True), make_node("player")
    made_s = time.monotonic()
    watching, health = monitor(node, FrameAssembler(AssemblerConfig()))
    watching.tick(made_s)  # not yet
    assert health.overall(made_s)[0] != ERROR
    late_s = made_s + CLOCK_TIMEOUT_S + 60.0
    watching.tick(late_s)
    level, text = health.overall(late_s)
    assert level == ERROR and "/clock has no message; play the bag with --clock" in text

    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    publisher, message = other.create_publisher(Clock, "/clock", 1), Clock()
    message.clock.sec = 5
    while node.get_clock().now().nanoseconds == 0:
        assert time.monotonic() < made_s + WAIT_S, "no time"
        publisher.publish(message)
        executor.spin_once(timeout_sec=0.02)
    executor.shutdown()
    watching.tick(late_s)
    assert "/clock" not in health.overall(late_s)[1]


@pytest.mark.parametrize(("configured_s", "lines"), [(0.0, 1), (-0.04, 0)])
def test_measured_camera_offsets_are_suggested_once(
    configured_s: float,
    lines: int,
    make_node: Callable[..., Node],
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Images 40 ms before the sweeps; the tolerance is 45 ms, so that they match either way."""
    sync = replace(SyncConfig(), camera_offsets_s=(configured_s,))
    config = AssemblerConfig(cameras=("cam_front",), sync=sync)
    assembler = FrameAssembler(config)
    watching, _ = monitor(make_node("node"), assembler)
    for number in range(1, SETS_FOR_OFFSETS + 2):
        stamp_ns = 500 * MS * number
        assembler.synchronizer.add_image("cam_front", stamp_ns - 40 * MS, "image")
        assembler.synchronizer.add_sweep(stamp_ns, "sweep")
        watching.tick(0.5 * number)
        watching.tick(0.5 * number)
    assert assembler.synchronizer.counts["sets"] >= SETS_FOR_OFFSETS
    suggested = capfd.readouterr().err.count("suggest sync.camera_offsets_s:=[-0.04]")
    assert suggested == lines
