"""Garbage in any field of a message: an array or a ``ValueError``, quickly and in little memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import simplejpeg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from occ_perception_ros.bags.message_checks import camera_info_faults, cloud_faults, image_faults
from occ_perception_ros.bags.rules import RULES
from occ_perception_ros.calibration import camera_model, info_key
from occ_perception_ros.image_files import decode_image_file
from occ_perception_ros.jpeg_scan import check_jpeg_scan
from occ_perception_ros.messages import INTENSITY_MAX, image_from_message, points_from_message
from occ_perception_ros.pixel_formats import IMAGE_ENCODINGS, decode_image

MEMORY_BYTES = 200_000_000
"""Far more than the small inputs need, far less than the sizes that they declare."""

FUZZ = settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
COUNT = st.one_of(st.integers(0, 40), st.sampled_from([255, 4096, 2**16, 2**31, 2**32 - 1]))
NUMBER = st.one_of(st.floats(-2.0, 2000.0), st.floats(), st.sampled_from([0.0, 1.0, 1e38, 1e300]))
DATA = st.one_of(st.binary(max_size=300), st.binary(min_size=4000, max_size=4000))
PICTURE = cv2.resize(np.random.default_rng(0).integers(0, 256, (3, 4, 3), dtype=np.uint8), (32, 24))
FILES = (
    simplejpeg.encode_jpeg(PICTURE),
    simplejpeg.encode_jpeg(PICTURE[:, :, :1].copy(), colorspace="GRAY"),
    bytes(cv2.imencode(".jpg", PICTURE, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1]),
    bytes(cv2.imencode(".jpg", PICTURE, [cv2.IMWRITE_JPEG_RST_INTERVAL, 1])[1]),
    bytes(cv2.imencode(".png", PICTURE)[1]),
)


@contextmanager
def little_memory() -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < MEMORY_BYTES
    finally:
        tracemalloc.stop()


@st.composite
def images(draw: st.DrawFn) -> SimpleNamespace:
    encodings = st.one_of(st.sampled_from(list(IMAGE_ENCODINGS)), st.text(max_size=8))
    return SimpleNamespace(
        encoding=draw(encodings),
        height=draw(COUNT),
        width=draw(COUNT),
        step=draw(COUNT),
        is_bigendian=draw(st.integers(0, 255)),
        data=draw(DATA),
    )


@st.composite
def clouds(draw: st.DrawFn) -> SimpleNamespace:
    names = st.one_of(st.sampled_from(["x", "y", "z", "intensity", "ring"]), st.text(max_size=4))
    entries = st.builds(
        SimpleNamespace,
        name=names,
        offset=st.one_of(st.sampled_from([0, 4, 8, 12]), COUNT),
        datatype=st.one_of(st.sampled_from([7, 8]), st.integers(0, 255)),
        count=st.one_of(st.just(1), COUNT),
    )
    whole = [
        SimpleNamespace(name=name, offset=4 * index, datatype=7, count=1)
        for index, name in enumerate(("x", "y", "z", "intensity"))
    ]
    return SimpleNamespace(
        fields=draw(st.one_of(st.just(whole), st.lists(entries, max_size=8))),
        height=draw(st.one_of(st.just(1), COUNT)),
        width=draw(COUNT),
        point_step=draw(st.one_of(st.just(16), COUNT)),
        row_step=draw(st.one_of(st.sampled_from([16, 160, 320]), COUNT)),
        is_bigendian=draw(st.sampled_from([False, False, False, True])),
        data=draw(DATA),
    )


@st.composite
def camera_infos(draw: st.DrawFn) -> SimpleNamespace:
    def numbers(count: int) -> Any:
        sound = np.eye(3, count // 3).ravel()
        return st.one_of(st.just(sound), st.lists(NUMBER, min_size=count, max_size=count))

    models = ["plumb_bob", "rational_polynomial", "equidistant", "", "x"]
    return SimpleNamespace(
        height=draw(COUNT),
        width=draw(COUNT),
        binning_x=draw(COUNT),
        binning_y=draw(COUNT),
        roi=SimpleNamespace(
            **{name: draw(COUNT) for name in ("x_offset", "y_offset", "height", "width")}
        ),
        distortion_model=draw(st.sampled_from(models)),
        d=draw(st.lists(NUMBER, max_size=14)),
        k=draw(numbers(9)),
        r=draw(numbers(9)),
        p=draw(numbers(12)),
    )


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """A file with bytes changed, cut out, put in or repeated; or anything behind a signature."""
    data = bytearray(draw(st.sampled_from(FILES)))
    for _ in range(draw(st.integers(0, 4))):
        at, size = draw(st.integers(0, len(data))), draw(st.integers(0, 40))
        data[at : at + size] = draw(st.binary(max_size=40))
    anything = st.builds(
        lambda head, tail: head + tail,
        st.sampled_from([b"", b"\xff\xd8", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"]),
        st.binary(max_size=300),
    )
    return draw(st.one_of(st.just(bytes(data)), anything))


@FUZZ
@given(images())
def test_raw_images(message: SimpleNamespace) -> None:
    with little_memory():
        try:
            image = decode_image(message)
        except ValueError:
            assert list(image_faults(message))
        else:
            assert image.dtype == np.uint8 and image.shape == (message.height, message.width, 3)
            assert not list(image_faults(message))


@FUZZ
@given(clouds(), st.sampled_from([1.0, INTENSITY_MAX, 1e9]))
def test_clouds(message: SimpleNamespace, intensity_max: float) -> None:
    with little_memory():
        try:
            points, counts = points_from_message(message, 30, intensity_max)
        except ValueError:
            assert "cloud-unusable" in {code for code, _ in cloud_faults(message)}
            return
        assert points.shape[1] == 4 and len(points) <= 30 and np.isfinite(points).all()
        assert ((points[:, 3] >= 0) & (points[:, 3] <= INTENSITY_MAX)).all()
        lost = sum(counts.get(n, 0) for n in ("not_finite", "zero", "over_limit", "out_of_range"))
        assert len(points) + lost == message.width * message.height


@FUZZ
@given(files(), st.sampled_from(["", "jpeg", "bayer_rggb8; png", "bayer_", "nv12; jpeg"]))
def test_image_files(data: bytes, form: str) -> None:
    with little_memory():
        try:
            image = decode_image_file(data, min_width=8, form=form)
        except ValueError:
            return
        assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3


@FUZZ
@given(files())
def test_the_scan_ends_on_any_bytes(data: bytes) -> None:
    with little_memory():
        try:
            check_jpeg_scan(data)
        except ValueError as error:
            assert "JPEG" in str(error)


@FUZZ
@given(camera_infos(), st.booleans())
def test_camera_infos(info: SimpleNamespace, rectified: bool) -> None:
    assert {code for code, _ in camera_info_faults(info)} <= RULES.keys()
    assert info_key(info) == info_key(info) or np.isnan([*info.d, *info.k, *info.r, *info.p]).any()
    with little_memory():
        try:
            model = camera_model("cam", info, rectified)
        except ValueError as error:
            assert "camera_info of 'cam'" in str(error)
            return
        assert np.isfinite(model.intrinsics).all() and min(model.size) > 0
        height, width = model.size
        if height * width > 10_000:
            return
        pixels = bytes(3 * height * width)
        image = SimpleNamespace(
            encoding="rgb8", height=height, width=width, step=3 * width, is_bigendian=0, data=pixels
        )
        found, intrinsics = image_from_message("cam", image, model)
        assert found.shape == (height, width, 3) and np.isfinite(intrinsics).all()
