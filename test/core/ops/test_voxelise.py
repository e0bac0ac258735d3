import pytest
import torch

from occ_core.ops.backend import torch_only
from occ_core.ops.voxelise import POINT_FEATURES, point_features, voxelise
from occ_core.voxel_grid import VoxelGrid

GRID = VoxelGrid((-4.0, -4.0, -2.0, 4.0, 4.0, 2.0), 0.4)
Mean = tuple[torch.Tensor, torch.Tensor]


@pytest.fixture
def layer() -> torch.nn.Linear:
    torch.manual_seed(0)
    return torch.nn.Linear(POINT_FEATURES, 16)


def compiled(layer: torch.nn.Linear, points: tuple[torch.Tensor, ...]) -> Mean:
    return voxelise(points, GRID, layer.weight, layer.bias)


def by_torch(layer: torch.nn.Linear, points: tuple[torch.Tensor, ...]) -> Mean:
    with torch_only():
        return voxelise(points, GRID, layer.weight, layer.bias)


def cloud(points: int, seed: int) -> torch.Tensor:
    """x, y, z inside the grid and just outside; intensities, some of them below 0; ages."""
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


def distance_from_zero(layer: torch.nn.Linear, points: tuple[torch.Tensor, ...]) -> float:
    """The smallest absolute value that the layer gives any point before the ReLU."""
    values = []
    for sample in points:
        index = GRID.index(sample[:, :3])
        _, voxel, count = index.unique(dim=0, return_inverse=True, return_counts=True)
        values.append(layer(point_features(sample, index, count[voxel], GRID)))
    return torch.cat(values).abs().min().item()


def test_values_and_gradients_equal_those_of_torch(layer: torch.nn.Linear):
    points = (cloud(600, 0), torch.zeros(0, 5), cloud(200, 1))
    assert distance_from_zero(layer, points) > 1e-5  # nowhere does rounding decide the ReLU
    (mean, occupied), (expected, expected_occupied) = (
        compiled(layer, points),
        by_torch(layer, points),
    )
    assert torch.equal(occupied, expected_occupied)
    torch.testing.assert_close(mean, expected, rtol=1e-5, atol=1e-5)
    upstream = torch.randn(mean.shape, generator=torch.Generator().manual_seed(2))
    gradients, expected_gradients = (
        torch.autograd.grad(each, list(layer.parameters()), upstream) for each in (mean, expected)
    )
    for gradient, wanted in zip(gradients, expected_gradients, strict=True):
        tolerance = 1e-4 * float(wanted.abs().max())
        torch.testing.assert_close(gradient, wanted, rtol=1e-4, atol=tolerance)


def test_points_on_borders_and_not_a_number_fall_where_torch_puts_them(layer: torch.nn.Linear):
    edges = torch.arange(-11, 12) * 0.4  # as float32 they lie on either side of the border
    points = torch.zeros(len(edges) + 2, 5)
    points[:-2, 0] = points[:-2, 1] = edges
    points[-2, 0], points[-1, 2] = torch.nan, torch.inf
    assert torch.equal(compiled(layer, (points,))[1], by_torch(layer, (points,))[1])


def test_points_that_need_a_gradient_get_it(layer: torch.nn.Linear):
    points = cloud(100, 3).requires_grad_()
    compiled(layer, (points,))[0].sum().backward()
    assert points.grad is not None and points.grad.abs().sum() > 0


def test_without_points_there_is_no_voxel_and_no_gradient(layer: torch.nn.Linear):
    mean, occupied = compiled(layer, (torch.zeros(0, 5),))
    assert mean.shape == (0, 16) and occupied.shape == (0,)
    mean.sum().backward()
    assert not layer.weight.grad.any()
