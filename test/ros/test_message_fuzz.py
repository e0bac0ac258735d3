"""Garbage in texts, poses and serialised messages: the documented error, and nothing stays ill."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from occ_perception_ros.assembler import FrameAssembler
from occ_perception_ros.assembler_config import AssemblerConfig
from occ_perception_ros.bags.check import _message_faults
from occ_perception_ros.bags.reader import BagError, BagMessage, BagReader
from occ_perception_ros.bags.rules import RULES
from occ_perception_ros.bags.topic_data import TopicData
from occ_perception_ros.context import ContextCache, ContextConfig, region_from_text
from occ_perception_ros.context import weather_from_text as weather_of
from occ_perception_ros.transforms import TransformError

FUZZ = settings(max_examples=150, deadline=None, derandomize=True)
STAMPS = st.one_of(st.integers(0, 2**63 - 1), st.sampled_from([10**9, 2 * 10**9]))
WORDS = ["rain", "night", "no", "boston", "Singapore", "\0", "\u202e", "İ", "ß", "\ud7ff"]
TEXTS = st.one_of(st.text(max_size=300), st.lists(st.sampled_from(WORDS)).map(" ".join))
FRAMES = st.one_of(st.sampled_from(["map", "base_link", "lidar_top", "cam", ""]), st.text())
NUMBERS = st.one_of(st.floats(), st.floats(-10, 10), st.sampled_from([0.0, 1.0, 1e300]))


@FUZZ
@given(text=TEXTS, stamp_ns=STAMPS, topic=st.sampled_from(["weather", "region"]))
def test_any_text_is_a_label_or_refused(text: str, stamp_ns: int, topic: str) -> None:
    cache = ContextCache(ContextConfig())
    try:
        cache.set(topic, text, stamp_ns)
    except ValueError as error:
        assert topic in str(error) and len(str(error)) < 1000
        assert cache.at(stamp_ns).weather == cache.at(stamp_ns).region == "unknown"
    else:
        expected = (weather_of if topic == "weather" else region_from_text)(text)
        assert getattr(cache.at(stamp_ns), topic) == expected


def stamp(ns: int) -> SimpleNamespace:
    return SimpleNamespace(sec=ns // 10**9 % 2**31, nanosec=ns % 10**9)


@st.composite
def poses(draw: st.DrawFn) -> tuple[str, SimpleNamespace]:
    """``odometry``, or ``tf`` or ``tf_static``, and its message."""
    x, y, z, qw, qx, qy, qz = (draw(NUMBERS) for _ in range(7))
    position = SimpleNamespace(x=x, y=y, z=z)
    rotation = SimpleNamespace(w=qw, x=qx, y=qy, z=qz)
    header = SimpleNamespace(stamp=stamp(draw(STAMPS)), frame_id=draw(FRAMES))
    kind, child = draw(st.sampled_from(["odometry", "tf", "tf_static"])), draw(FRAMES)
    if kind == "odometry":
        pose = SimpleNamespace(pose=SimpleNamespace(position=position, orientation=rotation))
        return kind, SimpleNamespace(header=header, child_frame_id=child, pose=pose)
    transform = SimpleNamespace(translation=position, rotation=rotation)
    each = SimpleNamespace(header=header, child_frame_id=child, transform=transform)
    return kind, SimpleNamespace(transforms=[each] * draw(st.integers(0, 2)))


@FUZZ
@given(messages=st.lists(poses(), max_size=8), stamp_ns=STAMPS)
def test_any_poses_leave_a_tree_of_finite_poses(
    messages: list[tuple[str, SimpleNamespace]], stamp_ns: int
) -> None:
    assembler = FrameAssembler(AssemblerConfig())
    for kind, message in messages:
        if kind == "odometry":
            assert assembler.add_odometry(message) == []
        else:
            assert assembler.add_transforms(message, static=kind == "tf_static") == []
    for source in ("base_link", "lidar_top", "cam"):
        try:
            pose = assembler.tree.lookup("map", source, stamp_ns)
        except TransformError:
            continue
        assert pose.shape == (4, 4) and np.isfinite(pose).all()


@pytest.fixture(scope="module")
def bag(small_bag: Path) -> Iterator[BagReader]:
    with BagReader(small_bag) as reader:
        yield reader


@pytest.fixture(scope="module")
def samples(bag: BagReader) -> list[BagMessage]:
    """A message of every type."""
    return list({message.message_type: message for message in bag.messages()}.values())


@FUZZ
@given(data=st.data())
def test_any_bytes_are_a_message_or_refused(
    data: st.DataObject, bag: BagReader, samples: list[BagMessage]
) -> None:
    """Cut off, with bytes changed, and with lengths of up to 4 GiB."""
    sample = data.draw(st.sampled_from(samples))
    content = bytearray(sample.data)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, max(len(content) - 4, 0)))
        content[at : at + 4] = data.draw(
            st.sampled_from([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\0\0\0\x80", b"\x10\x27\0\0"])
            | st.binary(max_size=4)
        )
    del content[data.draw(st.integers(0, len(content))) :]
    message = BagMessage(sample.topic, sample.message_type, 1, bytes(content))
    try:
        decoded: Any = bag.decode(message)
    except BagError as error:
        assert sample.topic in str(error)
        return
    faults = _message_faults(decoded, TopicData(bag.topics[sample.topic]))
    assert {code for code, _ in faults} <= RULES.keys()
