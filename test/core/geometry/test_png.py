"""PNG files: as stored, whole or refused; also as images of a data set."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from occ_core.datasets.recordings import CameraImage
from occ_core.geometry.png import decode_png, is_png, png_is_grey, png_size

RGB = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)


def png(image: np.ndarray = RGB) -> bytes:
    return bytes(cv2.imencode(".png", image[..., ::-1] if image.ndim == 3 else image)[1])


def test_pixels_size_and_colour() -> None:
    grey = RGB[..., 0].copy()
    np.testing.assert_array_equal(decode_png(png()), RGB)
    np.testing.assert_array_equal(decode_png(png(grey)), np.stack([grey] * 3, axis=-1))
    assert png_size(png()) == (24, 40)
    assert is_png(png()) and not is_png(b"\xff\xd8\xff")
    assert png_is_grey(png(grey)) and not png_is_grey(png())


@pytest.mark.parametrize("size", [0, 8, 20, 33, 60, -1])
def test_a_part_of_a_file_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="the PNG of .* bytes is truncated"):
        decode_png(png()[:size])


def test_a_changed_byte_is_found_wherever_it_is() -> None:
    data = png()
    for position in np.random.default_rng(0).integers(16, len(data) - 12, 50):
        changed = bytearray(data)
        changed[position] ^= 0x10
        with pytest.raises(ValueError, match="the PNG of"):
            decode_png(bytes(changed))


def test_an_image_of_a_data_set_may_be_a_png(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    path.write_bytes(png())
    k = np.array([[80.0, 0.0, 39.5], [0.0, 80.0, 23.5], [0.0, 0.0, 1.0]])
    recording = CameraImage("CAM_FRONT", path, 1, True, (48, 80), k, np.eye(4), np.eye(4))
    image, intrinsics = recording.read(min_width=10)
    np.testing.assert_array_equal(image, RGB)
    # The table states twice the size: f / 2, (c + 0.5) / 2 - 0.5
    np.testing.assert_allclose(intrinsics, [[40, 0, 19.5], [0, 40, 11.5], [0, 0, 1]])
    path.write_bytes(png()[:-20])
    with pytest.raises(ValueError, match="image.png: the PNG of .* is truncated; extract the file"):
        recording.read()
