import math

import pytest
import torch
from torch import Tensor

from occ_core.ops.backend import torch_only
from occ_core.ops.sample_images import sample_images

STRIDE = 8
# the camera looks along +y of the grid: x right = grid x, y down = -grid z, z forward = grid y
GRID_FROM_CAMERA = torch.tensor([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
# a 32x32 image, the principal point in its middle
INTRINSICS = torch.tensor([[32.0, 0, 15.5], [0, 32.0, 15.5], [0, 0, 1]])


def test_sample_images_reads_the_cell_a_point_projects_to():
    features = torch.arange(16.0).view(1, 1, 4, 4)
    camera_from_grid = torch.linalg.inv(GRID_FROM_CAMERA)[None]
    # a point on the ray of cell (0, 3), one behind the camera, one outside the image
    points = torch.tensor([[2.0625, 5.5, 2.0625], [0.0, -3.0, 0.0], [30.0, 5.0, 0.0]])
    found = sample_images(
        features,
        INTRINSICS[None],
        camera_from_grid,
        torch.tensor([0]),
        STRIDE,
        points,
        torch.zeros(3, dtype=torch.long),
    )
    assert found[:, 0].tolist() == [pytest.approx(3.0, abs=1e-4), 0.0, 0.0]


def test_sample_images_averages_over_the_cameras_that_see_a_point():
    features = torch.stack([torch.full((1, 4, 4), 1.0), torch.full((1, 4, 4), 3.0)])
    rotated, angle = GRID_FROM_CAMERA.clone(), math.radians(10)
    cos, sin = math.cos(angle), math.sin(angle)
    rotated[:2, :2] = torch.tensor([[cos, -sin], [sin, cos]]) @ rotated[:2, :2]
    cameras = torch.linalg.inv(torch.stack([GRID_FROM_CAMERA, rotated]))
    point, point_sample = torch.tensor([[0.0, 5.0, 0.0]]), torch.tensor([0])
    found = sample_images(
        features,
        INTRINSICS.expand(2, 3, 3),
        cameras,
        torch.tensor([0, 0]),
        STRIDE,
        point,
        point_sample,
    )
    assert found.item() == pytest.approx(2.0)  # (1 + 3) / 2


def test_images_of_another_sample_are_not_read():
    found = sample_images(
        torch.ones(1, 1, 4, 4),
        INTRINSICS[None],
        torch.linalg.inv(GRID_FROM_CAMERA)[None],
        torch.tensor([0]),
        STRIDE,
        torch.tensor([[0.0, 5.0, 0.0]]),
        torch.tensor([1]),
    )
    assert found.item() == 0.0


@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "torch"])
def test_geometry_stays_exact_under_autocast(compiled: bool):
    """A product in sixteen bits would move pixels by whole cells of large images."""
    features = torch.randn(1, 8, 4, 4, generator=torch.Generator().manual_seed(0))
    points = torch.rand(50, 3, generator=torch.Generator().manual_seed(1))
    points = points * torch.tensor([6.0, 10.0, 6.0]) + torch.tensor([-3.0, 4.0, -3.0])
    points.requires_grad_(not compiled)  # which leaves it to torch
    cameras = (INTRINSICS[None], GRID_FROM_CAMERA.T[None], torch.tensor([0]), STRIDE)

    def sample() -> Tensor:
        return sample_images(features, *cameras, points, torch.zeros(50, dtype=torch.long))

    exact = sample()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(sample(), exact)


def off_the_borders(points: Tensor, lens: Tensor, camera_from_grid: Tensor) -> Tensor:
    """The points that no camera sees within 1e-3 of the border of its image of 4 x 8 cells, nor
    within 1e-3 m of the nearest distance: rounding decides on which side the others lie.
    """
    rotation, shift = camera_from_grid[:, :3, :3].double(), camera_from_grid[:, :3, 3].double()
    in_camera = points.double() @ rotation.mT + shift[:, None]  # [K, P, 3]
    depth = in_camera[..., 2]
    pixel = (in_camera @ lens.double().mT)[..., :2] / depth[..., None]
    cell = (pixel + 0.5) / 4 - 0.5
    borders = torch.stack([cell + 0.5, cell + 0.5 - torch.tensor([8.0, 4.0])], dim=-1)
    near = (borders.abs() < 1e-3).flatten(2).any(dim=2) | ((depth - 0.1).abs() < 1e-3)
    return points[~near.any(dim=0)]


def test_compiled_sees_what_torch_sees_with_the_same_gradients():
    """Two samples, five cameras that look all around; points near and far, seen by none, one or two
    of them.
    """
    angle = torch.linspace(0, 6.28, 6)[:5]
    zero, one = torch.zeros(5), torch.ones(5)
    forward = torch.stack([angle.cos(), angle.sin(), zero], dim=1)
    right = torch.stack([angle.sin(), -angle.cos(), zero], dim=1)
    camera_from_grid = torch.eye(4).repeat(5, 1, 1)
    down = torch.stack([zero, zero, -one], dim=1)
    camera_from_grid[:, :3, :3] = torch.stack([right, down, forward], dim=1)
    camera_from_grid[:, :3, 3] = torch.randn(5, 3)
    lens = torch.tensor([[14.0, 0.0, 15.5], [0.0, 15.0, 7.5], [0.0, 0.0, 1.0]]).expand(5, 3, 3)
    features = torch.randn(5, 6, 4, 8, requires_grad=True)
    points = torch.randn(3000, 3) * torch.tensor([20.0, 20.0, 3.0])
    points = off_the_borders(points, lens, camera_from_grid)
    cameras = (lens, camera_from_grid, torch.tensor([0, 1, 0, 1, 0]), 4)
    point_sample = torch.randint(0, 2, (len(points),))

    compiled = sample_images(features, *cameras, points, point_sample)
    with torch_only():
        by_torch = sample_images(features, *cameras, points, point_sample)
    # float32 pixels near a camera are off by up to 1e-4 cells
    torch.testing.assert_close(compiled, by_torch, atol=1e-3, rtol=1e-3)
    upstream = torch.randn(compiled.shape)
    found, expected = (
        torch.autograd.grad(result, features, upstream)[0] for result in (compiled, by_torch)
    )
    torch.testing.assert_close(found, expected, atol=1e-2, rtol=1e-3)  # sums of some hundred points
    unseen = (compiled == 0).all(dim=1)
    assert 0.05 < unseen.float().mean() < 0.95
