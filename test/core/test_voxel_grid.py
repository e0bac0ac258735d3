import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from occ_core.voxel_grid import SURROUNDOCC_GRID, VoxelGrid


@st.composite
def grids(draw) -> VoxelGrid:
    size = draw(st.sampled_from([0.2, 0.4, 0.5, 1.0]))
    low = [size * draw(st.integers(-60, 60)) for _ in range(3)]
    cells = [draw(st.integers(1, 40)) for _ in range(3)]
    return VoxelGrid((*low, *(start + size * count for start, count in zip(low, cells))), size)


def test_surroundocc():
    assert SURROUNDOCC_GRID.shape == (200, 200, 16)
    assert SURROUNDOCC_GRID.min_m == (-50.0, -50.0, -5.0)
    # Voxel (0, 100, 15) spans -50..-49.5, 0..0.5, 2.5..3.
    assert SURROUNDOCC_GRID.centres(torch.tensor([0, 100, 15])).tolist() == [-49.75, 0.25, 2.75]
    assert SURROUNDOCC_GRID.index(torch.tensor([-50.0, 0.0, 2.99])).tolist() == [0, 100, 15]


@given(grids(), st.integers(0, 2**32 - 1))
def test_a_centre_lies_in_its_voxel(grid, seed):
    index = torch.from_numpy(
        np.random.default_rng(seed).integers(-3, np.array(grid.shape) + 3, size=(50, 3))
    )
    assert (grid.index(grid.centres(index)) == index).all()
    inside = grid.contains(index)
    assert torch.equal(inside, ((index >= 0) & (index < torch.tensor(grid.shape))).all(-1))
    numpy_index, numpy_inside = grid.numpy_index(grid.centres(index).numpy())
    assert (numpy_inside == inside.numpy()).all()
    assert (numpy_index == index[inside].numpy()).all()


@given(grids(), st.sampled_from([2, 3, 4]))
def test_finer_and_coarser_undo_each_other(grid, ratio):
    finer = grid.finer(ratio)
    assert finer.shape == tuple(cells * ratio for cells in grid.shape)
    assert finer.coarser(ratio).shape == grid.shape
    assert finer.coarser(ratio).range_m == grid.range_m


@given(grids())
def test_all_centres_are_symmetric_about_the_middle(grid):
    centres = grid.all_centres()
    assert centres.shape == (*grid.shape, 3)
    middle = (np.array(grid.range_m[:3]) + np.array(grid.range_m[3:])) / 2
    np.testing.assert_allclose(centres.double().numpy().mean(axis=(0, 1, 2)), middle, atol=1e-4)


def test_points_on_the_border():
    grid = VoxelGrid((0.0, 0.0, 0.0, 1.0, 1.0, 1.0), 0.5)
    points = torch.tensor([[0.0, 0, 0], [0.5, 0, 0], [1.0, 0, 0], [-1e-6, 0, 0]])
    assert grid.contains(grid.index(points)).tolist() == [True, True, False, False]
    assert grid.index(points[:2])[:, 0].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("range_m", "size", "message"),
    [
        ((0.0, 0, 0, 1, 1, 1), 0.0, "voxel_size_m must be positive, got 0.0"),
        ((0.0, 0, 0, 1, 1, 0), 0.5, "with min < max"),
        ((0.0, 0, 0, 1, 1.2, 1), 0.5, "along y is 1.2 m, not a whole number"),
    ],
)
def test_nonsense_is_refused(range_m, size, message):
    with pytest.raises(ValueError, match=message):
        VoxelGrid(tuple(map(float, range_m)), size)


def test_whole_numbers_become_floats():
    """Users' configurations may hold them; messages that take doubles may not. In a process of its
    own, since the tests refuse whole numbers where floats are declared.
    """
    code = "from occ_core.voxel_grid import *; print(VoxelGrid((-4, -4, -1, 4, 4, 1), 1))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "(-4.0, -4.0, -1.0, 4.0, 4.0, 1.0), voxel_size_m=1.0" in run.stdout


def test_an_indivisible_grid_is_not_coarsened():
    with pytest.raises(ValueError, match=r"\(200, 200, 16\) cannot be coarsened by 3"):
        SURROUNDOCC_GRID.coarser(3)
