"""Writes rosbag2 bags (MCAP or sqlite3) without ROS; a bag appears completely or not at all."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Literal

from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from occ_perception_ros.bags.mcap_writer import PartsMcapWriter

TYPESTORE = get_typestore(Stores.ROS2_JAZZY)
"""Message types; those that are used here are the same from Humble to Rolling."""

Storage = Literal["mcap", "sqlite3"]


def qos_profile(depth: int, *, latched: bool = False) -> Qos:
    """A reliable keep-last profile.

    Args:
        depth: length of the queue.
        latched: whether late subscribers get the last messages (transient local durability).
    """
    unspecified = QosTime(0, 0)
    return Qos(
        history=QosHistory.KEEP_LAST,
        depth=depth,
        reliability=QosReliability.RELIABLE,
        durability=QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
        deadline=unspecified,
        lifespan=unspecified,
        liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=unspecified,
        avoid_ros_namespace_conventions=False,
    )


class BagWriter:
    """A context manager for writing one new bag.

    The bag is written into a hidden folder next to ``path`` and moved there on a clean exit; after
    an exception nothing is left.

    Args:
        path: folder of the new bag.
        storage: ``"mcap"`` or ``"sqlite3"``.
        custom_data: key-value pairs for ``metadata.yaml``.

    Raises:
        FileExistsError: ``path`` already exists.
    """

    def __init__(
        self, path: Path, storage: Storage = "mcap", custom_data: dict[str, str] | None = None
    ) -> None:
        if path.exists():
            raise FileExistsError(
                f"{path} already exists; remove it or choose another path for the bag"
            )
        self.path = path
        self.counts: dict[str, int] = {}
        """Number of messages by topic."""
        self._plugin = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}[storage]
        self._custom_data = custom_data or {}
        self._connections: dict[str, Connection] = {}
        self._folder: Path
        self._writer: Writer

    @property
    def unfinished_path(self) -> Path:
        """The folder that becomes ``path``; additional files may be written into it."""
        return self._folder / self.path.name

    def __enter__(self) -> BagWriter:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._folder = Path(
            tempfile.mkdtemp(prefix=f".{self.path.name}.", suffix=".partial", dir=self.path.parent)
        )
        # Version 8 has the QoS as text, which players from Humble to Rolling read; version 9 needs
        # Jazzy or newer.
        self._writer = _Writer(self.unfinished_path, version=8, storage_plugin=self._plugin)
        for key, value in self._custom_data.items():
            self._writer.set_custom_data(key, value)
        self._writer.open()
        return self

    def add_topic(self, topic: str, message_type: str, qos: Qos) -> None:
        """Declares a topic before its first message.

        Args:
            topic: for example ``/odom``.
            message_type: for example ``nav_msgs/msg/Odometry``.
            qos: offered quality of service.
        """
        self._connections[topic] = self._writer.add_connection(
            topic, message_type, typestore=TYPESTORE, offered_qos_profiles=[qos]
        )
        self.counts[topic] = 0

    def write(self, topic: str, message: object, stamp_ns: int) -> None:
        """Appends a message, an object of ``TYPESTORE``, at the bag time ``stamp_ns``."""
        connection = self._connections[topic]
        self.write_raw(topic, TYPESTORE.serialize_cdr(message, connection.msgtype), stamp_ns)

    def write_raw(self, topic: str, data: bytes | memoryview, stamp_ns: int) -> None:
        """Appends a message that is already serialised as CDR, and must not change afterwards."""
        self._writer.write(self._connections[topic], stamp_ns, data)
        self.counts[topic] += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._writer.__exit__(kind, error, traceback)
            if kind is None:
                self.unfinished_path.rename(self.path)
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)


class _Writer(Writer):
    """rosbags' writer, with our storage for MCAP files."""

    STORAGE_PLUGINS: ClassVar = {  # type: ignore[misc]
        **Writer.STORAGE_PLUGINS,
        StoragePlugin.MCAP: PartsMcapWriter,
    }
