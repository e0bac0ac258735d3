import numpy as np
import pytest

from training.labels import cells
from training.labels.cells import CellMap, Cells, classify
from training.labels.drive import NOISE, UNKNOWN


def gathered(points: list[list[float]], classes: list[int], cell_m: float = 1.0) -> Cells:
    cell_map = CellMap(cell_m)
    cell_map.add(np.array(points, np.float32), np.array(classes, np.int16))
    return cell_map.cells()


def test_a_cell_holds_the_mean_of_its_points_and_their_most_frequent_class() -> None:
    found = gathered(
        [[0.2, 0.5, 0.5], [0.4, 0.5, 0.5], [0.9, 0.5, 0.5], [-0.5, 0.5, 0.5]], [4, 11, 11, 4]
    )
    # x: the cell [-1, 0) holds -0.5; the cell [0, 1) holds 0.2, 0.4 and 0.9, mean 0.5
    assert found.points == pytest.approx(np.array([[-0.5, 0.5, 0.5], [0.5, 0.5, 0.5]]))
    assert found.classes.tolist() == [4, 11]


def test_one_known_class_outweighs_any_number_without() -> None:
    assert gathered([[0.5] * 3] * 4, [UNKNOWN, UNKNOWN, UNKNOWN, 15]).classes.tolist() == [15]


def test_points_in_many_parts_give_the_same_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(-3, 3, (500, 3)).astype(np.float32)
    classes = rng.integers(-2, 17, 500).astype(np.int16)
    whole = gathered(points.tolist(), classes.tolist())
    monkeypatch.setattr(cells, "_BUFFERED_POINTS", 50)
    parts = CellMap(1.0)
    for chosen in np.array_split(np.arange(500), 12):
        parts.add(points[chosen], classes[chosen])
    found = parts.cells()
    assert found.points == pytest.approx(whole.points, abs=1e-5)
    assert (found.classes == whole.classes).all()


def test_no_points_make_no_cells() -> None:
    assert len(CellMap(0.1).cells().points) == 0


def test_points_too_far_away_are_left_out() -> None:
    # 65,536 cells of 1 m reach to 65,536 m
    assert len(gathered([[70_000.0, 0, 0], [65_535.5, 0, 0]], [1, 1]).points) == 1


def test_cells_without_a_class_take_the_nearest_and_noise_goes() -> None:
    points = np.array([[0, 0, 0], [1, 0, 0], [5, 0, 0], [20, 0, 0], [5.4, 0, 0]], np.float32)
    classes = np.array([11, UNKNOWN, NOISE, UNKNOWN, UNKNOWN], np.int16)
    found = classify(Cells(points, classes), reach_m=1.5)
    # the second is 1 m from class 11; the last 0.4 m from noise; the fourth is near nothing
    assert found.points[:, 0].tolist() == [0, 1, 20]
    assert found.classes.tolist() == [11, 11, 0]
