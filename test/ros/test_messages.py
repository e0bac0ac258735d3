"""Sensor messages to numpy, and the faults of known bags."""

from __future__ import annotations

import re
from array import array

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage, Image, PointCloud2, PointField
from std_msgs.msg import Header

from occ_perception_ros.calibration import CameraModel
from occ_perception_ros.lenses import Lens
from occ_perception_ros.messages import (
    check_header,
    image_from_message,
    intensity_problem,
    points_from_message,
)

MODEL = CameraModel((2, 3), np.array([[3.0, 0, 1.0], [0, 3.0, 0.5], [0, 0, 1]]), np.eye(4))
RGB = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)


def image(encoding: str, pixels: np.ndarray, padding: int = 0) -> Image:
    rows = pixels.reshape(pixels.shape[0], -1)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=255)
    return Image(
        height=2, width=3, encoding=encoding, step=rows.shape[1], data=array("B", rows.tobytes())
    )


def cloud(records: np.ndarray, row_padding: int = 0, height: int = 1) -> PointCloud2:
    kinds = {"<f4": 7, "<f8": 8, "|u1": 2, "<u2": 4}
    step, width = records.dtype.itemsize, len(records) // height
    rows = records.reshape(height, width).view(np.uint8).reshape(height, -1)
    rows = np.pad(rows, ((0, 0), (0, row_padding)), constant_values=7)
    assert records.dtype.fields is not None
    fields = [
        PointField(name=n, offset=o, datatype=kinds[d.str], count=1)
        for n, (d, o) in records.dtype.fields.items()
    ]
    return PointCloud2(
        height=height,
        width=width,
        fields=fields,
        point_step=step,
        row_step=rows.shape[1],
        data=array("B", rows.tobytes()),
    )


def points(rows: list[tuple[float, ...]], dtype: list[tuple[str, str]] | None = None) -> np.ndarray:
    return np.array(
        rows,
        dtype or [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("intensity", "<f4"), ("ring", "|u1")],
    )


def test_a_raw_image_keeps_its_intrinsics() -> None:
    pixels_rgb, intrinsics = image_from_message("cam", image("rgb8", RGB), MODEL)
    np.testing.assert_array_equal(pixels_rgb, RGB)
    np.testing.assert_array_equal(intrinsics, MODEL.intrinsics)


def test_an_image_is_undistorted_at_the_size_that_it_is_decoded_to() -> None:
    size = (64, 96)
    k = np.array([[80.0, 0, 47.5], [0, 80.0, 31.5], [0, 0, 1]])
    full = cv2.resize(RGB, size[::-1], interpolation=cv2.INTER_LINEAR)
    data = array("B", cv2.imencode(".jpg", full[..., ::-1])[1].tobytes())
    message = CompressedImage(format="jpeg", data=data)
    lens = Lens("plumb_bob", [-0.3, 0.1, 0.0, 0.0], k, np.eye(3), size)
    straight, intrinsics = image_from_message(
        "cam", message, CameraModel(size, k, np.eye(4)), min_width=48
    )
    found, same = image_from_message(
        "cam", message, CameraModel(size, k, np.eye(4), lens), min_width=48
    )
    np.testing.assert_array_equal(found, lens.rectified(straight, intrinsics))
    np.testing.assert_array_equal(same, intrinsics)
    assert found.shape == (32, 48, 3) and (found != straight).any()


def test_a_reduced_jpeg_has_reduced_intrinsics() -> None:
    full = np.full((64, 96, 3), 128, np.uint8)
    message = CompressedImage(
        format="jpeg", data=array("B", cv2.imencode(".jpg", full)[1].tobytes())
    )
    model = CameraModel(
        (64, 96), np.array([[80.0, 0, 47.5], [0, 80.0, 31.5], [0, 0, 1]]), np.eye(4)
    )
    pixels, intrinsics = image_from_message("cam", message, model, min_width=24)
    assert pixels.shape == (16, 24, 3)
    # a quarter: f / 4; centre (c + 0.5) / 4 - 0.5
    np.testing.assert_allclose(intrinsics, [[20, 0, 11.5], [0, 20, 7.5], [0, 0, 1]])


def test_errors_of_images_name_the_camera() -> None:
    good = image("rgb8", RGB)
    short = image("rgb8", RGB)
    short.data = short.data[:-1]
    stepped = image("rgb8", RGB)
    stepped.step = 8
    other_size = CameraModel((4, 6), MODEL.intrinsics, np.eye(4))
    whole = cv2.imencode(".jpg", RGB)[1].tobytes()
    for message, model, reason in (
        (image("32FC1", RGB), MODEL, "encoding '32FC1' is not supported"),
        (short, MODEL, "it has 17 bytes, but 2 rows of step 9 need 18"),
        (stepped, MODEL, "step 8 is less than a row"),
        (good, other_size, "it is 3x2, but its camera_info is for 6x4"),
        (CompressedImage(format="jpeg", data=array("B", b"no jpeg at all")), MODEL, "neither JPEG"),
        (CompressedImage(format="jpeg", data=array("B", whole[:-20])), MODEL, "truncated"),
        (CompressedImage(format="jpeg", data=array("B", b"")), MODEL, "begins with nothing"),
        (
            CompressedImage(format="h264", data=array("B", b"\0\0\0\1")),
            MODEL,
            "its format is 'h264'",
        ),
    ):
        with pytest.raises(ValueError, match=f"image of 'cam': .*{reason}"):
            image_from_message("cam", message, model)


def test_points_by_name_with_padding_between_rows() -> None:
    records = points([(1, 2, 3, 40, 5), (4, 5, 6, 50, 6), (7, 8, 9, 60, 7), (1, 1, 1, 70, 8)])
    found, dropped = points_from_message(cloud(records, row_padding=3, height=2))
    np.testing.assert_array_equal(
        found, [[1, 2, 3, 40], [4, 5, 6, 50], [7, 8, 9, 60], [1, 1, 1, 70]]
    )
    assert found.dtype == np.float32 and dropped == {"not_finite": 0, "zero": 0, "over_limit": 0}


def test_other_field_types_and_orders() -> None:
    dtype = [("ring", "<u2"), ("intensity", "|u1"), ("z", "<f8"), ("x", "<f8"), ("y", "<f8")]
    found, _ = points_from_message(cloud(points([(1, 200, 3, 1, 2)], dtype)))
    np.testing.assert_array_equal(found, [[1, 2, 3, 200]])
    bare = points([(1, 2, 3)], [("x", "<f4"), ("y", "<f4"), ("z", "<f4")])
    np.testing.assert_array_equal(points_from_message(cloud(bare))[0], [[1, 2, 3, 0]])


def test_points_that_are_not_finite_or_zero_are_dropped_and_counted() -> None:
    nan, inf = float("nan"), float("inf")
    records = points(
        [(nan, 1, 1, 1, 0), (1, inf, 1, 1, 0), (0, 0, 0, 9, 0), (1, 1, 1, nan, 0), (1, 2, 3, 4, 0)]
    )
    found, counts = points_from_message(cloud(records))
    np.testing.assert_array_equal(found, [[1, 1, 1, 0], [1, 2, 3, 4]])  # NaN intensity: 0
    assert counts == {"not_finite": 2, "zero": 1, "over_limit": 0, "bad_intensity": 1}


def test_absurd_numbers_are_dropped_or_limited_and_counted() -> None:
    rows = [(3e38, 1, 1, 1, 0), (1, -2e7, 1, 1, 0), (1, 1, 1, 1e38, 0), (1, 1, 1, -5, 0)]
    found, counts = points_from_message(cloud(points(rows)))
    np.testing.assert_array_equal(found, [[1, 1, 1, 255], [1, 1, 1, 0]])
    assert counts == {
        "not_finite": 0,
        "zero": 0,
        "over_limit": 0,
        "out_of_range": 2,
        "clamped_intensity": 2,
    }
    double = [("x", "<f8"), ("y", "<f8"), ("z", "<f8"), ("intensity", "<f8")]
    found, counts = points_from_message(cloud(points([(1e300, 1, 1, 1), (1, 1, 1, 1e300)], double)))
    np.testing.assert_array_equal(found, [[1, 1, 1, 0]])  # float32 makes both infinite
    assert (counts["not_finite"], counts["bad_intensity"]) == (1, 1)


@pytest.mark.parametrize("largest", [1.0, 255.0, 3060.0, 65535.0])
def test_the_unit_of_the_intensity(largest: float) -> None:
    records = points([(1, 2, 3, largest * part, 0) for part in (0.0, 0.2, 1.0)])
    found, counts = points_from_message(cloud(records), intensity_max=largest)
    np.testing.assert_allclose(found[:, 3], [0, 51, 255], rtol=1e-6)  # 0.2 * 255
    assert "clamped_intensity" not in counts


@pytest.mark.parametrize(
    ("largest", "intensity_max", "problem"),
    [
        (255.0, 255.0, ""),
        (1.0, 1.0, ""),
        (0.0, 255.0, ""),
        (1.0, 255.0, "no intensity of 200 points is above 1, where 255 is the largest; .* to 1.0"),
        (3060.0, 255.0, "intensity of 183 of 200 points lies outside 0..255"),
        (255.0, 1.0, "outside 0..1 and none is used; set intensity_max"),
        (258.0, 255.0, "of 3 of 200 points lies outside 0..255 and is limited to that"),
    ],
)
def test_another_unit_than_promised_is_noticed(
    largest: float, intensity_max: float, problem: str
) -> None:
    # 3060 * i / 199 is above 255 from i = 17 on: 183 of 200; 258 * i / 199 from i = 197 on: 3
    records = points([(1, 2, 3, largest * i / 199, 0) for i in range(200)])
    found, counts = points_from_message(cloud(records), intensity_max=intensity_max)
    text = intensity_problem(found, counts, intensity_max)
    assert bool(text) == bool(problem) and re.search(problem, text)


@pytest.mark.parametrize(("outside", "is_used"), [(20, True), (21, False)])
def test_intensities_of_another_unit_are_as_good_as_none(outside: int, is_used: bool) -> None:
    """A tenth of 200 points may be out of range."""
    intensities = [3000] * outside + [51] * (200 - outside)
    found, counts = points_from_message(cloud(points([(1, 2, 3, i, 0) for i in intensities])))
    expected = [255] * outside + [51] * (200 - outside) if is_used else [0] * 200
    np.testing.assert_array_equal(found[:, 3], expected)
    assert counts["clamped_intensity"] == outside


def test_single_absurd_intensities_are_another_fault() -> None:
    records = points([(1, 2, 3, 1e38 if i == 7 else i, 0) for i in range(200)])
    found, counts = points_from_message(cloud(records))
    assert counts["clamped_intensity"] == 1 and intensity_problem(found, counts, 255.0) == ""


def test_too_many_points_are_thinned() -> None:
    records = points([(i + 1, 0, 0, 0, 0) for i in range(10)])
    found, dropped = points_from_message(cloud(records), max_points=4)
    assert found[:, 0].tolist() == [1, 4, 7, 10] and dropped["over_limit"] == 6  # every third


def test_an_empty_cloud_has_no_points() -> None:
    found, _ = points_from_message(PointCloud2())
    assert found.shape == (0, 4)


def test_errors_of_clouds_have_a_reason() -> None:
    records = points([(1, 2, 3, 4, 5)])
    big_endian, truncated, narrow = cloud(records), cloud(records), cloud(records)
    big_endian.is_bigendian = True
    truncated.data = truncated.data[:-1]
    narrow.point_step = 10
    short_rows = cloud(records)
    short_rows.row_step = 16
    no_z = points([(1, 2)], [("x", "<f4"), ("y", "<f4")])
    whole_z = points([(1, 2, 3)], [("x", "<f4"), ("y", "<f4"), ("z", "<u2")])
    for message, reason in (
        (big_endian, "big-endian"),
        (truncated, "truncated: 16 bytes, but 1 rows of 17 need 17"),
        (narrow, "point_step 10"),
        (cloud(no_z), "no field 'z' .it has x:<f4, y:<f4"),
        (cloud(whole_z), "'z' is not a float"),
        (short_rows, "row_step 16 is less than 1 points of 17 bytes"),
    ):
        with pytest.raises(ValueError, match=reason):
            points_from_message(message)


def test_headers_without_stamp_or_frame_are_refused() -> None:
    header = Header(frame_id="cam_front")
    with pytest.raises(ValueError, match="'cam' has a zero header stamp"):
        check_header("cam", header)
    header.stamp.sec, header.stamp.nanosec = 12, 34
    assert check_header("cam", header) == 12_000_000_034
    header.frame_id = ""
    with pytest.raises(ValueError, match="'cam' has an empty header.frame_id"):
        check_header("cam", header)
