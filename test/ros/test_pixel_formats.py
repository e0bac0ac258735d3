"""Raw images of every encoding, against arithmetic or an image that was encoded beforehand."""

from __future__ import annotations

from array import array

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import Image

from occ_perception_ros.pixel_formats import IMAGE_ENCODINGS, decode_image

RGB = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
WIDE = RGB.astype(np.uint16) * 257  # 255 becomes 65535
ALPHA = np.full((2, 3, 1), 9, np.uint8)
RED_GREEN_BLUE = (200, 100, 50)


def message(
    encoding: str,
    rows: np.ndarray,
    size: tuple[int, int] | None = None,
    padding: int = 0,
    big_endian: bool = False,
) -> Image:
    """An image of the given rows; ``size`` is (height, width) where that is not of the rows."""
    height, width = size or rows.shape[:2]
    stored = np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), -1)
    stored = np.pad(stored, ((0, 0), (0, padding)), constant_values=255)
    return Image(
        height=height,
        width=width,
        encoding=encoding,
        step=stored.shape[1],
        is_bigendian=int(big_endian),
        data=array("B", stored.tobytes()),
    )


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize(
    ("encoding", "pixels", "expected"),
    [
        ("rgb8", RGB, RGB),
        ("bgr8", RGB[:, :, ::-1], RGB),
        ("8UC3", RGB[:, :, ::-1], RGB),
        ("rgba8", np.dstack([RGB, ALPHA]), RGB),
        ("bgra8", np.dstack([RGB[:, :, ::-1], ALPHA]), RGB),
        ("8UC4", np.dstack([RGB[:, :, ::-1], ALPHA]), RGB),
        ("mono8", RGB[:, :, :1], np.repeat(RGB[:, :, :1], 3, axis=2)),
        ("8UC1", RGB[:, :, :1], np.repeat(RGB[:, :, :1], 3, axis=2)),
        ("rgb16", WIDE, RGB),
        ("bgr16", WIDE[:, :, ::-1], RGB),
        ("rgba16", np.dstack([WIDE, WIDE[:, :, :1]]), RGB),
        ("bgra16", np.dstack([WIDE[:, :, ::-1], WIDE[:, :, :1]]), RGB),
        ("mono16", WIDE[:, :, :1], np.repeat(RGB[:, :, :1], 3, axis=2)),
    ],
)
def test_packed_encodings(
    encoding: str, pixels: np.ndarray, expected: np.ndarray, padding: int
) -> None:
    np.testing.assert_array_equal(
        decode_image(message(encoding, pixels, padding=padding)), expected
    )


def test_16_bit_of_either_byte_order_and_rounded() -> None:
    # 300 / 257 = 1.17, 400 / 257 = 1.56, 65535 / 257 = 255
    values = np.array([[300, 400, 65535]], np.uint16)[..., None]
    for order, big_endian in (("<u2", False), (">u2", True)):
        found = decode_image(message("mono16", values.astype(order), big_endian=big_endian))
        assert found[0, :, 0].tolist() == [1, 2, 255]


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_bayer_patterns_give_the_colour_of_a_uniform_scene(pattern: str, bits: int) -> None:
    mosaic = np.zeros((6, 8), np.uint8 if bits == 8 else np.uint16)
    for place, colour in enumerate(pattern):
        mosaic[place // 2 :: 2, place % 2 :: 2] = RED_GREEN_BLUE["rgb".index(colour)]
    scaled = mosaic if bits == 8 else mosaic * np.uint16(257)
    found = decode_image(message(f"bayer_{pattern}{bits}", scaled, padding=4))
    assert found.shape == (6, 8, 3) and (found == RED_GREEN_BLUE).all()


Y, U, V = 120, 90, 200
"""A reddish colour by BT.601, limited range: 1.164 (Y - 16) = 121; R = 121 + 1.596 (V - 128) = 236,
G = 121 - 0.392 (U - 128) - 0.813 (V - 128) = 77, B = 121 + 2.017 (U - 128) = 44."""
COLOUR = (236, 77, 44)


def planar(order: str, padding: int) -> np.ndarray:
    """4:2:0 of 4x8 pixels: the brightness, then U and V in turn or one after the other."""
    luma = np.full((4, 8), Y, np.uint8)
    if order == "i420":
        half = 4 + padding // 2  # the rows of a chroma plane have half the step
        chroma = np.repeat(np.uint8([U, V]), 2 * half).reshape(2, 2 * half)
        return np.vstack([np.pad(luma, ((0, 0), (0, padding))), chroma])
    pair = (U, V) if order == "nv12" else (V, U)
    chroma = np.tile(np.uint8(pair), (2, 4))
    return np.pad(np.vstack([luma, chroma]), ((0, 0), (0, padding)))


@pytest.mark.parametrize("padding", [0, 4])
@pytest.mark.parametrize("encoding", ["nv12", "nv21", "i420"])
def test_planar_yuv(encoding: str, padding: int) -> None:
    found = decode_image(message(encoding, planar(encoding, padding), size=(4, 8)))
    assert found.shape == (4, 8, 3)
    assert np.abs(found.astype(int) - COLOUR).max() <= 2


@pytest.mark.parametrize(
    ("encoding", "pair"),
    [
        ("yuv422", (U, Y, V, Y)),
        ("uyvy", (U, Y, V, Y)),
        ("yuv422_yuy2", (Y, U, Y, V)),
        ("yuyv", (Y, U, Y, V)),
    ],
)
def test_packed_yuv(encoding: str, pair: tuple[int, ...]) -> None:
    found = decode_image(message(encoding, np.tile(np.uint8(pair), (2, 3)), size=(2, 6), padding=2))
    assert found.shape == (2, 6, 3)
    assert np.abs(found.astype(int) - COLOUR).max() <= 2


def test_yuv_of_a_scene_is_the_scene() -> None:
    generator = np.random.default_rng(0)
    scene = cv2.resize(generator.integers(0, 256, (4, 6, 3), dtype=np.uint8), (48, 32))
    stored = cv2.cvtColor(scene, cv2.COLOR_RGB2YUV_I420)
    found = decode_image(message("i420", stored, size=(32, 48)))
    # Chroma is of half the size, and the range is limited to 219 of 255 values.
    assert np.abs(found.astype(int) - scene).mean() < 5


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (message("32FC1", np.zeros((2, 3), np.float32)), "encoding '32FC1' is not supported"),
        (message("16UC1", WIDE[:, :, 0]), "encoding '16UC1' is not supported"),  # often a depth
        (message("", RGB), "encoding '' is not supported; expected one of"),
        (message("nv12", np.zeros((6, 8), np.uint8), (4, 7)), "7x4 pixels of 'nv12' do not share"),
        (message("nv12", np.zeros((5, 8), np.uint8), (4, 8)), "40 bytes, but 6 rows of step 8"),
        (message("uyvy", np.zeros((2, 6), np.uint8), (2, 3)), "multiples of 2x1"),
        (message("rgb8", RGB, (0, 3)), "it has 3x0 pixels"),
        (message("rgb8", RGB, (2, 4)), "step 9 is less than a row of 4 pixels of 3 bytes"),
        (message("rgb8", RGB, (3, 3)), "it has 18 bytes, but 3 rows of step 9 need 27"),
        (message("mono16", RGB[:, :, 0]), "step 3 is less than a row of 3 pixels of 2 bytes"),
    ],
)
def test_what_cannot_be_decoded_has_a_reason(image: Image, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        decode_image(image)


def test_every_encoding_has_a_test_above() -> None:
    assert len(IMAGE_ENCODINGS) == 13 + 8 + 7  # packed, Bayer, YUV
