import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from occ_core.ground_height import (
    KNOTS_M,
    GroundHeight,
    GroundMap,
    NoGroundHeight,
    estimate_ground,
    lowest_returns,
    sample_ground,
)
from occ_core.ops.backend import exporting
from occ_core.voxel_grid import VoxelGrid

GRID = VoxelGrid((-8.0, -8.0, -4.0, 8.0, 8.0, 4.0), 1.0)  # 8 x 8 cells of 2 m


def road(slope: float = 0.0, height_m: float = -1.8) -> Tensor:
    """Points every 0.5 m on a plane that rises along x."""
    axis = torch.arange(-7.75, 8.0, 0.5)
    x, y = torch.meshgrid(axis, axis, indexing="ij")
    z = height_m + slope * x
    none = torch.zeros_like(x)
    return torch.stack([x, y, z, none, none], dim=-1).view(-1, 5)


def above(points: Tensor, places: list[list[float]]) -> list[float]:
    """Height of places above the ground that the points show."""
    ground = estimate_ground((points,), GRID)
    at = torch.tensor(places)
    below = sample_ground(ground, GRID, at, torch.zeros(len(at), dtype=torch.long))
    return (at[:, 2] - below).tolist()


def test_a_flat_road_lies_at_height_zero():
    assert above(road(), [[0.0, 0.0, -1.8], [7.9, -7.9, 0.2]]) == pytest.approx(
        [0.0, 2.0], abs=1e-4
    )


def test_a_slope_is_followed():
    """A road that rises 5 cm a metre: the mean of a 2 m cell is the height at its centre, and
    between centres (at x = -7, -5, .. 7 m) it is interpolated; bins of 0.25 m hold a whole cell,
    which rises 0.1 m, or cut it in two: the error is at most 5 cm.
    """
    heights = above(road(0.05), [[x, 0.0, -1.8 + 0.05 * x] for x in (-7.0, -3.0, 0.0, 4.0, 7.0)])
    assert max(abs(height) for height in heights) < 0.06


def test_single_points_below_the_road_count_for_nothing():
    """One mirror image in a cell of 16 points; two of the 17 are needed."""
    ghost = torch.tensor([[1.0, 1.0, -3.5, 0.0, 0.0]])
    assert above(torch.cat([road(), ghost]), [[1.0, 1.0, -1.8]]) == pytest.approx([0.0], abs=1e-4)


def test_crowns_and_walls_are_not_ground():
    """The cell around (3, 3) shows only leaves 2 m above the road, that around (-3, 3) nothing."""
    points = road()
    in_crown = ((points[:, :2] >= 2) & (points[:, :2] < 4)).all(dim=1)
    points[in_crown, 2] += 2.0
    shadow = torch.tensor([[-4.0, 2.0], [-2.0, 4.0]])
    in_shadow = ((points[:, :2] >= shadow[0]) & (points[:, :2] < shadow[1])).all(dim=1)
    heights = above(points[~in_shadow], [[3.0, 3.0, -1.8], [-3.0, 3.0, -1.8]])
    assert heights == pytest.approx([0.0, 0.0], abs=1e-5)


def test_empty_cells_take_their_neighbours_heights_outwards():
    """Points in the left half alone: the whole right half continues it."""
    points = road()
    assert above(points[points[:, 0] < 0], [[7.0, 0.0, 0.0]]) == pytest.approx([1.8], abs=1e-4)


def test_cells_without_points_are_infinite():
    lowest = lowest_returns(road()[:0], GRID)
    assert lowest.shape == (8, 8) and torch.isinf(lowest).all()


def test_features_are_linear_between_the_knots():
    """0.25 m lies between the knots 0 and 0.5 m, 5 m between 4 and 6 m; -9 and 9 m are beyond."""
    part = GroundHeight(8, GRID)
    ground = GroundMap(torch.zeros(1, 8, 8), torch.tensor([True]))
    points = torch.tensor([[0.0, 0.0, z] for z in (0.25, 5.0, -9.0, 9.0)])
    features = part.at_points(ground, points, torch.zeros(4, dtype=torch.long))
    expected = torch.zeros(4, len(KNOTS_M))
    expected[0, KNOTS_M.index(0.0)] = expected[0, KNOTS_M.index(0.5)] = 0.5
    expected[1, KNOTS_M.index(4.0)] = expected[1, KNOTS_M.index(6.0)] = 0.5
    expected[2, 0] = expected[3, -1] = 1.0
    torch.testing.assert_close(features, expected)


def test_a_sample_without_points_has_no_features():
    part = GroundHeight(8, GRID)
    torch.nn.init.ones_(part.embed.weight)
    heights = part((road(), road()[:0]))
    assert heights.volume.shape == (2, 8, *GRID.shape) and not heights.volume[1].any()
    # each height's two weights sum to 1
    torch.testing.assert_close(heights.volume[0], torch.ones(8, *GRID.shape))
    centre = torch.zeros(2, 3)
    features = heights.sampler(centre, torch.tensor([0, 1]))
    torch.testing.assert_close(features.sum(dim=1), torch.tensor([1.0, 0.0]))


def test_the_volume_starts_unchanged():
    assert not GroundHeight(8, GRID)((road(),)).volume.any()
    nothing = NoGroundHeight()((road(),))
    assert nothing.volume.ndim == 5 and not nothing.volume.any()
    assert nothing.sampler(torch.zeros(3, 3), torch.zeros(3, dtype=torch.long)).shape == (3, 0)


@given(shift=st.floats(-1.5, 1.5), seed=st.integers(0, 1000))
def test_moving_everything_up_moves_the_ground(shift: float, seed: int):
    """Random boxes on a road, the whole scene at another height: heights above the ground stay, up
    to the histogram's bins of 0.25 m, which may cut elsewhere.
    """
    generator = torch.Generator().manual_seed(seed)
    boxes = torch.rand(200, 5, generator=generator) * torch.tensor([16.0, 16.0, 2.0, 0.0, 0.0])
    boxes[:, :3] += torch.tensor([-8.0, -8.0, -1.7])
    scene = torch.cat([road(), boxes])
    moved = scene + torch.tensor([0.0, 0.0, shift, 0.0, 0.0])
    first = estimate_ground((scene,), GRID).height_m
    second = estimate_ground((moved,), GRID).height_m
    assert (second - first - shift).abs().max() < 0.2501


def test_voxels_have_the_features_of_their_centres():
    """On a slope, where every column of voxels has a ground of its own."""
    part = GroundHeight(8, GRID)
    torch.nn.init.normal_(part.embed.weight)
    heights = part((road(0.05), road(-0.1)))
    centres = GRID.all_centres().view(-1, 3)
    for number in range(2):
        sample = torch.full((len(centres),), number)
        expected = part.embed(heights.sampler(centres, sample)).T.view(8, *GRID.shape)
        torch.testing.assert_close(heights.volume[number], expected)


def test_the_estimate_can_leave_python():
    """As a graph for any number of points; half of the cells are filled ring by ring."""

    class Estimate(torch.nn.Module):
        def forward(self, points: Tensor) -> Tensor:
            with exporting():
                return estimate_ground((points,), GRID).height_m

    points = road(0.05)
    half = points[points[:, 0] < 0]
    program = torch.export.export(
        Estimate(), (points,), dynamic_shapes=({0: torch.export.Dim("points", min=2)},)
    )
    expected = estimate_ground((half,), GRID).height_m
    torch.testing.assert_close(program.module()(half), expected, atol=1e-6, rtol=1e-6)
