"""Compressed data of bags: right results, and no more memory than allowed."""

from __future__ import annotations

import bz2
import re
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lz4.frame
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.writer import CompressionType, Writer

from occ_perception_ros.bags import decompression
from occ_perception_ros.bags.decompression import DecompressionError, check_file, decompress
from occ_perception_ros.bags.reader import BagError, BagReader
from occ_perception_ros.bags.writer import BagWriter, qos_profile

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "zstd": decompression.zstd.compress,
    "lz4": lz4.frame.compress,
    "bz2": bz2.compress,
}
STRING = "std_msgs/msg/String"
READ_IN_LITTLE_MEMORY = """
import resource, sys
from pathlib import Path
from occ_perception_ros.bags.reader import BagError, BagReader
resource.setrlimit(resource.RLIMIT_AS, (3 * 2**30, 3 * 2**30))
try:
    with BagReader(Path(sys.argv[1])) as bag:
        print(sum(1 for message in bag.messages()))
except BagError as error:
    print(error)
"""


@pytest.mark.parametrize("form", COMPRESS)
@settings(max_examples=20)
@given(parts=st.lists(st.binary(max_size=200), min_size=1, max_size=3))
def test_frames_become_what_they_were(form: str, parts: list[bytes]) -> None:
    plain = b"".join(parts)
    data = b"".join(map(COMPRESS[form], parts))
    assert decompress(data, form) == plain == decompress(data, form, len(plain))
    if plain:
        with pytest.raises(DecompressionError, match="larger than the limit"):
            decompress(data, form, len(plain) - 1)


@pytest.mark.parametrize("form", COMPRESS)
@settings(max_examples=40)
@given(at=st.integers(0, 10_000), garbage=st.binary(min_size=1, max_size=4))
def test_damaged_data_raise_one_error(form: str, at: int, garbage: bytes) -> None:
    data = bytearray(COMPRESS[form](b"rain and night " * 20))
    at %= len(data)
    for bad in (data[:at], data[:at] + garbage + data[at + len(garbage) :], data + garbage):
        try:
            decompress(bytes(bad), form, 10_000)
        except DecompressionError as error:
            assert form in str(error)


def bomb(form: str) -> bytes:
    """A gigabyte of zeros, compressed, which is more than a chunk or a message may become."""
    return COMPRESS[form](bytes(2**27)) * 8


def write_chunk(path: Path, form: str, data: bytes, claimed: int, monkeypatch: Any) -> Path:
    """An MCAP file whose only chunk holds other data, which are said to become ``claimed`` bytes.

    The summary and the chunk say so alike.
    """
    plain = bytes(12_345)
    target = (
        "mcap.writer.zstandard.compress" if form == "zstd" else "mcap.writer.lz4.frame.compress"
    )
    sizes: list[int] = []

    def replace(chunk: bytes) -> bytes:
        sizes.append(len(chunk))
        return data

    monkeypatch.setattr(target, replace)
    kind = {"zstd": CompressionType.ZSTD, "lz4": CompressionType.LZ4}[form]
    with path.open("wb") as file:
        writer = Writer(file, compression=kind, enable_crcs=False, enable_data_crcs=False)
        writer.start(profile="ros2")
        schema = writer.register_schema(STRING, "ros2msg", b"string data")
        channel = writer.register_channel("/can/weather", "cdr", schema)
        writer.add_message(channel, log_time=1, data=plain, publish_time=1)
        writer.finish()
    monkeypatch.undo()
    content = path.read_bytes()
    assert content.count(struct.pack("<Q", sizes[0])) == 2
    path.write_bytes(content.replace(struct.pack("<Q", sizes[0]), struct.pack("<Q", claimed)))
    return path


def read_in_little_memory(path: Path) -> str:
    """What a child process with an address space of 3 GiB prints for a bag: the number of messages,
    or the error.
    """
    command = [sys.executable, "-c", READ_IN_LITTLE_MEMORY, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("form", ["zstd", "lz4"])
@pytest.mark.parametrize("claimed", [100, 10 * 2**30], ids=["as little", "as 10 GiB"])
def test_a_chunk_that_becomes_huge_is_refused(
    form: str, claimed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_chunk(tmp_path / "bomb.mcap", form, bomb(form), claimed, monkeypatch)
    assert path.stat().st_size < 2**24
    limit = min(claimed, decompression.MAX_CHUNK_BYTES)
    assert f"{form} data become larger than the limit of {limit:,}" in read_in_little_memory(path)


def test_a_message_that_becomes_huge_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bag"
    with BagWriter(path, "mcap") as writer:
        writer.add_topic("/can/weather", STRING, qos_profile(1))
        writer.write_raw("/can/weather", bomb("zstd"), 1)
    metadata = path / "metadata.yaml"
    text = metadata.read_text()
    for key, value in (("format", "zstd"), ("mode", "MESSAGE")):
        text = re.sub(rf"compression_{key}:.*", f"compression_{key}: {value}", text)
    metadata.write_text(text)
    assert "zstd data become larger than the limit" in read_in_little_memory(path)


def test_a_file_that_becomes_huge_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    file = tmp_path / "bag.mcap.zstd"
    file.write_bytes(bomb("zstd"))
    with pytest.raises(DecompressionError, match="bag.mcap.zstd becomes larger than the limit"):
        check_file(file)
    for damaged in (file.read_bytes()[:-5], b"no zstd at all"):
        file.write_bytes(damaged[:1000])
        with pytest.raises(DecompressionError, match="is damaged"):
            check_file(file)
    (tmp_path / "metadata.yaml").write_text("rosbag2_bagfile_information: {}")
    with pytest.raises(BagError, match="bag.mcap.zstd is damaged"), BagReader(tmp_path):
        pass
