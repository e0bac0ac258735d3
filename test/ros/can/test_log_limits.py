"""CAN logs and DBC files of strangers: no more memory than allowed, and one error."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import can
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from occ_perception_ros.can import CanDecoder, CanSourceError, DbcError, log_frames
from occ_perception_ros.can.log_limits import check_expansion

FUZZ = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def write_log(path: Path, frames: int) -> Path:
    with can.Logger(str(path)) as logger:
        for number in range(frames):
            data = struct.pack("<II", number * 2_654_435_761 % 2**32, number)
            logger(can.Message(timestamp=1e9 + number, arbitration_id=number % 2048, data=data))
    return path


@pytest.mark.parametrize("name", ["a.blf", "a.log.gz", "a.asc.gz", "a.log"])
def test_honest_logs_pass(name: str, tmp_path: Path) -> None:
    path = write_log(tmp_path / name, 5000)
    check_expansion(path)
    assert sum(1 for _ in log_frames(path)) == 5000


def write_container(path: Path, data: bytes) -> Path:
    """A BLF log with one container of compressed data."""
    write_log(path, 1)
    header = path.read_bytes()[:144]
    size = 32 + len(data)
    container = struct.pack("<4sHHLLH6xL4x", b"LOBJ", 16, 1, size, 10, 2, 1000) + data
    path.write_bytes(header + container + bytes(size % 4))
    return path


def test_a_container_that_becomes_huge_is_refused(tmp_path: Path) -> None:
    """128 MiB of zeros in about 128 kB, twice the limit."""
    path = write_container(tmp_path / "bomb.blf", zlib.compress(bytes(2**27)))
    with pytest.raises(CanSourceError, match=r"bomb\.blf.*a container becomes larger than"):
        list(log_frames(path))
    check_expansion(write_container(path, zlib.compress(bytes(2**25))))


def test_a_text_that_becomes_huge_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.log.gz"
    path.write_bytes(gzip.compress(bytes(2**27), 1) * 3)
    with pytest.raises(CanSourceError, match=r"bomb\.log\.gz.*its text has more than"):
        list(log_frames(path))


@FUZZ
@given(at=st.integers(0, 2000), piece=st.binary(min_size=1, max_size=6), cut=st.booleans())
@pytest.mark.parametrize("name", ["a.blf", "a.log.gz"])
def test_damaged_logs_are_refused_or_shorter(
    name: str, at: int, piece: bytes, cut: bool, tmp_path: Path
) -> None:
    path = tmp_path / name
    if not path.exists():
        write_log(path, 40)
        path.with_suffix(".good").write_bytes(path.read_bytes())
    content = bytearray(path.with_suffix(".good").read_bytes())
    at %= len(content)
    content[at : at + len(piece)] = piece
    path.write_bytes(bytes(content[:at] if cut else content))
    try:
        assert sum(1 for _ in log_frames(path)) <= 80
    except CanSourceError as error:
        assert path.name in str(error)


WORDS = ["BO_", "SG_", "VAL_", "BA_", "1", "m0M", ":", ";", "|", "@1+", "(1,0)", "[0|1]", '"', "X"]


@FUZZ
@given(
    words=st.lists(st.sampled_from(WORDS) | st.text(max_size=4), max_size=20),
    at=st.integers(0, 5000),
)
def test_damaged_dbc_files_are_read_or_refused(
    words: list[str], at: int, dbc_path: Path, tmp_path: Path
) -> None:
    text = dbc_path.read_text()
    at %= len(text)
    path = tmp_path / "damaged.dbc"
    path.write_bytes((text[:at] + " ".join(words) + text[at:]).encode("utf-8", "replace"))
    try:
        CanDecoder(path, ["RainLight.RainIntensity"])
    except DbcError as error:
        assert "damaged.dbc" in str(error)
