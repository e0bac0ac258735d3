"""Reads bags (rosbag2 folders, single MCAP or sqlite3 files, ROS 1 bags) without a ROS
installation.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from rosbags.highlevel import AnyReader, AnyReaderError
from rosbags.interfaces import ConnectionExtRosbag2, Qos, QosDurability

from occ_perception_ros.bags.writer import TYPESTORE


class BagError(ValueError):
    """The bag, or a message in it, cannot be read."""


@dataclass(frozen=True, slots=True)
class BagTopic:
    """One topic of a bag."""

    name: str
    message_type: str
    """As ``sensor_msgs/msg/Image``."""
    qos: tuple[Qos, ...]
    """As offered by the recorded publishers; empty where the bag does not say."""
    count: int

    @property
    def latched(self) -> bool:
        """Whether late subscribers get the last messages (transient local durability)."""
        return any(profile.durability is QosDurability.TRANSIENT_LOCAL for profile in self.qos)


@dataclass(frozen=True, slots=True)
class BagMessage:
    """One message as it lies in the bag."""

    topic: str
    message_type: str
    stamp_ns: int
    """Bag time."""
    data: bytes
    """CDR (or ROS 1 serialisation in a ROS 1 bag)."""


class BagReader:
    """A context manager around one bag.

    Args:
        path: a rosbag2 folder, an ``.mcap``, ``.db3`` or ROS 1 ``.bag`` file.

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
        return self._reader.is2

    def __enter__(self) -> BagReader:
        try:
            self._reader.open()
        # a damaged file surfaces as whichever error its bytes cause in the storage library
        except Exception as error:
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
        return self._reader.end_time - 1  # rosbags gives the first nanosecond after it

    @property
    def topics(self) -> dict[str, BagTopic]:
        """All topics by name, also those without a message."""
        found: dict[str, BagTopic] = {}
        for connection in self._reader.connections:
            qos: tuple[Qos, ...] = ()
            if isinstance(connection.ext, ConnectionExtRosbag2):
                qos = tuple(connection.ext.offered_qos_profiles)
            known = found.get(connection.topic)
            if known is not None and known.message_type != connection.msgtype:
                raise BagError(
                    f"{self.path}: {connection.topic} carries {known.message_type} and "
                    f"{connection.msgtype}"
                )
            found[connection.topic] = BagTopic(
                connection.topic,
                connection.msgtype,
                (known.qos if known else ()) + qos,
                (known.count if known else 0) + connection.msgcount,
            )
        return found

    def messages(self, topics: Collection[str] | None = None) -> Iterator[BagMessage]:
        """Messages in the order of bag time, of all topics or of those named (names absent from the
        bag are ignored).

        Raises:
            BagError: the file is damaged at this place.
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
        """The message as an object with the attributes of its ROS type; arrays are numpy.

        Raises:
            BagError: the bytes are not a message of the type that the bag names.
        """
        try:
            return self._reader.deserialize(message.data, message.message_type)
        except (
            Exception
        ) as error:  # the decoder indexes into the bytes and raises whatever the wrong bytes cause
            raise BagError(
                f"a message of {message.topic} at {message.stamp_ns} ns is not a "
                f"{message.message_type}: {error}"
            ) from error
