"""A bag that is played slower, faster or with a pause gives the frames of the offline run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from occ_perception_ros.assembler import AssemblerConfig, FrameAssembler
from occ_perception_ros.bags.reader import BagReader
from occ_perception_ros.frame_parts import FrameParts
from occ_perception_ros.frames import build_frame

CONFIG = AssemblerConfig()
Feed = Callable[[FrameAssembler, list[tuple[str, Any]]], list[FrameParts]]
"""``conftest.feed``."""
TICK_S = 0.2
"""The node's period of ``FrameAssembler.poll``."""
PAUSE_AT_S = 0.75
"""Between the second and the third keyframe of the drive."""
PAUSE_S = 60.0


def read(bag: Path) -> Iterator[tuple[float, str, Any]]:
    """Bag time in seconds, topic and message, freshly decoded."""
    with BagReader(bag) as reader:
        start_ns = None
        for raw in reader.messages():
            start_ns = raw.stamp_ns if start_ns is None else start_ns
            yield (raw.stamp_ns - start_ns) / 1e9, raw.topic, reader.decode(raw)


def play(bag: Path, rate: float, pause_s: float, feed: Feed) -> list[FrameParts]:
    """The frames of a live run: messages arrive in wall time, and the node's timer ticks."""
    now_s, tick_s, pausing_s = [0.0], 0.0, 0.0
    live, parts = FrameAssembler(CONFIG, clock_s=lambda: now_s[0]), []
    for bag_s, topic, message in read(bag):
        if bag_s > PAUSE_AT_S:
            pausing_s = pause_s
        due_s = bag_s / rate + pausing_s
        while tick_s + TICK_S < due_s:
            tick_s += TICK_S
            now_s[0] = tick_s
            parts += live.poll()
        now_s[0] = due_s
        parts += feed(live, [(topic, message)])
    return parts + live.flush()


@pytest.mark.parametrize(("rate", "pause_s"), [(0.1, 0.0), (1.0, 0.0), (3.0, 0.0), (1.0, PAUSE_S)])
def test_speed_and_pauses_change_nothing(
    rate: float, pause_s: float, small_bag: Path, feed: Feed
) -> None:
    offline = FrameAssembler(CONFIG)
    expected = feed(offline, [(topic, message) for _, topic, message in read(small_bag)])
    expected += offline.flush()
    ours = play(small_bag, rate, pause_s, feed)
    assert len(expected) == 3
    for a, b in zip(ours, expected, strict=True):
        assert (a.stamp_ns, a.masked, a.reset_reason) == (b.stamp_ns, b.masked, b.reset_reason)
        frame, other = (build_frame(part, CONFIG.cameras, (16, 24))[0] for part in (a, b))
        assert torch.equal(frame.images, other.images)
        assert torch.equal(frame.points[0], other.points[0])
        assert torch.equal(frame.world_from_grid, other.world_from_grid)
