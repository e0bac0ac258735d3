import pytest
import torch

from occ_core.ops.backend import torch_only
from occ_core.ops.splat import splat
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
    depth_m, sample = torch.arange(14) + 1.5, torch.tensor([0, 1, 0])[:images]

    compiled = splat(context, weight, rays, origins, depth_m, sample, GRID, 2)
    with torch_only():
        by_torch = splat(context, weight, rays, origins, depth_m, sample, GRID, 2)
    torch.testing.assert_close(compiled, by_torch, atol=1e-5, rtol=1e-5)
    assert compiled.view(2, -1).any(dim=1).tolist() == [images > 0, images > 0]

    upstream = torch.randn(compiled.shape, generator=drawn)
    grad_torch, grad_compiled = (
        torch.autograd.grad(volume, (context, weight), upstream) for volume in (by_torch, compiled)
    )
    for expected, found in zip(grad_torch, grad_compiled, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    # more than a tenth of the points lie outside the grid
    assert images == 0 or 0.1 < (grad_compiled[1] == 0).float().mean() < 0.9


def test_a_point_on_a_border_is_the_upper_voxels():
    """Depths 1.5 and 2.5 along +y from y = 0.5: y = 2.0 and 3.0, voxels 2 and 3; x = z = 0.25 m are
    voxels 8 and 4.
    """
    context, weight = torch.tensor([[[[2.0]]]]), torch.tensor([[[[0.25]], [[0.75]]]])
    rays, origins = torch.tensor([[[[0.0, 1.0, 0.0]]]]), torch.tensor([[0.25, 0.5, 0.25]])
    volume = splat(
        context, weight, rays, origins, torch.tensor([1.5, 2.5]), torch.tensor([0]), GRID, 1
    )
    volume = volume.view(GRID.shape)
    assert volume.nonzero().tolist() == [[8, 2, 4], [8, 3, 4]]
    assert volume[8, 2, 4] == 0.5 and volume[8, 3, 4] == 1.5
