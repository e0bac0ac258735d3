"""What the live node does when inputs, model or middleware misbehave, on rclpy."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from diagnostic_msgs.msg import DiagnosticStatus
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CompressedImage, PointCloud2
from std_msgs.msg import String

Live = Callable[..., Any]
"""``conftest.Graph``."""


def not_finite(labels: torch.Tensor, probability: torch.Tensor) -> None:
    probability[0, 0, 0, 0] = float("nan")


def full(labels: torch.Tensor, probability: torch.Tensor) -> None:
    labels.fill_(1)


def empty(labels: torch.Tensor, probability: torch.Tensor) -> None:
    labels.fill_(0)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [(not_finite, "not finite"), (full, "100% of space"), (empty, "all space is empty")],
)
def test_an_absurd_answer_is_neither_published_nor_remembered(
    graph: Live, spoil: Callable[..., None], reason: str
) -> None:
    live = graph()
    points = live.listen(PointCloud2, "/occupancy_node/output/occupancy_points")
    live.connect()
    step = live.engine.step

    def spoil_second(frame: Any) -> Any:
        live.engine.spoil = spoil if len(live.engine.frames) == 1 else lambda *answer: None
        return step(frame)

    live.engine.step = spoil_second
    live.play(last=len(live.messages) * 2 // 3)
    live.settle(2)
    status = live.status()
    assert live.counts() == (2, 1, 1) and live.node.health.counted("failed") == 1
    assert status.level == DiagnosticStatus.ERROR and reason in status.message
    (forgotten,) = live.engine.resets
    assert reason in forgotten
    live.play(first=len(live.messages) * 2 // 3)
    live.settle(3)
    live.until(lambda: len(points) >= 2, "answers")
    assert live.counts() == (3, 2, 1) and live.status().level != DiagnosticStatus.ERROR


def test_a_burst_gives_the_frames_of_a_steady_drive(graph: Live) -> None:
    live = graph()
    live.connect()
    live.play()
    steady = list(live.engine.frames)
    live.burst()
    live.settle(6)
    # In work is at most one frame: of a burst, newer ones replace those that wait.
    frames_in, frames_out, dropped = live.counts()
    replaced = live.node.health.counted("replaced")
    assert frames_in == 6 and frames_out + dropped == 6 and replaced == dropped
    assert live.node.assembler.counts["no_pose"] == 0
    by_stamp = {frame.stamp_ns: frame for frame in steady}
    for frame in live.engine.frames[3:]:
        expected = by_stamp[frame.stamp_ns]
        assert torch.equal(frame.images, expected.images)
        assert torch.equal(frame.grid_from_camera, expected.grid_from_camera)
        assert torch.equal(frame.points[0], expected.points[0])


@pytest.mark.parametrize("durability", list(DurabilityPolicy)[1:3], ids=lambda policy: policy.name)
@pytest.mark.parametrize("reliability", list(ReliabilityPolicy)[1:3], ids=lambda p: p.name)
def test_the_context_is_heard_from_every_publisher(
    graph: Live, durability: DurabilityPolicy, reliability: ReliabilityPolicy
) -> None:
    live = graph()
    qos = QoSProfile(depth=1, durability=durability, reliability=reliability)
    publisher = live.other.create_publisher(String, "/can/region", qos)
    live.until(publisher.get_subscription_count, "subscription")

    def heard() -> bool:
        publisher.publish(String(data="Boston"))  # periodic, as from a driver
        live.executor.spin_once(timeout_sec=0.02)
        return live.node.assembler.context.at(1).region == "boston-seaport"

    live.until(heard, "region")
    live.until(lambda: live.status().level != DiagnosticStatus.ERROR, "diagnostics")
    assert "quality of service" not in live.status().message


def test_a_context_that_was_latched_before_the_node_started_is_heard(graph: Live) -> None:
    live = graph()
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    live.other.create_publisher(String, "/can/weather", latched).publish(String(data="raining"))
    live.until(lambda: live.node.assembler.context.at(1).weather == "rain", "weather")


@pytest.mark.parametrize("topic", ["/odom", "/cam_front/camera_info", "/cam_back/camera_info"])
def test_an_incompatible_publisher_of_any_input_is_in_the_diagnostics(
    graph: Live, topic: str
) -> None:
    live = graph()
    live.connect()
    live.play(last=60)  # with sweeps, or their absence would be the first to be reported
    kind = live.publishers[topic].msg_type
    best_effort = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    live.other.create_publisher(kind, topic, best_effort)
    live.until(lambda: f"a publisher of '{topic}'" in live.all_texts(), "diagnostics")


def test_a_model_that_hangs_is_told_from_missing_sensors(graph: Live) -> None:
    live = graph(max_processing_ms=1.0)
    live.engine.gate = threading.Event()
    live.node.health._silence_s = 0.3
    live.connect()
    live.play()
    stamp_s = live.engine.frames[0].stamp_ns[0] / 1e9

    def told() -> bool:
        live.publishers["/lidar_top"].publish(live.messages[-1][1])  # the LiDAR goes on
        status = live.status()
        text = f"s on the frame of {stamp_s:.3f} s"
        return "the model has worked for" in status.message and text in status.message

    live.until(told, "diagnostics of the model")


def test_wrong_clocks_are_named(graph: Live) -> None:
    def shift(topic: str, data: bytes) -> bytes:
        if topic != "/cam_front/image_rect_compressed":
            return data
        message = deserialize_message(data, CompressedImage)
        message.header.stamp.sec += 50
        return bytes(serialize_message(message))

    live = graph(**{"sync.startup_grace_s": 0.0})
    live.connect()
    live.play(change=shift)
    live.settle(3)
    status = live.status("cam_front")
    assert status.level == DiagnosticStatus.WARN
    # 50 s, but for the time between an image and the sweep before it
    assert re.fullmatch(r"stamps are (49|50)\.\d s ahead of the LiDAR's", status.message)
    assert f"camera 'cam_front' is masked: {status.message}" in live.status().message


def test_names_are_fully_qualified(graph: Live) -> None:
    live = graph(namespace="/robot_1")
    names = [status.name for status in live.node.health.message(0, time.monotonic()).status]
    assert names[0] == "/robot_1/occupancy_node"
    assert all(name.startswith("/robot_1/occupancy_node: ") for name in names[1:])
    assert live.status().hardware_id


HEADERS = st.tuples(
    st.integers(-(2**31), 2**31 - 1), st.integers(0, 2**32 - 1), st.sampled_from(["", "map", "x"])
)
NUMBERS = st.floats(width=64)


@given(headers=st.lists(HEADERS, max_size=4), numbers=st.lists(NUMBERS, min_size=7, max_size=7))
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_garbage_poses_and_stamps_do_not_stop_the_frames_that_follow(
    graph: Live, headers: list[tuple[int, int, str]], numbers: list[float]
) -> None:
    live = live_once(graph)
    message = deserialize_message(
        next(data for topic, data in live.messages if topic == "/odom"),
        live.publishers["/odom"].msg_type,
    )
    for sec, nanosec, frame in headers:
        message.header.stamp.sec, message.header.stamp.nanosec = sec, nanosec
        message.header.frame_id = message.child_frame_id = frame
        position, turn = message.pose.pose.position, message.pose.pose.orientation
        (position.x, position.y, position.z, turn.w, turn.x, turn.y, turn.z) = numbers
        live.node.assembler.add_odometry(message)
    before = len(live.engine.frames)
    live.play()
    live.settle(before + 3)
    assert len(live.engine.frames) == before + 3
    assert all(frame.grid_from_camera.isfinite().all() for frame in live.engine.frames[before:])


def live_once(graph: Live, made: list[Any] = []) -> Any:  # noqa: B006
    """The graph of the first example: starting one takes longer than an example."""
    if not made:
        made.append(graph())
        made[0].connect()
    return made[0]
