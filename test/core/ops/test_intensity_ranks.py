"""Intensities as ranks: by hand, and the same whatever the sensor's scale and response."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from occ_core.ops.intensity_ranks import HIGHEST, STRIDE, with_intensity_ranks
from occ_core.voxel_grid import VoxelGrid

GRID = VoxelGrid((-4.0, -4.0, -2.0, 4.0, 4.0, 2.0), 0.5)


def cloud(*intensities: float) -> torch.Tensor:
    """Points in the grid with these intensities, each ``STRIDE`` times in a row."""
    points = torch.zeros(len(intensities) * STRIDE, 5)
    points[:, 3] = torch.tensor(intensities).repeat_interleave(STRIDE)
    points[:, 4] = 0.1
    return points


def ranks(points: torch.Tensor) -> torch.Tensor:
    return with_intensity_ranks(points, GRID)[::STRIDE, 3] / HIGHEST


def test_by_hand():
    """Of four returns 0, 1, 2 and 3 quarters are fainter, and of the two with 30 the same two."""
    assert ranks(cloud(0.0, 20.0, 10.0, 30.0)).tolist() == [0.0, 0.5, 0.25, 0.75]
    assert ranks(cloud(30.0, 0.0, 10.0, 30.0)).tolist() == [0.5, 0.0, 0.25, 0.5]


def test_nothing_else_changes():
    points = torch.rand(100, 5, generator=torch.Generator().manual_seed(0))
    before = points.clone()
    ranked = with_intensity_ranks(points, GRID)
    assert torch.equal(points, before)
    assert torch.equal(ranked[:, [0, 1, 2, 4]], points[:, [0, 1, 2, 4]])


def test_returns_outside_the_grid_are_not_compared_with():
    points = cloud(10.0, 20.0, 90.0, 95.0)
    points[2 * STRIDE :, 0] = 100.0
    assert ranks(points)[:2].tolist() == [0.0, 0.5]


@pytest.mark.parametrize("intensity", [0.0, 40.0, 1e9])
def test_the_same_intensity_everywhere_says_nothing(intensity: float):
    assert not ranks(cloud(*[intensity] * 5)).any()


@pytest.mark.parametrize("points", [torch.zeros(0, 5), torch.full((3, 5), 100.0)])
def test_nothing_in_the_grid_has_no_rank(points: torch.Tensor):
    assert not with_intensity_ranks(points, GRID)[:, 3].any()


def test_what_is_no_number_has_the_lowest_rank():
    assert ranks(cloud(float("nan"), 10.0, 20.0, 30.0))[0] == 0


@given(
    gain=st.floats(1e-3, 1e3),
    gamma=st.floats(0.5, 2.0),
    levels=st.lists(st.integers(1, 8), min_size=2, max_size=40),
)
def test_scale_and_response_do_not_matter(gain: float, gamma: float, levels: list[int]):
    """Levels of 1/8 of the brightest stay (1/8)^2 = 16/1024 apart or more, which is more than a
    step.
    """
    level = np.array(levels) / 8
    measured = gain * level**gamma
    expected = [(level < each).mean() for each in level]
    np.testing.assert_allclose(ranks(cloud(*measured.tolist())), expected, atol=1e-6)


def test_ranks_of_many_returns_are_their_quantiles():
    """Uniform intensities up to 100: an intensity of 40 has a rank of 0.4. Of 20,000 returns 1,177
    are compared with; their share below has a standard deviation of 0.0145, and steps are of 0.1 %.
    """
    points = torch.rand(20_000, 5, generator=torch.Generator().manual_seed(0))
    points[:, 3] *= 100
    rank = with_intensity_ranks(points, GRID)[:, 3] / HIGHEST
    dark = points[:, 3] < 97  # beyond, all have the rank of ``BRIGHT``
    assert (rank - points[:, 3] / 100)[dark].abs().max() < 0.07
    assert rank.max() <= 0.98
