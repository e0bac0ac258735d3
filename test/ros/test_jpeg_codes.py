"""The fast way through a scan's codes gives the answers of the readable one."""

from __future__ import annotations

import cv2
import numpy as np
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st

from occ_perception_ros import jpeg_codes, jpeg_scan

SAMPLINGS = ("444", "422", "420", "440", "411")


def answers(data: bytes) -> tuple[bool, bool]:
    """Whether the scan is sound, by the readable and by the fast way."""
    header = jpeg_scan._read_header(data)
    assert header is not None
    pixels = np.frombuffer(data, np.uint8)[header.start :]
    long, short = jpeg_codes.lookup_tables((*header.dc_tables, *header.ac_tables))
    blocks, steps = np.array(header.blocks), np.array(header.dc_steps)
    return (
        bool(jpeg_codes.are_sound(pixels, long, blocks, steps, header.mcus, 0)),
        jpeg_codes.are_sound_fast(pixels, long, short, blocks, steps, header.mcus),
    )


@st.composite
def files(draw: st.DrawFn) -> tuple[bytes, int]:
    """A sound JPEG of shapes or of noise, and the position of its first coded byte."""
    generator = np.random.default_rng(draw(st.integers(0, 10**6)))
    height, width = draw(st.integers(1, 70)), draw(st.integers(1, 70))
    coarse = generator.integers(0, 256, (draw(st.integers(1, 70)), 5, 3), dtype=np.uint8)
    image = np.ascontiguousarray(cv2.resize(coarse, (width, height)))
    data = simplejpeg.encode_jpeg(
        image, quality=draw(st.integers(2, 100)), colorsubsampling=draw(st.sampled_from(SAMPLINGS))
    )
    return data, data.index(b"\xff\xda") + 14


@given(file=files(), padding=st.sampled_from([b"", bytes(9), b"\xff" * 9, b"\xff\x00" * 3]))
def test_sound_files_are_sound_both_ways(file: tuple[bytes, int], padding: bytes) -> None:
    data, _ = file
    assert answers(data) == answers(data + padding) == (True, True)
    # Bytes of zeros or ones before the end marker fill up the last code.
    filled = answers(data[:-2] + padding.replace(b"\xff", b"\xff\x00") + data[-2:])
    assert filled[0] == filled[1]


@given(file=files(), data=st.data())
def test_damage_is_found_both_ways_or_in_neither(
    file: tuple[bytes, int], data: st.DataObject
) -> None:
    sound, begin = file
    at = data.draw(st.integers(begin, len(sound) - 1))
    until = data.draw(st.integers(at, min(at + 60, len(sound))))
    new = data.draw(st.binary(max_size=8) | st.sampled_from([b"\xff", b"\x00\xff", bytes(60)]))
    by_readable, by_fast = answers(sound[:at] + new + sound[until:])
    assert by_readable == by_fast


@given(file=files(), kept=st.integers(0, 10**4))
def test_what_is_cut_off_is_found(file: tuple[bytes, int], kept: int) -> None:
    data, begin = file
    cut = data[: begin + kept % (len(data) - 1 - begin)]  # at least the last byte is missing
    assert answers(cut) == (False, False)


def test_codes_and_their_values_are_looked_up_together() -> None:
    # Two codes: 0 for symbol 0x05 (a value of 5 bits), and 10 for 0x11 (a zero, then 1 bit).
    long, short = jpeg_codes.lookup_tables((bytes([1, 1, *[0] * 14, 0x05, 0x11]),))
    assert long[0, 0] == 1 << 8 | 0x05 and short[0, 0] == (1 + 5) << 8 | 0x05
    assert long[0, 0b10 << 14] == 2 << 8 | 0x11 and short[0, 0b10 << 8] == (2 + 1) << 8 | 0x11
    assert long[0, 0b11 << 14] == 0 == short[0, 0b11 << 8]  # no code begins like this
    # A single code of 16 bits is not among the short ones.
    long, short = jpeg_codes.lookup_tables((bytes([*[0] * 15, 1, 0x21]),))
    assert long[0, 0] == 16 << 8 | 0x21 and not short.any()
