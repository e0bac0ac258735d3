import pytest
import torch

from occ_core.view_transform import FAINT_MASS, DepthBins, ViewTransform, cell_rays, mean_and_mass
from occ_core.voxel_grid import VoxelGrid

GRID = VoxelGrid((-8.0, 0.0, -4.0, 8.0, 16.0, 4.0), 1.0)
STRIDE = 8
# camera looks along +y of the grid: x right = grid x, y down = -grid z, z forward = grid y
GRID_FROM_CAMERA = torch.tensor([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
# a 32x32 image, the principal point in its middle
INTRINSICS = torch.tensor([[32.0, 0, 15.5], [0, 32.0, 15.5], [0, 0, 1]])


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
    rays = cell_rays(INTRINSICS[None], GRID_FROM_CAMERA[None], (4, 4), STRIDE)  # [1, 4, 4, 3]
    # cell (row 0, column 3): centre pixel v = 0.5 * 8 - 0.5 = 3.5, u = 3.5 * 8 - 0.5 = 27.5
    # x = (27.5 - 15.5) / 32 = 0.375; down = (3.5 - 15.5) / 32 = -0.375, so z = +0.375; y is the
    # depth, 1
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
    # depth 5.5 m is voxel y = 5; the 4 x 4 cells land on x, z = -2.06, -0.69, 0.69, 2.06: four
    # different voxels along each axis
    assert volume[0].abs().sum(0).nonzero()[:, 1].unique().tolist() == [5]
    # cell (0, 3): x = 2.06 m is voxel 10, z = 2.06 m voxel 6
    torch.testing.assert_close(volume[0, :, 10, 5, 6], context[0, :, 0, 3])
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


def test_rays_stay_exact_under_autocast(transform: ViewTransform):
    """A product in sixteen bits would move points at 15 m by centimetres."""
    cameras = (INTRINSICS[None], GRID_FROM_CAMERA[None])
    exact = cell_rays(*cameras, (4, 4), STRIDE)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(cell_rays(*cameras, (4, 4), STRIDE), exact)


def test_a_normalised_volume_is_a_mean_over_rays():
    """All depth probability in one bin: where one ray of mass 1 ends, the feature is the context
    divided by 1 + FAINT_MASS and the last channel log(1 + 1 / FAINT_MASS); elsewhere all is 0.
    """
    torch.manual_seed(0)
    bins = DepthBins(min_m=1.0, max_m=15.0, step_m=1.0)
    transform = ViewTransform(8, 8, bins, GRID, STRIDE, normalised=True)
    with torch.no_grad():
        transform.depth[-1].weight.zero_()
        transform.depth[-1].bias.fill_(-100.0)
        transform.depth[-1].bias[4] = 100.0
    features = torch.randn(1, 8, 4, 4, generator=torch.Generator().manual_seed(1))
    volume, _ = transform(features, INTRINSICS[None], GRID_FROM_CAMERA[None], torch.tensor([0]), 1)
    context = transform.context(features)
    assert volume.shape[1] == 8 and context.shape[1] == 7
    torch.testing.assert_close(volume[0, :7, 10, 5, 6], context[0, :, 0, 3] / (1 + FAINT_MASS))
    torch.testing.assert_close(volume[0, 7, 10, 5, 6], torch.tensor(1 + 1 / FAINT_MASS).log())
    assert volume[0].abs().sum(0).nonzero()[:, 1].unique().tolist() == [5]


def test_a_mean_does_not_grow_with_the_number_of_rays():
    """Two rays of masses 0.6 and 0.4 with features 2 and 7: (0.6 * 2 + 0.4 * 7) / (1 + 0.03)."""
    sums = torch.tensor([[0.6 * 2 + 0.4 * 7, 1.0], [0.0, 0.0]])
    expected = torch.tensor([[4.0 / (1 + FAINT_MASS), 0.0], [0.0, 0.0]])
    expected[0, 1] = torch.tensor(1 + 1 / FAINT_MASS).log()
    torch.testing.assert_close(mean_and_mass(sums), expected)


def test_means_keep_the_precision_of_their_sums():
    """1 / (1e-9 + 0.03) differs from 1 / 0.03 in the eighth digit, which float32 has not."""
    sums = torch.tensor([[1.0, 1e-9]], dtype=torch.float64)
    means = mean_and_mass(sums)
    assert means.dtype == torch.float64
    assert means[0, 0].item() == pytest.approx(1 / (1e-9 + FAINT_MASS), rel=1e-12)
    assert mean_and_mass(sums.bfloat16()).dtype == torch.bfloat16
