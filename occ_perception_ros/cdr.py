"""Writes ROS messages as CDR bytes straight from numpy.

rclpy converts lists of sub-messages, such as ``Point[]``, element by element;
``Publisher.publish`` takes serialised bytes as well. The format is classic CDR, little-endian,
which every ROS 2 middleware reads (OMG DDSI-RTPS 10.2, representation 0x0001).
"""

from __future__ import annotations

import struct

import numpy as np

_ENCAPSULATION = b"\x00\x01\x00\x00"


class CdrWriter:
    """Appends fields in the order of the message definition."""

    def __init__(self) -> None:
        self._parts: list[bytes | memoryview] = [_ENCAPSULATION]
        self._size = 0  # alignment is relative to the end of the encapsulation header

    def numbers(self, code: str, *values: float) -> None:
        """Appends numbers of one ``struct`` format character, aligned to their size."""
        self._align(struct.calcsize(code))
        self._append(struct.pack(f"<{len(values)}{code}", *values))

    def string(self, text: str) -> None:
        """Appends a string."""
        data = text.encode() + b"\x00"
        self.numbers("I", len(data))
        self._append(data)

    def sequence(self, items: np.ndarray) -> None:
        """Appends a sequence of little-endian numbers ``[N]``, or of structs of them ``[N, K]``.

        They are copied when the message is made, and must not change before.
        """
        self.numbers("I", len(items))
        if items.size:
            self._align(items.dtype.itemsize)
            self._append(np.ascontiguousarray(items).reshape(-1).view(np.uint8).data)

    def header(self, stamp_ns: int, frame_id: str) -> None:
        """Appends a std_msgs/Header."""
        self.time(stamp_ns)
        self.string(frame_id)

    def time(self, stamp_ns: int) -> None:
        """Appends a builtin_interfaces/Time or Duration."""
        self.numbers("i", stamp_ns // 1_000_000_000)
        self.numbers("I", stamp_ns % 1_000_000_000)

    def message(self) -> bytes:
        """The serialised message."""
        return b"".join(self._parts)

    def _align(self, size: int) -> None:
        padding = -self._size % size
        if padding:
            self._append(b"\x00" * padding)

    def _append(self, data: bytes | memoryview) -> None:
        self._parts.append(data)
        self._size += len(data)
