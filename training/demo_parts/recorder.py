"""Records the output of a ROS 2 node: ``python -m training.demo_parts.recorder OUT``.

Its log shows the progress: ``READY`` once the node and its inputs are connected, ``ANSWER n`` at
each occupancy message.
"""

from __future__ import annotations

import importlib
import signal
import time
from pathlib import Path
from typing import Any

import tyro

from occ_perception_ros.bags.writer import BagWriter, qos_profile

ANSWERS_TOPIC = "output/occupancy_points"
ODOMETRY_TOPIC = "/odom"
LEFT_OUT = ("output/voxels", "output/obstacle_points")
"""Outputs that the demo does not read. The node builds each only if someone listens, and the free
space in the voxels takes as long as a tenth of the model.
"""
DISCOVERY_S = 0.5
"""Interval between two searches for new topics."""
QUEUE_DEPTH = 100


def record(
    out: tyro.conf.Positional[Path],
    node: str = "/occupancy_node",
    inputs: tuple[str, ...] = ("/lidar_top",),
) -> None:
    """Records what the demo reads until SIGINT or SIGTERM: every topic under the node's name but
    ``LEFT_OUT``, /diagnostics and /odom.

    Args:
        out: the new bag.
        node: full name of the node.
        inputs: topics that need a subscriber before READY is printed.
    """
    import rclpy
    from rclpy.executors import ExternalShutdownException
    from rclpy.signals import SignalHandlerOptions

    is_stopped = False

    def stop(number: int, frame: object) -> None:
        nonlocal is_stopped
        is_stopped = True

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    try:
        with BagWriter(out) as writer:
            recorder = Recorder(rclpy.create_node("demo_recorder"), writer, node)
            is_ready = False
            next_search_s = 0.0
            while not is_stopped:
                rclpy.spin_once(recorder.node, timeout_sec=0.1)
                if time.monotonic() >= next_search_s:
                    recorder.discover()
                    next_search_s = time.monotonic() + DISCOVERY_S
                    if not is_ready and recorder.is_connected(inputs):
                        is_ready = True
                        print("READY", flush=True)
    except ExternalShutdownException:
        pass
    finally:
        rclpy.try_shutdown()


class Recorder:
    """Subscribes to the topics of a node and writes their messages, still serialised, to a bag.

    Args:
        node: the recorder's own rclpy node.
        writer: the open bag.
        recorded_node: full name of the recorded node.
    """

    def __init__(self, node: Any, writer: BagWriter, recorded_node: str) -> None:
        self.node = node
        self._writer = writer
        self._prefix = f"{recorded_node}/"
        self._answers_topic = f"{recorded_node}/{ANSWERS_TOPIC}"
        self._subscriptions: dict[str, Any] = {}

    def discover(self) -> None:
        """Subscribes to the new topics that have a publisher, with its quality of service."""
        for topic, types in self.node.get_topic_names_and_types():
            if topic in self._subscriptions or not self._is_recorded(topic):
                continue
            if publishers := self.node.get_publishers_info_by_topic(topic):
                self._subscribe(topic, types[0], publishers)

    def is_connected(self, inputs: tuple[str, ...]) -> bool:
        """Whether the answers are recorded and all ``inputs`` have a subscriber."""
        return self._answers_topic in self._subscriptions and all(
            self.node.count_subscribers(topic) for topic in inputs
        )

    def _is_recorded(self, topic: str) -> bool:
        if topic.removeprefix(self._prefix) in LEFT_OUT:
            return False
        return topic.startswith(self._prefix) or topic in ("/diagnostics", ODOMETRY_TOPIC)

    def _subscribe(self, topic: str, message_type: str, publishers: list[Any]) -> None:
        from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

        qos_profiles = [publisher.qos_profile for publisher in publishers]
        reliable = all(qos.reliability is not ReliabilityPolicy.BEST_EFFORT for qos in qos_profiles)
        latched = all(qos.durability is DurabilityPolicy.TRANSIENT_LOCAL for qos in qos_profiles)
        qos = QoSProfile(
            depth=QUEUE_DEPTH,
            reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
            durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
        )
        self._writer.add_topic(topic, message_type, qos_profile(QUEUE_DEPTH, latched=latched))
        package, _, name = message_type.split("/")
        message_class = getattr(importlib.import_module(f"{package}.msg"), name)

        def store(data: bytes) -> None:
            self._store(topic, data)

        self._subscriptions[topic] = self.node.create_subscription(
            message_class, topic, store, qos, raw=True
        )

    def _store(self, topic: str, data: bytes) -> None:
        self._writer.write_raw(topic, bytes(data), time.time_ns())
        if topic == self._answers_topic:
            print(f"ANSWER {self._writer.counts[topic]}", flush=True)


if __name__ == "__main__":
    tyro.cli(record)
