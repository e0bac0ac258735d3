"""Topics that cannot be read, or whose messages cannot be decoded, leave the others alone.

What else the reader does is tested with the bags that others write.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from occ_perception_ros.bags.check import check_bag
from occ_perception_ros.bags.reader import BagReader, UnknownTypeError
from occ_perception_ros.bags.writer import TYPESTORE, BagWriter, Storage, qos_profile

WHEEL, WHEEL_TYPE = "/wheel", "own_msgs/msg/Wheel"
SPEED = b"\x00\x01\x00\x00" + b"\x00" * 8
DEFINITIONS = {
    "union": f"{'=' * 80}\nIDL: own_msgs/msg/Wheel\n"
    "module own_msgs { module msg { union U switch(long) { case 0: float a; };"
    " struct Wheel { double speed; }; }; };",
    "broken": "float64 speed\nfloat64 <<<\n",
}


def write_with_wheel(editable: Any, path: Path, definition: str, storage: Storage) -> Path:
    """The editable bag, with a message of an own type beside every odometry message."""
    with BagWriter(path, storage) as writer:
        for entry in editable.entries:
            if entry.topic not in writer.counts:
                latched = entry.topic.startswith(("/tf_static", "/can"))
                writer.add_topic(entry.topic, entry.kind, qos_profile(10, latched=latched))
        writer._connections[WHEEL] = writer._writer.add_connection(
            WHEEL,
            WHEEL_TYPE,
            msgdef=definition,
            rihs01="RIHS01_00",
            offered_qos_profiles=[qos_profile(1)],
        )
        writer.counts[WHEEL] = 0
        for entry in editable.entries:
            writer.write(entry.topic, entry.message, entry.stamp_ns)
            if entry.topic == "/odom":
                writer.write_raw(WHEEL, SPEED, entry.stamp_ns)
    return path


@pytest.mark.parametrize("name", DEFINITIONS)
def test_an_unknown_type_spoils_its_own_topic_alone(
    name: str, editable: Any, tmp_path: Path
) -> None:
    path = write_with_wheel(editable, tmp_path / "bag", DEFINITIONS[name], "mcap")
    with BagReader(path) as bag:
        assert bag.skipped == {} and bag.topics[WHEEL].message_type == WHEEL_TYPE
        wheels = list(bag.messages([WHEEL]))
        assert len(wheels) == bag.topics["/odom"].count  # the bytes can be played
        for _ in range(2):
            with pytest.raises(UnknownTypeError, match=f"definition of {WHEEL_TYPE}"):
                bag.decode(wheels[0])
        (odometry, *_) = bag.messages(["/odom"])
        assert bag.decode(odometry).child_frame_id == "base_link"
    (finding,) = check_bag(path)
    assert (finding.code, finding.topic, finding.severity) == ("unknown-type", WHEEL, "info")


def test_a_bag_without_any_definition(editable: Any, tmp_path: Path) -> None:
    """As sqlite3 bags before Iron are."""
    path = write_with_wheel(editable, tmp_path / "bag", DEFINITIONS["broken"], "sqlite3")
    (file,) = path.glob("*.db3")
    with sqlite3.connect(file) as database:
        database.execute("DELETE FROM message_definitions")
    (finding,) = check_bag(path)
    assert (finding.code, finding.topic) == ("unknown-type", WHEEL)
    assert "the bag has none" in finding.message


def test_a_sensor_of_an_unknown_type_is_an_error(editable: Any, tmp_path: Path) -> None:
    """The topic's type hash says that this is not ROS 2's own PointCloud2."""
    path = tmp_path / "bag"
    with BagWriter(path) as writer:
        writer._connections["/lidar_top"] = writer._writer.add_connection(
            "/lidar_top",
            "sensor_msgs/msg/PointCloud2",
            msgdef="<<<",
            rihs01="RIHS01_00",
            offered_qos_profiles=[qos_profile(1)],
        )
        writer.counts["/lidar_top"] = 0
        writer.write_raw("/lidar_top", SPEED, 1)
    found = {finding.code: finding for finding in check_bag(path)}
    assert found["unknown-sensor-type"].severity == "error"
    assert "differs from ROS 2's own" in found["unknown-sensor-type"].message


def test_a_topic_of_two_types_is_left_out(editable: Any, tmp_path: Path) -> None:
    path = tmp_path / "bag"
    text = TYPESTORE.types["std_msgs/msg/String"]("rain")
    number = TYPESTORE.types["std_msgs/msg/Float64"](1.0)
    with BagWriter(path) as writer:
        for entry in editable.entries:
            if entry.topic not in writer.counts:
                latched = entry.topic.startswith(("/tf_static", "/can"))
                writer.add_topic(entry.topic, entry.kind, qos_profile(10, latched=latched))
            writer.write(entry.topic, entry.message, entry.stamp_ns)
        for message in (text, number):
            writer.add_topic("/wiper", message.__msgtype__, qos_profile(1))
            writer.write("/wiper", message, entry.stamp_ns)
    with BagReader(path) as bag:
        assert "/wiper" not in bag.topics and "/odom" in bag.topics
        assert bag.skipped == {
            "/wiper": "it has messages of std_msgs/msg/Float64 and of std_msgs/msg/String"
        }
        assert "/wiper" not in {message.topic for message in bag.messages()}
    (finding,) = check_bag(path)
    assert (finding.code, finding.topic) == ("unreadable-topic", "/wiper")


def test_only_definitions_that_are_used_are_parsed(
    small_bag: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[str] = []
    from occ_perception_ros.bags import reader

    original: Callable[..., Any] = reader.typestore_for

    def typestore_for(connection: Any, is_ros2: bool) -> Any:
        parsed.append(connection.msgtype)
        return original(connection, is_ros2)

    monkeypatch.setattr(reader, "typestore_for", typestore_for)
    with BagReader(small_bag) as bag:
        for message in bag.messages(["/odom"]):
            bag.decode(message)
    assert parsed == ["nav_msgs/msg/Odometry"]
