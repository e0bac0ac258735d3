"""MCAP files without copies are those of rosbags."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.rosbag2.enums import CompressionMode

from occ_perception_ros.bags import writer
from occ_perception_ros.bags.mcap_writer import PartsMcapWriter
from occ_perception_ros.bags.reader import BagReader
from occ_perception_ros.bags.writer import BagWriter, qos_profile

TOPICS = {"/odom": "nav_msgs/msg/Odometry", "/image": "sensor_msgs/msg/CompressedImage"}
# Chunks end behind 1 MiB: some messages share one, some are larger than one, some are empty.
SIZES = (0, 10, 400_000, 700_000, 5, 1_200_000, 0, 300_000)


def write(path: Path) -> list[bytes]:
    """Writes a bag of random bytes and returns them."""
    random = np.random.default_rng(0)
    messages = [random.bytes(size) for size in SIZES]
    with BagWriter(path, custom_data={"scene": "one"}) as bag:
        for topic, message_type in TOPICS.items():
            bag.add_topic(topic, message_type, qos_profile(1))
        for number, data in enumerate(messages):
            view = memoryview(data) if number % 2 else data
            # Stamps need not be in order.
            bag.write_raw([*TOPICS][number % 3 == 1], view, 10**18 + (number ^ 1))
    return messages


def test_the_files_are_equal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    messages = write(tmp_path / "ours" / "bag")
    assert writer._Writer.STORAGE_PLUGINS[StoragePlugin.MCAP] is PartsMcapWriter
    monkeypatch.setattr(writer._Writer, "STORAGE_PLUGINS", Writer.STORAGE_PLUGINS)
    write(tmp_path / "theirs" / "bag")
    for name in ("bag.mcap", "metadata.yaml"):
        ours = (tmp_path / "ours" / "bag" / name).read_bytes()
        assert ours == (tmp_path / "theirs" / "bag" / name).read_bytes()
    with BagReader(tmp_path / "ours" / "bag") as reader:
        read = [bytes(message.data) for message in reader.messages()]
    # By stamp: 1 0 3 2 5 4 7 6.
    assert read == [messages[number ^ 1] for number in range(len(SIZES))]


def test_an_empty_bag_is_equal_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, plugins in (
        ("ours", writer._Writer.STORAGE_PLUGINS),
        ("theirs", Writer.STORAGE_PLUGINS),
    ):
        monkeypatch.setattr(writer._Writer, "STORAGE_PLUGINS", plugins)
        with BagWriter(tmp_path / name / "bag") as bag:
            bag.add_topic("/odom", TOPICS["/odom"], qos_profile(1))
    ours, theirs = (
        (tmp_path / name / "bag" / "bag.mcap").read_bytes() for name in ("ours", "theirs")
    )
    assert ours == theirs


def test_compressed_chunks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="are not compressed here"):
        PartsMcapWriter(tmp_path, CompressionMode.STORAGE)
