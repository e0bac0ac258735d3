"""Follows the Huffman codes of a baseline JPEG to their end (ITU-T T.81, F.2).

``are_sound`` is the readable way and handles every scan; ``are_sound_fast`` gives the same answers
for scans without restart markers, which most cameras write.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from occ_core.ops.cpu.kernel import kernel

_MAX_REPEATS = 24
"""Coefficients of a block that are equal in turn. Only lost data, filled with zeros, have more."""
_SHORT = 10
"""Bits of the short tables: nearly all codes are that short, and the tables stay in the cache."""


@lru_cache(maxsize=8)
def lookup_tables(tables: tuple[bytes, ...]) -> tuple[np.ndarray, np.ndarray]:
    """What a scan's bits begin with, for each of its Huffman tables.

    Args:
        tables: numbers of codes by length (16 bytes), then the symbols.

    Returns:
        uint16 ``[table, 65536]``: for 16 bits, the length of their first code * 256 + its symbol; 0
        where there is none. And uint16 ``[table, 1024]``: for 10 bits the same, but with the length
        of code and value together; 0 for codes that are longer.
    """
    long = np.stack([_lookup(table) for table in tables])
    short = long[:, :: 1 << (16 - _SHORT)]
    length, symbol = short >> 8, short & 0xFF
    whole = ((length + (symbol & 15)) << 8) | symbol
    return long, np.where((short > 0) & (length <= _SHORT), whole, 0).astype(np.uint16)


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
def are_sound(
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
        tables: uint16 ``[2 * component, 65536]``, see ``lookup_tables``.
        blocks: int ``[block, 3]``: of each block of a unit its component, and its DC and AC table.
        dc_steps: int ``[component]``: quantisation step of the DC coefficient.
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


def are_sound_fast(
    data: np.ndarray,
    tables: np.ndarray,
    short_tables: np.ndarray,
    blocks: np.ndarray,
    dc_steps: np.ndarray,
    mcus: int,
) -> bool:
    """``are_sound`` for a scan without restart markers, in a third to a half of the time.

    The zeros behind each FF are taken out at once, codes are looked up in tables that fit the
    cache, and a code and its value are taken together.

    Args:
        short_tables: uint16 ``[2 * component, 1024]``, see ``lookup_tables``; the others are those
            of ``are_sound``.
    """
    codes = np.zeros((len(data) + 12) // 4 * 4, np.uint8)
    end, size = _unstuffed(data, codes)
    words = codes.view(">u4")[: size // 4 + 2].astype(np.uint64)
    last = _end(words, 8 * size, tables, short_tables, blocks, dc_steps, mcus)
    if last < 0 or not _is_filled_up(codes, last, 8 * size):
        return False
    position = _marker(data, end, np.uint64(0), 0)
    return bool(position >= 0 and data[position] >= 0xC0)


@kernel
def _unstuffed(data: np.ndarray, codes: np.ndarray) -> tuple[int, int]:
    """Copies the bytes before the next marker, without the zero behind each FF.

    Returns:
        Position of the marker, and number of bytes copied.
    """
    position, size = 0, 0
    while position < data.shape[0]:
        codes[size] = data[position]
        if data[position] == 0xFF:
            if position + 1 >= data.shape[0] or data[position + 1] != 0:
                codes[size] = 0
                break
            position += 1
        position, size = position + 1, size + 1
    return position, size


@kernel
def _end(
    words: np.ndarray,
    size: int,
    tables: np.ndarray,
    short_tables: np.ndarray,
    blocks: np.ndarray,
    dc_steps: np.ndarray,
    mcus: int,
) -> int:
    """Number of bits that the codes of all units take; -1 where they are damaged.

    Args:
        words: uint64 ``[N]`` of 32 bits each, with at least one word of zeros behind the codes.
        size: number of bits that there are.
    """
    position, buffer, bits = 0, np.uint64(0), 0
    dc = np.zeros(dc_steps.shape[0], np.int64)
    for _ in range(mcus):
        for block in range(blocks.shape[0]):
            part, table = blocks[block, 0], blocks[block, 1]
            index, last, repeats = 0, np.uint64(0), 0
            while index < 64:
                if bits < 32:
                    if position >= words.shape[0]:
                        return -1
                    buffer = (buffer << np.uint64(32)) | words[position]
                    position, bits = position + 1, bits + 32
                first = (buffer >> np.uint64(bits - 16)) & np.uint64(0xFFFF)
                code = int(short_tables[table, first >> np.uint64(16 - _SHORT)])
                if code == 0:
                    code = int(tables[table, first])
                    if code == 0:
                        return -1
                    code += (code & 15) << 8
                bits -= code >> 8
                taken = buffer >> np.uint64(bits)
                if index == 0:
                    if code & 0xFF > 11:
                        return -1
                    dc[part] += _value(taken, code & 15)
                    if abs(dc[part] * dc_steps[part]) > 1024 + dc_steps[part]:
                        return -1
                    index, table = 1, blocks[block, 2]
                elif code & 15 == 0 and code & 0xFF != 0xF0:
                    break
                else:
                    index += ((code >> 4) & 15) + 1
                    # Codes are equal where their bits and their length are.
                    term = (taken & ((np.uint64(1) << np.uint64(code >> 8)) - np.uint64(1))) | (
                        np.uint64(1) << np.uint64(code >> 8)
                    )
                    repeats = repeats + 1 if term == last else 0
                    last = term
                    if index > 64 or repeats > _MAX_REPEATS:
                        return -1
    taken_bits = 32 * position - bits
    return taken_bits if taken_bits <= size else -1


@kernel
def _is_filled_up(codes: np.ndarray, begin: int, end: int) -> bool:
    """Whether the bits from ``begin`` to ``end`` are in each byte all ones or all zeros."""
    while begin < end:
        left = 8 - begin % 8
        ones = (1 << left) - 1
        rest = codes[begin // 8] & ones
        if rest != 0 and rest != ones:
            return False
        begin += left
    return True
