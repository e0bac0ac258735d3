import numpy as np
import pytest

from training.labels.cells import Cells
from training.labels.ground import ground_between


def slope(x_m: np.ndarray) -> Cells:
    """A strip 4 m wide, that rises by 2 cm a metre along x; class 11, from x = 20 on 13."""
    x, y = np.meshgrid(x_m, np.arange(0.0, 4.0, 0.25), indexing="ij")
    points = np.column_stack([x.ravel(), y.ravel(), 0.02 * x.ravel()]).astype(np.float32)
    classes = np.where(points[:, 0] < 20.0, 11, 13).astype(np.int16)
    return Cells(points, classes)


def test_a_gap_is_filled_at_the_height_and_with_the_class_of_the_ground_around() -> None:
    x = np.concatenate([np.arange(0.1, 10.0, 0.25), np.arange(14.1, 20.0, 0.25)])
    filled = ground_between(slope(x), 0.5)
    gap = (filled.points[:, 0] > 10.5) & (filled.points[:, 0] < 13.5)
    gap &= (filled.points[:, 1] > 0) & (filled.points[:, 1] < 4)
    # 3 m by 4 m in squares of 0.5 m: 6 x 8 points
    assert gap.sum() == 48
    assert (filled.classes[gap] == 11).all()
    assert filled.points[gap, 2] == pytest.approx(0.02 * filled.points[gap, 0], abs=0.03)


def test_between_two_classes_ground_has_one_only_where_it_lies_much_nearer() -> None:
    x = np.concatenate([np.arange(0.1, 10.0, 0.25), np.arange(22.1, 30.0, 0.25)])
    filled = ground_between(slope(x), 0.5)
    middle = (filled.points[:, 1] > 1) & (filled.points[:, 1] < 3)
    x, classes = filled.points[middle, 0], filled.classes[middle]
    # From 10 m to 22 m the class changes from 11 to 13: twice as near are 14 m and 18 m.
    assert (classes[(x > 10.5) & (x < 13.5)] == 11).all()
    assert (classes[(x > 14.5) & (x < 17.5)] == 0).all()
    assert (classes[(x > 18.5) & (x < 21.5)] == 13).all()


def test_what_is_known_stays_and_far_away_nothing_is_made_up() -> None:
    filled = ground_between(slope(np.arange(0.1, 10.0, 0.25)), 0.5)
    x, y, _ = filled.points.T
    assert not ((x > 0.5) & (x < 9.5) & (y > 0.5) & (y < 3.5)).any()
    # 10 m beyond the last ground, which lies at 9.85 m, and half a column
    assert 15.0 < x.max() < 20.5 and -10.5 < x.min() < -5.0


def test_without_ground_there_is_none() -> None:
    nothing = Cells(np.zeros((0, 3), np.float32), np.zeros(0, np.int16))
    assert not len(ground_between(nothing, 0.5).points)
