import math

import pytest
import torch

from occ_core.view_transform import DepthBins, ViewTransform, sample_images
from occ_core.voxel_grid import VoxelGrid

GRID = VoxelGrid((-8.0, 0.0, -4.0, 8.0, 16.0, 4.0), 1.0)
STRIDE = 8
# camera looks along +y of the grid: x right = grid x, y down = -grid z, z forward = grid y
GRID_FROM_CAMERA = torch.tensor([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
INTRINSICS = torch.tensor(
    [[32.0, 0, 15.5], [0, 32.0, 15.5], [0, 0, 1]]
)  # a 32x32 image, principal point in its middle


@pytest.fixture
def transform() -> ViewTransform:
    torch.manual_seed(0)
    return ViewTransform(8, 8, DepthBins(min_m=1.0, max_m=15.0, step_m=1.0), GRID, STRIDE)


def test_bins():
    bins = DepthBins(min_m=2.0, max_m=5.0, step_m=0.5)
    assert bins.count == 6
    assert bins.centres(torch.device("cpu")).tolist() == [2.25, 2.75, 3.25, 3.75, 4.25, 4.75]
    assert bins.index(torch.tensor([1.9, 2.0, 2.6, 4.99, 5.0])).tolist() == [-1, 0, 1, 5, -1]
    with pytest.raises(ValueError, match="min_m"):
        DepthBins(min_m=0.0)


def test_rays_go_through_their_pixels(transform: ViewTransform):
    rays = transform.rays(INTRINSICS[None], GRID_FROM_CAMERA[None], (4, 4))  # [1, 4, 4, 3]
    # cell (row 0, column 3): centre pixel v = 0.5 * 8 - 0.5 = 3.5, u = 3.5 * 8 - 0.5 = 27.5
    # x = (27.5 - 15.5) / 32 = 0.375; down = (3.5 - 15.5) / 32 = -0.375, so z = +0.375; y = depth =
    # 1
    torch.testing.assert_close(rays[0, 0, 3], torch.tensor([0.375, 1.0, 0.375]))


def test_splat_puts_all_weight_where_depth_says(transform: ViewTransform):
    """All depth probability in one bin: the volume is the context at that bin's voxels, and nothing
    elsewhere.
    """
    with torch.no_grad():
        transform.depth[-1].weight.zero_()
        transform.depth[-1].bias.fill_(-100.0)
        transform.depth[-1].bias[4] = 100.0
    features = torch.randn(1, 8, 4, 4, generator=torch.Generator().manual_seed(1))
    volume, _ = transform(features, INTRINSICS[None], GRID_FROM_CAMERA[None], torch.tensor([0]), 1)
    context = transform.context(features)
    # depth 5.5 m is voxel y = 5; the 4 x 4 cells land on x, z = -2.06, -0.69, 0.69, 2.06 -> four
    # different voxels an axis
    assert volume[0].abs().sum(0).nonzero()[:, 1].unique().tolist() == [5]
    torch.testing.assert_close(
        volume[0, :, 10, 5, 6], context[0, :, 0, 3]
    )  # x = 2.06 -> 10; z = 2.06 -> 6
    torch.testing.assert_close(volume.sum(), context.sum(), atol=1e-4, rtol=1e-5)


def test_no_camera_gives_a_zero_volume(transform: ViewTransform):
    volume, depth = transform(
        torch.zeros(0, 8, 4, 4),
        torch.zeros(0, 3, 3),
        torch.zeros(0, 4, 4),
        torch.zeros(0, dtype=torch.long),
        2,
    )
    assert volume.shape == (2, 8, *GRID.shape) and not volume.any() and depth.shape == (0, 14, 4, 4)


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
    turned = GRID_FROM_CAMERA.clone()
    angle = math.radians(10)
    turned[:2, :2] = (
        torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        @ turned[:2, :2]
    )
    cameras = torch.linalg.inv(torch.stack([GRID_FROM_CAMERA, turned]))
    point, of_sample = torch.tensor([[0.0, 5.0, 0.0]]), torch.tensor([0])
    found = sample_images(
        features,
        INTRINSICS.expand(2, 3, 3),
        cameras,
        torch.tensor([0, 0]),
        STRIDE,
        point,
        of_sample,
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


@pytest.mark.parametrize("learns", [False, True], ids=["compiled", "torch"])
def test_geometry_stays_exact_under_autocast(learns: bool, transform: ViewTransform):
    """A sixteen-bit product would move points at 15 m by centimetres, and pixels by whole cells of
    large images.
    """
    features = torch.randn(1, 8, 4, 4, generator=torch.Generator().manual_seed(0))
    points = torch.rand(50, 3, generator=torch.Generator().manual_seed(1)) * torch.tensor(
        [6.0, 10.0, 6.0]
    ) + torch.tensor([-3.0, 4.0, -3.0])
    points.requires_grad_(learns)

    def both() -> tuple[torch.Tensor, torch.Tensor]:
        zero = torch.tensor([0])
        lifted = transform.rays(INTRINSICS[None], GRID_FROM_CAMERA[None], (4, 4))
        camera_from_grid = GRID_FROM_CAMERA.T[None]
        return lifted, sample_images(
            features,
            INTRINSICS[None],
            camera_from_grid,
            zero,
            STRIDE,
            points,
            torch.zeros(50, dtype=torch.long),
        )

    exact = both()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = both()
    assert all(torch.equal(a, b) for a, b in zip(exact, rounded, strict=True))


def test_compiled_sees_what_torch_sees_with_the_same_gradients():
    """Two samples, five cameras that look all around, points near and far, in view of none, one or
    two of them.
    """
    turn = torch.linspace(0, 6.28, 6)[:5]
    zero, one = torch.zeros(5), torch.ones(5)
    forward, right = (
        torch.stack([turn.cos(), turn.sin(), zero], 1),
        torch.stack([turn.sin(), -turn.cos(), zero], 1),
    )
    camera_from_grid = torch.eye(4).repeat(5, 1, 1)
    camera_from_grid[:, :3, :3] = torch.stack(
        [right, torch.stack([zero, zero, -one], 1), forward], dim=1
    )
    camera_from_grid[:, :3, 3] = torch.randn(5, 3)
    lens = torch.tensor([[14.0, 0.0, 15.5], [0.0, 15.0, 7.5], [0.0, 0.0, 1.0]]).expand(5, 3, 3)
    features, camera_sample = (
        torch.randn(5, 6, 4, 8, requires_grad=True),
        torch.tensor([0, 1, 0, 1, 0]),
    )
    points, point_sample = (
        torch.randn(3000, 3) * torch.tensor([20.0, 20.0, 3.0]),
        torch.randint(0, 2, (3000,)),
    )

    def seen(where: torch.Tensor) -> torch.Tensor:
        return sample_images(
            features, lens, camera_from_grid, camera_sample, 4, where, point_sample
        )

    by_torch = seen(points.clone().requires_grad_())
    compiled = seen(points)
    torch.testing.assert_close(compiled, by_torch, atol=2e-4, rtol=1e-4)  # cells of float32 pixels
    told = torch.randn(3000, 6)
    of_compiled, of_torch = (
        torch.autograd.grad(one, features, told)[0] for one in (compiled, by_torch)
    )
    torch.testing.assert_close(
        of_compiled, of_torch, atol=1e-3, rtol=1e-3
    )  # sums of some hundred of them
    of_none = (compiled == 0).all(dim=1)
    assert 0.05 < of_none.float().mean() < 0.95
