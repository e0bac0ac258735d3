import pytest
import torch

from occ_core.ops.cpu import splat as splat_compiled
from occ_core.view_transform import DepthBins, ViewTransform
from occ_core.voxel_grid import VoxelGrid

GRID = VoxelGrid((-8.0, 0.0, -4.0, 8.0, 16.0, 4.0), 1.0)


@pytest.mark.parametrize("images", [0, 3])
def test_compiled_adds_what_torch_adds_with_the_same_gradients(images: int):
    """Two samples; rays that end in the grid, leave it, and miss it."""
    drawn = torch.Generator().manual_seed(4)
    context = torch.randn(images, 6, 4, 5, generator=drawn, requires_grad=True)
    weight = torch.rand(images, 14, 4, 5, generator=drawn, requires_grad=True)
    rays = torch.randn(images, 4, 5, 3, generator=drawn) + torch.tensor([0.0, 1.0, 0.0])
    origins = torch.randn(images, 3, generator=drawn)
    depth_m, sample = (
        DepthBins(min_m=1.0, max_m=15.0, step_m=1.0).centres(torch.device("cpu")),
        torch.tensor([0, 1, 0])[:images],
    )
    places = (rays, origins, depth_m, sample, GRID, 2)

    by_torch = ViewTransform.splat(context, weight, *places)
    compiled = splat_compiled.splat(context, weight, *places)
    torch.testing.assert_close(compiled, by_torch, atol=1e-5, rtol=1e-5)
    assert compiled.view(2, -1).any(dim=1).tolist() == [images > 0, images > 0]

    told = torch.randn(compiled.shape, generator=drawn)
    of_torch, of_compiled = (
        torch.autograd.grad(one, (context, weight), told) for one in (by_torch, compiled)
    )
    for theirs, ours in zip(of_torch, of_compiled, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
        # a point in eight or more lies beyond the grid
        assert images == 0 or 0.1 < (of_compiled[1] == 0).float().mean() < 0.9


def test_a_point_on_a_border_is_the_upper_voxels():
    """Depths 1.5 and 2.5 along +y from y = 0.5: y = 2.0 and 3.0, voxels 2 and 3; x = z = 0.25 m are
    voxels 8 and 4.
    """
    context, weight = torch.tensor([[[[2.0]]]]), torch.tensor([[[[0.25]], [[0.75]]]])
    rays, origins = torch.tensor([[[[0.0, 1.0, 0.0]]]]), torch.tensor([[0.25, 0.5, 0.25]])
    volume = splat_compiled.splat(
        context, weight, rays, origins, torch.tensor([1.5, 2.5]), torch.tensor([0]), GRID, 1
    )
    volume = volume.view(GRID.shape)
    assert volume.nonzero().tolist() == [[8, 2, 4], [8, 3, 4]]
    assert volume[8, 2, 4] == 0.5 and volume[8, 3, 4] == 1.5
