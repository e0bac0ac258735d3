"""MCAP files that also have topics of other encodings than ROS 2's."""

from __future__ import annotations

from collections.abc import Collection, Generator
from pathlib import Path

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
from rosbags.rosbag2.storage_mcap import McapReader

_FORMATS = {
    "ros2msg": MessageDefinitionFormat.MSG,
    "ros2idl": MessageDefinitionFormat.IDL,
    "omgidl": MessageDefinitionFormat.IDL,
    "": MessageDefinitionFormat.NONE,
}
"""Schema encodings of ROS 2."""

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
        self._mixed = False

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
        self._mixed = bool(self.skipped)
        if not self._mixed:
            super().open()
            return
        self.bio = self._path.open("rb")
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

    def messages(
        self, connections: Collection[Connection], start: int | None = None, stop: int | None = None
    ) -> Generator[tuple[Connection, int, bytes], None, None]:
        """Connection, bag time in nanoseconds, and bytes of every message, in their order."""
        if not self._mixed:
            yield from super().messages(connections, start, stop)
            return
        assert self.bio is not None
        wanted = {connection.id: connection for connection in connections}
        topics = [connection.topic for connection in connections]
        reader = SeekingReader(self.bio)
        for _, channel, message in reader.iter_messages(topics, start, stop):
            if channel.id in wanted:
                yield wanted[channel.id], message.log_time, message.data

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
