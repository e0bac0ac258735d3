"""The compiled loops over LiDAR points against numpy, step by step."""

import numpy as np

from occ_core.geometry.points import EGO_BOX_M, NO_BOX_M, is_return
from occ_core.ops.cpu.move_points import FAR, KEPT, NOT_FINITE, ZERO, classify_points, move_returns


def turned(degrees: float, x: float, y: float, z: float) -> np.ndarray:
    """A pose [4, 4]: a turn about z, then a shift."""
    pose = np.eye(4, dtype=np.float32)
    sine, cosine = np.sin(np.radians(degrees)), np.cos(np.radians(degrees))
    pose[:2, :2] = (cosine, -sine), (sine, cosine)
    pose[:3, 3] = x, y, z
    return pose


def moved_by_numpy(
    points: np.ndarray, pose: np.ndarray, box_pose: np.ndarray, box_m: np.ndarray
) -> np.ndarray:
    """The readable twin of ``move_returns``."""
    rows = points[:, :4].T
    x, y, z, _ = rows
    with np.errstate(invalid="ignore", over="ignore"):
        # Axis by axis, since a matrix product may round otherwise.
        in_box_frame = np.stack([a * x + b * y + c * z + d for a, b, c, d in box_pose[:3]])
        moved = np.stack([a * x + b * y + c * z + d for a, b, c, d in pose[:3]])
        low, high = box_m[:3, None], box_m[3:, None]
        on_ego = ((in_box_frame > low) & (in_box_frame < high)).all(axis=0)
    kept = is_return(rows, NO_BOX_M) & ~on_ego
    return np.concatenate([moved, rows[3:]]).T[kept]


def test_returns_are_those_of_numpy():
    """3000 points around the car: drop-outs at the origin, points on the car, and every kind of
    number that is none in each of the first four columns.
    """
    rng = np.random.default_rng(0)
    points = rng.normal(0.0, 3.0, (3000, 4)).astype(np.float32)
    points[:50, :3] = 0.0
    for number, bad in enumerate((np.nan, np.inf, -np.inf)):
        for column in range(4):
            points[60 + 4 * number + column, column] = bad
    pose, box_pose = turned(40.0, 10.0, -3.0, 0.5), turned(-90.0, 0.1, 0.2, 1.8)
    box_m = np.array(EGO_BOX_M, np.float32)
    expected = moved_by_numpy(points, pose, box_pose, box_m)
    moved = np.full((len(points), 5), 7.0, np.float32)
    number = move_returns(points.T.copy(), pose, box_pose, box_m, 0.5, moved)
    assert number == len(expected) and 2000 < number < 2938
    np.testing.assert_array_equal(moved[:number, :4], expected)
    assert (moved[:number, 4] == 0.5).all() and (moved[number + 1 :] == 7.0).all()


def test_points_on_the_faces_of_the_box_stay():
    """The box is -1..1 in all axes: the point at x = 1 lies on a face, the one at 0.99 inside."""
    points = np.array([[1.0, 0.0, 0.0, 5.0], [0.99, 0.0, 0.0, 6.0]], np.float32)
    pose = np.eye(4, dtype=np.float32)
    moved = np.zeros((2, 5), np.float32)
    box_m = np.array([-1, -1, -1, 1, 1, 1], np.float32)
    assert move_returns(points.T.copy(), pose, pose, box_m, 0.0, moved) == 1
    assert moved[0].tolist() == [1.0, 0.0, 0.0, 5.0, 0.0]


def test_what_a_point_is():
    rows = np.array(
        [
            [1.0, -10.0, 10.1, 0.0, np.nan, 3.0, -np.inf, 0.0],
            [2.0, 10.0, 0.0, -0.0, 0.0, np.inf, 99.0, 0.0],
            [3.0, 0.0, 0.0, 0.0, 99.0, 0.0, 0.0, 1e-30],
        ],
        np.float32,
    )
    kinds = np.empty(8, np.uint8)
    classify_points(rows, 10.0, kinds)
    assert kinds.tolist() == [KEPT, KEPT, FAR, ZERO, NOT_FINITE, NOT_FINITE, NOT_FINITE, KEPT]
