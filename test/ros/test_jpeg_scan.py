"""Damage inside a JPEG is found; sound files of every kind pass."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import simplejpeg

from occ_perception_ros.jpeg_scan import check_jpeg_scan


def scene(size: tuple[int, int] = (96, 160)) -> np.ndarray:
    """Coarse shapes from black to white, with grain."""
    generator = np.random.default_rng(0)
    shapes = cv2.resize(generator.integers(0, 256, (6, 10, 3), dtype=np.uint8), size[::-1])
    grain = generator.integers(-8, 9, shapes.shape)
    return np.clip(shapes + grain, 0, 255).astype(np.uint8)


def jpeg(image: np.ndarray, *options: int) -> bytes:
    return bytes(cv2.imencode(".jpg", image, options)[1])


def damaged(data: bytes, position: int, size: int) -> bytes:
    """The file with ``size`` bytes of the scan set to zero."""
    begin = data.index(b"\xff\xda") + 14
    at = begin + position % (len(data) - begin - size - 2)
    return data[:at] + bytes(size) + data[at + size :]


@pytest.mark.parametrize("size", [(8, 8), (96, 160), (97, 161), (33, 15)])
@pytest.mark.parametrize("subsampling", ["444", "422", "420", "440", "411", "Gray"])
def test_sound_files_pass(subsampling: str, size: tuple[int, int]) -> None:
    image = scene(size)
    if subsampling == "Gray":
        data = simplejpeg.encode_jpeg(image[:, :, :1].copy(), colorspace="GRAY")
    else:
        data = simplejpeg.encode_jpeg(image, colorsubsampling=subsampling)
    for quality in (5, 100):
        check_jpeg_scan(jpeg(image, cv2.IMWRITE_JPEG_QUALITY, quality))
    check_jpeg_scan(data)
    check_jpeg_scan(data + bytes(5000))
    check_jpeg_scan(data + b"\xff" * 5000)


@pytest.mark.parametrize(
    "option",
    [cv2.IMWRITE_JPEG_PROGRESSIVE, cv2.IMWRITE_JPEG_OPTIMIZE, cv2.IMWRITE_JPEG_RST_INTERVAL],
)
def test_sound_files_of_other_encoders_pass(option: int) -> None:
    check_jpeg_scan(jpeg(scene(), option, 1))


def test_black_and_white_are_within_the_range() -> None:
    for value in (0, 255):
        check_jpeg_scan(jpeg(np.full((64, 64, 3), value, np.uint8)))
    check_jpeg_scan(jpeg(np.tile(np.uint8([[0], [255]]), (32, 64)), cv2.IMWRITE_JPEG_QUALITY, 1))


def unnoticed(kind: str) -> list[float]:
    """Mean errors of the pictures of damaged files that pass, of 200."""
    generator = np.random.default_rng(1)
    data, image = jpeg(scene()), scene()[:, :, ::-1].astype(int)
    errors = []
    for _ in range(200):
        position = int(generator.integers(10**6))
        if kind == "zeros":
            file = damaged(data, position, 60)
        else:
            changed = bytearray(damaged(data, position, 0))
            places = generator.integers(data.index(b"\xff\xda") + 14, len(data) - 2, 20)
            for place in places:
                changed[place] = int(generator.integers(1, 200))
            file = bytes(changed)
        try:
            check_jpeg_scan(file)
        except ValueError as error:
            assert "truncated or damaged inside" in str(error)
        else:
            errors.append(np.abs(simplejpeg.decode_jpeg(file) - image).mean())
    return errors


@pytest.mark.parametrize("kind", ["zeros", "noise"])
def test_damage_inside_is_found(kind: str) -> None:
    """libjpeg itself notices half of these. A few may pass by chance, with nearly equal codes."""
    assert len(unnoticed(kind)) <= 10


def test_lost_parts_are_found() -> None:
    data = jpeg(scene())
    with_restarts = jpeg(scene(), cv2.IMWRITE_JPEG_RST_INTERVAL, 4)
    marker = with_restarts.index(b"\xff\xd2")
    after = with_restarts.index(b"\xff\xd3")
    for file in (
        data[: len(data) // 2] + data[-2:],  # half, with the end marker
        data[:-40],
        with_restarts[:marker] + with_restarts[after:],  # one part of the picture
    ):
        with pytest.raises(ValueError, match="damaged inside"):
            check_jpeg_scan(file)


def test_a_thousand_scans_are_refused() -> None:
    with pytest.raises(ValueError, match="more than 64 scans"):
        check_jpeg_scan(b"\xff\xd8" + b"\xff\xda" * 1000)


def test_bytes_that_look_like_scans_elsewhere_do_not_count() -> None:
    """In a comment before the codes, or in what some cameras leave behind the end."""
    data, markers = jpeg(scene()), b"\xff\xda" * 70
    comment = b"\xff\xfe" + (2 + len(markers)).to_bytes(2, "big") + markers
    assert check_jpeg_scan(data + markers)
    assert check_jpeg_scan(data[:2] + comment + data[2:])


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"\xff\xd8\xff\xda", b"\xff\xd8\xff\xc0\x00"])
def test_what_has_no_scan_is_left_to_the_decoder(data: bytes) -> None:
    check_jpeg_scan(data)
