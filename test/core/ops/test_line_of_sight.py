import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from occ_core.ops.backend import torch_only
from occ_core.ops.line_of_sight import CROSSED, ENDED, UNSEEN, see_through
from occ_core.voxel_grid import VoxelGrid

GRID = VoxelGrid((-4.0, -4.0, -1.0, 4.0, 4.0, 1.0), 0.5)  # 16 x 16 x 4
NO_WALLS = torch.zeros(GRID.shape, dtype=torch.bool)


def marks(origins: object, ends: object, walls: torch.Tensor = NO_WALLS) -> torch.Tensor:
    """What lines show that are given in metres."""
    seen = torch.zeros(GRID.shape, dtype=torch.uint8)
    lines = (torch.as_tensor(each, dtype=torch.float64).reshape(-1, 3) for each in (origins, ends))
    see_through(seen, walls, GRID, *lines)
    return seen


def lines(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Half of all ends and a third of the origins lie at corners of voxels, where planes tie; some
    lines run along an axis; many start, end, or stay outside.
    """
    random = np.random.default_rng(seed)
    origins, ends = random.uniform(-6, 6, (2, count, 3)) * [1, 1, 0.4]
    origins[: count // 3] = np.round(origins[: count // 3] * 2) / 2
    ends[: count // 2] = np.round(ends[: count // 2] * 2) / 2
    ends[: count // 6, :2] = origins[: count // 6, :2]
    return origins, ends


@given(seed=st.integers(0, 10_000), share=st.sampled_from([0.0, 0.02, 0.3]))
def test_both_forms_agree_on_every_voxel(seed: int, share: float):
    walls = torch.from_numpy(np.random.default_rng(seed).random(GRID.shape) < share)
    compiled = marks(*lines(seed, 60), walls)
    with torch_only():
        by_torch = marks(*lines(seed, 60), walls)
    assert torch.equal(compiled, by_torch)


def test_both_forms_agree_where_voxels_are_no_round_numbers():
    grid = VoxelGrid((-4.1, -4.2, -1.3, 4.1, 4.2, 1.3), 0.1)  # 82 x 84 x 26
    random = torch.Generator().manual_seed(0)
    origins, ends = (12 * torch.rand((2, 500, 3), generator=random).double() - 6).unbind()
    walls = torch.rand(grid.shape, generator=random) < 0.01
    compiled, by_torch = torch.zeros((2, *grid.shape), dtype=torch.uint8).unbind()
    see_through(compiled, walls, grid, origins, ends)
    with torch_only():
        see_through(by_torch, walls, grid, origins, ends)
    assert torch.equal(compiled, by_torch) and compiled.max() == CROSSED


@given(seed=st.integers(0, 10_000))
def test_what_is_crossed_lies_on_the_way(seed: int):
    """Points along a line, a hundredth of a voxel apart, lie in marked voxels, unless they are that
    near to a face, which rounding may put them beyond; and the last one lies where the line ends.
    """
    (origin,), (end,) = np.random.default_rng(seed).uniform(-0.99, 0.99, (2, 1, 3)) * [4, 4, 1]
    seen = marks(origin, end).numpy()
    steps = np.linspace(0, 1, int(np.linalg.norm(end - origin) / 0.005) + 2)[:, None]
    voxels = (origin + steps * (end - origin) - GRID.min_m) / GRID.voxel_size_m
    clear = (np.abs(voxels - np.round(voxels)) > 1e-9).all(axis=1)
    on_the_way = np.zeros(GRID.shape, bool)
    on_the_way[tuple(np.floor(voxels[clear]).astype(int).T)] = True
    assert (seen[on_the_way] != UNSEEN).all()
    assert seen[tuple(np.floor(voxels[-1]).astype(int))] == ENDED
    # Corners that are cut by less than a step are missed by the points, not by the line.
    assert np.count_nonzero(seen) <= on_the_way.sum() * 2


def test_a_line_marks_what_it_crosses_and_where_it_ends():
    # from x = -3.75 (voxel 0) to x = -2.25 (voxel (-2.25 + 4) / 0.5 = 3), y = z = 0.25
    row = marks([-3.75, 0.25, 0.25], [-2.25, 0.25, 0.25])[:, 8, 2]
    assert row[:5].tolist() == [CROSSED, CROSSED, CROSSED, ENDED, UNSEEN]


def test_a_wall_ends_a_line():
    walls = NO_WALLS.clone()
    walls[2, 8, 2] = True
    row = marks([-3.75, 0.25, 0.25], [3.75, 0.25, 0.25], walls)[:, 8, 2]
    assert row[:4].tolist() == [CROSSED, CROSSED, ENDED, UNSEEN]


def test_a_line_from_outside_to_outside_crosses_the_whole_row():
    assert marks([-9.0, 0.25, 0.25], [9.0, 0.25, 0.25])[:, 8, 2].tolist() == [CROSSED] * 16
    assert not marks([-9.0, 4.25, 0.25], [9.0, 4.25, 0.25]).any()  # beside the grid
    assert not marks([5.0, 0.25, 0.25], [9.0, 0.25, 0.25]).any()  # it begins behind the grid
    assert not marks([-9.0, 0.25, 0.25], [-5.0, 0.25, 0.25]).any()  # it ends before the grid


def test_a_larger_mark_stays():
    # The second line ends in voxel 1, which the first one crosses.
    seen = marks(
        [[-3.75, 0.25, 0.25], [-3.75, 0.25, 0.25]], [[-2.75, 0.25, 0.25], [-3.25, 0.25, 0.25]]
    )
    assert seen[:3, 8, 2].tolist() == [CROSSED, CROSSED, ENDED]


def test_nonsense_is_refused():
    for bad in (np.nan, np.inf, -np.inf):
        with pytest.raises(ValueError, match="finite"):
            marks([0.0, 0.0, 0.0], [bad, 0.0, 0.0])
        with torch_only(), pytest.raises(ValueError, match="finite"):
            marks([[0.0, 0.0, 0.0], [0.0, 0.0, bad]], [[1.0, 0.0, 0.0]] * 2)
    other, line = torch.zeros(2, 2, 2), torch.zeros(1, 3)
    with pytest.raises(ValueError, match=r"shape \[16, 16, 4\], got \[2, 2, 2\] and \[2, 2, 2\]"):
        see_through(other.byte(), other.bool(), GRID, line, line)
