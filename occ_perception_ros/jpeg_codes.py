"""Follows the Huffman codes of a baseline JPEG to their end (ITU-T T.81, F.2).

``marker_behind`` is the readable way and handles every scan. ``jpeg_runs`` gives the same answers
for scans without restart markers, which most cameras write, in less time.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from occ_core.ops.cpu.kernel import kernel

MAX_REPEATS = 24
"""Coefficients of a block that are equal in turn. Lost data, filled with zeros, have more; pictures
of a camera have not, though some artificial textures do.
"""
DAMAGED = -1
"""What stands for the marker behind damaged codes."""


@lru_cache(maxsize=8)
def lookup_tables(tables: tuple[bytes, ...]) -> np.ndarray:
    """What a scan's bits begin with, for each of its Huffman tables.

    Args:
        tables: numbers of codes by length (16 bytes), then the symbols.

    Returns:
        uint16 ``[table, 65536]``: for 16 bits, the length of their first code * 256 + its symbol; 0
        where there is none.
    """
    return np.stack([_lookup(table) for table in tables])


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
def marker_behind(
    data: np.ndarray,
    tables: np.ndarray,
    blocks: np.ndarray,
    dc_steps: np.ndarray,
    mcus: int,
    interval: int,
) -> int:
    """Follows the codes of one scan and returns the marker that stands where the image ends.

    Args:
        data: uint8 ``[N]``, from the first coded byte on.
        tables: uint16 ``[2 * component, 65536]``, see ``lookup_tables``.
        blocks: int ``[block, 3]``: of each block of a unit its component, and its DC and AC table.
        dc_steps: int ``[component]``: quantisation step of the DC coefficient.
        mcus: number of units.
        interval: number of units between restart markers; 0: there are none.

    Returns:
        Its second byte; 0 where bytes that fill up stand before it; ``DAMAGED`` for damaged codes.
    """
    position, buffer, bits, restarts = 0, np.uint64(0), 0, 0
    dc = np.zeros(dc_steps.shape[0], np.int64)
    for mcu in range(mcus):
        if interval and mcu and mcu % interval == 0:
            position = marker_position(data, position, buffer, bits)
            if position < 0 or data[position] != 0xD0 + restarts % 8:
                return DAMAGED
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
                    return DAMAGED
                if index == 0:
                    if code & 0xFF > 11:
                        return DAMAGED
                    dc[part] += _value(buffer >> np.uint64(bits), size)
                    # Eight times the mean of a block, from -128 to 127, and half a step.
                    if abs(dc[part] * dc_steps[part]) > 1024 + dc_steps[part]:
                        return DAMAGED
                    index = 1
                elif size == 0 and code & 0xFF != 0xF0:
                    break  # end of block
                else:
                    index += ((code >> 4) & 15) + 1
                    term = (code & 0xFF) << 16 | (_value(buffer >> np.uint64(bits), size) & 0xFFFF)
                    repeats, last = repeats + 1 if term == last else 0, term
                    if index > 64 or repeats > MAX_REPEATS:
                        return DAMAGED
    end = marker_position(data, position, buffer, bits)
    if end < 0 or data[end] < 0xC0:
        return DAMAGED
    return int(np.int64(data[end])) if bits < 8 and end == position + 1 else 0


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
def marker_position(data: np.ndarray, position: int, buffer: np.uint64, bits: int) -> int:
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
