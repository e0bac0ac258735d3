"""The size of a JPEG or PNG from its header, without decoding it."""

from __future__ import annotations

import struct

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_START_OF_FRAME = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}


def encoded_size(data: bytes) -> tuple[int, int]:
    """(H, W) of a whole JPEG or PNG file.

    Raises:
        ValueError: neither of the two, or cut off.
    """
    if data[:2] == b"\xff\xd8":
        if b"\xff\xd9" not in data[-64:]:  # some cameras pad behind the end marker
            raise ValueError("the JPEG has no end marker: it was cut off")
        return _jpeg_size(data)
    if data.startswith(_PNG_SIGNATURE):
        if b"IEND" not in data[-64:]:
            raise ValueError("the PNG has no end chunk: it was cut off")
        width, height = struct.unpack_from(">II", data, 16)
        return height, width
    raise ValueError(f"neither JPEG nor PNG: it begins with {data[:4].hex() or 'nothing'}")


def _jpeg_size(data: bytes) -> tuple[int, int]:
    position = 2
    while position + 9 <= len(data):
        if data[position] != 0xFF:
            raise ValueError(f"the JPEG is corrupt at byte {position}")
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
        elif marker in _WITHOUT_LENGTH:
            position += 2
        elif marker in _START_OF_FRAME:
            height, width = struct.unpack_from(">HH", data, position + 5)
            return height, width
        else:
            position += 2 + struct.unpack_from(">H", data, position + 2)[0]
    raise ValueError("the JPEG holds no frame header")
