"""JPEG and PNG files: what is decoded, what is refused and why."""

from __future__ import annotations

import io
import os
import struct
import tempfile
import zlib
from typing import Any

import cv2
import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from occ_core.geometry.images import MAX_PIXELS
from occ_perception_ros.image_files import checked_image_size, decode_image_file, image_file_size

RGB = cv2.resize(np.random.default_rng(0).integers(0, 256, (6, 10, 3), dtype=np.uint8), (80, 48))
PNG = b"\x89PNG\r\n\x1a\n"


def encoded(ending: str, image: np.ndarray = RGB) -> bytes:
    stored = image[..., ::-1] if image.ndim == 3 and image.shape[2] == 3 else image
    return bytes(cv2.imencode(ending, stored)[1])


def chunk(name: bytes, content: bytes) -> bytes:
    body = name + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


def png_header(width: int, height: int) -> bytes:
    return PNG + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))


def huge_jpeg(width: int, height: int) -> bytes:
    data = bytearray(encoded(".jpg"))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(data)


@pytest.mark.parametrize("form", ["png", "jpeg", "", "rgb8; png compressed bgr8", "nonsense"])
def test_the_first_bytes_decide_whatever_the_format_says(form: str) -> None:
    np.testing.assert_array_equal(decode_image_file(encoded(".png"), form=form), RGB)
    jpeg = encoded(".jpg")
    assert np.abs(decode_image_file(jpeg, form=form).astype(int) - RGB).mean() < 5
    assert image_file_size(jpeg, form) == image_file_size(encoded(".png"), form) == (48, 80)


def test_png_of_every_kind() -> None:
    grey = RGB[..., 0].copy()
    alpha = np.dstack([RGB[..., ::-1], grey])  # OpenCV stores blue first
    np.testing.assert_array_equal(decode_image_file(encoded(".png", alpha)), RGB)
    np.testing.assert_array_equal(decode_image_file(encoded(".png", grey)), np.dstack([grey] * 3))
    deep = decode_image_file(encoded(".png", RGB.astype(np.uint16) * 257))
    assert np.abs(deep.astype(int) - RGB).max() <= 1


def test_a_png_is_not_turned_by_its_tags() -> None:
    whole = encoded(".png")
    turned = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"  # orientation 6
    end_of_header = len(png_header(1, 1))
    tagged = whole[:end_of_header] + chunk(b"eXIf", turned) + whole[end_of_header:]
    np.testing.assert_array_equal(decode_image_file(tagged), RGB)


@pytest.mark.parametrize("padding", [1, 60, 5000, 65536])
@pytest.mark.parametrize("byte", [b"\0", b"\xff"])
@pytest.mark.parametrize("ending", [".jpg", ".png"])
def test_bytes_behind_the_end_are_ignored(ending: str, byte: bytes, padding: int) -> None:
    data = encoded(ending)
    found = decode_image_file(data + byte * padding)
    np.testing.assert_array_equal(found, decode_image_file(data))


@pytest.mark.parametrize("ending", [".jpg", ".png"])
@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_a_compressed_mosaic_gets_its_colours(pattern: str, ending: str) -> None:
    colours = {"r": 200, "g": 100, "b": 50}
    mosaic = np.zeros((16, 16), np.uint8)
    for place, colour in enumerate(pattern):
        mosaic[place // 2 :: 2, place % 2 :: 2] = colours[colour]
    data = (
        simplejpeg.encode_jpeg(mosaic[..., None].copy(), quality=100, colorspace="GRAY")
        if ending == ".jpg"
        else encoded(ending, mosaic)
    )
    form = f"bayer_{pattern}8; {ending[1:]} compressed bayer_{pattern}8"
    found = decode_image_file(data, min_width=2, form=form)  # a mosaic cannot be reduced
    assert found.shape == (16, 16, 3)
    assert np.abs(found.astype(int) - [200, 100, 50]).max() <= 4
    plain = decode_image_file(data, form="mono8; png compressed mono8")
    np.testing.assert_array_equal(plain[..., 0], plain[..., 1])


def test_damaged_files_are_refused() -> None:
    jpeg, png = encoded(".jpg"), encoded(".png")
    middle = len(png) // 2
    for data, reason in (
        (jpeg[:-100], "truncated"),
        (jpeg[:10], "truncated or damaged in its header"),
        (jpeg[: len(jpeg) // 2] + b"\xff\xd9", "truncated or damaged"),
        (png[:-20], "the PNG of .* is truncated"),
        (png[:12], "truncated or damaged in its header"),
        (png[:middle] + b"\1\2\3" + png[middle + 3 :], "damaged: checksum of its chunk b'IDAT'"),
        (png_header(8, 8) + chunk(b"IEND", b""), "its pixels are incomplete"),
        (b"GIF89a", "neither JPEG nor PNG: it begins with 47494638"),
        (b"", "it begins with nothing"),
    ):
        with pytest.raises(ValueError, match=reason):
            decode_image_file(data)


@pytest.mark.parametrize(
    "data", [png_header(2**31 - 1, 2**31 - 1), huge_jpeg(65_000, 65_000), png_header(0, 5)]
)
def test_absurd_sizes_are_refused_before_memory_is_taken(data: bytes) -> None:
    with pytest.raises(ValueError, match=f"pixels; the limit are {MAX_PIXELS:,} in all"):
        decode_image_file(data)


def test_damage_prints_nothing() -> None:
    """Libraries that decode images write to file descriptor 2, past Python's ``sys.stderr``."""
    jpeg = encoded(".jpg")
    zeroed = jpeg[:-200] + bytes(100) + jpeg[-100:]
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as printed:
        os.dup2(printed.fileno(), 2)
        try:
            for data in (zeroed, jpeg[:-50], jpeg[: len(jpeg) // 2] + b"\xff\xd9"):
                with pytest.raises(ValueError, match="damaged"):
                    decode_image_file(data)
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
        printed.seek(0)
        assert printed.read() == b""


def is_good(data: bytes) -> bool:
    """Whether an image is taken, of which converter, ``bag_check`` and node must agree.

    The converter only checks it, ``bag_check`` decodes it as small as it can, the node larger.
    """
    found = set()
    for judge in (
        checked_image_size,
        lambda data: decode_image_file(data, min_width=1),
        lambda data: decode_image_file(data, min_width=40),
        decode_image_file,
    ):
        try:
            judge(data)
            found.add(True)
        except ValueError:
            found.add(False)
    (verdict,) = found
    return verdict


def saved(mode: str = "RGB", **options: Any) -> bytes:
    """A JPEG by Pillow, which also knows CMYK and tags."""
    file = io.BytesIO()
    Image.fromarray(RGB).convert(mode).save(file, "JPEG", **options)
    return file.getvalue()


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x112] = 6  # the orientation
    return exif


def with_bytes(data: bytes, marker: bytes, offset: int, new: bytes) -> bytes:
    """The file with other bytes at an offset from a marker."""
    at = data.index(marker) + offset
    return data[:at] + new + data[at + len(new) :]


SCAN, FRAME, STEPS, CODES = b"\xff\xda", b"\xff\xc0", b"\xff\xdb", b"\xff\xc4"


@pytest.mark.parametrize(
    ("data", "verdict"),
    [
        (saved(), True),
        (saved(progressive=True), True),
        (saved("CMYK"), True),
        (saved("L"), True),
        (saved(exif=turned()), True),
        (saved() + bytes(99), True),
        (saved() + saved(), True),
        (saved()[:-2] + b"\xff\xff\xff\xd9", True),
        (saved()[:-2] + b"\xff\xfe\x00\x04ok\xff\xd9", True),  # a comment behind the pixels
        (saved()[:-2], False),
        (saved()[:-2] + bytes(9) + b"\xff\xd9", False),
        (saved()[:-2] + b"\xff\xfe\x40\x00ab", False),  # a segment that is cut off
        (saved()[:-2] + saved()[saved().index(SCAN) :], False),  # all pixels twice
        (with_bytes(saved(), FRAME, 4, b"\x0c"), False),  # 12 bits
        (with_bytes(saved(), FRAME, 5, bytes(4)), False),  # no pixels
        (with_bytes(saved(), FRAME, 12, b"\x03"), False),  # quantisation table 3, of three
        (with_bytes(saved(), SCAN, 11, b"\x07"), False),  # coefficients from 7 on
        (with_bytes(saved(), SCAN, 12, b"\x05"), False),  # coefficients up to 5
        (with_bytes(saved(), SCAN, 13, b"\x11"), False),  # refined by a bit
        # A Huffman table with a code of all ones, and one with a DC symbol above 15.
        (with_bytes(saved(), CODES, 12, bytes([2, 0])), False),
        (with_bytes(saved(), CODES, 21 + 11, b"\x20"), False),
    ],
)
def test_all_programs_agree_on_an_image(data: bytes, verdict: bool) -> None:
    assert is_good(data) is verdict


@given(
    base=st.sampled_from(
        [saved(), saved("CMYK"), saved("L"), saved(optimize=True), saved(progressive=True)]
        + [bytes(cv2.imencode(".jpg", RGB, [cv2.IMWRITE_JPEG_RST_INTERVAL, 2])[1]), encoded(".png")]
    ),
    edits=st.lists(
        st.tuples(
            st.floats(0, 1),
            st.integers(0, 30),
            st.binary(max_size=4) | st.sampled_from([b"\xff", b"\xff\xd9", b"\xff\x00", bytes(9)]),
        ),
        min_size=1,
        max_size=3,
    ),
)
def test_all_programs_agree_on_damage(base: bytes, edits: list[tuple[float, int, bytes]]) -> None:
    for place, removed, new in edits:
        at = int(place * len(base))
        base = base[:at] + new + base[at + removed :]
    is_good(base)
