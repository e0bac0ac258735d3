"""Raw images of sensor_msgs/Image in every encoding that the node reads, as RGB.

The names are those of sensor_msgs/image_encodings.hpp. 16 bit are reduced to 8, as cv_bridge does:
65535 becomes 255.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np


class PixelFormat(NamedTuple):
    """How the pixels of an encoding lie in memory."""

    channels: int
    """Values per pixel; of planar YUV those of the brightness plane."""
    bits: int
    """Bits per value: 8 or 16."""
    to_rgb: int | None
    """OpenCV's conversion to RGB; None: it is RGB."""
    rows_per_row: float = 1.0
    """Rows in memory for each row of the image: 1.5 where chroma planes follow the image."""
    multiple: tuple[int, int] = (1, 1)
    """Height and width are multiples of these, since pixels share their chroma."""


_RGB, _RGBA, _BGR = None, cv2.COLOR_RGBA2RGB, cv2.COLOR_BGR2RGB
_BGRA, _GREY = cv2.COLOR_BGRA2RGB, cv2.COLOR_GRAY2RGB
_UYVY = PixelFormat(2, 8, cv2.COLOR_YUV2RGB_UYVY, multiple=(1, 2))
_YUYV = PixelFormat(2, 8, cv2.COLOR_YUV2RGB_YUY2, multiple=(1, 2))

BAYER = {
    # OpenCV names a pattern by its second row and column: its BayerBG is everybody's RGGB.
    "rggb": cv2.COLOR_BayerBG2RGB,
    "bggr": cv2.COLOR_BayerRG2RGB,
    "gbrg": cv2.COLOR_BayerGR2RGB,
    "grbg": cv2.COLOR_BayerGB2RGB,
}
"""OpenCV's conversion of each Bayer pattern, named by the first two pixels of the first rows."""

IMAGE_ENCODINGS: dict[str, PixelFormat] = {
    "rgb8": PixelFormat(3, 8, _RGB),
    "bgr8": PixelFormat(3, 8, _BGR),
    "rgba8": PixelFormat(4, 8, _RGBA),
    "bgra8": PixelFormat(4, 8, _BGRA),
    "mono8": PixelFormat(1, 8, _GREY),
    "8UC1": PixelFormat(1, 8, _GREY),
    "8UC3": PixelFormat(3, 8, _BGR),  # OpenCV's order, as cv_bridge writes it
    "8UC4": PixelFormat(4, 8, _BGRA),
    "rgb16": PixelFormat(3, 16, _RGB),
    "bgr16": PixelFormat(3, 16, _BGR),
    "rgba16": PixelFormat(4, 16, _RGBA),
    "bgra16": PixelFormat(4, 16, _BGRA),
    "mono16": PixelFormat(1, 16, _GREY),
    **{
        f"bayer_{pattern}{bits}": PixelFormat(1, bits, code)
        for pattern, code in BAYER.items()
        for bits in (8, 16)
    },
    "yuv422": _UYVY,
    "uyvy": _UYVY,
    "yuv422_yuy2": _YUYV,
    "yuyv": _YUYV,
    "nv12": PixelFormat(1, 8, cv2.COLOR_YUV2RGB_NV12, 1.5, (2, 2)),
    "nv21": PixelFormat(1, 8, cv2.COLOR_YUV2RGB_NV21, 1.5, (2, 2)),
    "i420": PixelFormat(1, 8, cv2.COLOR_YUV2RGB_I420, 1.5, (2, 2)),
}
"""Formats by encoding."""


def image_rows(message: Any) -> np.ndarray:
    """The pixels of a sensor_msgs/Image as they are stored, without the padding of its rows.

    Returns:
        uint8 or uint16 ``[rows, width, channels]``, where planar YUV has ``1.5 * height`` rows.

    Raises:
        ValueError: the encoding is not in ``IMAGE_ENCODINGS``, or step, size and data contradict
            one another.
    """
    encoding = message.encoding
    if encoding not in IMAGE_ENCODINGS:
        raise ValueError(
            f"encoding '{encoding}' is not supported; expected one of {list(IMAGE_ENCODINGS)}"
        )
    form = IMAGE_ENCODINGS[encoding]
    height, width, step = int(message.height), int(message.width), int(message.step)
    if height < 1 or width < 1:
        raise ValueError(f"it has {width}x{height} pixels")
    if height % form.multiple[0] or width % form.multiple[1]:
        raise ValueError(
            f"{width}x{height} pixels of '{encoding}' do not share their chroma evenly; expected "
            f"multiples of {form.multiple[1]}x{form.multiple[0]}"
        )
    pixel_bytes = form.channels * form.bits // 8
    if step < width * pixel_bytes:
        raise ValueError(f"step {step} is less than a row of {width} pixels of {pixel_bytes} bytes")
    rows = int(height * form.rows_per_row)
    data = np.frombuffer(memoryview(message.data), dtype=np.uint8)
    if len(data) < rows * step:
        raise ValueError(
            f"it has {len(data)} bytes, but {rows} rows of step {step} need {rows * step}"
        )
    if encoding == "i420":
        return _i420_rows(data, height, width, step)
    pixels = np.ascontiguousarray(data[: rows * step].reshape(rows, step)[:, : width * pixel_bytes])
    if form.bits == 16:
        pixels = pixels.view(">u2" if message.is_bigendian else "<u2")
    return pixels.reshape(rows, width, form.channels)


def decode_image(message: Any) -> np.ndarray:
    """The RGB image, uint8 ``[H, W, 3]``, of a sensor_msgs/Image.

    Raises:
        ValueError: see ``image_rows``.
    """
    rows = image_rows(message)
    form = IMAGE_ENCODINGS[message.encoding]
    if form.bits == 16:
        rows = cv2.convertScaleAbs(rows.astype(np.uint16, copy=False), alpha=255 / 65535)
        rows = rows.reshape(*rows.shape[:2], form.channels)
    return rows if form.to_rgb is None else to_rgb(rows, form.to_rgb)


def to_rgb(pixels: np.ndarray, conversion: int) -> np.ndarray:
    """Converts uint8 ``[rows, W, channels]`` to RGB ``[H, W, 3]`` by one of OpenCV's conversions.

    Raises:
        ValueError: the image is too small for the conversion.
    """
    try:
        image: np.ndarray = cv2.cvtColor(pixels, conversion)
    except cv2.error as error:
        raise ValueError(f"{pixels.shape[1]}x{pixels.shape[0]} pixels: {error.err}") from error
    return image


def _i420_rows(data: np.ndarray, height: int, width: int, step: int) -> np.ndarray:
    """The three planes without padding; the rows of the chroma planes have half the step."""
    luma = data[: height * step].reshape(height, step)[:, :width]
    chroma = data[height * step :][: height * (step // 2)].reshape(height, step // 2)
    chroma = chroma[:, : width // 2]
    packed = np.concatenate([luma.ravel(), chroma.ravel()])
    return packed.reshape(height * 3 // 2, width, 1)
