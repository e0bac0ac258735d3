"""Weather and region over a recorded drive, as text or as a bag."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from occ_perception_ros.bags.nuscenes_messages import string
from occ_perception_ros.bags.writer import BagWriter, qos_profile
from occ_perception_ros.can.context_decoder import CanContext
from occ_perception_ros.can.frame import CanFrame

REPEAT_NS = 1_000_000_000
"""A value is repeated in the bag after this time, so that the node does not take it for stale."""


@dataclass(frozen=True, slots=True)
class ContextAt:
    """Weather and region from a time on."""

    stamp_ns: int
    weather: str
    region: str


def timeline(frames: Iterable[CanFrame], context: CanContext) -> Iterator[ContextAt]:
    """Weather and region at the first frame, at each change, and each second at least."""
    last: ContextAt | None = None
    for frame in frames:
        context.add(frame)
        now = ContextAt(frame.stamp_ns, context.weather, context.region)
        if last is None or _differs(last, now) or abs(now.stamp_ns - last.stamp_ns) >= REPEAT_NS:
            last = now
            yield now


def changes(entries: Iterable[ContextAt]) -> Iterator[ContextAt]:
    """The entries that differ from the one before."""
    last: ContextAt | None = None
    for entry in entries:
        if last is None or _differs(last, entry):
            yield entry
        last = entry


def written(entries: Iterable[ContextAt], bag: Path) -> Iterator[ContextAt]:
    """Passes the entries on and writes them as a new bag of ``/can/weather`` and ``/can/region``.

    Raises:
        FileExistsError: ``bag`` exists.
    """
    with BagWriter(bag) as writer:
        for topic in ("/can/weather", "/can/region"):
            writer.add_topic(topic, "std_msgs/msg/String", qos_profile(1, latched=True))
        for entry in entries:
            writer.write("/can/weather", string(entry.weather), entry.stamp_ns)
            writer.write("/can/region", string(entry.region), entry.stamp_ns)
            yield entry


def _differs(first: ContextAt, second: ContextAt) -> bool:
    return (first.weather, first.region) != (second.weather, second.region)
