"""Points counted by cell and height: by hand, and the compiled loop against torch."""

import pytest
import torch

from occ_core.ops.backend import torch_only
from occ_core.ops.height_histogram import height_histogram
from occ_core.voxel_grid import VoxelGrid

GRID = VoxelGrid((-3.0, 0.0, -1.0, 2.0, 4.0, 1.0), 0.5)


def at(*xyz: tuple[float, float, float]) -> torch.Tensor:
    return torch.tensor([[*point, 40.0, 0.1] for point in xyz]).view(-1, 5)


def test_by_hand():
    """Cells of 2 m from (-3, 0): three along x, the last of which reaches beyond the range, two
    along y; bins of 0.5 m from -1 m on. The fourth point is at the range's end, which lies outside.
    """
    points = at((-3.0, 0.0, -1.0), (-1.1, 1.9, -0.6), (1.5, 2.0, 0.9), (2.0, 0.0, 0.0))
    count, total_m = height_histogram(points, GRID, 2.0, 0.5)
    assert count.shape == total_m.shape == (3, 2, 4)
    assert count.nonzero().tolist() == [[0, 0, 0], [2, 1, 3]]
    assert count[0, 0, 0] == 2 and count[2, 1, 3] == 1
    assert total_m[0, 0, 0].item() == pytest.approx(-1.6)
    assert total_m[2, 1, 3].item() == pytest.approx(0.9)


@pytest.mark.parametrize("bin_m", [0.5, 0.3])
def test_compiled_counts_as_torch_does(bin_m: float):
    """Points inside and around the range, on borders of cells, and some that are no numbers; the
    sums are of up to 40 heights of order 1.
    """
    points = (torch.rand(2000, 5) - 0.5) * torch.tensor([8.0, 10.0, 3.0, 0.0, 0.0])
    points[:500] = (points[:500] * 2).round() / 2
    points[0, 0] = points[1, 2] = torch.nan
    count, total_m = height_histogram(points, GRID, 2.0, bin_m)
    with torch_only():
        expected = height_histogram(points, GRID, 2.0, bin_m)
    assert count.sum() > 100 and torch.equal(count, expected.points)
    torch.testing.assert_close(total_m, expected.total_m, atol=1e-5, rtol=1e-5)


def test_no_points_are_counted_nowhere():
    count, total_m = height_histogram(at(), GRID, 2.0, 0.5)
    assert count.shape == (3, 2, 4) and not count.any() and not total_m.any()
