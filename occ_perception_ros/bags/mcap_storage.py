"""MCAP files that also have topics of other encodings than ROS 2's."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import BinaryIO

from mcap.exceptions import InvalidMagic
from mcap.reader import SeekingReader
from mcap.records import Channel
from mcap.summary import Summary
from rosbags.interfaces import (
    Connection,
    ConnectionExtRosbag2,
    MessageDefinition,
    MessageDefinitionFormat,
)
from rosbags.rosbag2.metadata import ReaderMetadata, parse_qos
from rosbags.rosbag2.storage_mcap import ChunkInfo, McapReader

_FORMATS = {
    "ros2msg": MessageDefinitionFormat.MSG,
    "ros2idl": MessageDefinitionFormat.IDL,
    "omgidl": MessageDefinitionFormat.IDL,
    "": MessageDefinitionFormat.NONE,
}
"""Schema encodings of ROS 2."""

_MAGIC = b"\x89MCAP0\r\n"
_FOOTER_BYTES = 28
"""From the footer's fields, the first of which is the summary's position, to the end."""

_MAX_RECORD_BYTES = 2**26
"""Limit for records of an MCAP's summary; the length field of a damaged file may be anything."""


class McapError(ValueError):
    """The file has no summary that can be read."""


class McapStorage(McapReader):
    """A storage for rosbags' reader that leaves out topics of other encodings.

    A file whose topics are all of ROS 2 is left to rosbags.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._path = path
        self.skipped: dict[str, str] = {}
        """Why topics are left out, by name; known once the file is open."""

    def open(self) -> None:
        """Opens the file.

        Raises:
            rosbags.rosbag2.ReaderError: the file cannot be read.
        """
        try:
            summary = _summary(self._path)
        except McapError:
            super().open()  # reads files without a summary, and names what is wrong with others
            return
        self.skipped = _foreign(summary)
        if not self.skipped:
            super().open()
            return
        self.bio = self._path.open("rb")
        self.data_start, self.data_end = _data_section(self.bio)
        self.chunks = _chunks(summary)
        self.connections = [
            self._connection(channel, summary)
            for channel in summary.channels.values()
            if channel.topic not in self.skipped
        ]
        if (found := summary.statistics) is not None and found.message_count:
            start_ns, end_ns = found.message_start_time, found.message_end_time + 1
            count = sum(connection.msgcount for connection in self.connections)
            self.metadata = ReaderMetadata(
                end_ns - start_ns, start_ns, end_ns, count, None, None, None, None
            )

    def _connection(self, channel: Channel, summary: Summary) -> Connection:
        schema = summary.schemas.get(channel.schema_id)
        counts = summary.statistics.channel_message_counts if summary.statistics else {}
        text = schema.data.decode(errors="replace") if schema else ""
        return Connection(
            channel.id,
            channel.topic,
            schema.name if schema else "",
            MessageDefinition(_FORMATS[schema.encoding if schema else ""], text),
            "",
            counts.get(channel.id, 0),
            ConnectionExtRosbag2(
                channel.message_encoding,
                parse_qos(channel.metadata.get("offered_qos_profiles", "")),
            ),
            self,
        )


def _data_section(file: BinaryIO) -> tuple[int, int]:
    """Where the messages begin and end: behind the header, before the summary."""
    file.seek(len(_MAGIC) + 1)
    (header_bytes,) = struct.unpack("<Q", file.read(8))
    file.seek(-_FOOTER_BYTES, os.SEEK_END)
    (summary_start,) = struct.unpack("<Q", file.read(8))
    return len(_MAGIC) + 9 + header_bytes, summary_start


def _chunks(summary: Summary) -> list[ChunkInfo]:
    """The chunks, each of which may hold messages of any topic."""
    return [
        ChunkInfo(
            index.message_start_time,
            index.message_end_time,
            index.chunk_start_offset,
            index.chunk_length,
            index.message_index_offsets,
            index.message_index_length,
            index.compression,
            index.compressed_size,
            index.uncompressed_size,
            dict.fromkeys(summary.channels, 1),
        )
        for index in summary.chunk_indexes
    ]


def foreign_topics(path: Path) -> dict[str, str]:
    """Topics of an MCAP file that are not encoded as in ROS 2, with what they have instead.

    Raises:
        McapError: this is not an MCAP file, or it was cut off before its summary was written.
        OSError: it cannot be opened.
    """
    return _foreign(_summary(path))


def _summary(path: Path) -> Summary:
    with path.open("rb") as file:
        try:
            summary = SeekingReader(file, record_size_limit=_MAX_RECORD_BYTES).get_summary()
        except InvalidMagic as error:
            raise McapError(f"{path} is not an MCAP file: {error}") from error
        except Exception as error:  # damaged bytes raise many kinds of errors in the library
            raise McapError(f"{path} was cut off or is damaged at its end: {error}") from error
    if summary is None:
        raise McapError(f"{path} has no summary section")
    return summary


def _foreign(summary: Summary) -> dict[str, str]:
    """What the topics that are not encoded as in ROS 2 have instead."""
    found = {}
    for channel in summary.channels.values():
        schema = summary.schemas.get(channel.schema_id)
        encoding = schema.encoding if schema else ""
        if channel.message_encoding != "cdr" or encoding not in _FORMATS:
            found[channel.topic] = (
                f"it has {channel.message_encoding} messages of {encoding or 'no'} schema, which "
                "are not those of ROS 2"
            )
    return found
