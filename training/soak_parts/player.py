"""Plays the soak's drive to the node, faults included, and listens to what the node answers."""

from __future__ import annotations

import re
import signal
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import OccupancyGrid
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import PointCloud2
from visualization_msgs.msg import MarkerArray

from occ_perception_ros.topics import CAMERAS
from training.demo_parts.processes import Child, ChildError
from training.soak_parts.drive import INPUT, POINTS, TYPES, Outgoing, stamp_of, stamped
from training.soak_parts.faults import Fault, FaultTimeline

OUTPUT = "/occupancy_node/output"
START_NS = 1_700_000_000_000_000_000
QUEUE = 1000
MAX_BEHIND = 40
"""Sweeps by which the node may be behind before the player waits for it: its queues are not
endless, and a busy machine is no fault of the node."""
MAX_WAIT_S = 180.0
_LISTENERS: dict[str, Any] = {
    "markers": MarkerArray,
    "occupancy_grid": OccupancyGrid,
    "occupancy_points": PointCloud2,
}


class SoakPlayer:
    """Publishes the drive in its time and collects answers and diagnostics.

    Args:
        node: the player's own rclpy node.
        rate: largest speed relative to the drive's times.
    """

    def __init__(self, node: Node, rate: float) -> None:
        self.node = node
        self._rate = rate
        self._executor = SingleThreadedExecutor(context=node.context)
        self._executor.add_node(node)
        self._publishers = {
            topic: node.create_publisher(kind, topic, QUEUE) for topic, kind in TYPES.items()
        }
        node.create_subscription(
            PointCloud2, f"{OUTPUT}/occupancy_points", self._note_answer, QUEUE, raw=True
        )
        node.create_subscription(DiagnosticArray, "/diagnostics", self._note_diagnostics, QUEUE)
        self._jump_ns = 0
        self._listeners: dict[Fault, Any] = {}
        self.sweeps: dict[int, int] = {}
        """Stamps of the clouds that were sent in the last drive, and their order."""
        self._received_ns = 0
        """Stamp of the last cloud that the node has received."""
        self.answers: Counter[int] = Counter()
        """Number of answers by stamp."""
        self.values: dict[str, str] = {}
        """Key-value pairs of the last overall status."""
        self.raised: set[str] = set()
        """Counters of it that have ever been above zero."""
        self.texts: Counter[str] = Counter()
        """Levels and texts of the overall status, without their numbers."""

    def is_connected(self) -> bool:
        """Whether the node subscribes to every topic of the drive, and is heard."""
        self.spin(0.02)
        cameras = (f"{INPUT}/{camera}/image" for camera in CAMERAS)
        heard = all(self._publishers[t].get_subscription_count() for t in (POINTS, *cameras))
        return heard and bool(self.values)

    def play(
        self,
        messages: Iterator[Outgoing],
        faults: Sequence[Fault],
        child: Child,
        watch: Callable[[float], object],
    ) -> None:
        """Plays the messages to their end.

        Args:
            messages: the drive.
            faults: those that concern time, process and subscribers are caused here.
            child: the node's process.
            watch: called after each message with its time in the drive; what it raises ends the
                playing.
        """
        self.sweeps.clear()
        self._received_ns = 0
        started_s = time.monotonic()
        events = deque(_events(faults))
        bursts = FaultTimeline([fault for fault in faults if fault.kind == "burst"])
        stops = FaultTimeline([fault for fault in faults if fault.kind == "stop"])
        for message in messages:
            while events and events[0][0] <= message.at_s:
                at_s, fault, begins = events.popleft()
                self._wait_until(started_s + at_s / self._rate)
                self._cause(fault, begins, child)
            holds_s = [fault.at_s + fault.duration_s for fault in bursts.at(message.at_s)]
            self._wait_until(started_s + max([message.at_s, *holds_s]) / self._rate)
            if message.topic == POINTS and not stops.at(message.at_s):
                started_s += self._wait_for_node()
            stamp_ns = START_NS + round(message.at_s * 1e9) + self._jump_ns
            self._publishers[message.topic].publish(stamped(message.data, stamp_ns))
            if message.topic == POINTS:
                self.sweeps[stamp_ns] = len(self.sweeps)
            watch(message.at_s)
        child.signal(signal.SIGCONT)

    def spin(self, seconds: float) -> None:
        """Receives for a while."""
        until_s = time.monotonic() + seconds
        while (left_s := until_s - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=left_s)

    def close(self) -> None:
        """Ends the node."""
        self._executor.shutdown()
        self.node.destroy_node()

    def _wait_until(self, wall_s: float) -> None:
        # At least one look at the answers for each message, in a backlog too.
        self._executor.spin_once(timeout_sec=max(0.0, wall_s - time.monotonic()))
        self.spin(wall_s - time.monotonic())

    def _wait_for_node(self) -> float:
        """Waits until the node is not far behind; returns how long that took.

        Raises:
            ChildError: it stays behind, or is not heard any more.
        """
        began_s = time.monotonic()
        while self._behind() > MAX_BEHIND:
            self.spin(0.1)
            if time.monotonic() - began_s > MAX_WAIT_S:
                raise ChildError(
                    f"the node has received no cloud for {MAX_WAIT_S:.0f} s, {self._behind()} "
                    f"wait; {sum(self.texts.values())} diagnostics were heard, the last with "
                    f"{self.values}"
                )
        return time.monotonic() - began_s

    def _behind(self) -> int:
        """Number of clouds that the node has not yet received, by its diagnostics."""
        return len(self.sweeps) - 1 - self.sweeps.get(self._received_ns, -1)

    def _cause(self, fault: Fault, begins: bool, child: Child) -> None:
        if fault.kind == "stop":
            child.signal(signal.SIGSTOP if begins else signal.SIGCONT)
        elif fault.kind in ("back", "forward") and begins:
            self._jump_ns += round(fault.jump_s * 1e9)
        elif fault.kind == "listener":
            if begins:
                topic = f"{OUTPUT}/{fault.target}"
                self._listeners[fault] = self.node.create_subscription(
                    _LISTENERS[fault.target],
                    topic,
                    lambda data: None,
                    QoSProfile(depth=1),
                    raw=True,
                )
            else:
                self.node.destroy_subscription(self._listeners.pop(fault))

    def _note_answer(self, data: bytes) -> None:
        self.answers[stamp_of(data)] += 1

    def _note_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name == "/occupancy_node":
                self.values = {pair.key: pair.value for pair in status.values}
                self.raised |= {key for key, value in self.values.items() if _is_count(value)}
                level = {b"\0": "ok", b"\1": "warn", b"\2": "error", b"\3": "stale"}[status.level]
                self.texts[f"{level}: {re.sub(r'[0-9][0-9.]*', 'N', status.message)}"] += 1
            elif status.name == "/occupancy_node: points":
                values = {pair.key: pair.value for pair in status.values}
                self._received_ns = int(values.get("last_stamp", "0").replace(".", ""))


def _is_count(value: str) -> bool:
    return value.isdigit() and value != "0"


def _events(faults: Sequence[Fault]) -> list[tuple[float, Fault, bool]]:
    """Times at which faults begin (True) and end (False), in order."""
    begins = [(fault.at_s, fault, True) for fault in faults]
    ends = [(fault.at_s + fault.duration_s, fault, False) for fault in faults]
    return sorted([*begins, *ends], key=lambda event: event[0])
