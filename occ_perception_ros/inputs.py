"""The node's subscriptions. Their callbacks only store messages; decoding is left to the worker.

An executor takes one message of each topic in turn. After a stall, when every queue is full, the
topics with the higher rates would lag behind the LiDAR: a sweep would be judged before its images
and its pose were taken, although they had arrived. So before a sweep is handed on, everything that
has arrived on the other topics is taken.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from nav_msgs.msg import Odometry
from rclpy.exceptions import ParameterException
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSPolicyKind, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from std_msgs.msg import String

from occ_perception_ros.diagnostics import Health
from occ_perception_ros.filters import FrameCollector, Subscriber
from occ_perception_ros.frame_parts import FrameParts
from occ_perception_ros.input_table import input_table
from occ_perception_ros.messages import check_header, stamp_ns
from occ_perception_ros.node_config import NodeConfig
from occ_perception_ros.parameters import ParameterError

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks

_ARRIVALS_KEPT = 300
_OVERRIDES = (
    QoSPolicyKind.HISTORY,
    QoSPolicyKind.DEPTH,
    QoSPolicyKind.RELIABILITY,
    QoSPolicyKind.DURABILITY,
)
"""Policies that can be set by ``qos_overrides.<topic>.subscription.<policy>``."""
_LARGE = (Image, PointCloud2)
"""Types that rclpy reads while it takes a message: damaged ones are lost without a word. Others are
taken as bytes, so that damage is noticed; here another copy would cost a third more time."""
IMAGE_QUEUE, SWEEP_QUEUE, POSE_QUEUE = 64, 200, 1000
"""Messages that are kept through a stall: about five seconds of each."""


class Inputs:
    """Subscribes to cameras, LiDAR, motion and context, and feeds the collector.

    Args:
        node: the node that subscribes.
        config: the node's parameters.
        collector: receives the messages.
        health: receives the arrival of each sensor's messages.
        warn: called with a short key, which is the same for the same problem, and the full text.

    Raises:
        ParameterError: /tf is needed, but tf2_msgs is not installed.
    """

    def __init__(
        self,
        node: Node,
        config: NodeConfig,
        collector: FrameCollector,
        health: Health,
        warn: Callable[[str, str], None],
    ) -> None:
        self._node = node
        self._collector = collector
        self._health = health
        self._warn = warn
        self._arrivals_s: OrderedDict[int, float] = OrderedDict()
        self._silent_ticks = 0
        self._anchor = config.anchor
        self._others: list[Any] = []
        """All subscriptions but that of the anchor."""
        self._subscribe(config)

    def arrival_s(self, sweep_ns: int, default_s: float) -> float:
        """Monotonic time at which the sweep of that stamp arrived, if it is still remembered."""
        return self._arrivals_s.get(sweep_ns, default_s)

    def count_silent_tick(self) -> int:
        """Number of timer ticks since the last message, this one included.

        Ticks, not seconds: a process that got no processor time still has messages in its queues.
        """
        self._silent_ticks += 1
        return self._silent_ticks

    def _subscribe(self, config: NodeConfig) -> None:
        reliability = (
            ReliabilityPolicy.RELIABLE
            if config.input_qos == "reliable"
            else ReliabilityPolicy.BEST_EFFORT
        )

        def queue(depth: int) -> QoSProfile:
            return QoSProfile(depth=depth, reliability=reliability)

        def topic_of(name: str) -> str:
            return self._node.resolve_topic_name(f"~/input/{name}")

        compressed = config.compressed_by_camera()
        for each in input_table(self._collector.assembler, config.pose_source, topic_of):
            name, add = each.name, each.add
            match each.kind:
                case "image":
                    kind = CompressedImage if compressed[each.camera] else Image
                    self._add_input(kind, name, queue(IMAGE_QUEUE), add, each.camera)
                case "camera_info":
                    self._add_input(CameraInfo, name, queue(5), add)
                case "points":
                    self._add_input(PointCloud2, name, queue(SWEEP_QUEUE), add, "points")
                case "context":
                    self._add_lasting(String, f"~/input/{name}", 1, add)
                case "odometry":
                    self._add_input(Odometry, name, queue(POSE_QUEUE), add, "odometry")
                case "static_tf":
                    self._add_lasting(_tf_message(), name, 100, add)
                case "moving_tf":
                    self._add_input(_tf_message(), name, QoSProfile(depth=POSE_QUEUE), add)

    def _add_lasting(
        self, kind: Any, topic: str, depth: int, add: Callable[[Any], list[FrameParts]]
    ) -> None:
        """Two subscriptions: the first hears every publisher, the second also what a latched one
        published before the node's start, for which DDS demands a latched subscription. To store a
        message twice does no harm.
        """
        any_publisher = QoSProfile(depth=depth, reliability=ReliabilityPolicy.BEST_EFFORT)
        source = Subscriber(self._node, kind, topic, qos_profile=any_publisher, raw=True)
        self._connect(source, topic, self._reading(kind, topic, add))

        def set_latched(message: Any) -> None:
            # Not fed to the collector, for which it would be a second message.
            self._collector.signal(add(message))

        latched = self._node.create_subscription(
            kind,
            topic,
            set_latched,
            QoSProfile(depth=depth, durability=DurabilityPolicy.TRANSIENT_LOCAL),
            # A publisher that does not fit is heard by the first subscription.
            event_callbacks=SubscriptionEventCallbacks(incompatible_qos=lambda event: None),
        )
        self._others.append(latched)

    def _add_input(
        self,
        kind: Any,
        name: str,
        qos: QoSProfile,
        add: Callable[[Any], list[FrameParts]],
        sensor: str | None = None,
    ) -> None:
        """Connects ``~/input/<name>``, or the topic of that absolute name, to ``add``.

        Args:
            kind: type of the messages.
            name: name of the input.
            qos: quality of service, which parameters may change.
            add: stores a message and returns the frames that it completes.
            sensor: name of the input's status in the diagnostics; None: it has none of its own.

        Raises:
            ParameterError: the quality of service is overridden by an impossible value.
        """
        private = name if name.startswith("/") else f"~/input/{name}"
        topic = self._node.resolve_topic_name(private)

        def on_incompatible(event: Any) -> None:
            text = (
                f"a publisher of '{topic}' does not offer {_policies(qos)} quality of service; "
                "its messages are not received"
            )
            self._health.set_problem(sensor or name, text)
            self._warn(f"qos {topic}", text)

        def on_lost(event: Any) -> None:
            if sensor is not None:
                self._health.lost(sensor, event.total_count_change, time.monotonic())

        def store(message: Any) -> list[FrameParts]:
            self._silent_ticks = 0
            if sensor == self._anchor:
                self._take_waiting()
            if sensor is not None:
                self._note_arrival(sensor, message.header)
            else:
                self._health.set_problem(name, "")  # a compatible publisher has appeared
            return add(message)

        events = SubscriptionEventCallbacks(incompatible_qos=on_incompatible, message_lost=on_lost)
        try:
            source = Subscriber(
                self._node,
                kind,
                private,
                qos_profile=qos,
                event_callbacks=events,
                qos_overriding_options=QoSOverridingOptions(_OVERRIDES),
                raw=kind not in _LARGE,
            )
        except (RuntimeError, ParameterException) as error:
            raise ParameterError(f"qos_overrides of '{topic}': {error}") from error
        take = store if kind in _LARGE else self._reading(kind, sensor or name, store)
        self._connect(source, sensor, take)

    def _reading(
        self, kind: Any, name: str, add: Callable[[Any], list[FrameParts]]
    ) -> Callable[[bytes], list[FrameParts]]:
        """What takes the bytes of a message and hands the message to ``add``."""

        def read(data: bytes) -> list[FrameParts]:
            try:
                message = deserialize_message(data, kind)
            except Exception as error:  # rclpy's own class is not public
                text = f"a message of input '{name}' is no {kind.__name__}: {error}"
                self._health.set_problem(name, text)
                raise ValueError(text) from error
            self._health.set_problem(name, "")
            return add(message)

        return read

    def _connect(
        self, source: Any, sensor: str | None, add: Callable[[Any], list[FrameParts]]
    ) -> None:
        self._collector.connect(source, add)
        if sensor != self._anchor:
            self._others.append(source.sub)

    def _take_waiting(self) -> None:
        """Takes what has arrived on the other topics, and passes it to their callbacks."""
        for subscription in self._others:
            for _ in range(subscription.qos_profile.depth):
                with subscription.handle:
                    taken = subscription.handle.take_message(
                        subscription.msg_type, subscription.raw
                    )
                if taken is None:
                    break
                subscription.callback(taken[0])

    def _note_arrival(self, sensor: str, header: Any) -> None:
        now_s, stamp = time.monotonic(), stamp_ns(header)
        self._health.received(sensor, stamp, now_s, self._node.get_clock().now().nanoseconds)
        try:
            check_header(sensor, header)
        except ValueError as error:
            self._health.set_problem(sensor, str(error))
        if sensor == self._anchor:
            self._arrivals_s[stamp] = now_s
            while len(self._arrivals_s) > _ARRIVALS_KEPT:
                self._arrivals_s.popitem(last=False)


def _tf_message() -> Any:
    """The type of transforms.

    Raises:
        ParameterError: it is not installed.
    """
    try:
        from tf2_msgs.msg import TFMessage
    except ImportError as error:
        raise ParameterError(
            "tf2_msgs is not installed, so /tf and /tf_static cannot be received; either set "
            "calibration_file (nuscenes_to_bag writes calibration.yaml into the bag's folder) "
            "and pose_source:=odometry, or install ros-<distro>-tf2-msgs"
        ) from error
    return TFMessage


def refuse_unknown_overrides(node: Node) -> None:
    """Refuses parameters ``qos_overrides.*`` that have had no effect.

    Raises:
        ParameterError: there are some; the text names them.
    """
    unknown = [
        name
        for name in node._parameter_overrides
        if name.startswith("qos_overrides.") and not node.has_parameter(name)
    ]
    if unknown:
        policies = ", ".join(kind.name.lower() for kind in _OVERRIDES)
        raise ParameterError(
            f"{', '.join(unknown)} would have no effect; expected qos_overrides.<full name of an "
            f"input's topic>.subscription.<one of {policies}>"
        )


def _policies(qos: QoSProfile) -> str:
    return f"{qos.reliability.name.lower()}, {qos.durability.name.lower()}"
