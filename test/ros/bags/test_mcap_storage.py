"""MCAP files with topics of other encodings beside those of ROS 2."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.writer import IndexType, Writer

from occ_perception_ros.bags.check import check_bag
from occ_perception_ros.bags.mcap_storage import McapError, foreign_topics
from occ_perception_ros.bags.reader import BagError, BagReader

TEXT = b"\x00\x01\x00\x00\x05\x00\x00\x00rain\x00"
"""CDR of a std_msgs/String: little-endian, 5 bytes with the final zero."""


def write_mcap(path: Path, *foreign: tuple[str, str], **options: object) -> Path:
    """An MCAP file with four messages on /can/weather, and one on a topic of each other encoding.

    Args:
        path: the file.
        foreign: encodings of message and schema.
        options: options of mcap's writer.
    """
    with path.open("wb") as file:
        writer = Writer(file, **options)
        writer.start(profile="ros2")
        schema = writer.register_schema("std_msgs/msg/String", "ros2msg", b"string data")
        weather = writer.register_channel("/can/weather", "cdr", schema)
        for number, (message, kind) in enumerate(foreign):
            # A protobuf schema is binary, and not UTF-8.
            schema_id = (
                writer.register_schema(f"own.Kind{number}", kind, b"\xff\xfe") if kind else 0
            )
            channel = writer.register_channel(f"/own/{number}", message, schema_id)
            writer.add_message(channel, log_time=12, data=b"{}", publish_time=12)
        for stamp_ns in (40, 10, 30, 20):
            writer.add_message(weather, log_time=stamp_ns, data=TEXT, publish_time=stamp_ns)
        writer.finish()
    return path


FOREIGN = (("json", "jsonschema"), ("protobuf", "protobuf"), ("json", ""))


def test_foreign_topics_are_left_out_by_name(tmp_path: Path) -> None:
    path = write_mcap(tmp_path / "mixed.mcap", *FOREIGN)
    with BagReader(path) as bag:
        assert list(bag.topics) == ["/can/weather"]
        assert bag.topics["/can/weather"].count == 4
        assert list(bag.skipped) == ["/own/0", "/own/1", "/own/2"]
        assert "json messages of jsonschema schema" in bag.skipped["/own/0"]
        assert (bag.start_ns, bag.end_ns) == (10, 40)
        read = [(message.stamp_ns, bag.decode(message).data) for message in bag.messages()]
    assert read == [(10, "rain"), (20, "rain"), (30, "rain"), (40, "rain")]
    assert foreign_topics(path).keys() == {"/own/0", "/own/1", "/own/2"}
    found = [(each.code, each.topic) for each in check_bag(path) if each.topic.startswith("/own")]
    assert found == [("unreadable-topic", f"/own/{number}") for number in range(3)]


def test_a_file_of_ros_2_alone_has_no_foreign_topic(small_bag: Path, tmp_path: Path) -> None:
    assert foreign_topics(small_bag / "bag.mcap") == {}
    with BagReader(write_mcap(tmp_path / "pure.mcap")) as bag:
        assert bag.skipped == {}
        assert [message.stamp_ns for message in bag.messages()] == [10, 20, 30, 40]


def test_a_file_without_any_topic_of_ros_2(tmp_path: Path) -> None:
    path = tmp_path / "foreign.mcap"
    with path.open("wb") as file:
        writer = Writer(file)
        writer.start()
        schema = writer.register_schema("IMU", "jsonschema", b"")
        for topic in ("/imu", "/gnss"):
            channel = writer.register_channel(topic, "json", schema)
            writer.add_message(channel, log_time=1, data=b"{}", publish_time=1)
        writer.finish()
    (finding,) = check_bag(path)
    assert finding.code == "not-ros2-encoding"
    assert "none of 2 topics can be read; /imu, for example: it has json" in finding.message


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
    with pytest.raises(McapError, match=r"bare.mcap has no summary section"):
        foreign_topics(bare)
    for name, data, reason in (
        ("text", b"this is text, and long enough for a header", "is not an MCAP file"),
        ("empty", b"", "cut off or is damaged"),
        ("short", whole[:12], "cut off or is damaged"),
        ("cut", whole[:-20], "cut off or is damaged"),
        ("half", whole[: len(whole) // 2], "cut off or is damaged"),
    ):
        path = tmp_path / f"{name}.mcap"
        path.write_bytes(data)
        with pytest.raises(McapError, match=reason):
            foreign_topics(path)
        assert [each.code for each in check_bag(path)] == ["unreadable"]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_files_raise_nothing_but_bag_errors(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    content = bytearray(write_mcap(folder / "bag.mcap", *FOREIGN).read_bytes())
    for position in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=8)):
        content[position] = data.draw(st.integers(0, 255))
    (folder / "bag.mcap").write_bytes(content)
    try:
        with BagReader(folder / "bag.mcap") as bag:
            for message in bag.messages():
                bag.decode(message)
    except BagError:
        pass
