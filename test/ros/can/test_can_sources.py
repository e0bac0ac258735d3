"""Frames from logs and from a bus."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import can
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from occ_perception_ros.can import CanFrame, CanSourceError, log_frames
from occ_perception_ros.can.frame import frame_from_can_message, frame_from_ros_message
from occ_perception_ros.can.sources import CanBus, LogPlayer

WAIT_S = 300.0
"""A limit for hangs; no test needs it."""
SUFFIXES = [".asc", ".blf", ".log", ".csv", ".trc"]


def message_of(frame: CanFrame) -> can.Message:
    return can.Message(
        timestamp=frame.stamp_ns / 1e9,
        arbitration_id=frame.can_id,
        is_extended_id=frame.is_extended,
        data=frame.data,
    )


@pytest.fixture
def write_log(drive: list[CanFrame]) -> Callable[[Path], Path]:
    def write(path: Path) -> Path:
        with can.Logger(str(path)) as logger:
            for frame in drive:
                logger(message_of(frame))
        return path

    return write


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_log_gives_its_frames(
    suffix: str, tmp_path: Path, drive: list[CanFrame], write_log: Callable[[Path], Path]
) -> None:
    frames = list(log_frames(write_log(tmp_path / f"drive{suffix}")))
    assert [(f.can_id, f.is_extended, f.data) for f in frames] == [
        (f.can_id, f.is_extended, f.data) for f in drive
    ]
    first, last = frames[0].stamp_ns, frames[-1].stamp_ns
    # a text has stamps of a millisecond or less; an ASC file's date has no time zone
    assert last - first == pytest.approx(drive[-1].stamp_ns - drive[0].stamp_ns, abs=5e6)


def test_error_and_remote_frames_of_a_log_are_marked(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text("(1600000000.0) can0 123#R\n(1600000000.1) can0 20000080#0000000000000000\n")
    remote, error = log_frames(path)
    assert remote.is_remote and not remote.is_error
    assert error.is_error


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("gone.asc", None, "gone.asc does not exist"),
        ("a.txt", b"1 2 3", "a.txt cannot be read after 0 frames"),
        ("a.blf", b"LOGG" + bytes(10), "a.blf cannot be read after 0 frames"),
        ("a.log", b"(x) can0 123#00\n", "a.log cannot be read after 0 frames"),
    ],
)
def test_a_log_that_cannot_be_read_is_named(
    name: str, content: bytes | None, reason: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CanSourceError) as raised:
        list(log_frames(tmp_path / name))
    assert reason in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_log_that_was_cut_off_gives_what_it_has(
    suffix: str, tmp_path: Path, write_log: Callable[[Path], Path], drive: list[CanFrame]
) -> None:
    path = write_log(tmp_path / f"drive{suffix}")
    content = path.read_bytes()
    for share in (0.9, 0.5, 0.1):
        path.write_bytes(content[: int(len(content) * share)])
        frames = []
        try:
            for frame in log_frames(path):
                frames.append(frame)
        except CanSourceError as error:
            assert f"after {len(frames)} frames" in str(error)
        assert len(frames) < len(drive)


@pytest.mark.parametrize("suffix", SUFFIXES)
@given(content=st.binary(max_size=300), text=st.text(max_size=200))
def test_a_log_of_garbage_is_refused_or_empty(
    suffix: str, content: bytes, text: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("log") / f"a{suffix}"
    for each in (content, text.encode("utf-8", "replace"), b"LOGG" + content):
        path.write_bytes(each)
        try:
            for frame in log_frames(path):
                assert isinstance(frame, CanFrame)
        except CanSourceError as error:
            assert path.name in str(error)


def test_a_ros_message_has_as_many_bytes_as_it_says() -> None:
    data = np.arange(8, dtype=np.uint8)
    message = SimpleNamespace(
        id=0x18FF4230, is_extended=True, is_error=False, is_rtr=False, dlc=3, data=data
    )
    assert frame_from_ros_message(message, 5) == CanFrame(5, 0x18FF4230, b"\0\1\2", True)
    message.dlc = 255
    assert frame_from_ros_message(message, 5).data == bytes(range(8))


@pytest.mark.parametrize("stamp_s", [float("nan"), float("inf"), -1.0, 1e300])
def test_a_frame_without_a_usable_stamp_is_refused(stamp_s: float) -> None:
    message = can.Message(arbitration_id=1)
    message.timestamp = stamp_s
    with pytest.raises(ValueError, match="time stamp"):
        frame_from_can_message(message)


class Collected:
    """What a source hands over, from another thread."""

    def __init__(self, number: int) -> None:
        self.frames: list[CanFrame] = []
        self.reports: list[str] = []
        self.complete, self.reported = threading.Event(), threading.Event()
        self._number = number

    def take(self, frame: CanFrame) -> None:
        self.frames.append(frame)
        if len(self.frames) == self._number:
            self.complete.set()

    def report(self, text: str) -> None:
        self.reports.append(text)
        self.reported.set()


def exchange(interface: str, channel: str, drive: list[CanFrame]) -> list[CanFrame]:
    """What ``CanBus`` reads of frames that are sent on a channel."""
    collected = Collected(20)
    bus = CanBus(interface, channel, collected.take, collected.report)
    try:
        assert collected.reported.wait(WAIT_S)
        with can.Bus(interface=interface, channel=channel) as sender:
            for frame in drive[:20]:
                sender.send(message_of(frame))
            assert collected.complete.wait(WAIT_S)
    finally:
        bus.stop()
    assert collected.reports == [""]
    return collected.frames


def test_a_bus_is_read(drive: list[CanFrame]) -> None:
    frames = exchange("virtual", "test", drive)
    assert [(f.can_id, f.data) for f in frames] == [(f.can_id, f.data) for f in drive[:20]]


def test_socketcan_is_read(drive: list[CanFrame]) -> None:
    channel = "vcan0"
    try:
        with socket.socket(socket.AF_CAN, socket.SOCK_RAW, socket.CAN_RAW) as probe:
            probe.bind((channel,))
    except (OSError, AttributeError) as error:
        pytest.skip(f"no {channel} here ({error}); `ip link add {channel} type vcan` as root")
    frames = exchange("socketcan", channel, drive)
    assert [(f.can_id, f.data) for f in frames] == [(f.can_id, f.data) for f in drive[:20]]


def test_a_bus_that_fails_is_reported_and_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    opened, closed = [], []

    class Flaky:
        """Gives one frame and then fails, as when the plug is pulled."""

        def __init__(self, **options: str) -> None:
            if not opened:
                opened.append("failed")
                raise OSError(19, "No such device")
            opened.append("")
            self._messages = [can.Message(arbitration_id=len(opened), timestamp=1.0)]

        def recv(self, timeout_s: float) -> can.Message:
            if not self._messages:
                raise can.CanOperationError("network is down")
            return self._messages.pop()

        def shutdown(self) -> None:
            closed.append(True)

    monkeypatch.setattr(can, "Bus", Flaky)
    monkeypatch.setattr("occ_perception_ros.can.sources._RETRY_S", 0.01)
    collected = Collected(3)
    bus = CanBus("socketcan", "can0", collected.take, collected.report)
    assert collected.complete.wait(WAIT_S)
    bus.stop()
    assert "No such device" in collected.reports[0] and "can0" in collected.reports[0]
    assert collected.reports[1] == ""
    assert "network is down" in collected.reports[2]
    assert len(closed) >= 2


def test_an_interface_that_does_not_exist_is_refused() -> None:
    with pytest.raises(CanSourceError, match="no interface 'sockettin'; expected one of"):
        CanBus("sockettin", "can0", lambda frame: None, lambda text: None)


def test_a_log_is_played_and_its_end_reported(
    tmp_path: Path, frame_of: Callable[..., CanFrame]
) -> None:
    path = tmp_path / "a.log"
    with can.Logger(str(path)) as logger:
        for step in range(10):
            logger(message_of(frame_of(step / 100, "ExteriorLights", HeadlightState="Off")))
    collected = Collected(10)
    player = LogPlayer(path, collected.take, collected.report)
    assert collected.reported.wait(WAIT_S)
    player.stop()
    assert len(collected.frames) == 10
    assert collected.reports == [f"the CAN log {path} has ended"]


def test_a_player_stops_in_a_pause(tmp_path: Path, frame_of: Callable[..., CanFrame]) -> None:
    path = tmp_path / "a.log"
    with can.Logger(str(path)) as logger:
        for time_s in (0, 1e6):
            logger(message_of(frame_of(time_s, "ExteriorLights", HeadlightState="Off")))
    collected = Collected(1)
    player = LogPlayer(path, collected.take, collected.report)
    assert collected.complete.wait(WAIT_S)
    player.stop()
    assert len(collected.frames) == 1


def test_a_log_to_play_must_exist(tmp_path: Path) -> None:
    with pytest.raises(CanSourceError, match="does not exist"):
        LogPlayer(tmp_path / "gone.asc", lambda frame: None, lambda text: None)
