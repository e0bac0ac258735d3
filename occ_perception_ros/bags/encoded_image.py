"""The size of a JPEG or PNG from its header, without decoding it."""

from __future__ import annotations

import struct

from occ_core.geometry.images import jpeg_size

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def encoded_size(data: bytes) -> tuple[int, int]:
    """(H, W) of a whole JPEG or PNG file.

    Raises:
        ValueError: neither of the two, or cut off.
    """
    if data.startswith(b"\xff\xd8"):
        if b"\xff\xd9" not in data[-64:]:  # some cameras pad behind the end marker
            raise ValueError("the JPEG has no end marker: it was cut off")
        return jpeg_size(data)
    if data.startswith(_PNG_SIGNATURE):
        if b"IEND" not in data[-64:]:
            raise ValueError("the PNG has no end chunk: it was cut off")
        width, height = struct.unpack_from(">II", data, 16)
        return height, width
    raise ValueError(f"neither JPEG nor PNG: it begins with {data[:4].hex() or 'nothing'}")
