"""Plays a bag through rclpy, where ``ros2 bag play`` is not installed.

It publishes the recorded bytes with the recorded quality of service.
"""

from __future__ import annotations

import heapq
import importlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any

import tyro

from occ_perception_ros.bags.pace import Punctuality, clock_ticks, paced
from occ_perception_ros.bags.player import Player, PlayError, message_class
from occ_perception_ros.bags.reader import BagError, BagReader
from occ_perception_ros.process import use_middleware_profile

NS = 1_000_000_000
CLOCK = "/clock"
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
CLOCK_WAIT_S = 0.5
"""Period of the clock before the start."""
REMIND_S = 5.0
"""Period of the messages while waiting for subscribers."""


@dataclass(frozen=True, kw_only=True)
class PlayConfig:
    """Options of ``bag_play``."""

    bag: tyro.conf.Positional[Path]
    """A rosbag2 folder, an .mcap or a .db3 file."""
    rate: float = 1.0
    """Speed relative to the recording."""
    loop: bool = False
    """Repeat the bag until Ctrl-C."""
    clock: float = 0.0
    """Rate in Hz at which the bag's time is published on /clock, for nodes with use_sim_time; 0:
    never."""
    topics: tuple[str, ...] = ()
    """Topics to play; by default all."""
    wait_subscribers: tuple[str, ...] = ()
    """Topics that must have a subscriber before the bag starts."""
    delay_s: float = 1.0
    """Delay after that, in which the other subscribers can connect."""

    def __post_init__(self) -> None:
        problems = []
        if self.rate <= 0:
            problems.append(f"rate must be positive, got {self.rate}")
        if self.clock < 0:
            problems.append(f"clock must not be negative, got {self.clock}")
        if self.delay_s < 0:
            problems.append(f"delay_s must not be negative, got {self.delay_s}")
        if problems:
            raise ValueError("; ".join(problems))


def play(config: PlayConfig, stop: threading.Event) -> Punctuality:
    """Plays the bag until its end, or with ``loop`` until ``stop`` is set; needs ``rclpy.init``.

    Raises:
        BagError: the bag cannot be read.
        PlayError: the bag cannot be played.
    """
    rclpy = import_rclpy()
    node = rclpy.create_node("bag_play")
    try:
        with BagReader(config.bag) as bag:
            player = Player(node, bag, config.topics)
            for topic, message_type in player.skipped.items():
                _print(f"skipping {topic}: {message_type.split('/')[0]} is not installed")
            for topic, reason in bag.skipped.items():
                _print(f"skipping {topic}: {reason}")
            tick = _clock_publisher(node) if config.clock else None
            player.publish_latched()
            _wait_for_subscribers(player, config.wait_subscribers, stop)
            if _wait_with_clock(config.delay_s, bag.start_ns, tick, stop):
                return Punctuality()
            duration_s = (bag.end_ns - bag.start_ns) / NS
            _print(f"playing {bag.path}: {duration_s:.1f} s at rate {config.rate:g}")
            for number in count(1):
                punctuality = _play_once(player, config, tick, stop, skip_latched=number == 1)
                _print(f"pass {number}: {punctuality}" if config.loop else str(punctuality))
                if stop.is_set() or not config.loop:
                    break
            if not stop.is_set():
                player.wait_for_acknowledgements()
            return punctuality
    finally:
        node.destroy_node()


def _wait_with_clock(
    seconds: float, start_ns: int, tick: Callable[[int], None] | None, stop: threading.Event
) -> bool:
    """Waits while the clock stands at the bag's start; returns whether to stop.

    A node with use_sim_time that hears no clock for seconds would take it for a fault.
    """
    deadline_s = time.monotonic() + seconds
    while (remaining_s := deadline_s - time.monotonic()) > 0:
        if tick is not None:
            tick(start_ns)
        if stop.wait(min(remaining_s, CLOCK_WAIT_S)):
            return True
    return stop.is_set()


def _play_once(
    player: Player,
    config: PlayConfig,
    tick: Callable[[int], None] | None,
    stop: threading.Event,
    skip_latched: bool,
) -> Punctuality:
    bag = player.bag
    actions = player.actions(skip_latched)
    if tick is not None:
        stamps_ns = clock_ticks(bag.start_ns, bag.end_ns, config.rate, config.clock)
        ticks = ((stamp_ns, partial(tick, stamp_ns)) for stamp_ns in stamps_ns)
        actions = heapq.merge(ticks, actions, key=lambda action: action[0])
    return paced(actions, bag.start_ns, config.rate, stop)


def import_rclpy() -> ModuleType:
    """The module ``rclpy``.

    Raises:
        PlayError: it is not installed; the text names the command that installs it.
    """
    try:
        return importlib.import_module("rclpy")
    except ImportError as error:
        raise PlayError(
            f"rclpy cannot be imported ({error}); source a ROS 2 installation, or run: pip install "
            "'occ_perception_ros[ros]'"
        ) from error


def _clock_publisher(node: Any) -> Callable[[int], None]:
    """A function that publishes a bag time on /clock."""
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


def _wait_for_subscribers(player: Player, topics: Collection[str], stop: threading.Event) -> None:
    next_reminder_s = time.monotonic() + REMIND_S
    while waiting := [topic for topic in topics if player.subscribers(topic) == 0]:
        if stop.wait(0.05):
            return
        if time.monotonic() > next_reminder_s:
            next_reminder_s += REMIND_S
            _print(f"waiting for subscribers of {', '.join(waiting)}")


def _print(text: str) -> None:
    print(f"bag_play: {text}", flush=True)


def main() -> None:
    """Runs the command ``bag_play``."""
    stop = threading.Event()
    for number in STOP_SIGNALS:
        signal.signal(number, lambda *_: stop.set())
    try:
        config = tyro.cli(PlayConfig, prog="bag_play", description=__doc__)
        rclpy = import_rclpy()
        signals = importlib.import_module("rclpy.signals")
        use_middleware_profile()
        rclpy.init(signal_handler_options=signals.SignalHandlerOptions.NO)
        try:
            play(config, stop)
        finally:
            # Ctrl-C reaches a launched program twice; the second may come in the clean-up, in which
            # Python does not handle it any more.
            for number in STOP_SIGNALS:
                signal.signal(number, signal.SIG_IGN)
            rclpy.try_shutdown()
    except (BagError, PlayError, ValueError) as error:
        sys.exit(f"bag_play: {error}")


if __name__ == "__main__":
    main()
