"""Publishers for the topics of a bag."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Collection, Iterator
from functools import partial
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from rosbags.interfaces import Qos, QosDurability, QosHistory, QosReliability

from occ_perception_ros.bags.reader import BagMessage, BagReader, BagTopic

LATCHED_AHEAD_NS = 1_000_000_000
"""Latched messages of the bag's first second are published before it starts, so that no subscriber
misses them."""
ACKNOWLEDGE_S = 2.0
"""How long to wait for subscribers to acknowledge the last messages."""


class PlayError(RuntimeError):
    """The bag cannot be played; the text gives the reason."""


class Player:
    """Publishers for the topics of a bag.

    Args:
        node: an ``rclpy.node.Node``.
        bag: an open bag.
        topics: topics to play; empty: all.

    Raises:
        PlayError: a topic is not in the bag, or no topic can be played.
    """

    def __init__(self, node: Any, bag: BagReader, topics: Collection[str]) -> None:
        if not bag.is_ros2:
            raise PlayError(f"{bag.path} is a ROS 1 bag; convert it with rosbags-convert")
        available = bag.topics
        if unknown := sorted(set(topics) - available.keys()):
            raise PlayError(
                f"{', '.join(unknown)} not in the bag, which has {', '.join(sorted(available))}"
            )
        self.bag = bag
        self.skipped: dict[str, str] = {}
        """Message types that are not installed, by topic."""
        self._publishers: dict[str, Any] = {}
        for name, topic in available.items():
            if topics and name not in topics:
                continue
            kind = message_class(topic.message_type)
            if kind is None:
                self.skipped[name] = topic.message_type
            else:
                self._publishers[name] = node.create_publisher(kind, name, recorded_qos(topic))
        if not self._publishers:
            missing = ", ".join(sorted(set(self.skipped.values()))) or "no topics"
            raise PlayError(f"no topic of {bag.path} can be played ({missing} not installed)")
        latched = {name for name in self._publishers if available[name].latched}
        self._ahead: dict[str, BagMessage] = {}
        for message in bag.messages(latched):
            if message.stamp_ns > bag.start_ns + LATCHED_AHEAD_NS:
                break
            self._ahead.setdefault(message.topic, message)

    def publish(self, message: BagMessage) -> None:
        """Publishes one message."""
        self._publishers[message.topic].publish(message.data)

    def publish_latched(self) -> None:
        """Publishes the first message of each latched topic, before its time."""
        for message in self._ahead.values():
            self.publish(message)

    def actions(self, skip_latched: bool) -> Iterator[tuple[int, Callable[[], None]]]:
        """Bag times, and actions that publish the messages.

        Args:
            skip_latched: leave out the messages of ``publish_latched``.
        """
        skipped = set(self._ahead) if skip_latched else set()
        for message in self.bag.messages(self._publishers):
            if message.topic in skipped:
                skipped.remove(message.topic)
                continue
            yield message.stamp_ns, partial(self.publish, message)

    def subscribers(self, topic: str) -> int:
        """Number of connected subscribers.

        Raises:
            PlayError: the topic is not played.
        """
        if topic not in self._publishers:
            raise PlayError(
                f"{topic} is not played, so it cannot get a subscriber; the topics are "
                f"{', '.join(sorted(self._publishers))}"
            )
        return int(self._publishers[topic].get_subscription_count())

    def wait_for_acknowledgements(self) -> None:
        """Waits until reliable subscribers have received the last messages."""
        from rclpy.duration import Duration

        deadline_s = time.monotonic() + ACKNOWLEDGE_S
        for publisher in self._publishers.values():
            publisher.wait_for_all_acked(Duration(seconds=max(deadline_s - time.monotonic(), 0.0)))


def message_class(message_type: str) -> Any:
    """The class of a type such as ``std_msgs/msg/String``; None if it is not installed.

    The name comes from the bag, and importing a package runs its code: only packages that have
    messages, which are ROS's, are imported.
    """
    package, _, name = message_type.replace("/msg/", "/").partition("/")
    if not (package.isidentifier() and name.isidentifier()):
        return None
    spec = PathFinder.find_spec(package)
    folders = spec.submodule_search_locations if spec is not None else None
    if not any(Path(folder, "msg", "__init__.py").is_file() for folder in folders or ()):
        return None
    try:
        return getattr(importlib.import_module(f"{package}.msg"), name, None)
    except ImportError:
        return None


def recorded_qos(topic: BagTopic) -> Any:
    """The topic's recorded quality of service as an ``rclpy.qos.QoSProfile``."""
    from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

    if not topic.qos:
        latched = topic.name.endswith("tf_static")  # not stated, but useless otherwise
        return QoSProfile(
            depth=10,
            durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
        )
    recorded: Qos = topic.qos[0]
    reliability = {
        QosReliability.RELIABLE: ReliabilityPolicy.RELIABLE,
        QosReliability.BEST_EFFORT: ReliabilityPolicy.BEST_EFFORT,
    }
    return QoSProfile(
        history=HistoryPolicy.KEEP_ALL
        if recorded.history is QosHistory.KEEP_ALL
        else HistoryPolicy.KEEP_LAST,
        depth=max(recorded.depth, 1),
        reliability=reliability.get(recorded.reliability, ReliabilityPolicy.RELIABLE),
        durability=DurabilityPolicy.TRANSIENT_LOCAL
        if recorded.durability is QosDurability.TRANSIENT_LOCAL
        else DurabilityPolicy.VOLATILE,
    )
