"""Lists the channels of an MCAP file whatever their encoding, which ``rosbags`` reads for ROS 2
encodings only.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

MAGIC = b"\x89MCAP0\r\n"
_SCHEMA, _CHANNEL, _FOOTER = 0x03, 0x04, 0x02
_FOOTER_BYTES = 1 + 8 + 8 + 8 + 4  # opcode, length, summary start, summary offset start, CRC


@dataclass(frozen=True, slots=True)
class McapChannel:
    """How one topic of an MCAP file is encoded."""

    topic: str
    message_type: str
    message_encoding: str
    """``"cdr"`` in a ROS 2 bag."""
    schema_encoding: str
    """``"ros2msg"`` or ``"ros2idl"`` in a ROS 2 bag."""

    @property
    def is_ros2(self) -> bool:
        return self.message_encoding == "cdr" and self.schema_encoding in (
            "ros2msg",
            "ros2idl",
            "omgidl",
            "",
        )


def mcap_channels(path: Path) -> list[McapChannel]:
    """The channels that the summary section at the end of the file lists.

    Raises:
        ValueError: not an MCAP file, or one that was cut off before its summary was written.
    """
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise ValueError(f"{path} does not begin as an MCAP file")
        size = path.stat().st_size
        file.seek(max(size - _FOOTER_BYTES - len(MAGIC), len(MAGIC)))
        tail = file.read()
        if (
            len(tail) < _FOOTER_BYTES + len(MAGIC)
            or tail[-len(MAGIC) :] != MAGIC
            or tail[0] != _FOOTER
        ):
            raise ValueError(f"{path} was cut off: it has no MCAP footer")
        (summary_start,) = struct.unpack_from("<Q", tail, 9)
        if summary_start == 0:
            raise ValueError(f"{path} has no summary section")
        file.seek(summary_start)
        summary = file.read(size - summary_start - _FOOTER_BYTES - len(MAGIC))
    return _channels(summary)


def _channels(summary: bytes) -> list[McapChannel]:
    schemas: dict[int, tuple[str, str]] = {0: ("", "")}
    channels: list[tuple[int, str, str]] = []
    position = 0
    while position < len(summary):
        opcode, length = struct.unpack_from("<BQ", summary, position)
        body = summary[position + 9 : position + 9 + length]
        position += 9 + length
        if opcode == _SCHEMA:
            (identity,) = struct.unpack_from("<H", body)
            name, offset = _string(body, 2)
            encoding, _ = _string(body, offset)
            schemas[identity] = (name, encoding)
        elif opcode == _CHANNEL:
            _, schema = struct.unpack_from("<HH", body)
            topic, offset = _string(body, 4)
            encoding, _ = _string(body, offset)
            channels.append((schema, topic, encoding))
    return [
        McapChannel(topic, schemas[schema][0], encoding, schemas[schema][1])
        for schema, topic, encoding in channels
    ]


def _string(body: bytes, offset: int) -> tuple[str, int]:
    (length,) = struct.unpack_from("<I", body, offset)
    end = offset + 4 + length
    return body[offset + 4 : end].decode(), end
