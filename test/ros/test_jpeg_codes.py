"""The tables by which the codes of a JPEG are looked up."""

from __future__ import annotations

from occ_perception_ros import jpeg_codes


def test_bits_tell_the_code_that_they_begin_with() -> None:
    # Two codes: 0 for symbol 0x05, and 10 for 0x11.
    (table,) = jpeg_codes.lookup_tables((bytes([1, 1, *[0] * 14, 0x05, 0x11]),))
    assert table[0] == table[0x7FFF] == 1 << 8 | 0x05
    assert table[0b10 << 14] == table[0b1011 << 12] == 2 << 8 | 0x11
    assert table[0b11 << 14] == table[0xFFFF] == 0  # no code begins like this
    # A single code of 16 bits, all of them zero.
    (table,) = jpeg_codes.lookup_tables((bytes([*[0] * 15, 1, 0x21]),))
    assert table[0] == 16 << 8 | 0x21 and not table[1:].any()
