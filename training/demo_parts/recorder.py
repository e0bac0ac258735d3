"""Records what a ROS 2 node publishes into a bag: ``python -m training.demo_parts.recorder OUT``. A
process of its own.

Its log tells how far it is: ``READY`` once node and inputs are connected, ``ANSWER n`` at each
occupancy message.
"""

from __future__ import annotations

import importlib
import signal
import time
from pathlib import Path
from typing import Any

import tyro

from occ_perception_ros.bags.writer import BagWriter, qos_profile

DISCOVERY_S = 0.5


def record(
    out: tyro.conf.Positional[Path],
    node: str = "/occupancy_node",
    inputs: tuple[str, ...] = ("/lidar_top",),
) -> None:
    """Records every topic under the node's name, /diagnostics and /odom until SIGINT or SIGTERM.

    Args:
        out: the new bag.
        node: the full name of the node.
        inputs: topics that somebody must subscribe to before READY is told.
    """
    import rclpy
    from rclpy.executors import ExternalShutdownException
    from rclpy.signals import SignalHandlerOptions

    stopped = False

    def stop(number: int, frame: object) -> None:
        nonlocal stopped
        stopped = True

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    try:
        with BagWriter(out) as writer:
            recorder = Recorder(rclpy.create_node("demo_recorder"), writer, node)
            ready = False
            next_look = 0.0
            while not stopped:
                rclpy.spin_once(recorder.node, timeout_sec=0.1)
                if time.monotonic() >= next_look:
                    recorder.discover()
                    next_look = time.monotonic() + DISCOVERY_S
                    if not ready and recorder.connected(inputs):
                        ready = True
                        print("READY", flush=True)
    except ExternalShutdownException:
        pass
    finally:
        rclpy.try_shutdown()


class Recorder:
    """Subscriptions, raw, to everything that ``wanted`` and their way into the bag."""

    def __init__(self, node: Any, writer: BagWriter, recorded_node: str) -> None:
        self.node = node
        self._writer = writer
        self._prefix = f"{recorded_node}/"
        self._answers_topic = f"{recorded_node}/output/occupancy_points"
        self._subscriptions: dict[str, Any] = {}

    def wanted(self, topic: str) -> bool:
        return topic.startswith(self._prefix) or topic in ("/diagnostics", "/odom")

    def discover(self) -> None:
        """Subscribes to wanted topics that have a publisher, with that publisher's quality of
        service.
        """
        from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

        for topic, types in self.node.get_topic_names_and_types():
            publishers = self.node.get_publishers_info_by_topic(topic)
            if topic in self._subscriptions or not self.wanted(topic) or not publishers:
                continue
            reliable = all(
                p.qos_profile.reliability is not ReliabilityPolicy.BEST_EFFORT for p in publishers
            )
            latched = all(
                p.qos_profile.durability is DurabilityPolicy.TRANSIENT_LOCAL for p in publishers
            )
            qos = QoSProfile(
                depth=100,
                reliability=ReliabilityPolicy.RELIABLE
                if reliable
                else ReliabilityPolicy.BEST_EFFORT,
                durability=DurabilityPolicy.TRANSIENT_LOCAL
                if latched
                else DurabilityPolicy.VOLATILE,
            )
            package, _, name = types[0].split("/")
            message_class = getattr(importlib.import_module(f"{package}.msg"), name)
            self._writer.add_topic(topic, types[0], qos_profile(100, latched=latched))

            def store(data: bytes, topic: str = topic) -> None:
                self._store(topic, data)

            self._subscriptions[topic] = self.node.create_subscription(
                message_class, topic, store, qos, raw=True
            )

    def connected(self, inputs: tuple[str, ...]) -> bool:
        """Whether the node's answers are listened to, and the node listens to its inputs."""
        return self._answers_topic in self._subscriptions and all(
            self.node.count_subscribers(topic) for topic in inputs
        )

    def _store(self, topic: str, data: bytes) -> None:
        self._writer.write_raw(topic, bytes(data), time.time_ns())
        if topic == self._answers_topic:
            print(f"ANSWER {self._writer.counts[topic]}", flush=True)


if __name__ == "__main__":
    tyro.cli(record)
