import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from occ_core.geometry.images import decode_jpeg, fit_image, jpeg_size, scale_intrinsics
from occ_core.geometry.points import project_points

side = st.integers(1, 90)


def jpeg(height: int, width: int) -> bytes:
    """A picture with a red left half and a blue right half."""
    image = np.zeros((height, width, 3), dtype=np.uint8)
    image[:, : width // 2, 2] = 255  # OpenCV's order is BGR
    image[:, width // 2 :, 0] = 255
    return cv2.imencode(".jpg", image)[1].tobytes()


def test_decoding_gives_rgb():
    image = decode_jpeg(jpeg(40, 64))
    assert image.shape == (40, 64, 3) and image.dtype == np.uint8
    assert_allclose(image[20, 8], [255, 0, 0], atol=6)
    assert_allclose(image[20, 56], [0, 0, 255], atol=6)


@pytest.mark.parametrize(
    ("min_width", "size"),
    [
        (None, (80, 160)),
        (160, (80, 160)),
        (81, (80, 160)),  # half would be 80 wide: too narrow
        (80, (40, 80)),
        (21, (20, 40)),
        (20, (10, 20)),
        (1, (10, 20)),  # an eighth is the smallest
        (500, (80, 160)),
    ],
)
def test_decoding_is_reduced_while_wide_enough(min_width, size):
    assert decode_jpeg(jpeg(80, 160), min_width).shape[:2] == size


def test_decoding_is_reduced_only_where_it_divides_evenly():
    # 900 rows are not a multiple of 8: an eighth would have 113 rows of 8 and one of 4.
    assert decode_jpeg(jpeg(900, 1600), min_width=176).shape[:2] == (225, 400)


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"\x89PNG\r\n", b"\xff\xd8" + b"\0" * 100])
def test_bytes_that_are_no_jpeg_are_refused(data):
    with pytest.raises(ValueError, match="JPEG"):
        decode_jpeg(data)


@pytest.mark.parametrize("min_width", [None, 20])
@pytest.mark.parametrize("missing", [1, 2, 40, 600])
def test_truncated_jpegs_are_refused(missing, min_width):
    data = jpeg(80, 160)
    with pytest.raises(ValueError, match=rf"the JPEG of {len(data) - missing} bytes is truncated"):
        decode_jpeg(data[:-missing], min_width)


def test_a_jpeg_with_a_gap_is_refused():
    data = jpeg(80, 160)
    with pytest.raises(ValueError, match="truncated or damaged"):
        decode_jpeg(data[:-100] + data[-2:])  # the end marker is there


def test_padding_after_the_end_marker_is_ignored():
    data = jpeg(80, 160)
    assert (decode_jpeg(data + b"\0" * 10_000) == decode_jpeg(data)).all()


def test_reduced_images_are_those_of_opencv():
    """Both use libjpeg's scaled inverse DCT, so that models see the same pixels from either."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (12, 20, 3), dtype=np.uint8)
    data = cv2.imencode(".jpg", cv2.resize(coarse, (160, 96)))[1].tobytes()
    encoded = np.frombuffer(data, dtype=np.uint8)
    flags = {160: cv2.IMREAD_COLOR, 80: cv2.IMREAD_REDUCED_COLOR_2, 40: cv2.IMREAD_REDUCED_COLOR_4}
    for width, flag in flags.items():
        difference = decode_jpeg(data, width)[..., ::-1].astype(int) - cv2.imdecode(encoded, flag)
        assert np.abs(difference).max() <= 4  # grey levels, of two builds of libjpeg


def test_jpeg_size_from_the_header():
    assert jpeg_size(jpeg(23, 57)) == (23, 57)


def test_scaled_intrinsics():
    # Half the size: the centre (3.5, 1.5) of a 4 x 8 image becomes that of a 2 x 4 image.
    intrinsics = np.array([[10.0, 0, 3.5], [0, 10, 1.5], [0, 0, 1]])
    assert_allclose(
        scale_intrinsics(intrinsics, (4, 8), (2, 4)), [[5, 0, 1.5], [0, 5, 0.5], [0, 0, 1]]
    )


@given(st.tuples(side, side), st.tuples(side, side), st.integers(0, 2**32 - 1))
def test_projecting_commutes_with_scaling(from_size, to_size, seed):
    rng = np.random.default_rng(seed)
    intrinsics = np.array(
        [
            [rng.uniform(5, 50), 0, rng.uniform(0, 40)],
            [0, rng.uniform(5, 50), rng.uniform(0, 40)],
            [0, 0, 1],
        ]
    )
    points = rng.uniform([-5, -5, 1], [5, 5, 40], size=(8, 3))
    pixels, _ = project_points(intrinsics, points)
    scale = np.array([to_size[1] / from_size[1], to_size[0] / from_size[0]])
    scaled, _ = project_points(scale_intrinsics(intrinsics, from_size, to_size), points)
    assert_allclose(scaled, (pixels + 0.5) * scale - 0.5, rtol=1e-9, atol=1e-9)


def test_fitting_crops_the_sky():
    # 8 x 8 to width 4: 4 x 4, of which the lower 3 rows are kept. The centre (3.5, 3.5) becomes
    # (1.5, 1.5), then moves a row up.
    image = np.zeros((8, 8, 3), dtype=np.uint8)
    image[4:] = 100
    intrinsics = np.array([[8.0, 0, 3.5], [0, 8, 3.5], [0, 0, 1]])
    fitted, matrix = fit_image(image, intrinsics, (3, 4))
    assert fitted[..., 0].tolist() == [[0] * 4, [100] * 4, [100] * 4]
    assert_allclose(matrix, [[4, 0, 1.5], [0, 4, 0.5], [0, 0, 1]])


def test_fitting_pads_above():
    image = np.full((4, 8, 3), 100, dtype=np.uint8)
    fitted, matrix = fit_image(image, np.array([[8.0, 0, 3.5], [0, 8, 1.5], [0, 0, 1]]), (3, 4))
    assert fitted[..., 0].tolist() == [[0] * 4, [100] * 4, [100] * 4]  # 2 x 4, and a row above
    assert_allclose(matrix, [[4, 0, 1.5], [0, 4, 1.5], [0, 0, 1]])


def test_fitting_leaves_a_fitting_image_alone():
    image = np.random.default_rng(0).integers(0, 255, (5, 7, 3), dtype=np.uint8)
    intrinsics = np.array([[8.0, 0, 3.5], [0, 8, 1.5], [0, 0, 1]])
    fitted, matrix = fit_image(image, intrinsics, (5, 7))
    assert (fitted == image).all()
    assert_allclose(matrix, intrinsics)


def test_fitting_moves_pixels_as_the_intrinsics_say():
    # A white square around a point's projection is found again at its new projection.
    intrinsics = np.array([[400.0, 0, 199.5], [0, 400, 149.5], [0, 0, 1]])
    point = np.array([[0.9, 1.1, 5.0]])
    ((column, row),), _ = project_points(intrinsics, point)  # 271.5, 237.5
    image = np.zeros((300, 400, 3), dtype=np.uint8)
    image[int(row) - 9 : int(row) + 11, int(column) - 9 : int(column) + 11] = 255
    fitted, matrix = fit_image(image, intrinsics, (64, 176))
    ((column, row),), _ = project_points(matrix, point)
    weight = fitted[..., 0].astype(float)
    rows, columns = np.mgrid[:64, :176]
    assert (weight * columns).sum() / weight.sum() == pytest.approx(column, abs=0.05)
    assert (weight * rows).sum() / weight.sum() == pytest.approx(row, abs=0.05)


@settings(max_examples=50)
@given(st.tuples(side, side), st.tuples(side, side))
def test_fitted_size(from_size, to_size):
    image = np.full((*from_size, 3), 7, dtype=np.uint8)
    fitted, matrix = fit_image(image, np.eye(3), to_size)
    assert fitted.shape == (*to_size, 3) and fitted.dtype == np.uint8
    assert (fitted[-1] == 7).all()
    assert np.isfinite(matrix).all()


@pytest.mark.parametrize("to_size", [(128, 352), (256, 704), (112, 200), (3, 7)])
@pytest.mark.parametrize(
    "from_size", [(225, 400), (900, 1600), (540, 960), (480, 640), (376, 1408), (375, 1242)]
)
def test_rows_that_are_cropped_need_not_be_scaled(
    from_size: tuple[int, int], to_size: tuple[int, int]
):
    """The sizes of common cameras; all of the image is scaled here, then cropped."""
    image = np.random.default_rng(0).integers(0, 256, (*from_size, 3), dtype=np.uint8)
    scaled_height = max(round(from_size[0] * to_size[1] / from_size[1]), 1)
    way = cv2.INTER_AREA if to_size[1] < from_size[1] else cv2.INTER_LINEAR
    scaled = cv2.resize(image, (to_size[1], scaled_height), interpolation=way)
    expected = np.zeros((*to_size, 3), np.uint8)
    kept = min(to_size[0], scaled_height)
    expected[to_size[0] - kept :] = scaled[scaled_height - kept :]
    np.testing.assert_array_equal(fit_image(image, np.eye(3), to_size)[0], expected)


def test_fitting_does_not_change_its_input():
    intrinsics = np.eye(3)
    fit_image(np.zeros((8, 8, 3), dtype=np.uint8), intrinsics, (2, 4))
    assert (intrinsics == np.eye(3)).all()


def test_a_wrong_image_is_refused():
    with pytest.raises(ValueError, match=r"uint8 \[height, width, 3\], got float32 \[4, 4, 3\]"):
        fit_image(np.zeros((4, 4, 3), dtype=np.float32), np.eye(3), (2, 2))
    with pytest.raises(ValueError, match=r"got uint8 \[4, 4\]"):
        fit_image(np.zeros((4, 4), dtype=np.uint8), np.eye(3), (2, 2))
