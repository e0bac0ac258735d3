"""Follows the Huffman codes of a baseline JPEG several at a time (ITU-T T.81, F.2).

The answers are those of ``jpeg_codes.marker_behind``, for tables with one code for each symbol, as
all encoders write them. They take a third of its time: a picture of nuScenes has 200,000 codes, and
most of them are shorter than 6 bits with their values. The zeros behind each FF are taken out at
once, and a table tells for every 12 bits how far the codes that begin there lead.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from occ_core.ops.cpu.kernel import kernel
from occ_perception_ros.jpeg_codes import DAMAGED, MAX_REPEATS, lookup_tables, marker_position

_BITS = 12
"""Bits by which the tables are looked up; all of a picture's stay in the fastest cache."""
_END = 128
"""Added to the index of a block's coefficient by the code that ends the block."""
_MAX_RUN = 7
"""Largest number of codes in an entry, which has three bits for it."""
_SPARE_WORDS = 66
"""Words of zeros behind the codes. The 64 codes of a block take at most 64 * 31 bits."""


class RunTables(NamedTuple):
    """Huffman tables for codes of at most 12 bits; rows of components as in ``lookup_tables``."""

    first: np.ndarray
    """uint16 [table, 4096]: for 12 bits, the length of their first code with its value * 256 + the
    code's symbol; 0 where the code is longer."""
    runs: np.ndarray
    """uint16 [table, 4096]: what all AC codes come to that lie in 12 bits, where only the last
    value may reach beyond; 0 where not even one does. From the lowest bit: 5 bits for the bits that
    are taken, 8 for the coefficients that are passed and ``_END``, 3 for the number of values."""


@lru_cache(maxsize=8)
def run_tables(tables: tuple[bytes, ...]) -> RunTables:
    """The tables of a scan, see ``lookup_tables``."""
    codes = lookup_tables(tables)
    short = codes[:, :: 1 << (16 - _BITS)]
    length, symbol = short >> 8, short & 0xFF
    whole = ((length + (symbol & 15)) << 8) | symbol
    first = np.where((short > 0) & (length <= _BITS), whole, 0).astype(np.uint16)
    return RunTables(first, _runs(codes))


@kernel
def _runs(codes: np.ndarray) -> np.ndarray:
    """``RunTables.runs`` of the tables of ``lookup_tables``."""
    runs = np.zeros((codes.shape[0], 1 << _BITS), np.uint16)
    for table in range(codes.shape[0]):
        for bits in range(1 << _BITS):
            taken, passed, values = 0, 0, 0
            while taken < _BITS and values < _MAX_RUN:
                code = int(codes[table, (bits << (16 - _BITS + taken)) & 0xFFFF])
                length, zeros, size = code >> 8, (code >> 4) & 15, code & 15
                if code == 0 or taken + length > _BITS or passed + zeros + 1 > 63:
                    break
                taken += length + size
                if size == 0 and zeros < 15:
                    passed += _END
                    break
                passed, values = passed + zeros + 1, values + 1
            runs[table, bits] = taken | passed << 5 | values << 13
    return runs


def marker_behind_by_runs(
    data: np.ndarray,
    codes: np.ndarray,
    tables: RunTables,
    blocks: np.ndarray,
    dc_steps: np.ndarray,
    mcus: int,
) -> int:
    """``jpeg_codes.marker_behind`` for a scan without restart markers.

    Args:
        data: uint8 ``[N]``, from the first coded byte on.
        codes: see ``lookup_tables``.
        tables: of the same scan.
        blocks: see ``marker_behind``, as all that follow.
    """
    stuffless = np.zeros((len(data) // 4 + _SPARE_WORDS) * 4, np.uint8)
    end, size = _without_stuffing(data, stuffless)
    words = stuffless.view(">u4")[: size // 4 + _SPARE_WORDS].astype(np.uint64)
    pairs = words[:-1] << np.uint64(32) | words[1:]
    last = _end(pairs, 8 * size, codes, tables.first, tables.runs, blocks, dc_steps, mcus)
    if last < 0 or not _is_filled_up(stuffless, last, 8 * size):
        return DAMAGED
    position = marker_position(data, end, np.uint64(0), 0)
    if position < 0 or data[position] < 0xC0:
        return DAMAGED
    return int(data[position]) if 8 * size - last < 8 and position == end + 1 else 0


@kernel
def _without_stuffing(data: np.ndarray, copy: np.ndarray) -> tuple[int, int]:
    """Copies the bytes before the next marker, without the zero behind each FF.

    Returns:
        Position of the marker, and number of bytes copied.
    """
    position, size = 0, 0
    while position < data.shape[0]:
        copy[size] = data[position]
        if data[position] == 0xFF:
            if position + 1 >= data.shape[0] or data[position + 1] != 0:
                copy[size] = 0
                break
            position += 1
        position, size = position + 1, size + 1
    return position, size


@kernel
def _end(
    pairs: np.ndarray,
    size: int,
    codes: np.ndarray,
    first: np.ndarray,
    runs: np.ndarray,
    blocks: np.ndarray,
    dc_steps: np.ndarray,
    mcus: int,
) -> int:
    """Number of bits that the codes of all units take; -1 where they are damaged.

    Args:
        pairs: uint64 ``[N]``, the 64 bits from each 32nd on, with ``_SPARE_WORDS`` of zeros behind
            the codes.
        size: number of bits that there are.
    """
    position = np.uint64(0)
    dc = np.zeros(dc_steps.shape[0], np.int64)
    for _ in range(mcus):
        for block in range(blocks.shape[0]):
            part, dc_table, table = blocks[block, 0], blocks[block, 1], blocks[block, 2]
            bits = _bits_at(pairs, position)
            code = int(first[dc_table, bits >> np.uint64(64 - _BITS)])
            if code == 0:
                code = int(codes[dc_table, bits >> np.uint64(48)])
                code += (code & 15) << 8
            if code == 0 or code & 0xFF > 11:
                return -1
            position += np.uint64(code >> 8)
            dc[part] += _last_value(bits >> np.uint64(64 - (code >> 8)), code & 15)
            # Eight times the mean of a block, from -128 to 127, and half a step.
            if abs(dc[part] * dc_steps[part]) > 1024 + dc_steps[part]:
                return -1
            begin, passed, last, repeats = position, 1, np.uint64(1 << _BITS), False
            bits, left = _bits_at(pairs, position), 64
            while passed & 0xFF < 64:
                if left < 16:
                    bits, left = _bits_at(pairs, position), 64
                index = bits >> np.uint64(64 - _BITS)
                run = int(runs[table, index])
                if run == 0:
                    run = _long_code(codes[table, bits >> np.uint64(48)])
                repeats |= index == last
                last, left = index, left - (run & 31)
                bits <<= np.uint64(run & 31)
                position += np.uint64(run & 31)
                passed += run >> 5
            # Either the code that ends the block came before coefficient 64, or nothing of the next
            # block was taken. And of values that are equal too often, at least two runs are equal.
            is_whole = passed & 0xFF == 64 or _END < passed & 0xFF < _END + 64
            if not is_whole or (repeats and passed >> 8 > MAX_REPEATS):
                end = _end_of_block(pairs, begin, codes, table)
                if end < 0:
                    return -1
                position = np.uint64(end)
            if position > np.uint64(size):
                return -1
    return int(np.int64(position))  # a plain int of numba is unsigned here


@kernel(inline="always")
def _long_code(code: int) -> int:
    """The entry of ``RunTables.runs`` for one code, given as in ``lookup_tables``.

    Where there is none, the entry leads beyond the block, which then is not taken for whole.
    """
    length, zeros, size = code >> 8, (code >> 4) & 15, code & 15
    if code == 0:
        return 64 << 5
    if size == 0 and zeros < 15:
        return length | _END << 5
    return (length + size) | (zeros + 1) << 5 | 1 << 13


@kernel
def _end_of_block(pairs: np.ndarray, begin: np.uint64, codes: np.ndarray, table: int) -> int:
    """The position behind the AC codes of a block, followed one by one; -1: they are damaged."""
    position, index, last, repeats = int(np.int64(begin)), 1, np.uint64(0), 0
    while index < 64:
        bits = _bits_at(pairs, np.uint64(position))
        code = int(codes[table, bits >> np.uint64(48)])
        if code == 0:
            return -1
        whole = (code >> 8) + (code & 15)
        position += whole
        if code & 15 == 0 and code & 0xFF != 0xF0:
            break
        index += ((code >> 4) & 15) + 1
        # Codes are equal where their bits and their length are.
        term = bits >> np.uint64(64 - whole) | np.uint64(1) << np.uint64(whole)
        repeats = repeats + 1 if term == last else 0
        last = term
        if index > 64 or repeats > MAX_REPEATS:
            return -1
    return position


@kernel
def _bits_at(pairs: np.ndarray, position: np.uint64) -> np.uint64:
    """The 64 bits from ``position`` on."""
    word, passed = position >> np.uint64(5), position & np.uint64(31)
    behind = pairs[word + np.uint64(1)] & np.uint64(0xFFFFFFFF)
    return pairs[word] << passed | behind >> (np.uint64(32) - passed)


@kernel
def _last_value(buffer: np.uint64, size: int) -> np.int64:
    """The signed number in the last ``size`` bits (T.81, table F.1), without a branch."""
    ones = (np.int64(1) << size) - 1
    value = np.int64(buffer) & ones
    return value - ones * np.int64(2 * value < ones)


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
