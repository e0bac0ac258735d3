"""Frames from a log file, and from a bus that may fail and come back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from occ_perception_ros.can.frame import CanFrame, frame_from_can_message
from occ_perception_ros.can.install import import_or_explain
from occ_perception_ros.can.log_limits import check_expansion

_RETRY_S = 1.0
_POLL_S = 0.2
_STOP_S = 5.0
"""A driver that hangs does not keep the process from ending."""
_MAX_PAUSE_S = 60.0
"""Longer gaps in a log are shortened; a wrong stamp must not stop it."""


class CanSourceError(ValueError):
    """A log or an interface cannot be read."""


def log_frames(path: Path) -> Iterator[CanFrame]:
    """The frames of a log that python-can reads: ``.asc``, ``.blf``, ``.log`` (candump) and others.

    Frames without a usable time stamp are left out.

    Raises:
        CanSourceError: the file is missing, of an unknown kind, or damaged; the frames before the
            damage have been returned.
        ModuleNotFoundError: python-can is not installed; the text says how to install it.
    """
    _check_file(path)
    can = import_or_explain("can")
    # Stamps of an ASC file count from its start unless its date is added.
    options = {"relative_timestamp": False} if ".asc" in path.suffixes else {}
    number = 0
    try:
        check_expansion(path)
        with can.LogReader(str(path), **options) as reader:
            for message in reader:
                number += 1
                try:
                    yield frame_from_can_message(message)
                except ValueError:
                    continue
    except Exception as error:  # damaged bytes raise many kinds of errors in the library
        reason = " ".join(str(error).split()) or type(error).__name__
        raise CanSourceError(f"{path} cannot be read after {number} frames: {reason}") from error


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise CanSourceError(f"the CAN log {path} does not exist")


class LogPlayer:
    """Plays a log once at its own pace, in a thread.

    Args:
        path: see ``log_frames``.
        take: called with every frame, in the thread.
        report: called, in the thread, when the log has ended or cannot be read, with the reason.

    Raises:
        CanSourceError: the file is missing.
        ModuleNotFoundError: python-can is not installed; the text says how to install it.
    """

    def __init__(
        self, path: Path, take: Callable[[CanFrame], object], report: Callable[[str], object]
    ) -> None:
        import_or_explain("can")
        _check_file(path)
        self._path, self._take, self._report = path, take, report
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"play {path.name}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread."""
        self._stopping.set()
        self._thread.join(_STOP_S)

    def _run(self) -> None:
        try:
            self._play()
        except CanSourceError as error:
            self._report(str(error))
        else:
            self._report(f"the CAN log {self._path} has ended")

    def _play(self) -> None:
        before_ns, due_s = None, time.monotonic()
        for frame in log_frames(self._path):
            if before_ns is not None:
                due_s += min(max(frame.stamp_ns - before_ns, 0) * 1e-9, _MAX_PAUSE_S)
            before_ns = frame.stamp_ns
            wait_s = due_s - time.monotonic()
            if self._stopping.wait(wait_s) if wait_s > 0 else self._stopping.is_set():
                return
            self._take(frame)


class CanBus:
    """Reads a bus in a thread, and opens it again when it fails.

    Args:
        interface: python-can's name of the interface, such as ``socketcan``.
        channel: such as ``can0``.
        take: called with every frame, in the thread.
        report: called, in the thread, with the reason why the bus cannot be read, and with an empty
            text once it can.

    Raises:
        CanSourceError: python-can has no such interface.
        ModuleNotFoundError: python-can is not installed; the text says how to install it.
    """

    def __init__(
        self,
        interface: str,
        channel: str,
        take: Callable[[CanFrame], object],
        report: Callable[[str], object],
    ) -> None:
        self._can = import_or_explain("can")
        if interface not in self._can.VALID_INTERFACES:
            raise CanSourceError(
                f"python-can has no interface '{interface}'; expected one of "
                f"{sorted(self._can.VALID_INTERFACES)}"
            )
        self._interface, self._channel = interface, channel
        self._take, self._report = take, report
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"can {channel}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread."""
        self._stopping.set()
        self._thread.join(_STOP_S)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._read()
            except Exception as error:  # drivers raise many kinds of errors
                reason = " ".join(str(error).split()) or type(error).__name__
                self._report(f"{self._interface} '{self._channel}' cannot be read: {reason}")
                self._stopping.wait(_RETRY_S)

    def _read(self) -> None:
        bus: Any = self._can.Bus(interface=self._interface, channel=self._channel)
        try:
            self._report("")
            while not self._stopping.is_set():
                message = bus.recv(_POLL_S)
                if message is not None:
                    self._take(frame_from_can_message(message))
        finally:
            bus.shutdown()
