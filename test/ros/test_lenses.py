"""Undistorted images: a spot appears where a pinhole camera sees it."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import pytest

from occ_core.geometry.images import scale_intrinsics
from occ_perception_ros.lenses import Lens

SIZE = (450, 800)
K = np.array([[633.0, 0.0, 400.0], [0.0, 620.0, 225.0], [0.0, 0.0, 1.0]])
WIDER = np.array([[500.0, 0.0, 390.0], [0.0, 510.0, 230.0], [0.0, 0.0, 1.0]])
TURN = cv2.Rodrigues(np.array([0.02, -0.03, 0.01]))[0]
LENSES = [
    ("plumb_bob", [-0.35, 0.12, 0.001, -0.0005, 0.0]),
    ("plumb_bob", [-0.2, 0.05, 0.0, 0.0]),
    ("rational_polynomial", [4.1, 1.9, 0.0, 0.0, 0.08, 4.5, 2.9, 0.4]),
    ("equidistant", [-0.02, 0.01, -0.003, 0.0005]),
    ("fisheye", [0.0, 0.0, 0.0, 0.0]),
]
RAYS = [(0.0, 0.0), (0.3, -0.2), (-0.45, 0.25), (0.5, 0.3)]
"""Directions x / z, y / z in the axes of the camera."""


def seen_at(model: str, coefficients: Sequence[float], ray: tuple[float, float]) -> np.ndarray:
    """Column and row of a ray in the image as it comes, by OpenCV's projection."""
    point = np.array([[[*ray, 1.0]]])
    if model in ("equidistant", "fisheye"):
        pixels, _ = cv2.fisheye.projectPoints(
            point, np.zeros(3), np.zeros(3), K, np.array(coefficients)
        )
    else:
        pixels, _ = cv2.projectPoints(point, np.zeros(3), np.zeros(3), K, np.array(coefficients))
    return pixels.reshape(2)


def spot(centre: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A smooth white spot of some pixels on black."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    squared = (columns - centre[0]) ** 2 + (rows - centre[1]) ** 2
    return np.repeat((255 * np.exp(-squared / 32)).astype(np.uint8)[..., None], 3, axis=2)


def centre_of(image: np.ndarray) -> np.ndarray:
    weights = image[..., 0].astype(float)
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    return np.array([(weights * columns).sum(), (weights * rows).sum()]) / weights.sum()


@pytest.mark.parametrize("ray", RAYS)
@pytest.mark.parametrize(("model", "coefficients"), LENSES)
def test_a_spot_is_where_a_pinhole_sees_it(
    model: str, coefficients: list[float], ray: tuple[float, float]
) -> None:
    lens = Lens(model, coefficients, K, TURN, SIZE)
    turned = TURN @ np.array([*ray, 1.0])
    expected = (WIDER @ turned)[:2] / turned[2]
    found = centre_of(lens.rectified(spot(seen_at(model, coefficients, ray), SIZE), WIDER))
    assert np.abs(found - expected).max() < 0.5


def test_a_lens_moves_pixels_by_dozens() -> None:
    model, coefficients = LENSES[0]
    ray = (0.6, 0.33)
    pinhole = (K @ [*ray, 1.0])[:2]
    assert np.linalg.norm(seen_at(model, coefficients, ray) - pinhole) > 50


def test_a_reduced_image_is_undistorted_alike() -> None:
    model, coefficients = LENSES[0]
    lens = Lens(model, coefficients, K, np.eye(3), SIZE)
    half = (SIZE[0] // 2, SIZE[1] // 2)
    small_k = scale_intrinsics(K, SIZE, half)
    centre = (seen_at(model, coefficients, RAYS[2]) + 0.5) / 2 - 0.5
    found = centre_of(lens.rectified(spot(centre, half), small_k))
    assert np.abs(found - (small_k @ [*RAYS[2], 1.0])[:2]).max() < 0.5


def test_the_map_is_computed_once_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    lens = Lens(*LENSES[0], K, np.eye(3), SIZE)
    compute, computed = lens._compute, []
    monkeypatch.setattr(lens, "_compute", lambda *a: computed.append(a) or compute(*a))
    image = np.zeros((*SIZE, 3), np.uint8)
    for _ in range(3):
        lens.rectified(image, K)
    assert len(computed) == 1
    lens.rectified(image, WIDER)
    assert len(computed) == 2


def test_what_the_lens_did_not_see_is_black() -> None:
    lens = Lens("plumb_bob", [0.3, 0.0, 0.0, 0.0], K, np.eye(3), SIZE)  # a pincushion
    far = np.diag([0.3, 0.3, 1.0]) @ K
    far[:2, 2] = K[:2, 2]
    white = np.full((*SIZE, 3), 255, np.uint8)
    rectified = lens.rectified(white, far)
    assert (rectified[0, 0] == 0).all() and (rectified[225, 400] == 255).all()


@pytest.mark.parametrize("coefficients", [[], [0.0] * 5])
def test_no_coefficients_change_nothing_but_a_fisheye_does(coefficients: list[float]) -> None:
    for model in ("", "plumb_bob", "rational_polynomial"):
        lens = Lens(model, coefficients, K, np.eye(3), SIZE)
        assert not lens.changes(K) and lens.changes(WIDER)
        assert Lens(model, coefficients, K, TURN, SIZE).changes(K)
    assert Lens("equidistant", coefficients, K, np.eye(3), SIZE).changes(K)


@pytest.mark.parametrize(
    ("model", "coefficients", "reason"),
    [
        ("thin_prism", [0.1], "the distortion model 'thin_prism', which is not known"),
        ("", [0.1], "the distortion model '', which is not known; expected one of"),
        ("plumb_bob", [0.1], "1 distortion coefficients; 'plumb_bob' has 4 or 5"),
        ("equidistant", [0.1] * 5, "5 distortion coefficients; 'equidistant' has 4"),
        ("plumb_bob", [float("nan")] * 5, "coefficients that are not finite"),
    ],
)
def test_other_lenses_are_refused_by_name(
    model: str, coefficients: list[float], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        Lens(model, coefficients, K, np.eye(3), SIZE)
