"""Reads bags (rosbag2 folders, single MCAP or sqlite3 files, ROS 1 bags) without ROS."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from mcap.exceptions import InvalidMagic
from mcap.reader import SeekingReader
from rosbags.highlevel import AnyReader, AnyReaderError
from rosbags.interfaces import ConnectionExtRosbag2, Qos, QosDurability

from occ_perception_ros.bags.writer import TYPESTORE

_MAX_RECORD_BYTES = 2**26
"""Limit for records of an MCAP's summary; the length field of a damaged file may be anything."""


class BagError(ValueError):
    """The bag, or a message in it, cannot be read."""


@dataclass(frozen=True, slots=True)
class BagTopic:
    """One topic of a bag."""

    name: str
    message_type: str
    """For example ``sensor_msgs/msg/Image``."""
    qos: tuple[Qos, ...]
    """Quality of service that the publishers offered; empty if the bag does not state it."""
    count: int
    """Number of messages."""

    @property
    def latched(self) -> bool:
        """Whether late subscribers get the last messages (transient local durability)."""
        return any(profile.durability is QosDurability.TRANSIENT_LOCAL for profile in self.qos)


@dataclass(frozen=True, slots=True)
class BagMessage:
    """One serialised message of a bag."""

    topic: str
    message_type: str
    stamp_ns: int
    """Bag time."""
    data: bytes
    """CDR; in a ROS 1 bag, ROS 1's serialisation."""


class BagReader:
    """A context manager for reading one bag.

    Args:
        path: a rosbag2 folder, or an ``.mcap``, ``.db3`` or ROS 1 ``.bag`` file.

    Raises:
        BagError: there is no bag at ``path``, or it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise BagError(
                f"{path} does not exist; give a rosbag2 folder, or an .mcap or .db3 file"
            )
        self.path = path
        try:
            self._reader = AnyReader([path], default_typestore=TYPESTORE)
        except (AnyReaderError, FileNotFoundError) as error:
            raise BagError(f"{path} is not a bag: {error}") from error

    @property
    def is_ros2(self) -> bool:
        """Whether this is a bag of ROS 2."""
        return self._reader.is2

    def __enter__(self) -> BagReader:
        try:
            self._reader.open()
        except Exception as error:  # damaged bytes raise many kinds of errors in the library
            raise BagError(
                f"{self.path} cannot be read: {type(error).__name__}: {error}"
            ) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._reader.close()

    @property
    def start_ns(self) -> int:
        """Bag time of the first message."""
        return self._reader.start_time

    @property
    def end_ns(self) -> int:
        """Bag time of the last message."""
        return self._reader.end_time - 1  # rosbags has the first nanosecond after it

    @property
    def topics(self) -> dict[str, BagTopic]:
        """All topics by name, including those without messages.

        Raises:
            BagError: a topic has messages of two types.
        """
        found: dict[str, BagTopic] = {}
        for connection in self._reader.connections:
            qos: tuple[Qos, ...] = ()
            if isinstance(connection.ext, ConnectionExtRosbag2):
                qos = tuple(connection.ext.offered_qos_profiles)
            known = found.get(connection.topic)
            if known is not None and known.message_type != connection.msgtype:
                raise BagError(
                    f"{self.path}: {connection.topic} has messages of {known.message_type} and "
                    f"of {connection.msgtype}"
                )
            found[connection.topic] = BagTopic(
                connection.topic,
                connection.msgtype,
                (known.qos if known else ()) + qos,
                (known.count if known else 0) + connection.msgcount,
            )
        return found

    def messages(self, topics: Collection[str] | None = None) -> Iterator[BagMessage]:
        """Messages in the order of bag time.

        Args:
            topics: only messages of these topics; names that the bag does not have are ignored.

        Raises:
            BagError: the file is damaged at this position.
        """
        connections = [c for c in self._reader.connections if topics is None or c.topic in topics]
        if not connections:
            return
        try:
            for connection, stamp_ns, data in self._reader.messages(connections):
                yield BagMessage(connection.topic, connection.msgtype, stamp_ns, bytes(data))
        except Exception as error:
            raise BagError(f"{self.path} is damaged: {type(error).__name__}: {error}") from error

    def decode(self, message: BagMessage) -> Any:
        """The message as an object with the attributes of its ROS type; arrays are numpy's.

        Raises:
            BagError: the bytes are not a message of this type.
        """
        try:
            return self._reader.deserialize(message.data, message.message_type)
        except Exception as error:  # wrong bytes raise many kinds of errors in the decoder
            raise BagError(
                f"a message of {message.topic} at {message.stamp_ns} ns is not a "
                f"{message.message_type}: {error}"
            ) from error


def mcap_encodings(path: Path) -> dict[str, tuple[str, str]]:
    """Message and schema encoding of every topic of an MCAP file; ROS 2's are cdr and ros2msg.

    MCAP files may have any encoding, but ``BagReader`` reads only those of ROS 2.

    Raises:
        BagError: this is not an MCAP file, or it was cut off before its summary was written.
    """
    with path.open("rb") as file:
        try:
            summary = SeekingReader(file, record_size_limit=_MAX_RECORD_BYTES).get_summary()
        except InvalidMagic as error:
            raise BagError(f"{path} is not an MCAP file: {error}") from error
        except Exception as error:  # damaged bytes raise many kinds of errors in the library
            raise BagError(f"{path} was cut off or is damaged at its end: {error}") from error
    if summary is None:
        raise BagError(f"{path} has no summary section")
    encodings = {}
    for channel in summary.channels.values():
        schema = summary.schemas.get(channel.schema_id)
        encodings[channel.topic] = (channel.message_encoding, schema.encoding if schema else "")
    return encodings
