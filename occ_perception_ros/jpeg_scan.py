"""Finds damage inside a JPEG that decoders do not notice.

Huffman codes have no checksum: a decoder that runs over damaged bytes goes on with other pixels,
and libjpeg warns only where the codes end many bytes too early or too late. This check follows the
codes of a baseline image to their end (ITU-T T.81, F.2 and E.2). Damage nearly always leaves an
invalid code, a block of more than 64 coefficients, bits that remain, or a brightness beyond black
and white, since each block's is coded as its difference to the one before. Bytes that are lost and
filled with zeros leave a row of equal coefficients.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from occ_core.ops.cpu.kernel import kernel

_MAX_SCANS = 64
"""A progressive image has about ten; thousands of empty ones keep a decoder busy for minutes."""
_MAX_REPEATS = 24
"""Coefficients of a block that are equal in turn. Only lost data, filled with zeros, have more."""
_BASELINE = (0xC0, 0xC1)
_STANDALONE = (0x01, *range(0xD0, 0xD8))
_START_OF_SCAN = b"\xff\xda"


def check_jpeg_scan(data: bytes) -> bool:
    """Checks the coded pixels of a JPEG whose header is sound.

    Progressive and arithmetic coding, and images in several scans, are left to the decoder.

    Returns:
        Whether the codes were followed to their end.

    Raises:
        ValueError: the codes are damaged, or the image has an absurd number of scans.
    """
    if data.count(_START_OF_SCAN) > _MAX_SCANS:
        raise ValueError(f"the JPEG has more than {_MAX_SCANS} scans")
    header = _read_header(data)
    if header is None:
        return False
    pixels = np.frombuffer(data, np.uint8)[header.start :]
    tables = np.stack([*header.dc_tables, *header.ac_tables])
    blocks, steps = np.array(header.blocks), np.array(header.dc_steps)
    if not _is_sound(pixels, tables, blocks, steps, header.mcus, header.restart_interval):
        raise ValueError(f"the JPEG of {len(data)} bytes is truncated or damaged inside")
    return True


@dataclass
class _Header:
    """What the segments before the scan say of it."""

    start: int = 0
    """Position of the first coded byte."""
    restart_interval: int = 0
    mcus: int = 0
    """Number of minimum coded units."""
    blocks: list[tuple[int, int, int]] = field(default_factory=list)
    """Index of the component, of its DC and of its AC table, for each block of a unit."""
    dc_steps: list[int] = field(default_factory=list)
    """Quantisation step of each component's DC coefficient."""
    dc_tables: list[np.ndarray] = field(default_factory=list)
    ac_tables: list[np.ndarray] = field(default_factory=list)


def _read_header(data: bytes) -> _Header | None:
    """The header of a baseline image in one scan; None for others, which are not checked."""
    header, frame, tables = _Header(), b"", dict[int, bytes]()
    dc_steps: dict[int, int] = {}
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF or marker in _STANDALONE:
            position += 1 if marker == 0xFF else 2
            continue
        (length,) = struct.unpack_from(">H", data, position + 2)
        segment = data[position + 4 : position + 2 + length]
        position += 2 + length
        if marker in _BASELINE:
            frame = segment
        elif marker == 0xC4:
            _read_tables(segment, tables)
        elif marker == 0xDB:
            _read_dc_steps(segment, dc_steps)
        elif marker == 0xDD and len(segment) >= 2:
            (header.restart_interval,) = struct.unpack_from(">H", segment)
        elif marker == 0xDA:
            header.start = position
            return header if _read_scan(header, frame, segment, tables, dc_steps) else None
        elif 0xC0 <= marker <= 0xCF and marker != 0xC8:
            return None
    return None


def _read_tables(segment: bytes, tables: dict[int, bytes]) -> None:
    """Adds the Huffman tables of a segment: 16 numbers of codes by length, then the symbols."""
    position = 0
    while position + 17 <= len(segment):
        size = 17 + sum(segment[position + 1 : position + 17])
        tables[segment[position]] = segment[position + 1 : position + size]
        position += size


def _read_dc_steps(segment: bytes, dc_steps: dict[int, int]) -> None:
    """Adds the first entry of each quantisation table of a segment."""
    position = 0
    while position + 3 <= len(segment):
        name, wide = segment[position] & 15, segment[position] >> 4
        first = segment[position + 1 : position + (3 if wide else 2)]
        dc_steps[name] = int.from_bytes(first, "big")
        position += 129 if wide else 65


def _read_scan(
    header: _Header, frame: bytes, scan: bytes, tables: dict[int, bytes], dc_steps: dict[int, int]
) -> bool:
    """Fills in the layout of the scan and returns whether it can be checked."""
    if len(frame) < 6 or frame[0] != 8 or len(frame) < 6 + 3 * frame[5]:
        return False
    height, width = struct.unpack_from(">HH", frame, 1)
    starts = range(6, 6 + 3 * frame[5], 3)
    parts = {frame[i]: (frame[i + 1] >> 4, frame[i + 1] & 15) for i in starts}
    steps = {frame[i]: dc_steps.get(frame[i + 2], 0) for i in starts}
    count = scan[0] if scan else 0
    if not 1 <= count == len(parts) <= 4 or len(scan) < 1 + 2 * count or not height * width:
        return False
    if count == 1:  # blocks of a single component are not grouped
        parts = dict.fromkeys(parts, (1, 1))
    for index in range(count):
        name, pair = scan[1 + 2 * index], scan[2 + 2 * index]
        across, down = parts.get(name, (0, 0))
        dc, ac = tables.get(pair >> 4), tables.get(0x10 | pair & 15)
        if dc is None or ac is None or not 1 <= across <= 4 or not 1 <= down <= 4:
            return False
        header.blocks += [(index, index, count + index)] * (across * down)
        header.dc_steps.append(steps[name])
        header.dc_tables.append(_lookup(dc))
        header.ac_tables.append(_lookup(ac))
    widest, highest = (max(sizes) for sizes in zip(*parts.values(), strict=True))
    header.mcus = -(-width // (8 * widest)) * -(-height // (8 * highest))
    return True


@lru_cache(maxsize=16)
def _lookup(table: bytes) -> np.ndarray:
    """The code that 16 bits begin with, as its length * 256 + symbol; 0 where there is none."""
    found = np.zeros(1 << 16, np.uint16)
    code, symbol = 0, 16
    for length in range(1, 17):
        for _ in range(table[length - 1]):
            first = code << (16 - length)
            value = table[symbol] if symbol < len(table) else 0
            found[first : first + (1 << (16 - length))] = length << 8 | value
            code, symbol = code + 1, symbol + 1
        code <<= 1
    return found


@kernel
def _is_sound(
    data: np.ndarray,
    tables: np.ndarray,
    blocks: np.ndarray,
    dc_steps: np.ndarray,
    mcus: int,
    interval: int,
) -> bool:
    """Follows the codes of one scan and returns whether they end where the image does.

    Args:
        data: uint8 ``[N]``, from the first coded byte on.
        tables: uint16 ``[2 * component, 65536]``, see ``_lookup``.
        blocks: int ``[block, 3]``, see ``_Header.blocks``.
        dc_steps: int ``[component]``, see ``_Header``.
        mcus: number of units.
        interval: number of units between restart markers; 0: there are none.
    """
    position, buffer, bits, restarts = 0, np.uint64(0), 0, 0
    dc = np.zeros(dc_steps.shape[0], np.int64)
    for mcu in range(mcus):
        if interval and mcu and mcu % interval == 0:
            position = _marker(data, position, buffer, bits)
            if position < 0 or data[position] != 0xD0 + restarts % 8:
                return False
            position, buffer, bits, restarts = position + 1, np.uint64(0), 0, restarts + 1
            dc[:] = 0
        for block in range(blocks.shape[0]):
            part, index, last, repeats = blocks[block, 0], 0, 0, 0
            while index < 64:
                position, buffer, bits = _filled(data, position, buffer, bits)
                code = tables[blocks[block, 1 if index == 0 else 2], _first_16(buffer, bits)]
                size = code & 15
                bits -= (code >> 8) + size
                if code == 0 or bits < 0:
                    return False
                if index == 0:
                    if code & 0xFF > 11:
                        return False
                    dc[part] += _value(buffer >> np.uint64(bits), size)
                    # Eight times the mean of a block, from -128 to 127, and half a step.
                    if abs(dc[part] * dc_steps[part]) > 1024 + dc_steps[part]:
                        return False
                    index = 1
                elif size == 0 and code & 0xFF != 0xF0:
                    break  # end of block
                else:
                    index += ((code >> 4) & 15) + 1
                    term = (code & 0xFF) << 16 | (_value(buffer >> np.uint64(bits), size) & 0xFFFF)
                    repeats = repeats + 1 if term == last else 0
                    last = term
                    if index > 64 or repeats > _MAX_REPEATS:
                        return False
    position = _marker(data, position, buffer, bits)
    return position >= 0 and data[position] >= 0xC0


@kernel
def _filled(
    data: np.ndarray, position: int, buffer: np.uint64, bits: int
) -> tuple[int, np.uint64, int]:
    """Takes bytes up to the next marker where there may be too few for a code and its value."""
    if bits >= 32:
        return position, buffer, bits
    while bits <= 56 and position < data.shape[0]:
        byte = data[position]
        if byte == 0xFF:
            if position + 1 >= data.shape[0] or data[position + 1] != 0:
                break
            position += 1  # a zero behind FF is no part of the codes
        position += 1
        buffer = (buffer << np.uint64(8)) | np.uint64(byte)
        bits += 8
    return position, buffer, bits


@kernel
def _first_16(buffer: np.uint64, bits: int) -> np.uint64:
    """The first 16 of the bits, with zeros behind where there are fewer."""
    if bits >= 16:
        return (buffer >> np.uint64(bits - 16)) & np.uint64(0xFFFF)
    return (buffer << np.uint64(16 - bits)) & np.uint64(0xFFFF)


@kernel
def _value(buffer: np.uint64, size: int) -> np.int64:
    """The signed number in the last ``size`` bits (T.81, table F.1)."""
    value = np.int64(buffer & np.uint64((1 << size) - 1))
    if size and value < 1 << (size - 1):
        return value - np.int64((1 << size) - 1)
    return value


@kernel
def _marker(data: np.ndarray, position: int, buffer: np.uint64, bits: int) -> int:
    """The position of the second byte of the marker that follows; -1 where other codes do.

    The last byte is filled up with ones or, by careless encoders, zeros; so are bytes behind it.
    """
    partial = bits % 8
    while bits > 0:
        size = partial if partial else 8
        ones = (np.uint64(1) << np.uint64(size)) - np.uint64(1)
        left = (buffer >> np.uint64(bits - size)) & ones
        if left != 0 and left != ones:
            return -1
        bits, partial = bits - size, 0
    while position + 1 < data.shape[0] and data[position] in (0, 0xFF):
        if data[position] == 0xFF and 0 < data[position + 1] < 0xFF:
            return position + 1
        position += 1
    return -1
