import numpy as np
import pytest

from training.labels.rings import between_rings

AZIMUTHS = np.radians(np.arange(0, 360, 1.0))


def ring(range_m: float, height_m: float) -> np.ndarray:
    return np.column_stack(
        [range_m * np.sin(AZIMUTHS), range_m * np.cos(AZIMUTHS), np.full(360, height_m)]
    )


def joined(*rings: np.ndarray, kind: int = 1, ground: bool = True) -> np.ndarray:
    points = np.concatenate(rings).astype(np.float32)
    number = np.repeat(np.arange(len(rings)), 360).astype(np.uint8)
    kinds = np.full(len(points), kind)
    added, like = between_rings(points, number, kinds, np.full(len(points), ground), 1.0)
    assert (kinds[like] == kind).all()
    return added


def test_flat_ground_between_two_rings_is_filled() -> None:
    added = joined(ring(10.0, -1.8), ring(12.4, -1.8))
    # 2.4 m, at most 1 m from point to point: two points between, 0.8 m apart
    assert len(added) == 2 * 360
    ranges = np.unique(np.round(np.linalg.norm(added[:, :2], axis=1), 2))
    assert ranges == pytest.approx([10.8, 11.6])
    assert added[:, 2] == pytest.approx(-1.8)


def test_a_wall_through_three_rings_is_filled() -> None:
    added = joined(ring(20.0, 0.0), ring(20.0, 1.8), ring(20.0, 3.6), ground=False)
    # two gaps of 1.8 m, a point in the middle of each
    assert len(added) == 2 * 360
    assert np.unique(np.round(added[:, 2], 3)) == pytest.approx([0.9, 2.7])


def test_two_walls_behind_each_other_are_not_joined() -> None:
    assert not len(joined(ring(20.0, 0.0), ring(26.0, 2.0), ground=False))


def test_what_belongs_to_nothing_is_not_joined() -> None:
    assert not len(joined(ring(10.0, -1.8), ring(14.0, -1.8), kind=-1))


def test_no_points_give_none() -> None:
    nothing = np.zeros(0, np.int64)
    added, like = between_rings(
        np.zeros((0, 3), np.float32), nothing.astype(np.uint8), nothing, nothing.astype(bool), 1.0
    )
    assert added.shape == (0, 3) and not len(like)
