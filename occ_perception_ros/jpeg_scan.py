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

from occ_perception_ros.jpeg_codes import DAMAGED, lookup_tables, marker_behind
from occ_perception_ros.jpeg_runs import marker_behind_by_runs, run_tables

_MAX_SCANS = 64
"""A progressive image has about ten; thousands of empty ones keep a decoder busy for minutes."""
_BASELINE = (0xC0, 0xC1)
_STANDALONE = (0x01, *range(0xD0, 0xD8))
_START_OF_SCAN = (0xFF, 0xDA)
_END_OF_IMAGE = 0xD9
_WHOLE_BLOCKS = b"\x00\x3f\x00"
"""How a scan says that it has all coefficients with all of their bits."""


def check_jpeg_scan(data: bytes) -> bool:
    """Checks the coded pixels of a JPEG whose header is sound.

    Progressive and arithmetic coding, and images in several scans, are left to the decoder.

    Returns:
        Whether that suffices: the codes were followed to their end, and neither behind them nor in
        the header is anything left at which a decoder could stumble.

    Raises:
        ValueError: the codes are damaged, or the image has an absurd number of scans.
    """
    values = np.frombuffer(data, np.uint8)
    header = _read_header(data)
    if header is None:
        _check_number_of_scans(values)
        return False
    pixels = values[header.start :]
    tables = (*header.dc_tables, *header.ac_tables)
    codes, runs = lookup_tables(tables), run_tables(tables)
    blocks, steps = np.array(header.blocks), np.array(header.dc_steps)
    if header.restart_interval:
        marker = marker_behind(pixels, codes, blocks, steps, header.mcus, header.restart_interval)
    else:
        marker = marker_behind_by_runs(pixels, codes, runs, blocks, steps, header.mcus)
    if marker == DAMAGED:
        raise ValueError(f"the JPEG of {len(data)} bytes is truncated or damaged inside")
    if marker != _END_OF_IMAGE:
        _check_number_of_scans(values)
    return marker == _END_OF_IMAGE and header.is_usual


def _check_number_of_scans(values: np.ndarray) -> None:
    """Refuses a file, uint8 ``[N]``, with more scans than any encoder writes."""
    marker, kind = _START_OF_SCAN
    # bytes.count is slower
    if np.count_nonzero((values[:-1] == marker) & (values[1:] == kind)) > _MAX_SCANS:
        raise ValueError(f"the JPEG has more than {_MAX_SCANS} scans")


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
    dc_tables: list[bytes] = field(default_factory=list)
    """Huffman tables of the components: 16 numbers of codes by length, then the symbols."""
    ac_tables: list[bytes] = field(default_factory=list)
    is_usual: bool = False
    """Whether the scan has whole blocks, and all its tables are there and as they must be."""


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
        header.dc_tables.append(dc)
        header.ac_tables.append(ac)
    header.is_usual = (
        scan[1 + 2 * count :] == _WHOLE_BLOCKS
        and all(frame[i + 2] in dc_steps for i in starts)
        and all(_is_valid(table, 15) for table in header.dc_tables)
        and all(_is_valid(table, 255) for table in header.ac_tables)
    )
    widest, highest = (max(sizes) for sizes in zip(*parts.values(), strict=True))
    header.mcus = -(-width // (8 * widest)) * -(-height // (8 * highest))
    return True


@lru_cache(maxsize=16)
def _is_valid(table: bytes, largest: int) -> bool:
    """Whether a Huffman table has symbols for its codes, none of all ones (T.81, C.2), and none of
    its symbols is above ``largest``.
    """
    code = 0
    for length, number in enumerate(table[:16], start=1):
        code = 2 * code + number
        if number and code >= 1 << length:
            return False
    symbols = table[16:]
    return len(symbols) == sum(table[:16]) and max(symbols, default=0) <= largest
