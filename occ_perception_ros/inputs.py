"""The node's subscriptions. Their callbacks only store messages; decoding is left to the worker."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any

from nav_msgs.msg import Odometry
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from std_msgs.msg import String

from occ_perception_ros.diagnostics import Health
from occ_perception_ros.filters import FrameCollector, Subscriber
from occ_perception_ros.frame_parts import FrameParts
from occ_perception_ros.messages import stamp_ns
from occ_perception_ros.parameters import NodeConfig, ParameterError

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks

_ARRIVALS_KEPT = 100


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
        # A set takes one image of each camera, but a lost sweep or pose changes the result.
        short_queue = QoSProfile(depth=5, reliability=reliability)
        long_queue = QoSProfile(depth=200, reliability=reliability)
        # Latched, so that a value published before the node's start is received.
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        image_type = CompressedImage if config.compressed_images else Image
        add = self._collector.assembler
        for camera in config.cameras:
            add_image = partial(add.add_image, camera)
            self._add_input(image_type, f"{camera}/image", short_queue, add_image, camera)
            add_info = partial(add.add_camera_info, camera)
            self._add_input(CameraInfo, f"{camera}/camera_info", short_queue, add_info)
        self._add_input(PointCloud2, "points", long_queue, add.add_points, "points")
        for name in ("weather", "region"):
            self._add_input(String, name, latched, partial(add.add_context, name))
        if config.pose_source == "odometry":
            self._add_input(Odometry, "odometry", long_queue, add.add_odometry)
        if config.pose_source == "tf" or not config.calibration_file:
            self._subscribe_to_transforms(moving=config.pose_source == "tf")

    def _add_input(
        self,
        kind: Any,
        name: str,
        qos: QoSProfile,
        add: Callable[[Any], list[FrameParts]],
        sensor: str | None = None,
    ) -> None:
        """Connects ``~/input/<name>`` to ``add``; ``sensor`` is its name in the diagnostics."""
        topic = self._node.resolve_topic_name(f"~/input/{name}")

        def on_incompatible(event: Any) -> None:
            text = (
                f"a publisher of '{topic}' does not offer {_policies(qos)} quality of service; "
                "its messages are not received"
            )
            if sensor is not None:
                self._health.set_problem(sensor, text)
            self._warn(f"qos {topic}", text)

        def store(message: Any) -> list[FrameParts]:
            self._silent_ticks = 0
            if sensor is not None:
                self._note_arrival(sensor, stamp_ns(message.header))
            return add(message)

        events = SubscriptionEventCallbacks(incompatible_qos=on_incompatible)
        source = Subscriber(
            self._node, kind, f"~/input/{name}", qos_profile=qos, event_callbacks=events
        )
        self._collector.connect(source, store)

    def _note_arrival(self, sensor: str, stamp: int) -> None:
        now_s = time.monotonic()
        self._health.received(sensor, stamp, now_s)
        if sensor == "points":
            self._arrivals_s[stamp] = now_s
            while len(self._arrivals_s) > _ARRIVALS_KEPT:
                self._arrivals_s.popitem(last=False)

    def _subscribe_to_transforms(self, moving: bool) -> None:
        try:
            from tf2_msgs.msg import TFMessage
        except ImportError as error:
            raise ParameterError(
                "tf2_msgs is not installed, so /tf and /tf_static cannot be received; either set "
                "calibration_file (nuscenes_to_bag writes calibration.yaml into the bag's folder) "
                "and pose_source:=odometry, or install ros-<distro>-tf2-msgs"
            ) from error
        add = self._collector.assembler.add_transforms
        latched = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        source = Subscriber(self._node, TFMessage, "/tf_static", qos_profile=latched)
        self._collector.connect(source, partial(add, static=True))
        if moving:
            source = Subscriber(self._node, TFMessage, "/tf", qos_profile=QoSProfile(depth=200))
            self._collector.connect(source, partial(add, static=False))


def _policies(qos: QoSProfile) -> str:
    return f"{qos.reliability.name.lower()}, {qos.durability.name.lower()}"
