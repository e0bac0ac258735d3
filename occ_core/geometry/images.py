"""Camera images: decoding, and fitting to the model's size along with the intrinsics."""

from __future__ import annotations

from math import gcd

import cv2
import numpy as np
import simplejpeg

MAX_PIXELS = 50_000_000
"""Larger images are refused: a file of a few bytes may claim any size."""
_START_OF_IMAGE = b"\xff\xd8"
_REDUCTIONS = (8, 4, 2)
"""libjpeg decodes at these fractions of the size by dropping frequencies before the inverse DCT."""


def decode_jpeg(data: bytes, min_width: int | None = None) -> np.ndarray:
    """RGB image, uint8 ``[H, W, 3]``, of a JPEG file's bytes.

    With ``min_width`` the image is decoded at an eighth, a quarter or a half of its size: the
    smallest that is still ``min_width`` wide and that divides the size evenly, so that the
    intrinsics scale exactly. This is several times faster than decoding at full size. Orientation
    tags are ignored, since the intrinsics belong to the pixels as stored. Bytes after the end
    marker, with which some cameras pad, are ignored too.

    Raises:
        ValueError: the data are not a JPEG, the image has more than ``MAX_PIXELS``, or the file is
            truncated or damaged.
    """
    height, width = jpeg_size(data)
    check_pixels(height, width)
    min_width = width if min_width is None else min_width
    reductions = (
        divisor
        for divisor in _REDUCTIONS
        if width % divisor == height % divisor == 0 and width // divisor >= min_width
    )
    divisor = next(reductions, 1)
    try:
        # Strict: libjpeg otherwise fills what a damaged file lacks with grey, without an error.
        image: np.ndarray = simplejpeg.decode_jpeg(
            data, "RGB", min_height=height // divisor, min_width=width // divisor, strict=True
        )
    except ValueError as error:
        raise ValueError(
            f"the JPEG of {len(data)} bytes is truncated or damaged: {error}"
        ) from error
    return image


def check_pixels(height: int, width: int) -> None:
    """Checks the size of an image before memory is taken for it.

    Raises:
        ValueError: it has no pixels, or more than ``MAX_PIXELS``.
    """
    if not 0 < height * width <= MAX_PIXELS:
        raise ValueError(f"it has {width}x{height} pixels; the limit are {MAX_PIXELS:,} in all")


def jpeg_size(data: bytes) -> tuple[int, int]:
    """``(height, width)`` in pixels from a JPEG's header, without decoding the image.

    Raises:
        ValueError: the data are not a JPEG, or its header is damaged.
    """
    if not data.startswith(_START_OF_IMAGE):
        raise ValueError(f"not a JPEG: {len(data)} bytes that start with {bytes(data[:4])!r}")
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError as error:
        raise ValueError(
            f"the JPEG of {len(data)} bytes is truncated or damaged in its header: {error}"
        ) from error
    return height, width


def scale_intrinsics(
    intrinsics: np.ndarray, from_size: tuple[int, int], to_size: tuple[int, int]
) -> np.ndarray:
    """Intrinsics of an image that is scaled from ``from_size`` to ``to_size``, float64 ``[3, 3]``.

    A pixel's centre lies at integer coordinates and the image's edge at -0.5, so that a coordinate
    c becomes ``(c + 0.5) * scale - 0.5``.

    Args:
        intrinsics: ``[3, 3]``, in pixels of the image of ``from_size``.
        from_size: ``(height, width)`` in pixels.
        to_size: likewise.
    """
    scale_y, scale_x = to_size[0] / from_size[0], to_size[1] / from_size[1]
    scale = np.array(
        [[scale_x, 0.0, 0.5 * scale_x - 0.5], [0.0, scale_y, 0.5 * scale_y - 0.5], [0.0, 0.0, 1.0]]
    )
    return scale @ intrinsics


def fit_image(
    image: np.ndarray, intrinsics: np.ndarray, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Fits an image to the model's size: scaled to its width, then cropped or padded at the top.

    The top is where the sky is; padding is zeros.

    Args:
        image: uint8 ``[h, w, 3]``.
        intrinsics: ``[3, 3]``, in pixels of ``image``.
        size: ``(H, W)``, the model's.

    Returns:
        The fitted image, uint8 ``[H, W, 3]``, and its intrinsics, float64 ``[3, 3]``.

    Raises:
        ValueError: ``image`` is not uint8 ``[h, w, 3]``, or is empty.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise ValueError(
            f"an image must be uint8 [height, width, 3], got {image.dtype} {list(image.shape)}"
        )
    height, width = size
    image_height, image_width = image.shape[:2]
    scaled_height = max(round(image_height * width / image_width), 1)
    intrinsics = scale_intrinsics(intrinsics, (image_height, image_width), (scaled_height, width))
    kept = min(height, scaled_height)
    if (image_height, image_width) != (scaled_height, width):
        image = _resized(image, scaled_height, width, scaled_height - kept)
    fitted = np.zeros((height, width, 3), dtype=np.uint8)
    fitted[height - kept :] = image[len(image) - kept :]
    intrinsics[1, 2] += height - scaled_height
    return fitted, intrinsics


def _resized(image: np.ndarray, height: int, width: int, unused: int) -> np.ndarray:
    """An image scaled to a size, of which the caller uses no row above ``unused``.

    Rows at the top may be missing: where rows of both images meet, the scaling starts afresh.
    """
    if width >= image.shape[1]:
        return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    meetings = gcd(len(image), height)
    step, step_of_scaled = len(image) // meetings, height // meetings
    left_out = unused // step_of_scaled
    image, height = image[left_out * step :], height - left_out * step_of_scaled
    # Averaging over areas avoids aliasing where the image shrinks.
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
