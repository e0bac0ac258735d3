"""Several codes at a time give the answers of one after another."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st

from occ_perception_ros import jpeg_codes, jpeg_runs, jpeg_scan

SAMPLINGS = ("444", "422", "420", "440", "411")


END = 0xD9


def answers(data: bytes) -> tuple[int, int]:
    """The marker behind the scan, by the readable and by the fast way."""
    header = jpeg_scan._read_header(data)
    assert header is not None
    pixels = np.frombuffer(data, np.uint8)[header.start :]
    tables = (*header.dc_tables, *header.ac_tables)
    codes, runs = jpeg_codes.lookup_tables(tables), jpeg_runs.run_tables(tables)
    blocks, steps = np.array(header.blocks), np.array(header.dc_steps)
    return (
        jpeg_codes.marker_behind(pixels, codes, blocks, steps, header.mcus, 0),
        jpeg_runs.marker_behind_by_runs(pixels, codes, runs, blocks, steps, header.mcus),
    )


def encoded(image: np.ndarray, quality: int, sampling: str, optimise: bool) -> bytes:
    """A JPEG with the tables of the standard, or with some that are made for the image."""
    if optimise:
        options = [cv2.IMWRITE_JPEG_OPTIMIZE, 1, cv2.IMWRITE_JPEG_QUALITY, quality]
        return bytes(cv2.imencode(".jpg", image, options)[1])
    return bytes(simplejpeg.encode_jpeg(image, quality=quality, colorsubsampling=sampling))


@st.composite
def files(draw: st.DrawFn) -> tuple[bytes, int]:
    """A sound JPEG of shapes or of noise, and the position of its first coded byte."""
    generator = np.random.default_rng(draw(st.integers(0, 10**6)))
    height, width = draw(st.integers(1, 70)), draw(st.integers(1, 70))
    coarse = generator.integers(0, 256, (draw(st.integers(1, 70)), 5, 3), dtype=np.uint8)
    image = np.ascontiguousarray(cv2.resize(coarse, (width, height)))
    quality, sampling = draw(st.integers(2, 100)), draw(st.sampled_from(SAMPLINGS))
    data = encoded(image, quality, sampling, draw(st.booleans()))
    return data, data.index(b"\xff\xda") + 14


@given(file=files(), padding=st.sampled_from([b"", bytes(9), b"\xff" * 9, b"\xff\x00" * 3]))
def test_sound_files_are_sound_both_ways(file: tuple[bytes, int], padding: bytes) -> None:
    data, _ = file
    assert answers(data) == answers(data + padding) == (END, END)
    # Bytes of zeros or ones before the end marker fill up the last code.
    filled = answers(data[:-2] + padding.replace(b"\xff", b"\xff\x00") + data[-2:])
    assert filled == ((0, 0) if padding else (END, END))


@given(file=files(), data=st.data())
def test_damage_is_found_both_ways_or_in_neither(
    file: tuple[bytes, int], data: st.DataObject
) -> None:
    sound, begin = file
    at = data.draw(st.integers(begin, len(sound) - 1))
    until = data.draw(st.integers(at, min(at + 60, len(sound))))
    new = data.draw(st.binary(max_size=8) | st.sampled_from([b"\xff", b"\x00\xff", bytes(60)]))
    by_codes, by_runs = answers(sound[:at] + new + sound[until:])
    assert by_codes == by_runs


@given(file=files(), kept=st.integers(0, 10**4))
def test_what_is_cut_off_is_found(file: tuple[bytes, int], kept: int) -> None:
    data, begin = file
    cut = data[: begin + kept % (len(data) - 1 - begin)]  # at least the last byte is missing
    assert answers(cut) == (jpeg_codes.DAMAGED, jpeg_codes.DAMAGED)


# Code 0 is a zero before a value of 1 bit (0x11), 10 a value of 2 bits (0x02), 110 ends a block
# (0x00), 1110 stands for 16 zeros (0xF0), and 1111 with nine zeros for 10 bits (0x0A).
TABLE = (bytes([1, 1, 1, 1, *[0] * 8, 1, 0, 0, 0, 0x11, 0x02, 0x00, 0xF0, 0x0A]),)


@pytest.mark.parametrize(
    ("bits", "taken", "passed", "values"),
    [
        # 10 vv | 0 v | 110: 4 + 2 + 3 bits, of 1 and 2 coefficients, then the end
        ("100000110000", 4 + 2 + 3, 1 + 2 + 128, 2),
        # 0 v, six times: 12 bits and 2 coefficients each
        ("000000000000", 12, 12, 6),
        # 10 vv | 10 vv | 10 v, and the last bit of the value lies beyond
        ("100010001010", 12, 3, 3),
        ("101010101010", 12, 3, 3),
        # 0 v five times, then 10 of which both bits of the value lie beyond
        ("000000000010", 10 + 4, 10 + 1, 6),
        # 1110, three times: 16 coefficients each, with no value
        ("111011101110", 12, 48, 3),
        ("111100000000", 0, 0, 0),  # the first code is longer
        ("111111111111", 0, 0, 0),  # there is no such code
    ],
)
def test_runs_are_what_the_codes_come_to(bits: str, taken: int, passed: int, values: int) -> None:
    run = int(jpeg_runs.run_tables(TABLE).runs[0, int(bits, 2)])
    assert (run & 31, run >> 5 & 0xFF, run >> 13) == (taken, passed, values)


def test_a_code_is_looked_up_with_its_value() -> None:
    first = jpeg_runs.run_tables(TABLE).first[0]
    assert first[0] == (1 + 1) << 8 | 0x11 and first[0b10 << 10] == (2 + 2) << 8 | 0x02
    assert first[0b1111 << 8] == 0 == first[0xFFF]  # a code of 13 bits, and none


def scanned(blocks: list[str], ac_table: bytes) -> tuple[int, int]:
    """The marker behind grey blocks of hand-made codes, by both ways; each begins with no step."""
    bits = "".join("0" + block for block in blocks)
    bits += "1" * (-len(bits) % 8)
    coded = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\x00")
    pixels = np.frombuffer(coded + b"\xff\xd9", np.uint8)
    tables = (bytes([1, *[0] * 15, 0]), ac_table)
    codes, runs = jpeg_codes.lookup_tables(tables), jpeg_runs.run_tables(tables)
    layout, steps, number = np.array([[0, 0, 1]]), np.array([1]), len(blocks)
    return (
        jpeg_codes.marker_behind(pixels, codes, layout, steps, number, 0),
        jpeg_runs.marker_behind_by_runs(pixels, codes, runs, layout, steps, number),
    )


VALUES = ["1001", "1010"] * 40
"""Of one coefficient each, and none equal to the one before."""
FULL, ZEROS = "".join(VALUES[:63]), "1110"
FULL_BY_ZEROS = ZEROS * 3 + "00" + "".join(VALUES[:13])
"""48 + 2 + 13 coefficients by 17 codes. The last of them does not end 12 bits."""


@pytest.mark.parametrize(
    ("blocks", "marker"),
    [
        (["1001" * 25 + "110", "110"], END),  # equal 24 times in turn
        (["1001" * 26 + "110", "110"], jpeg_codes.DAMAGED),
        (["1001" * 26 + "110", FULL], jpeg_codes.DAMAGED),
        ([FULL, FULL, "110"], END),  # a full block has no end: the next one begins at once
        ([FULL_BY_ZEROS, FULL, "01110"], END),
        ([FULL_BY_ZEROS, "0101110", "110"], END),
        ([FULL + "110", "110"], jpeg_codes.DAMAGED),
        ([FULL[:-4] + "00", "110"], jpeg_codes.DAMAGED),  # 62 and 2 coefficients: one too many
        ([ZEROS * 3 + "110", "110"], END),
        ([ZEROS * 4, "110"], jpeg_codes.DAMAGED),  # the first coefficient and 64 others
        (["1111" + "0" * 9 + "1" * 10 + "110", "110"], END),  # the code of 13 bits
    ],
)
def test_blocks_end_where_they_must(blocks: list[str], marker: int) -> None:
    assert scanned(blocks, *TABLE) == (marker, marker)


@pytest.mark.parametrize("before", range(7))
@pytest.mark.parametrize("value", ["00", "1001", "1111" + "0" * 9 + "1010101010"])
def test_values_that_are_equal_too_often_are_found(before: int, value: str) -> None:
    """Of each length, the longest with a code of 13 bits, and wherever 12 bits begin in them."""
    for number, marker in ((25, END), (26, jpeg_codes.DAMAGED)):
        block = "".join(VALUES[80 - before :]) + value * number + "110"
        assert scanned([block, FULL, "110"], *TABLE) == (marker, marker)


@pytest.mark.parametrize("long", [0x00, 0xF0, 0x31, 0xFA])
def test_long_codes_may_mean_anything(long: int) -> None:
    """The end of the block, 16 zeros, and values behind 3 and 15 zeros; 15 is no code at all."""
    table = bytes([1, 1, 1, *[0] * 9, 1, 0, 0, 0, 0x11, 0x02, 0x00, long])
    code = "111" + "0" * 10
    for count in range(1, 6):
        block = (code + "0" * (long & 15)) * count + "110"
        by_codes, by_runs = scanned([block, FULL, "110"], table)
        assert by_codes == by_runs
        assert scanned([block + "1" * 13, "110"], table) == (jpeg_codes.DAMAGED,) * 2


def test_zeros_beyond_the_block_are_damage() -> None:
    # Code 0 stands for 16 zeros, 10 for a zero and a value of 2 bits. 9 of these and 7 of those are
    # 18 + 112 coefficients, which must not be taken for the end.
    table = bytes([1, 1, 1, *[0] * 13, 0xF0, 0x12, 0x00])
    beyond = ["".join(VALUES[:9]) + "0" * 7, "110"]
    assert scanned(beyond, table) == (jpeg_codes.DAMAGED, jpeg_codes.DAMAGED)
