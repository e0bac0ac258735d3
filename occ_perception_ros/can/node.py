"""The node that publishes weather and region from a CAN bus."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import String

from occ_perception_ros.can.context_decoder import CanContext
from occ_perception_ros.can.frame import CanFrame, frame_from_ros_message
from occ_perception_ros.can.health import CanHealth, diagnostics
from occ_perception_ros.can.sources import CanBus, LogPlayer
from occ_perception_ros.parameters import ParameterError, declare
from occ_perception_ros.ranges import range_problems, refuse

_TICK_S = 0.1
_DIAGNOSTICS_PERIOD_S = 1.0


@dataclass(frozen=True, kw_only=True)
class CanNodeConfig:
    """All parameters of the node."""

    rules_file: str = ""
    """YAML file of the rules, see config/can_context.yaml; it names the DBC file."""
    channel: str = ""
    """Channel of the CAN interface, such as can0; empty: frames come from ~/input/frames."""
    interface: str = "socketcan"
    """Name of the CAN interface in python-can."""
    log_file: str = ""
    """CAN log (.asc, .blf and others) that is played once, instead of a channel or topic."""
    publish_period_s: float = field(default=1.0, metadata={"range": (0.1, 60.0)})
    """Weather and region are published on a change, and after this time again."""

    def __post_init__(self) -> None:
        refuse(self.problems())

    def problems(self) -> list[str]:
        """What is wrong with the values, one text each."""
        problems = range_problems(self)
        if not self.rules_file:
            problems.append(
                "rules_file is empty; copy config/can_context.yaml and fit it to the vehicle"
            )
        if self.channel and self.log_file:
            problems.append("channel and log_file exclude one another")
        return problems


class CanContextNode(Node):
    """Publishes ``can/weather`` and ``can/region``, latched, and diagnostics.

    Frames count from their arrival on the node's clock, so that a bag's rate is followed and stamps
    of another clock do no harm.

    Args:
        options: keyword arguments of ``rclpy.node.Node``.

    Raises:
        ParameterError: a parameter is wrong, the rules or the DBC file are, or a package is
            missing; the text says what to do.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("can_context", **options)
        self._source: CanBus | LogPlayer | None = None
        try:
            self.config = declare(self, CanNodeConfig)
            self._can = CanContext.from_file(Path(self.config.rules_file))
            latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
            self._outputs = {
                name: self.create_publisher(String, f"can/{name}", latched)
                for name in ("weather", "region")
            }
            self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
            self._lock = threading.Lock()
            self._problem = ""
            self._published: tuple[str, str] | None = None
            self._published_s = self._diagnosed_s = -float("inf")
            self._health = CanHealth()
            self._source = self._open()
        except (ValueError, ModuleNotFoundError) as error:
            self.destroy_node()
            raise ParameterError(str(error)) from error
        self.create_timer(_TICK_S, self._tick)

    @property
    def source(self) -> str:
        """Where frames come from, in words."""
        if self.config.log_file:
            return self.config.log_file
        if self.config.channel:
            return f"{self.config.interface} '{self.config.channel}'"
        return self.resolve_topic_name("~/input/frames")

    def stop(self) -> None:
        """Ends the thread that reads frames."""
        if self._source is not None:
            self._source.stop()

    def _open(self) -> CanBus | LogPlayer | None:
        config = self.config
        if config.log_file:
            return LogPlayer(Path(config.log_file), self._take, self._report)
        if config.channel:
            return CanBus(config.interface, config.channel, self._take, self._report)
        try:
            from can_msgs.msg import Frame
        except ModuleNotFoundError as error:
            raise ParameterError(
                "can_msgs is not installed, so frames cannot come from a topic; "
                "`apt install ros-$ROS_DISTRO-can-msgs`, or set channel (can0) or log_file"
            ) from error
        # Best effort is compatible with every publisher.
        qos = QoSProfile(depth=1000, reliability=ReliabilityPolicy.BEST_EFFORT)
        self.create_subscription(
            Frame, "~/input/frames", lambda m: self._take(frame_from_ros_message(m, 0)), qos
        )
        return None

    def _take(self, frame: CanFrame) -> None:
        now_ns = self.get_clock().now().nanoseconds
        with self._lock:
            self._can.add(replace(frame, stamp_ns=now_ns))

    def _report(self, problem: str) -> None:
        with self._lock:
            new = problem != self._problem
            self._problem = problem
        if new and problem:
            self.get_logger().warning(problem)

    def _tick(self) -> None:
        now_s, now_ns = time.monotonic(), self.get_clock().now().nanoseconds
        with self._lock:
            self._can.advance(now_ns)
            labels = self._can.weather, self._can.region
            counts, values = self._can.counts, self._can.estimator.values()
            unknown = self._can.estimator.unknown()
            problem = self._problem
        if labels != self._published or now_s - self._published_s >= self.config.publish_period_s:
            self._publish(labels)
            self._published, self._published_s = labels, now_s
        if now_s - self._diagnosed_s >= _DIAGNOSTICS_PERIOD_S:
            self._diagnosed_s = now_s
            level, text = self._health.judge(counts, problem, self.source, unknown, now_s)
            facts = {"weather": labels[0], "region": labels[1], **values, **counts}
            name = self.get_fully_qualified_name()
            self._diagnostics.publish(diagnostics(name, self.source, level, text, facts, now_ns))

    def _publish(self, labels: tuple[str, str]) -> None:
        for name, label in zip(("weather", "region"), labels, strict=True):
            self._outputs[name].publish(String(data=label))
        if labels != self._published:
            self.get_logger().info(f"weather: {labels[0]}, region: {labels[1]}")
