"""Reading bags in tests, and bags to which something is done."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from occ_perception_ros.bags.reader import BagReader
from occ_perception_ros.bags.writer import TYPESTORE, BagWriter, qos_profile

NS = 10**9
LIDAR = "/lidar_top"


@cache
def _contents(bag: Path) -> dict[str, list[tuple[int, Any]]]:
    found = defaultdict(list)
    with BagReader(bag) as reader:
        for message in reader.messages():
            found[message.topic].append((message.stamp_ns, reader.decode(message)))
    return found


@pytest.fixture(scope="session")
def read_topic() -> Callable[[Path, str], list[tuple[int, Any]]]:
    """``read_topic(bag, topic)``: bag time and message of each message."""
    return lambda bag, topic: _contents(bag)[topic]


@dataclass
class Entry:
    """One message of an editable bag."""

    topic: str
    kind: str
    message: Any
    stamp_ns: int

    @property
    def header(self) -> Any:
        """The header; of transforms, the first one's."""
        if hasattr(self.message, "transforms"):
            return self.message.transforms[0].header
        return self.message.header

    def set(self, **fields: Any) -> None:
        """Sets fields of the message."""
        for name, value in fields.items():
            setattr(self.message, name, value)

    def shift_header(self, shift_ns: int) -> None:
        stamp = self.header.stamp
        stamp.sec, stamp.nanosec = divmod(stamp.sec * NS + stamp.nanosec + shift_ns, NS)

    def clear_stamp(self) -> None:
        self.header.stamp.sec = self.header.stamp.nanosec = 0

    def write_in_burst(self) -> None:
        """Moves the bag time to the next half second."""
        self.stamp_ns = -(-self.stamp_ns // (NS // 2)) * (NS // 2)

    def make_raw(self, encoding: str, step: int = 144, size: int = 32 * 144) -> None:
        """Replaces a compressed image by a raw one of 48x32 pixels."""
        self.kind = "sensor_msgs/msg/Image"
        self.message = TYPESTORE.types[self.kind](
            self.message.header, 32, 48, encoding, 0, step, np.zeros(size, np.uint8)
        )


class EditableBag:
    """The messages of a bag, to be changed and written elsewhere."""

    def __init__(self, entries: list[Entry]) -> None:
        self.entries = entries
        self._keyframes_ns = {e.stamp_ns for e in entries if e.topic == "/annotations"}

    def on(self, topic: str) -> list[Entry]:
        """The messages of a topic."""
        return [entry for entry in self.entries if entry.topic == topic]

    def each(self, topic: str, change: Callable[[Entry], object]) -> None:
        """Changes every message of a topic."""
        for entry in self.on(topic):
            change(entry)

    def remove(self, *prefixes: str) -> None:
        """Removes topics by the beginning of their names."""
        self.entries = [e for e in self.entries if not e.topic.startswith(prefixes)]

    def keep_keyframes(self, topic: str) -> None:
        """Removes messages of a topic that are not at a keyframe."""
        self.entries = [
            e for e in self.entries if e.topic != topic or e.stamp_ns in self._keyframes_ns
        ]

    def move_mountings_to_tf(self) -> None:
        """Removes /tf_static; its transforms are repeated with every pose."""
        (static,) = self.on("/tf_static")
        for entry in self.on("/tf"):
            mountings = copy.deepcopy(static.message.transforms)
            for mounting in mountings:
                mounting.header.stamp = entry.header.stamp
            entry.message.transforms += mountings
        self.entries = [entry for entry in self.entries if entry is not static]

    def write(
        self, path: Path, volatile: tuple[str, ...] = (), empty: tuple[str, ...] = ()
    ) -> Path:
        """Writes the bag.

        Args:
            path: folder of the new bag.
            volatile: latched topics that are declared as volatile.
            empty: additional topics without messages.
        """
        with BagWriter(path) as writer:
            kinds = {entry.topic: entry.kind for entry in self.entries}
            kinds |= dict.fromkeys(empty, "std_msgs/msg/String")
            for topic, kind in kinds.items():
                latched = topic.startswith(("/tf_static", "/can")) and topic not in volatile
                writer.add_topic(topic, kind, qos_profile(10, latched=latched))
            for entry in self.entries:
                writer.write(entry.topic, entry.message, entry.stamp_ns)
        return path


@cache
def _entries(bag: Path) -> list[Entry]:
    with BagReader(bag) as reader:
        messages = list(reader.messages())
    return [
        Entry(
            m.topic, m.message_type, TYPESTORE.deserialize_cdr(m.data, m.message_type), m.stamp_ns
        )
        for m in messages
    ]


@pytest.fixture
def editable(small_bag: Path) -> EditableBag:
    """The small drive's bag, which is fine."""
    return EditableBag(copy.deepcopy(_entries(small_bag)))
