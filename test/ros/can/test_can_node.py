"""The node on rclpy: frames go in over a virtual bus, weather and region come out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import can
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import String

from occ_perception_ros.can import CanFrame
from occ_perception_ros.can.decoder import OUTCOMES
from occ_perception_ros.can.health import CanHealth
from occ_perception_ros.can.node import CanContextNode
from occ_perception_ros.context import region_from_text, weather_from_text
from occ_perception_ros.parameters import ParameterError

WAIT_S = 600.0
"""A limit for hangs; no test needs it."""
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class CanGraph:
    """The node and a listener that starts later, both spun by the test."""

    def __init__(self, **parameters: object) -> None:
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        overrides = [Parameter(name, value=value) for name, value in parameters.items()]
        try:
            self.node = CanContextNode(context=self.context, parameter_overrides=overrides)
        except ParameterError:
            rclpy.shutdown(context=self.context)
            raise
        self.executor.add_node(self.node)
        self.heard: dict[str, list[str]] = {"weather": [], "region": []}
        self.statuses: list[DiagnosticStatus] = []

    def listen(self) -> None:
        self.listener = Node("listener", context=self.context)
        for name, texts in self.heard.items():
            self.listener.create_subscription(
                String,
                f"can/{name}",
                lambda message, texts=texts: texts.append(message.data),
                LATCHED,
            )
        self.listener.create_subscription(
            DiagnosticArray, "/diagnostics", lambda m: self.statuses.extend(m.status), 10
        )
        self.executor.add_node(self.listener)

    def spin_until(self, condition: Callable[[], Any]) -> None:
        deadline = time.monotonic() + WAIT_S
        while not condition():
            assert time.monotonic() < deadline, (self.heard, self.statuses[-1:])
            self.executor.spin_once(timeout_sec=0.05)

    def close(self) -> None:
        self.node.stop()
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)


@pytest.fixture
def start(rules_path: Path) -> Iterator[Callable[..., CanGraph]]:
    """Starts a graph with parameters; the rules are the example's."""
    graphs: list[CanGraph] = []

    def make(**parameters: object) -> CanGraph:
        graphs.append(CanGraph(**{"rules_file": str(rules_path), **parameters}))
        return graphs[-1]

    yield make
    for graph in graphs:
        graph.close()


def message_of(frame: CanFrame) -> can.Message:
    return can.Message(
        arbitration_id=frame.can_id, is_extended_id=frame.is_extended, data=frame.data
    )


def test_weather_and_region_are_published_latched(
    start: Callable[..., CanGraph], drive: list[CanFrame]
) -> None:
    graph = start(interface="virtual", channel="node", publish_period_s=60.0)
    with can.Bus(interface="virtual", channel="node") as bus:
        short = can.Message(arbitration_id=769, is_extended_id=False, data=b"\1")
        garbage = [can.Message(is_error_frame=True), short]

        def send() -> None:
            """Sends the last frames, which say rain and night."""
            for message in [*garbage, *map(message_of, drive[-5:])]:
                bus.send(message)

        def published() -> bool:
            send()  # until the node has opened the bus
            return graph.node._published == ("rain at night", "boston-seaport")

        graph.spin_until(published)
        graph.listen()  # too late for all but what is latched

        def heard() -> bool:
            send()  # on a busy machine the rain sensor may have become stale in between
            return "rain at night" in graph.heard["weather"] and bool(graph.heard["region"])

        graph.spin_until(heard)
    assert graph.heard["region"][0] == "boston-seaport"
    # the occupancy node understands the texts
    assert weather_from_text("rain at night") == "rain at night"
    assert region_from_text(graph.heard["region"][0]) == "boston-seaport"
    graph.spin_until(lambda: graph.statuses)
    status = graph.statuses[-1]
    values = {pair.key: pair.value for pair in status.values}
    assert (status.name, status.hardware_id) == ("/can_context", "virtual 'node'")
    assert int(values["decoded"]) >= 5
    assert int(values["error_frames"]) >= 1 and int(values["wrong_length"]) >= 1
    # without frames rain and night become unknown, and the region is kept
    graph.spin_until(lambda: graph.heard["weather"][-1] == "unknown")
    assert graph.heard["region"][-1] == "boston-seaport"
    graph.spin_until(lambda: graph.statuses[-1].level == DiagnosticStatus.STALE)


def test_a_bus_that_is_not_there_is_an_error(start: Callable[..., CanGraph]) -> None:
    graph = start(channel="nowhere0")
    graph.listen()
    graph.spin_until(lambda: graph.statuses and graph.statuses[-1].level == DiagnosticStatus.ERROR)
    assert "socketcan 'nowhere0' cannot be read" in graph.statuses[-1].message
    # nothing is known, which is said again and again
    graph.spin_until(lambda: len(graph.heard["weather"]) >= 3)
    assert set(graph.heard["weather"] + graph.heard["region"]) == {"unknown"}


def test_a_log_is_played(
    start: Callable[..., CanGraph], drive: list[CanFrame], tmp_path: Path
) -> None:
    path = tmp_path / "drive.asc"
    with can.Logger(str(path)) as logger:
        for frame in drive[:5]:
            message = message_of(frame)
            message.timestamp = frame.stamp_ns / 1e9
            logger(message)
    graph = start(log_file=str(path))
    graph.listen()
    graph.spin_until(lambda: "boston-seaport" in graph.heard["region"])
    graph.spin_until(lambda: graph.statuses and "has ended" in graph.statuses[-1].message)


def test_frames_come_from_a_topic(start: Callable[..., CanGraph], drive: list[CanFrame]) -> None:
    frames = pytest.importorskip("can_msgs.msg", reason="can_msgs is not installed")
    graph = start()
    graph.listen()
    publisher = graph.listener.create_publisher(frames.Frame, "/can_context/input/frames", 10)

    def send() -> bool:
        for frame in drive[:5]:
            message = frames.Frame(
                id=frame.can_id, is_extended=frame.is_extended, dlc=len(frame.data)
            )
            message.data[: len(frame.data)] = list(frame.data)
            publisher.publish(message)
        return graph.heard["weather"][-1:] == ["clear"]

    graph.spin_until(send)


def test_without_can_msgs_the_topic_is_refused(start: Callable[..., CanGraph]) -> None:
    try:
        import can_msgs.msg  # noqa: F401
    except ModuleNotFoundError:
        with pytest.raises(ParameterError, match=r"apt install ros-\$ROS_DISTRO-can-msgs"):
            start()
    else:
        pytest.skip("can_msgs is installed")


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"rules_file": ""}, "copy config/can_context.yaml"),
        ({"rules_file": "/nowhere.yaml"}, "/nowhere.yaml cannot be read"),
        ({"channel": "can0", "log_file": "a.asc"}, "exclude one another"),
        ({"channel": "can0", "interface": "sockettin"}, "no interface 'sockettin'"),
        ({"log_file": "/gone.asc"}, "/gone.asc does not exist"),
        ({"publish_period_s": 0.0}, "publish_period_s"),
        ({"chanel": "can0"}, "parameter 'chanel' does not exist"),
    ],
)
def test_wrong_parameters_are_refused(
    parameters: dict[str, object], reason: str, start: Callable[..., CanGraph]
) -> None:
    with pytest.raises(ParameterError) as raised:
        start(**parameters)
    assert reason in str(raised.value)


def counts(**numbers: int) -> dict[str, int]:
    return dict.fromkeys(OUTCOMES, 0) | numbers


def test_health_tells_silence_from_a_wrong_dbc_file() -> None:
    health = CanHealth()

    def judge(now_s: float, problem: str = "", unknown: str = "", **numbers: int):
        return health.judge(counts(**numbers), problem, "can0", unknown, now_s)

    assert judge(0.0)[0] == DiagnosticStatus.OK
    assert judge(4.0) == (DiagnosticStatus.STALE, "no frame from can0 for 4 s")
    level, text = judge(5.0, unknown_id=9)
    assert level == DiagnosticStatus.WARN and "check the DBC file" in text
    level, text = judge(6.0, unknown_id=9, decoded=1, wrong_length=2)
    assert (level, text) == (DiagnosticStatus.WARN, "frames that cannot be used: 2 wrong_length")
    assert judge(7.0, decoded=2, wrong_length=2) == (DiagnosticStatus.OK, "decoding")
    assert judge(8.0, "can0 is down", decoded=2)[0] == DiagnosticStatus.ERROR
    # known at 8 s; a start, or a short gap, is no warning
    text = "rain is unknown without A.b"
    assert judge(10.0, unknown=text, decoded=3)[0] == DiagnosticStatus.OK
    assert judge(12.0, unknown=text, decoded=4) == (DiagnosticStatus.WARN, text)
