"""JPEG and PNG files in sensor_msgs/CompressedImage, checked for damage before they are used.

Node, offline run, converter and ``bag_check`` all decode by these functions, so that they agree on
which images are good.
"""

from __future__ import annotations

import numpy as np
import simplejpeg

from occ_core.geometry.images import check_pixels, decode_jpeg, jpeg_size
from occ_core.geometry.png import decode_png, is_png, png_is_grey, png_size
from occ_perception_ros.jpeg_scan import check_jpeg_scan
from occ_perception_ros.pixel_formats import IMAGE_ENCODINGS, to_rgb

_JPEG = b"\xff\xd8"


def image_file_size(data: bytes, form: str = "") -> tuple[int, int]:
    """``(height, width)`` of the image in a JPEG or PNG file, from its header.

    Args:
        data: the file.
        form: ``format`` of the message, for error texts.

    Raises:
        ValueError: the data are neither JPEG nor PNG, the header is damaged, or the image has more
            than ``images.MAX_PIXELS``.
    """
    if data.startswith(_JPEG):
        height, width = jpeg_size(data)
    elif is_png(data):
        height, width = png_size(data)
    else:
        raise ValueError(
            f"neither JPEG nor PNG: it begins with {data[:4].hex() or 'nothing'}, and its format "
            f"is '{form}'"
        )
    check_pixels(height, width)
    return height, width


def checked_image_size(data: bytes) -> tuple[int, int]:
    """``(height, width)`` of the image in a JPEG or PNG file, which is checked for damage.

    This takes less time than to decode it, where the check of its codes suffices.

    Raises:
        ValueError: see ``decode_image_file``.
    """
    size = image_file_size(data)
    if not (data.startswith(_JPEG) and check_jpeg_scan(data)):
        decode_image_file(data, min_width=1)
    return size


def decode_image_file(data: bytes, min_width: int | None = None, form: str = "") -> np.ndarray:
    """The RGB image, uint8 ``[H, W, 3]``, of a JPEG or PNG file; 16 bit are reduced to 8.

    Bytes behind the end of the file, with which some cameras pad, are ignored, as are orientation
    tags: the intrinsics belong to the pixels as stored.

    Args:
        data: the file. Its first bytes decide what it is.
        min_width: allows a JPEG to be decoded at a reduced size; see ``decode_jpeg``.
        form: ``format`` of the message. Where it begins with a Bayer encoding and the file is
            grey, as image_transport writes the raw image of a colour sensor, colours are restored.

    Raises:
        ValueError: see ``image_file_size``; or the file is truncated or damaged.
    """
    image_file_size(data, form)
    mosaic = _mosaic(form)
    if is_png(data):
        grey, image = png_is_grey(data), decode_png(data)
    else:
        grey = simplejpeg.decode_jpeg_header(data)[2] == "Gray"
        check_jpeg_scan(data)
        image = decode_jpeg(data, None if grey and mosaic is not None else min_width)
    if grey and mosaic is not None:
        return to_rgb(np.ascontiguousarray(image[:, :, :1]), mosaic)
    return image


def _mosaic(form: str) -> int | None:
    """The conversion of the Bayer pattern that a ``format`` begins with; None without one."""
    encoding = form.partition(";")[0].strip()
    pixels = IMAGE_ENCODINGS.get(encoding) if encoding.startswith("bayer_") else None
    return None if pixels is None else pixels.to_rgb
