"""Looks for logs whose compressed data become absurdly large, before python-can unpacks them."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

MAX_CONTAINER_BYTES = 2**26
"""Limit for one container of a BLF log; Vector's tools write 128 kB."""
MAX_TEXT_BYTES = 2**28
"""Limit for a text log in a .gz file of up to a hundredth of that."""
MAX_RATIO = 100
"""Limit for larger .gz files: how many times its size the text may have."""
_HARMLESS_BYTES = 2**16
"""zlib makes at most a thousand bytes of one."""

_FILE_HEADER = struct.Struct("<4sL")
_OBJECT_HEADER = struct.Struct("<4sHHLL")
_CONTAINER, _CONTAINER_HEADER_BYTES = 10, 16


def check_expansion(path: Path) -> None:
    """Checks a log with compressed data.

    Raises:
        ValueError: its data become larger than they may, or it is no such log.
        OSError: it cannot be read.
    """
    if path.suffix == ".gz":
        _check_gzip(path)
    elif path.suffix == ".blf":
        with path.open("rb") as file:
            _check_containers(file)


def _check_gzip(path: Path) -> None:
    limit = max(MAX_TEXT_BYTES, MAX_RATIO * path.stat().st_size)
    size = 0
    try:
        with gzip.open(path) as file:
            while part := file.read(2**20):
                size += len(part)
                if size > limit:
                    raise ValueError(f"its text has more than {limit:,} bytes")
    except (EOFError, zlib.error) as error:
        raise ValueError(f"it is no .gz file, or damaged: {error}") from error


def _check_containers(file: BinaryIO) -> None:
    header = file.read(_FILE_HEADER.size)
    if len(header) < _FILE_HEADER.size:
        return  # python-can says what is wrong with it
    file.seek(_FILE_HEADER.unpack(header)[1])
    while len(header := file.read(_OBJECT_HEADER.size)) == _OBJECT_HEADER.size:
        signature, _, _, size, kind = _OBJECT_HEADER.unpack(header)
        if signature != b"LOBJ" or size < _OBJECT_HEADER.size:
            return
        end = file.tell() + size - _OBJECT_HEADER.size
        if kind == _CONTAINER and size > _HARMLESS_BYTES:
            file.seek(_CONTAINER_HEADER_BYTES, 1)
            _check_container(file, end)
        file.seek(end + size % 4)


def _check_container(file: BinaryIO, end: int) -> None:
    """Unpacks a container piece by piece, without keeping it."""
    decompressor, unpacked = zlib.decompressobj(), 0
    try:
        while not decompressor.eof and (left := end - file.tell()) > 0:
            data = file.read(min(left, _HARMLESS_BYTES))
            if not data:
                return
            while data and not decompressor.eof:
                unpacked += len(decompressor.decompress(data, 2**20))
                if unpacked > MAX_CONTAINER_BYTES:
                    text = f"a container becomes larger than {MAX_CONTAINER_BYTES:,} bytes"
                    raise ValueError(text)
                data = decompressor.unconsumed_tail
    except zlib.error:
        return  # not compressed, or damaged: python-can tells
