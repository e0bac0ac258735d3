"""Camera images: decoding, and fitting to the model's size with the intrinsics that belong to the
result.
"""

from __future__ import annotations

import cv2
import numpy as np

_DECODING = {
    8: cv2.IMREAD_REDUCED_COLOR_8,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    1: cv2.IMREAD_COLOR,
}


def decode_jpeg(data: bytes, min_width: int | None = None) -> np.ndarray:
    """RGB image, uint8 ``[H, W, 3]``, of a JPEG file's bytes.

    With ``min_width`` the image comes at a half, a quarter or an eighth of its size, whichever is
    the smallest that is still as wide and divides the size evenly (so that the intrinsics scale
    exactly): several times faster than decoding all of it.

    Raises:
        ValueError: the bytes are no whole JPEG.
    """
    height, width = jpeg_size(data)
    # libjpeg fills a truncated image with grey without an error: the end marker tells.
    if data.rfind(b"\xff\xd9", max(len(data) - 4096, 0)) < 0:
        raise ValueError(f"the JPEG of {len(data)} bytes is truncated: it has no end marker")
    min_width = width if min_width is None else min_width
    divisors = (
        divisor
        for divisor in _DECODING
        if width % divisor == height % divisor == 0 and width // divisor >= min_width
    )
    # An orientation tag would turn the pixels away from the camera's intrinsics.
    flags = _DECODING[next(divisors, 1)] | cv2.IMREAD_IGNORE_ORIENTATION
    image = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), flags)
    if image is None:
        raise ValueError(f"the JPEG of {len(data)} bytes cannot be decoded: it is corrupt")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def jpeg_size(data: bytes) -> tuple[int, int]:
    """``(height, width)`` from a JPEG's header (ITU T.81, B.2: the start-of-frame segment).

    Raises:
        ValueError: the bytes are no JPEG.
    """
    if data[:2] != b"\xff\xd8":
        raise ValueError(f"not a JPEG: {len(data)} bytes that start with {bytes(data[:4])!r}")
    position = 2
    while position + 9 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = data[position + 5 : position + 7], data[position + 7 : position + 9]
            return int.from_bytes(height, "big"), int.from_bytes(width, "big")
        position += (
            1 if marker == 0xFF else 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        )
    raise ValueError(f"the JPEG of {len(data)} bytes is corrupt: it has no start-of-frame segment")


def scale_intrinsics(
    intrinsics: np.ndarray, from_size: tuple[int, int], to_size: tuple[int, int]
) -> np.ndarray:
    """Intrinsics ``[3, 3]`` of the image scaled from ``from_size`` to ``to_size``, both ``(H, W)``.

    Pixel centres are at integer coordinates, the image's edge at -0.5: a coordinate c becomes ``(c
    + 0.5) * s - 0.5``.
    """
    scale_y, scale_x = to_size[0] / from_size[0], to_size[1] / from_size[1]
    scale = np.array(
        [[scale_x, 0.0, 0.5 * scale_x - 0.5], [0.0, scale_y, 0.5 * scale_y - 0.5], [0.0, 0.0, 1.0]]
    )
    return scale @ intrinsics


def fit_image(
    image: np.ndarray, intrinsics: np.ndarray, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """The image at ``size = (H, W)`` with its intrinsics: scaled to W, then cropped (sky) or padded
    with zeros at the top.

    Args:
        image: uint8 ``[h, w, 3]``.
        intrinsics: ``[3, 3]``, in pixels of ``image``.

    Raises:
        ValueError: ``image`` is not uint8 ``[h, w, 3]``.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise ValueError(
            f"an image must be uint8 [height, width, 3], got {image.dtype} {list(image.shape)}"
        )
    height, width = size
    scaled_height = max(round(image.shape[0] * width / image.shape[1]), 1)
    intrinsics = scale_intrinsics(
        intrinsics, (image.shape[0], image.shape[1]), (scaled_height, width)
    )
    if image.shape[:2] != (scaled_height, width):
        interpolation = cv2.INTER_AREA if width < image.shape[1] else cv2.INTER_LINEAR
        image = cv2.resize(image, (width, scaled_height), interpolation=interpolation)
    fitted = np.zeros((height, width, 3), dtype=np.uint8)
    kept = min(height, scaled_height)
    fitted[height - kept :] = image[scaled_height - kept :]
    intrinsics[1, 2] += height - scaled_height
    return fitted, intrinsics
