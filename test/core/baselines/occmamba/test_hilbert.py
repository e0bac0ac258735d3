import pytest
import torch

from occ_core.baselines.occmamba.hilbert import height_first_order, hilbert_curve


def steps(curve: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """(cells along x, cells along y) from each cell to the next."""
    pairs = zip(curve, curve[1:], strict=False)
    return [(abs(x2 - x), abs(y2 - y)) for (x, y), (x2, y2) in pairs]


def test_the_smallest_curves():
    """Hilbert's: a cup of four cells, and four cups of which the first and the last are turned."""
    assert hilbert_curve(2, 2) == [(0, 0), (0, 1), (1, 1), (1, 0)]
    cups = hilbert_curve(4, 4)
    assert cups[:4] == [(0, 0), (1, 0), (1, 1), (0, 1)]
    assert cups[4:8] == [(0, 2), (0, 3), (1, 3), (1, 2)]
    assert cups[8:12] == [(2, 2), (2, 3), (3, 3), (3, 2)]
    assert cups[12:] == [(3, 1), (2, 1), (2, 0), (3, 0)]


@pytest.mark.parametrize("side", [2, 4, 8, 16, 32])
def test_every_quarter_is_finished_before_the_next(side: int):
    """What makes it a Hilbert curve: a quarter of its length fills a quarter of the square."""
    curve = hilbert_curve(side, side)
    length = side * side // 4
    for quarter in range(4):
        cells = curve[quarter * length : (quarter + 1) * length]
        assert len({(2 * x // side, 2 * y // side) for x, y in cells}) == 1
    assert set(steps(curve)) == {(0, 1), (1, 0)}


@pytest.mark.parametrize(
    "size", [(1, 1), (1, 7), (5, 3), (6, 5), (7, 7), (25, 25), (50, 50), (50, 25), (13, 40)]
)
def test_each_cell_comes_once_and_next_to_the_one_before(size: tuple[int, int]):
    curve = hilbert_curve(*size)
    assert sorted(curve) == [(x, y) for x in range(size[0]) for y in range(size[1])]
    assert all(max(step) == 1 for step in steps(curve))
    assert sum(step == (1, 1) for step in steps(curve)) <= 1


@pytest.mark.parametrize("shape", [(4, 4, 3), (5, 3, 2), (6, 7, 1)])
def test_heights_of_a_column_follow_one_another(shape: tuple[int, int, int]):
    order = height_first_order(shape)
    assert sorted(order.tolist()) == list(range(shape[0] * shape[1] * shape[2]))
    x, y, z = torch.unravel_index(order, shape)
    columns = torch.stack([x, y], dim=1).view(-1, shape[2], 2)
    assert (columns == columns[:, :1]).all()
    assert (z.view(-1, shape[2]) == torch.arange(shape[2])).all()
    moved = (columns[1:, 0] - columns[:-1, 0]).abs()
    assert (moved.amax(dim=1) == 1).all()
