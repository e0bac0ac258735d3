"""A live run after a stall: seconds of messages are received at once, the topics in any order."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from occ_core.types import Frame
from occ_perception_ros.assembler import AssemblerConfig, FrameAssembler
from occ_perception_ros.bags.reader import BagReader
from occ_perception_ros.frame_parts import FrameParts
from occ_perception_ros.frames import build_frame

SIZE = (16, 24)
CONFIG = AssemblerConfig()
Messages = list[tuple[str, Any]]
Feed = Callable[[FrameAssembler, Messages], list[FrameParts]]


@pytest.fixture(scope="module")
def drive(small_bag: Path) -> Messages:
    with BagReader(small_bag) as reader:
        return [(raw.topic, reader.decode(raw)) for raw in reader.messages(list(reader.topics))]


def frames(parts: list[FrameParts]) -> list[Frame]:
    return [build_frame(part, CONFIG.cameras, SIZE)[0] for part in parts]


def assert_equal(ours: list[Frame], expected: list[Frame]) -> None:
    for a, b in zip(ours, expected, strict=True):
        for name in ("images", "camera_mask", "intrinsics", "grid_from_camera", "world_from_grid"):
            assert torch.equal(getattr(a, name), getattr(b, name)), name
        assert torch.equal(a.points[0], b.points[0]) and a.stamp_ns == b.stamp_ns


def merged(messages: Messages, seed: int) -> Messages:
    """The messages of each topic in their order, but the topics in any: one topic may be received
    as a whole before another, or both in turn.
    """

    def is_fixed(topic: str) -> bool:
        return topic == "/tf_static" or topic.endswith("camera_info")

    fixed = [(topic, message) for topic, message in messages if is_fixed(topic)]
    queues: dict[str, deque[Any]] = {}
    for topic, message in messages:
        if not is_fixed(topic):
            queues.setdefault(topic, deque()).append(message)
    generator = random.Random(seed)
    weights = {topic: generator.choice([0.01, 1.0, 100.0]) for topic in queues}
    result = fixed  # received long before the stall
    while queues:
        topics = list(queues)
        (topic,) = generator.choices(topics, [weights[name] for name in topics])
        result.append((topic, queues[topic].popleft()))
        if not queues[topic]:
            del queues[topic]
    return result


@given(seed=st.integers(0, 10_000))
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_topics_in_any_order_give_the_frames_of_the_bag(
    drive: Messages, seed: int, feed: Feed
) -> None:
    offline = FrameAssembler(CONFIG)
    expected = feed(offline, deepcopy(drive)) + offline.flush()
    live = FrameAssembler(CONFIG, clock_s=lambda: 0.0)  # everything in one moment of wall time
    received = feed(live, merged(deepcopy(drive), seed)) + live.flush()
    assert len(expected) == 3 and live.counts["no_pose"] == 0
    assert_equal(frames(received), frames(expected))


def test_a_pose_that_comes_late_is_waited_for_in_wall_time(drive: Messages, feed: Feed) -> None:
    now_s = [0.0]
    live = FrameAssembler(CONFIG, clock_s=lambda: now_s[0])
    without = [(topic, message) for topic, message in drive if topic != "/odom"]
    assert feed(live, deepcopy(without)) == []  # 1 s of sweeps, in one moment
    now_s[0] = 0.5  # more than pose_timeout_s, less than a sweep without any pose is given
    assert live.poll() == [] and live.counts["no_pose"] == 0
    odometry = [(topic, message) for topic, message in drive if topic == "/odom"]
    late = feed(live, deepcopy(odometry)) + live.flush()
    offline = FrameAssembler(CONFIG)
    assert_equal(frames(late), frames(feed(offline, deepcopy(drive)) + offline.flush()))


def test_a_sweep_without_any_pose_is_given_up(
    drive: Messages, monkeypatch: pytest.MonkeyPatch, feed: Feed
) -> None:
    monkeypatch.setattr("occ_perception_ros.assembler.POSE_PATIENCE_S", 1.0)  # of a drive of 1 s
    now_s = [0.0]
    live = FrameAssembler(CONFIG, clock_s=lambda: now_s[0])
    feed(live, [(topic, deepcopy(message)) for topic, message in drive if topic != "/odom"])
    assert live.lacks_pose()
    now_s[0] = 1.5
    assert live.poll() == []
    # The third keyframe is the last sweep: only the stamp of a later one, or silence, gives it up.
    assert live.counts["no_pose"] == 1 and live.flush() == [] and live.counts["no_pose"] == 3
