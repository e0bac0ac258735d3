"""Reads bags (rosbag2 folders, single MCAP or sqlite3 files, ROS 1 bags) without ROS.

A topic that nobody asks for never spoils a bag: message definitions are read when the first message
of their type is decoded, and topics that cannot be read at all are left out by name.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar

from rosbags import rosbag1, rosbag2
from rosbags.interfaces import Connection, ConnectionExtRosbag2, Qos, QosDurability
from rosbags.rosbag2.reader import DirectoryReader
from rosbags.typesys.store import Typestore

from occ_perception_ros.bags.decompression import check_file, decompress, limit_decompression
from occ_perception_ros.bags.definitions import DefinitionError, typestore_for
from occ_perception_ros.bags.mcap_storage import McapStorage


class BagError(ValueError):
    """The bag, or a message in it, cannot be read."""


class UnknownTypeError(BagError):
    """Messages of a topic cannot be decoded, because their type's definition is not usable."""


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
        limit_decompression()
        self.path = path
        self.skipped: dict[str, str] = {}
        """Why topics are left out, by name; known once the bag is open."""
        self._reader: rosbag1.Reader | rosbag2.Reader
        self._connections: list[Connection] = []
        self._typestores: dict[str, Typestore | DefinitionError] = {}
        try:
            if path.suffix == ".bag" and path.is_file():
                self._reader = rosbag1.Reader(path)
            else:
                self._reader = _Rosbag2Reader(path)
        except (rosbag1.ReaderError, rosbag2.ReaderError, FileNotFoundError) as error:
            raise BagError(f"{path} is not a bag: {error}") from error

    @property
    def is_ros2(self) -> bool:
        """Whether this is a bag of ROS 2."""
        return isinstance(self._reader, rosbag2.Reader)

    def __enter__(self) -> BagReader:
        try:
            self._reader.open()
        except Exception as error:  # damaged bytes raise many kinds of errors in the library
            raise BagError(
                f"{self.path} cannot be read: {type(error).__name__}: {error}"
            ) from error
        self.skipped = dict(self._unreadable_topics())
        self._connections = [c for c in self._reader.connections if c.topic not in self.skipped]
        return self

    def _unreadable_topics(self) -> Iterator[tuple[str, str]]:
        """Names of topics that cannot be read, and why."""
        if isinstance(self._reader, rosbag2.Reader):
            storage = self._reader.storage
            parts = storage.storages if isinstance(storage, DirectoryReader) else [storage]
            for part in parts:
                if isinstance(part, McapStorage):
                    yield from part.skipped.items()
        types: dict[str, set[str]] = {}
        for connection in self._reader.connections:
            types.setdefault(connection.topic, set()).add(connection.msgtype)
            extra = connection.ext
            if isinstance(extra, ConnectionExtRosbag2) and extra.serialization_format != "cdr":
                yield connection.topic, f"it has {extra.serialization_format} messages, not CDR"
        for topic, names in types.items():
            if len(names) > 1:
                yield topic, f"it has messages of {' and of '.join(sorted(names))}"

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
        """All readable topics by name, including those without messages."""
        found: dict[str, BagTopic] = {}
        for connection in self._connections:
            qos: tuple[Qos, ...] = ()
            if isinstance(connection.ext, ConnectionExtRosbag2):
                qos = tuple(connection.ext.offered_qos_profiles)
            known = found.get(connection.topic)
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
        connections = [c for c in self._connections if topics is None or c.topic in topics]
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
            UnknownTypeError: the bag has no usable definition of its type, which is none of ROS'
                own.
            BagError: the bytes are not a message of this type.
        """
        typestore = self._typestore(message.message_type)
        try:
            if self.is_ros2:
                return typestore.deserialize_cdr(message.data, message.message_type)
            return typestore.deserialize_ros1(message.data, message.message_type)
        except Exception as error:  # wrong bytes raise many kinds of errors in the decoder
            raise BagError(
                f"a message of {message.topic} at {message.stamp_ns} ns is not a "
                f"{message.message_type}: {error}"
            ) from error

    def _typestore(self, message_type: str) -> Typestore:
        """The types for decoding ``message_type``."""
        if message_type not in self._typestores:
            connections = [c for c in self._connections if c.msgtype == message_type]
            try:
                self._typestores[message_type] = typestore_for(connections[0], self.is_ros2)
            except DefinitionError as error:
                self._typestores[message_type] = error
        found = self._typestores[message_type]
        if isinstance(found, DefinitionError):
            raise UnknownTypeError(str(found))
        return found


class _Folder(DirectoryReader):
    """rosbags' reader of a folder with metadata.yaml, with our storage for MCAP files."""

    STORAGE_PLUGINS: ClassVar[dict[str, Any]] = {  # type: ignore[misc]
        **DirectoryReader.STORAGE_PLUGINS,
        "mcap": McapStorage,
    }
    _has_compressed_messages = False

    def open(self) -> None:
        """Opens the folder; compressed files are checked before they are unpacked."""
        for file in sorted(Path(str(self.path)).glob("*.zstd")):
            check_file(file)
        super().open()
        self._has_compressed_messages = self.metadata.compression_mode == "message"
        if self._has_compressed_messages:
            self.metadata = self.metadata._replace(compression_mode=None)

    def messages(
        self, connections: Collection[Connection], start: int | None = None, stop: int | None = None
    ) -> Generator[tuple[Connection, int, bytes], None, None]:
        """Connection, bag time in nanoseconds, and bytes of every message, in their order."""
        for connection, stamp_ns, data in super().messages(connections, start, stop):
            yield connection, stamp_ns, self._plain(data)

    def _plain(self, data: bytes) -> bytes:
        return decompress(bytes(data), "zstd") if self._has_compressed_messages else data


class _Rosbag2Reader(rosbag2.Reader):
    """rosbags' reader, with our storage for MCAP files."""

    STORAGE_PLUGINS: ClassVar[dict[str, Any]] = {  # type: ignore[misc]
        **rosbag2.Reader.STORAGE_PLUGINS,
        "dir": _Folder,
        ".mcap": McapStorage,
    }
