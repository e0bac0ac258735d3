"""PNG files, checked for damage before they are decoded."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import cv2
import numpy as np

from occ_core.geometry.images import check_pixels

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_HEADER_BYTES = 33
"""Signature and header chunk."""
_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
"""The chunks that pixels are made of; others may turn the image, or make libpng print warnings."""


def is_png(data: bytes) -> bool:
    """Whether the data begin as a PNG file does."""
    return data.startswith(_SIGNATURE)


def png_size(data: bytes) -> tuple[int, int]:
    """``(height, width)`` in pixels from a PNG's header, without decoding the image.

    Raises:
        ValueError: the header is truncated or damaged.
    """
    width, height = struct.unpack_from(">II", _header(data), 16)
    return height, width


def png_is_grey(data: bytes) -> bool:
    """Whether a PNG has one value per pixel, which is its brightness.

    Raises:
        ValueError: the header is truncated or damaged.
    """
    return _header(data)[25] == 0  # the colour type


def decode_png(data: bytes) -> np.ndarray:
    """RGB image, uint8 ``[H, W, 3]``, of a PNG file's bytes; 16 bit are reduced to 8.

    Orientation tags and bytes after the end chunk are ignored, as by ``decode_jpeg``.

    Raises:
        ValueError: the file is truncated or damaged, or the image has more than ``MAX_PIXELS``.
    """
    check_pixels(*png_size(data))
    chunks = b"".join(_chunks(data))
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image_bgr = cv2.imdecode(np.frombuffer(_SIGNATURE + chunks, np.uint8), flags)
    except cv2.error as error:
        raise ValueError(f"the PNG of {len(data)} bytes is damaged: {error.err}") from error
    if image_bgr is None:
        raise ValueError(f"the PNG of {len(data)} bytes is damaged: its pixels are incomplete")
    image: np.ndarray = cv2.cvtColor(image_bgr, cv2.COLOR_BGR2RGB)
    return image


def _header(data: bytes) -> bytes:
    if len(data) < PNG_HEADER_BYTES or data[12:16] != b"IHDR":
        raise ValueError(f"the PNG of {len(data)} bytes is truncated or damaged in its header")
    return data[:PNG_HEADER_BYTES]


def _chunks(data: bytes) -> Iterator[bytes]:
    """The chunks that make the image, up to the end chunk, each compared with its checksum."""
    position, name = len(_SIGNATURE), b""
    while name != b"IEND":
        if position + 12 > len(data):
            raise ValueError(f"the PNG of {len(data)} bytes is truncated")
        size, name = struct.unpack_from(">I4s", data, position)
        end = position + 12 + size
        if end > len(data):
            raise ValueError(f"the PNG of {len(data)} bytes is truncated")
        (checksum,) = struct.unpack_from(">I", data, end - 4)
        if zlib.crc32(memoryview(data)[position + 4 : end - 4]) != checksum:
            raise ValueError(
                f"the PNG of {len(data)} bytes is damaged: checksum of its chunk {name!r}"
            )
        if name in _CHUNKS:
            yield data[position:end]
        position = end
