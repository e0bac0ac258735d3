"""Decompression with a limit: a few bytes of a stranger's bag may claim, or expand to, any size.

rosbags' own decompressors have none. ``limit_decompression`` puts these in their place.
"""

from __future__ import annotations

import bz2
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, cast

import lz4.frame
from rosbags import rosbag1
from rosbags.rosbag2 import storage_mcap

zstd = storage_mcap.zstd
"""The one that rosbags uses, which depends on Python's version."""
MAX_CHUNK_BYTES = 2**29
"""Limit for what one chunk, or one message, becomes; recorders write chunks of a few megabytes."""
MAX_FILE_RATIO = 100
"""Limit for how often the size of a compressed file its content may be."""


class DecompressionError(ValueError):
    """Compressed data of a bag are damaged, or become larger than they may."""


def decompress(data: bytes, form: str, limit: int = MAX_CHUNK_BYTES) -> bytes:
    """The decompressed data.

    Args:
        data: one or more frames.
        form: ``zstd``, ``lz4`` or ``bz2``.
        limit: largest allowed size of the result in bytes.

    Raises:
        DecompressionError: the result would be larger, or the data are cut off or damaged.
    """
    parts, left = [], limit
    while data:
        decompressor: Any = _DECOMPRESSORS[form]()
        try:
            part = decompressor.decompress(data, max_length=left + 1)
        except Exception as error:  # each library has its own
            raise DecompressionError(f"damaged {form} data: {error}") from error
        left -= len(part)
        if left < 0:
            raise DecompressionError(f"{form} data become larger than the limit of {limit:,} bytes")
        if not decompressor.eof:
            raise DecompressionError(f"{form} data are cut off")
        parts.append(part)
        data = decompressor.unused_data
    return b"".join(parts)


def check_file(path: Path) -> None:
    """Checks what a zstd file becomes, without keeping it.

    Raises:
        DecompressionError: its content is larger than ``MAX_FILE_RATIO`` times the file and than
            ``MAX_CHUNK_BYTES``, or it is damaged.
        OSError: it cannot be read.
    """
    limit = max(MAX_CHUNK_BYTES, MAX_FILE_RATIO * path.stat().st_size)
    size = 0
    try:
        with zstd.open(path, "rb") as opened:
            file = cast(BinaryIO, opened)
            while part := file.read(2**20):
                size += len(part)
                if size > limit:
                    text = f"{path} becomes larger than the limit of {limit:,} bytes"
                    raise DecompressionError(text)
    except (zstd.ZstdError, EOFError) as error:
        raise DecompressionError(f"{path} is damaged: {error}") from error


def limit_decompression() -> None:
    """Makes rosbags decompress chunks and messages by ``decompress``."""

    def sized(form: str) -> Callable[[bytes, int], bytes]:
        return lambda data, size: decompress(data, form, min(size, MAX_CHUNK_BYTES))

    def plain(form: str) -> Callable[[bytes], bytes]:
        return lambda data: decompress(data, form)

    storage_mcap.DECOMPRESSORS.update({form: sized(form) for form in ("zstd", "lz4")})
    rosbag1.reader.decompressors.update({form: plain(form) for form in ("bz2", "lz4")})


_DECOMPRESSORS: dict[str, Callable[[], Any]] = {
    "zstd": zstd.ZstdDecompressor,
    "lz4": lz4.frame.LZ4FrameDecompressor,
    "bz2": bz2.BZ2Decompressor,
}
