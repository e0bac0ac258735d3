"""Decodes CAN frames by a DBC file; what cannot be decoded is counted and never raises."""

from __future__ import annotations

import difflib
import math
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from occ_perception_ros.can.frame import MAX_EXTENDED_ID, MAX_STANDARD_ID, CanFrame, SignalValue
from occ_perception_ros.can.install import import_or_explain

if TYPE_CHECKING:
    from cantools.database.can import Database, Message
    from cantools.database.can.signal import Signal

OUTCOMES = (
    "decoded",
    "unused",
    "unknown_id",
    "invalid_id",
    "wrong_length",
    "undecodable",
    "error_frames",
    "remote_frames",
)
"""What becomes of a frame; every frame counts for exactly one of them."""
FAULTS = ("invalid_id", "wrong_length", "undecodable", "error_frames")
"""The outcomes that a healthy bus with the right DBC file does not have."""

_FD_LENGTHS = (*range(9), 12, 16, 20, 24, 32, 48, 64)
_FrameId = tuple[int, bool]


class DbcError(ValueError):
    """The DBC file cannot be read, or lacks signals that are asked for."""


class CanDecoder:
    """Decodes the signals that are asked for from a bus with any other traffic.

    A frame must have the length that the DBC file states; a CAN FD frame may be padded to the next
    length that FD has. Multiplexed signals are returned when their page comes.

    Args:
        dbc: path of the DBC file.
        signals: names of the signals, as ``Message.Signal``.

    Raises:
        DbcError: the file is missing or no DBC file, or a signal is not in it; the text lists all
            of these.
        ModuleNotFoundError: cantools is not installed; the text says how to install it.
    """

    def __init__(self, dbc: Path, signals: Iterable[str]) -> None:
        database = _load(dbc)
        self.counts: Counter[str] = Counter(dict.fromkeys(OUTCOMES, 0))
        """Number of frames by outcome; ``out_of_range`` counts single values."""
        self._known = {_frame_id(message) for message in database.messages}
        self._used: dict[_FrameId, Message] = {}
        self._wanted: dict[str, dict[str, Signal]] = {}
        """Signal by its short name, by message."""
        self._last: dict[_FrameId, tuple[bytes, dict[str, SignalValue]]] = {}
        problems = [problem for name in signals if (problem := self._want(database, name))]
        if problems:
            raise DbcError(f"{dbc}: {'; '.join(problems)}")

    def signal(self, name: str) -> Signal:
        """The description of a signal that was asked for, by its name ``Message.Signal``."""
        message, _, short = name.partition(".")
        return self._wanted[message][short]

    def decode(self, frame: CanFrame) -> dict[str, SignalValue]:
        """The values of the wanted signals in a frame, by ``Message.Signal``; often none.

        Values that are not finite or outside the range of the DBC file are left out.
        """
        outcome, values = self._decode(frame)
        self.counts[outcome] += 1
        return values

    def _decode(self, frame: CanFrame) -> tuple[str, dict[str, SignalValue]]:
        if frame.is_error:
            return "error_frames", {}
        if not 0 <= frame.can_id <= (MAX_EXTENDED_ID if frame.is_extended else MAX_STANDARD_ID):
            return "invalid_id", {}
        if frame.is_remote:
            return "remote_frames", {}
        key = (frame.can_id, frame.is_extended)
        message = self._used.get(key)
        if message is None:
            return "unused" if key in self._known else "unknown_id", {}
        data, values = self._last.get(key, (None, {}))
        if data == frame.data:  # most frames repeat the one before
            return "decoded", values
        if not _has_length(frame, message.length):
            return "wrong_length", {}
        try:
            decoded: Any = message.decode(frame.data[: message.length], decode_choices=True)
        except Exception:  # an unknown page, a signal beyond the data: many kinds of errors
            return "undecodable", {}
        values = self._values(message.name, decoded)
        self._last[key] = (frame.data, values)
        return "decoded", values

    def _values(self, message: str, decoded: dict[str, Any]) -> dict[str, SignalValue]:
        values = {}
        for short, signal in self._wanted[message].items():
            if short not in decoded:  # of another page
                continue
            value = _signal_value(decoded[short])
            if value.name or _is_in_range(value.number, signal):
                values[f"{message}.{short}"] = value
            else:
                self.counts["out_of_range"] += 1
        return values

    def _want(self, database: Database, name: str) -> str:
        """Registers a signal; returns what is wrong with its name."""
        message_name, _, short = name.partition(".")
        messages = {message.name: message for message in database.messages}
        if message_name not in messages:
            return f"has no message '{message_name}'{_similar(message_name, messages)}"
        message = messages[message_name]
        signals = {signal.name: signal for signal in message.signals}
        if short not in signals:
            return f"{message_name} has no signal '{short}'{_similar(short, signals)}"
        self._used[_frame_id(message)] = message
        self._wanted.setdefault(message_name, {})[short] = signals[short]
        return ""


def _load(dbc: Path) -> Database:
    if not dbc.is_file():
        raise DbcError(f"the DBC file {dbc} does not exist")
    cantools = import_or_explain("cantools")
    try:
        # Not strict: the DBC files of real vehicles have overlapping signals.
        return cantools.database.load_file(dbc, database_format="dbc", strict=False)
    except Exception as error:  # the parser raises several kinds of errors
        reason = " ".join(str(error).split())
        raise DbcError(f"{dbc} is not a DBC file: {reason}") from error


def _frame_id(message: Message) -> _FrameId:
    return message.frame_id, message.is_extended_frame


def _has_length(frame: CanFrame, length: int) -> bool:
    if not frame.is_fd:
        return len(frame.data) == length
    padded = next((size for size in _FD_LENGTHS if size >= length), length)
    return len(frame.data) in (length, padded)


def _signal_value(value: Any) -> SignalValue:
    name = getattr(value, "name", "")
    return SignalValue(float(value.value if name else value), str(name))


def _is_in_range(number: float, signal: Signal) -> bool:
    if not math.isfinite(number):
        return False
    low, high = signal.minimum, signal.maximum
    if low is None or high is None or low >= high:  # [0|0] stands for no range
        return True
    slack = abs(signal.scale) / 2  # scaling rounds
    return bool(low - slack <= number <= high + slack)


def _similar(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=3)
    return f" (similar: {', '.join(near)})" if near else ""
