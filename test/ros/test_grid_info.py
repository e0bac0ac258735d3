"""What a grid's numbers mean, as JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from occ_perception_ros.grid_info import GridInfo

finite = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def infos(draw: st.DrawFn) -> GridInfo:
    names = draw(st.lists(st.text(), min_size=1, max_size=8))
    channel = st.integers(0, 255)
    return GridInfo(
        frame_id=draw(st.text()),
        min_m=draw(st.tuples(finite, finite, finite)),
        voxel_size_m=draw(st.floats(1e-3, 1e3)),
        shape=draw(st.tuples(*[st.integers(1, 1000)] * 3)),
        label_set=draw(st.text()),
        class_names=tuple(names),
        colours=tuple(draw(st.tuples(channel, channel, channel)) for _ in names),
        empty=draw(st.integers(0, len(names) - 1)),
        checkpoint=draw(st.text()),
    )


@given(info=infos())
def test_json_and_back_is_the_same(info: GridInfo) -> None:
    assert GridInfo.from_json(info.to_json()) == info


def valid() -> dict[str, Any]:
    return {
        "frame_id": "lidar_top",
        "min_m": [-2, -1, 0],  # whole numbers are numbers
        "voxel_size_m": 1,
        "shape": [4, 2, 1],
        "label_set": "two",
        "class_names": ["empty", "car"],
        "colours": [[0, 0, 0], [255, 158, 0]],
        "empty": 0,
        "checkpoint": "",
    }


def test_whole_numbers_are_accepted_as_lengths() -> None:
    info = GridInfo.from_json(json.dumps(valid()))
    assert (info.min_m, info.voxel_size_m) == ((-2.0, -1.0, 0.0), 1.0)


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("voxel_size_m", 0, "voxel_size_m must be positive, got 0"),
        ("voxel_size_m", "half", "voxel_size_m"),
        ("min_m", [0, 0], "min_m"),
        ("min_m", [0, 0, float("nan")], "min_m must be finite"),
        ("shape", [4, 2, 0], "shape must be three positive numbers"),
        ("shape", [1_000_000, 1_000_000, 1_000_000], "at most 1073741824 voxels"),
        ("colours", [[0, 0, 0]], "2 names and 1 colours"),
        ("class_names", [], "got 0 names"),
        ("empty", 2, "empty must be one of 2 labels, got 2"),
        ("empty", None, "empty"),
        ("surplus", 1, "surplus"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(key: str, value: object, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        GridInfo.from_json(json.dumps({**valid(), key: value}))


@given(text=st.one_of(st.text(), st.just("[" * 100_000), st.just("[]"), st.just("null")))
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        GridInfo.from_json(text)


def test_a_missing_key_is_named() -> None:
    values = valid()
    del values["shape"]
    with pytest.raises(ValueError, match="shape"):
        GridInfo.from_json(json.dumps(values))
