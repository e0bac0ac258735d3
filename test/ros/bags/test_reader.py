"""Encodings of MCAP files; what else the reader does is tested with the bags that others write."""

from __future__ import annotations

from pathlib import Path

import pytest
from mcap.writer import IndexType, Writer

from occ_perception_ros.bags.reader import BagError, mcap_encodings


def write_mcap(path: Path, **options: object) -> Path:
    """An MCAP file of one message on each of two topics; the second has no schema."""
    with path.open("wb") as file:
        writer = Writer(file, **options)
        writer.start()
        schema = writer.register_schema("IMU", "jsonschema", b"")
        for topic, schema_id in (("/imu", schema), ("/text", 0)):
            channel = writer.register_channel(topic, "json", schema_id)
            writer.add_message(channel, log_time=1, data=b"{}", publish_time=1)
        writer.finish()
    return path


def test_encodings_of_every_topic(small_bag: Path, tmp_path: Path) -> None:
    path = write_mcap(tmp_path / "a.mcap")
    assert mcap_encodings(path) == {"/imu": ("json", "jsonschema"), "/text": ("json", "")}
    found = mcap_encodings(small_bag / "bag.mcap")
    assert found["/lidar_top"] == ("cdr", "ros2msg") and set(found.values()) == {found["/odom"]}


def test_files_without_a_readable_summary_are_refused(tmp_path: Path) -> None:
    whole = write_mcap(tmp_path / "whole.mcap").read_bytes()
    bare = write_mcap(
        tmp_path / "bare.mcap",
        index_types=IndexType.NONE,
        repeat_channels=False,
        repeat_schemas=False,
        use_statistics=False,
        use_summary_offsets=False,
    )
    with pytest.raises(BagError, match=r"bare.mcap has no summary section"):
        mcap_encodings(bare)
    for name, data, reason in (
        ("text", b"this is text, and long enough for a header", "is not an MCAP file"),
        ("empty", b"", "cut off or is damaged"),
        ("short", whole[:12], "cut off or is damaged"),
        ("cut", whole[:-20], "cut off or is damaged"),
        ("half", whole[: len(whole) // 2], "cut off or is damaged"),
    ):
        path = tmp_path / f"{name}.mcap"
        path.write_bytes(data)
        with pytest.raises(BagError, match=reason):
            mcap_encodings(path)
