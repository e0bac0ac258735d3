"""Replays a bag through rclpy, where there is no ``ros2 bag play``: the recorded bytes with the
recorded quality of service.
"""

from __future__ import annotations

import heapq
import importlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import tyro
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosReliability

from occ_perception_ros.bags.reader import BagError, BagMessage, BagReader, BagTopic

NS = 1_000_000_000
CLOCK = "/clock"
LATCHED_AHEAD_NS = NS
"""Latched messages of the bag's first second are published before it begins, so that nobody misses
them.
"""
ACKNOWLEDGE_S = 2.0
REMIND_S = 5.0


@dataclass(frozen=True, kw_only=True)
class PlayConfig:
    """How a bag is replayed."""

    bag: tyro.conf.Positional[Path]
    """A rosbag2 folder, an .mcap or a .db3 file."""
    rate: float = 1.0
    """Speed: 2 plays twice as fast as it was recorded."""
    loop: bool = False
    """Begin again at the end, until Ctrl-C."""
    clock: float = 0.0
    """Publish the bag's time on /clock so many times a second, for nodes with use_sim_time; 0: not
    at all.
    """
    topics: tuple[str, ...] = ()
    """Play these only."""
    wait_subscribers: tuple[str, ...] = ()
    """Begin when each of these topics has a subscriber."""
    delay_s: float = 1.0
    """Then wait so long, for subscribers that nobody named to be found."""

    def __post_init__(self) -> None:
        problems = []
        if self.rate <= 0:
            problems.append(f"rate must be positive, got {self.rate}")
        if self.clock < 0:
            problems.append(f"clock must be 0 or a number of Hz, got {self.clock}")
        if self.delay_s < 0:
            problems.append(f"delay_s must be 0 or more, got {self.delay_s}")
        if problems:
            raise ValueError("; ".join(problems))


class PlayError(RuntimeError):
    """The bag cannot be played here; the text says why."""


@dataclass
class Punctuality:
    """How late messages left."""

    messages: int = 0
    total_s: float = 0.0
    worst_s: float = 0.0

    def add(self, late_s: float) -> None:
        self.messages += 1
        self.total_s += late_s
        self.worst_s = max(self.worst_s, late_s)

    def __str__(self) -> str:
        if self.messages == 0:
            return "nothing was played"
        mean_ms, worst_ms = self.total_s / self.messages * 1e3, self.worst_s * 1e3
        return f"{self.messages} messages, {mean_ms:.2f} ms late on average, {worst_ms:.2f} ms at worst"


def paced(
    stamps: Iterator[tuple[int, Callable[[], None]]],
    start_ns: int,
    rate: float,
    stop: threading.Event,
    now_s: Callable[[], float] = time.monotonic,
) -> Punctuality:
    """Runs each action when its time has come: ``(stamp_ns - start_ns) / rate`` after the first
    call of ``now_s``.

    Ends early once ``stop`` is set.
    """
    punctuality = Punctuality()
    began_s = now_s()
    for stamp_ns, act in stamps:
        deadline_s = began_s + (stamp_ns - start_ns) / NS / rate
        while (left_s := deadline_s - now_s()) > 0:
            if stop.wait(left_s):
                return punctuality
        if stop.is_set():
            return punctuality
        punctuality.add(max(now_s() - deadline_s, 0.0))
        act()
    return punctuality


def clock_ticks(start_ns: int, end_ns: int, rate: float, frequency_hz: float) -> Iterator[int]:
    """Bag times of the ticks: ``frequency_hz`` a second of wall time, from the bag's start to its
    end.
    """
    count = 0
    while (stamp_ns := start_ns + round(count * rate / frequency_hz * NS)) <= end_ns:
        yield stamp_ns
        count += 1


def message_class(message_type: str) -> Any:
    """The class of ``package/msg/Name``, or None where the package, or the message in it, is not
    installed.
    """
    package, _, name = message_type.split("/")
    try:
        return getattr(importlib.import_module(f"{package}.msg"), name, None)
    except ImportError:
        return None


def qos_profile(topic: BagTopic) -> Any:
    """The recorded quality of service as ``rclpy.qos.QoSProfile``."""
    from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

    if not topic.qos:
        latched = topic.name.endswith("tf_static")  # the bag does not say, but only so it is of use
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


class Player:
    """Publishers for a bag's topics.

    Args:
        node: an ``rclpy.node.Node``.
        topics: play these only; empty: all.

    Raises:
        PlayError: a topic is not in the bag, or none can be played.
    """

    def __init__(self, node: Any, bag: BagReader, topics: Collection[str]) -> None:
        if not bag.is_ros2:
            raise PlayError(f"{bag.path} is a ROS 1 bag; convert it with rosbags-convert")
        available = bag.topics
        if unknown := sorted(set(topics) - available.keys()):
            raise PlayError(
                f"{', '.join(unknown)} not in the bag; it has {', '.join(sorted(available))}"
            )
        self.bag = bag
        self.skipped: dict[str, str] = {}
        """Topic -> the message type that is not installed."""
        self._publishers: dict[str, Any] = {}
        for name, topic in available.items():
            if topics and name not in topics:
                continue
            kind = message_class(topic.message_type)
            if kind is None:
                self.skipped[name] = topic.message_type
            else:
                self._publishers[name] = node.create_publisher(kind, name, qos_profile(topic))
        if not self._publishers:
            missing = ", ".join(sorted(set(self.skipped.values()))) or "no topics"
            raise PlayError(
                f"{bag.path}: none of its topics can be played ({missing} not installed)"
            )
        latched = {name for name in self._publishers if available[name].latched}
        self._ahead: dict[str, BagMessage] = {}
        for message in bag.messages(latched):
            if message.stamp_ns > bag.start_ns + LATCHED_AHEAD_NS:
                break
            self._ahead.setdefault(message.topic, message)

    def publish(self, message: BagMessage) -> None:
        self._publishers[message.topic].publish(message.data)

    def publish_latched(self) -> None:
        """The first message of each latched topic, ahead of its time."""
        for message in self._ahead.values():
            self.publish(message)

    def actions(self, latched_are_out: bool) -> Iterator[tuple[int, Callable[[], None]]]:
        """What to publish, at which bag time; ``latched_are_out``: less what ``publish_latched``
        has published.
        """
        out = set(self._ahead) if latched_are_out else set()
        for message in self.bag.messages(self._publishers):
            if message.topic in out:
                out.remove(message.topic)
                continue
            yield message.stamp_ns, lambda message=message: self.publish(message)  # type: ignore[misc]

    def subscribers(self, topic: str) -> int:
        """Subscribers that are connected.

        Raises:
            PlayError: the topic is not played.
        """
        if topic not in self._publishers:
            raise PlayError(
                f"{topic} is not played, so nobody can be waited for; it plays "
                f"{', '.join(sorted(self._publishers))}"
            )
        return int(self._publishers[topic].get_subscription_count())

    def wait_for_acknowledgements(self) -> None:
        """Lets reliable subscribers get the last messages before the publishers go."""
        from rclpy.duration import Duration

        deadline_s = time.monotonic() + ACKNOWLEDGE_S
        for publisher in self._publishers.values():
            publisher.wait_for_all_acked(Duration(seconds=max(deadline_s - time.monotonic(), 0.0)))


def play(config: PlayConfig, stop: threading.Event) -> Punctuality:
    """Plays until the bag ends (with ``loop``: never) or ``stop`` is set. Needs ``rclpy.init``.

    Raises:
        BagError, PlayError: the bag cannot be read or played.
    """
    rclpy = import_rclpy()
    node = rclpy.create_node("bag_play")
    try:
        with BagReader(config.bag) as bag:
            player = Player(node, bag, config.topics)
            for topic, message_type in player.skipped.items():
                _say(f"skipping {topic}: {message_type.split('/')[0]} is not installed")
            tick = _clock_publisher(node) if config.clock else None
            player.publish_latched()
            _await_subscribers(player, config.wait_subscribers, stop)
            if stop.wait(config.delay_s):
                return Punctuality()
            _say(
                f"playing {bag.path}: {(bag.end_ns - bag.start_ns) / NS:.1f} s at rate "
                f"{config.rate:g}"
            )
            passes = 0
            while True:
                actions = player.actions(latched_are_out=passes == 0)
                if tick is not None:
                    ticks = clock_ticks(bag.start_ns, bag.end_ns, config.rate, config.clock)
                    actions = heapq.merge(
                        _ticking(ticks, tick), actions, key=lambda action: action[0]
                    )
                punctuality = paced(actions, bag.start_ns, config.rate, stop)
                passes += 1
                _say(f"pass {passes}: {punctuality}" if config.loop else str(punctuality))
                if stop.is_set() or not config.loop:
                    break
            if not stop.is_set():
                player.wait_for_acknowledgements()
            return punctuality
    finally:
        node.destroy_node()


def import_rclpy() -> ModuleType:
    """rclpy, or a clear word on how to get it.

    Raises:
        PlayError: it is not installed.
    """
    try:
        return importlib.import_module("rclpy")
    except ImportError as error:
        raise PlayError(
            f"rclpy cannot be imported ({error}); source a ROS 2 installation, or run: pip install "
            "'occ_perception_ros[ros]'"
        ) from error


def _ticking(
    ticks: Iterator[int], tick: Callable[[int], None]
) -> Iterator[tuple[int, Callable[[], None]]]:
    for stamp_ns in ticks:
        yield stamp_ns, lambda stamp_ns=stamp_ns: tick(stamp_ns)  # type: ignore[misc]


def _clock_publisher(node: Any) -> Callable[[int], None]:
    kind = message_class("rosgraph_msgs/msg/Clock")
    if kind is None:
        raise PlayError(
            "--clock needs rosgraph_msgs, which is not installed; install it, or play without "
            "--clock"
        )
    publisher = node.create_publisher(kind, CLOCK, 10)

    def tick(stamp_ns: int) -> None:
        message = kind()
        message.clock.sec, message.clock.nanosec = divmod(stamp_ns, NS)
        publisher.publish(message)

    return tick


def _await_subscribers(player: Player, topics: Collection[str], stop: threading.Event) -> None:
    remind_s = time.monotonic() + REMIND_S
    while waiting := [topic for topic in topics if player.subscribers(topic) == 0]:
        if stop.wait(0.05):
            return
        if time.monotonic() > remind_s:
            remind_s += REMIND_S
            _say(f"waiting for subscribers of {', '.join(waiting)}")


def _say(text: str) -> None:
    print(f"bag_play: {text}", flush=True)


def main() -> None:
    """Console entry point ``bag_play``."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        config = tyro.cli(PlayConfig, prog="bag_play", description=__doc__)
        rclpy = import_rclpy()
        signals = importlib.import_module("rclpy.signals")
        rclpy.init(signal_handler_options=signals.SignalHandlerOptions.NO)
        try:
            play(config, stop)
        finally:
            rclpy.try_shutdown()
    except (BagError, PlayError, ValueError) as error:
        sys.exit(f"bag_play: {error}")


if __name__ == "__main__":
    main()
