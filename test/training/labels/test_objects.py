import numpy as np
import pytest

from training.labels.cells import Cells
from training.labels.objects import complete_object
from training.labels.tracks import ObjectTrack


def track(*, symmetric: bool = False, solid: bool = False) -> ObjectTrack:
    size = np.array([4.0, 2.0, 1.5])
    pose = np.eye(4)[None]
    return ObjectTrack(4, size, np.zeros(1), pose, symmetric=symmetric, solid=solid)


def cells(points: np.ndarray) -> Cells:
    return Cells(points.astype(np.float32), np.full(len(points), -1, np.int16))


def test_a_symmetric_object_gets_its_other_side() -> None:
    found = complete_object(cells(np.array([[1.0, 0.9, 0.0]])), track(symmetric=True), 0.1)
    assert sorted(found.points[:, 1].tolist()) == pytest.approx([-0.9, 0.9])
    assert found.classes.tolist() == [4, 4]


def test_a_solid_object_gets_the_faces_of_its_hull() -> None:
    corners = np.array([[x, y, z] for x in (-2, 2) for y in (-1, 1) for z in (-0.7, 0.4)], float)
    points = complete_object(cells(corners), track(solid=True), 0.25).points
    # The middle of each face lies no further than the spacing from a point; the roof is the box's.
    for middle in ([0, 0, 0.75], [0, 1, 0], [2, 0, 0], [0, 0, -0.7], [0, -1, 0], [-2, 0, 0]):
        assert np.linalg.norm(points - np.array(middle), axis=1).min() < 0.25
    assert (np.abs(points[:, :2]) <= [2.0 + 1e-5, 1.0 + 1e-5]).all()


def test_a_roof_as_wide_as_what_was_seen_lies_at_the_top_of_the_box() -> None:
    """The LiDAR has seen a body of 4 x 2 m and, up to 0.3 m below the top, a cabin of 2 x 1 m."""
    body = [[x, y, z] for x in (-2, 2) for y in (-1, 1) for z in (-0.7, 0.0)]
    cabin = [[x, y, 0.45] for x in (-1, 1) for y in (-0.5, 0.5)]
    points = complete_object(cells(np.array(body + cabin)), track(solid=True), 0.1).points
    roof = points[points[:, 2] > 0.7]
    assert points[:, 2].max() == pytest.approx(0.75)
    assert np.abs(roof[:, :2]).max(axis=0) == pytest.approx([1.0, 0.5], abs=0.15)
    assert np.linalg.norm(roof - np.array([0, 0, 0.75]), axis=1).min() < 0.1


def test_an_object_seen_at_few_points_or_from_one_side_stays_as_it_was_seen() -> None:
    few = np.arange(9.0).reshape(3, 3) / 10
    assert len(complete_object(cells(few), track(solid=True), 0.1).points) == 3
    side = np.column_stack([np.linspace(-2, 2, 20), np.full(20, 1.0), np.zeros(20)])  # in one line
    assert len(complete_object(cells(side), track(solid=True), 0.1).points) == 20


def test_without_spacing_nothing_is_added() -> None:
    seen = cells(np.random.default_rng(0).uniform(-0.5, 0.5, (30, 3)))
    assert len(complete_object(seen, track(symmetric=True, solid=True), None).points) == 30
