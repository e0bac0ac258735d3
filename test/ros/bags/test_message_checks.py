"""Sizes of encoded images, and damage to their files."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from occ_perception_ros.bags.message_checks import encoded_image_size

IMAGE = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)


def encode(ending: str) -> bytes:
    return bytes(cv2.imencode(ending, IMAGE)[1])


@pytest.mark.parametrize("ending", [".jpg", ".png"])
def test_height_and_width_of_a_file(ending: str) -> None:
    assert encoded_image_size(encode(ending)) == (24, 40)


def test_bytes_after_the_end_of_a_jpeg_are_allowed() -> None:
    assert encoded_image_size(encode(".jpg") + bytes(500)) == (24, 40)  # some cameras pad


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (encode(".jpg")[:-100], "truncated"),
        (encode(".jpg")[:10], "truncated"),
        (encode(".png")[:-20], "truncated"),
        (encode(".png")[:12], "truncated"),
        (b"GIF89a", "neither JPEG nor PNG: it begins with 47494638"),
        (b"", "it begins with nothing"),
    ],
)
def test_damaged_and_other_files_are_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        encoded_image_size(data)
