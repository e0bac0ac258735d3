"""Writes MCAP files without copying their messages."""

from __future__ import annotations

import struct
from collections import defaultdict
from io import BytesIO
from pathlib import Path
from typing import Any

from rosbags.interfaces import Connection
from rosbags.rosbag2.enums import CompressionMode
from rosbags.rosbag2.storage_mcap import McapWriter, PendingChunk

_CHUNK_BYTES = 2**20
"""A chunk ends with the message that makes it larger than this, as rosbags' do."""
_MESSAGE, _CHUNK, _MESSAGE_INDEX = 0x05, 0x06, 0x07
"""Kinds of records, by their first byte."""


class PartsMcapWriter(McapWriter):
    """rosbags' storage, whose chunks are lists of the messages' own bytes until they are written.

    The files are equal to the last byte. rosbags copies every message five times on its way, which
    is most of the work where messages are images and sweeps.

    Args:
        path: folder of the bag.
        compression: of rosbags' modes, that of chunks is not available.
    """

    def __init__(self, path: Path, compression: CompressionMode) -> None:
        if compression is CompressionMode.STORAGE:
            raise ValueError("the chunks of an MCAP file are not compressed here")
        super().__init__(path, compression)
        self._begin_chunk()

    def write(self, connection: Connection, timestamp: int, data: bytes | memoryview) -> None:
        """Appends a message, whose data must not change afterwards.

        Args:
            connection: of its topic.
            timestamp: bag time in nanoseconds.
            data: serialised message.
        """
        chunk = self.chunk
        self.channel_stats[connection.id] += 1
        chunk.msgs[connection.id].append((timestamp, chunk.bio.tell()))
        chunk.message_start_time = min(timestamp, chunk.message_start_time)
        chunk.message_end_time = max(timestamp, chunk.message_end_time)
        fields = struct.pack("<HIQQ", connection.id, 0, timestamp, timestamp)
        chunk.bio.write(_head(_MESSAGE, len(fields) + len(data)) + fields)
        chunk.bio.write(data)
        if chunk.bio.tell() > _CHUNK_BYTES:
            self.close_chunk()

    def close_chunk(self) -> None:
        """Writes the chunk and the positions of its messages, and keeps those of both."""
        chunk, size = self.chunk, self.chunk.bio.tell()
        times = struct.pack("<QQ", chunk.message_start_time, chunk.message_end_time)
        self.message_start_time = min(self.message_start_time, chunk.message_start_time)
        self.message_end_time = max(self.message_end_time, chunk.message_end_time)
        # Sizes before and after a compression, of which there is none, and no checksum.
        fields = times + struct.pack("<QIIQ", size, 0, 0, size)
        begin = self.bio.tell()
        self.bio.write(_head(_CHUNK, len(fields) + size) + fields)
        self.bio.writelines(self._parts.all)
        end = self.bio.tell()
        positions = b""
        for channel, messages in chunk.msgs.items():
            positions += struct.pack("<HQ", channel, self.bio.tell())
            numbers = [number for message in messages for number in message]
            index = struct.pack(f"<HI{len(numbers)}Q", channel, 8 * len(numbers), *numbers)
            self.bio.write(_head(_MESSAGE_INDEX, len(index)) + index)
        record = BytesIO()
        record.write(times + struct.pack("<QQI", begin, end - begin, len(positions)) + positions)
        record.write(struct.pack("<QIQQ", self.bio.tell() - end, 0, size, size))
        self.chunks.append(record)
        self._begin_chunk()

    def _begin_chunk(self) -> None:
        self._parts = _Parts()
        self.chunk = PendingChunk(2**63 - 1, 0, self._parts, defaultdict(list))


class _Parts(BytesIO):
    """Keeps what is written as it comes, in a list."""

    def __init__(self) -> None:
        super().__init__()
        self.all: list[bytes | memoryview] = []
        self._size = 0

    def write(self, data: Any, /) -> int:
        self.all.append(data)
        self._size += len(data)
        return len(data)

    def tell(self) -> int:
        return self._size


def _head(kind: int, size: int) -> bytes:
    """What a record begins with."""
    return struct.pack("<BQ", kind, size)
