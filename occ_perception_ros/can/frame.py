"""A frame of a CAN bus, and the value of a signal in it, whatever they were read from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

MAX_STANDARD_ID = 0x7FF
MAX_EXTENDED_ID = 0x1FFFFFFF


@dataclass(frozen=True, slots=True)
class CanFrame:
    """One frame of a CAN bus, classic or FD."""

    stamp_ns: int
    can_id: int
    """Identifier of 11 bits, or of 29 bits where ``is_extended``."""
    data: bytes
    is_extended: bool = False
    is_error: bool = False
    """Whether the controller reports an error instead of data."""
    is_remote: bool = False
    """Whether the frame asks for data and has none."""
    is_fd: bool = False


@dataclass(frozen=True, slots=True)
class SignalValue:
    """The physical value of a signal."""

    number: float
    """Scaled value."""
    name: str = ""
    """Name of the value in the DBC file (``VAL_``); empty: it has none."""

    def __str__(self) -> str:
        return self.name or f"{self.number:g}"

    def is_one_of(self, values: tuple[str | int | float, ...]) -> bool:
        """Whether its name or its number is among the values."""
        return self.number in values or (self.name != "" and self.name in values)


def frame_from_can_message(message: Any) -> CanFrame:
    """The frame of a ``can.Message`` of python-can.

    Raises:
        ValueError: its time stamp is negative or not finite, or does not fit into 63 bits.
    """
    stamp_ns = message.timestamp * 1e9
    if not 0 <= stamp_ns < 2**63:
        raise ValueError(f"a CAN frame has the time stamp {message.timestamp} s")
    return CanFrame(
        stamp_ns=round(stamp_ns),
        can_id=int(message.arbitration_id),
        data=bytes(message.data or b""),
        is_extended=bool(message.is_extended_id),
        is_error=bool(message.is_error_frame),
        is_remote=bool(message.is_remote_frame),
        is_fd=bool(message.is_fd),
    )


def frame_from_ros_message(message: Any, stamp_ns: int) -> CanFrame:
    """The frame of a can_msgs/Frame, which always has eight bytes, of which ``dlc`` are valid."""
    return CanFrame(
        stamp_ns=stamp_ns,
        can_id=int(message.id),
        data=bytes(bytearray(message.data))[: int(message.dlc)],
        is_extended=bool(message.is_extended),
        is_error=bool(message.is_error),
        is_remote=bool(message.is_rtr),
    )
