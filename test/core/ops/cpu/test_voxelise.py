import pytest
import torch

from occ_core.lidar_encoder import LidarEncoder
from occ_core.ops.cpu import voxelise as voxelise_compiled
from occ_core.voxel_grid import VoxelGrid

GRID = VoxelGrid((-4.0, -4.0, -2.0, 4.0, 4.0, 2.0), 0.4)


@pytest.fixture
def encoder() -> LidarEncoder:
    torch.manual_seed(0)
    return LidarEncoder(16, voxels=GRID, fine=GRID, coarse=GRID)


def cloud(points: int, seed: int) -> torch.Tensor:
    """x, y, z somewhat beyond the grid; intensity, of which some are below 0; age."""
    random = torch.Generator().manual_seed(seed)
    xyz = (torch.rand(points, 3, generator=random) - 0.5) * torch.tensor([9.0, 9.0, 5.0])
    return torch.cat(
        [
            xyz,
            torch.randn(points, 1, generator=random) * 80,
            torch.rand(points, 1, generator=random),
        ],
        dim=1,
    )


def compiled(
    encoder: LidarEncoder, points: tuple[torch.Tensor, ...]
) -> tuple[torch.Tensor, torch.Tensor]:
    linear = encoder.point[0]
    return voxelise_compiled.voxelise(points, encoder.voxels, linear.weight, linear.bias)


def test_values_and_gradients_equal_those_of_torch(encoder: LidarEncoder):
    points = (cloud(20_000, 0), torch.zeros(0, 5), cloud(5_000, 1))
    mean, occupied = compiled(encoder, points)
    expected, expected_occupied = encoder.mean_over_voxels(points)
    assert torch.equal(occupied, expected_occupied)
    torch.testing.assert_close(mean, expected, rtol=1e-5, atol=1e-6)
    told = torch.randn(mean.shape, generator=torch.Generator().manual_seed(2))
    of, expected_of = (
        torch.autograd.grad(one, list(encoder.point.parameters()), told) for one in (mean, expected)
    )
    for gradient, expected_gradient in zip(of, expected_of, strict=True):
        torch.testing.assert_close(
            gradient, expected_gradient, rtol=1e-4, atol=1e-4 * float(expected_gradient.abs().max())
        )


def test_points_on_the_boundaries_of_voxels_and_not_a_number_fall_where_torch_puts_them(
    encoder: LidarEncoder,
):
    edges = torch.arange(-11, 12) * 0.4  # as float32 they lie on either side of the boundary
    points = torch.zeros(len(edges) + 2, 5)
    points[:-2, 0] = points[:-2, 1] = edges
    points[-2, 0], points[-1, 2] = torch.nan, torch.inf
    assert torch.equal(compiled(encoder, (points,))[1], encoder.mean_over_voxels((points,))[1])


def test_points_that_learn_have_their_gradient(encoder: LidarEncoder):
    points = cloud(100, 3).requires_grad_()
    encoder.voxelise((points,)).features.sum().backward()
    assert points.grad is not None and points.grad.abs().sum() > 0


def test_no_point_at_all_gives_no_voxel_and_no_gradient(encoder: LidarEncoder):
    mean, occupied = compiled(encoder, (torch.zeros(0, 5),))
    assert mean.shape == (0, 16) and occupied.shape == (0,)
    mean.sum().backward()
    assert not encoder.point[0].weight.grad.any()
