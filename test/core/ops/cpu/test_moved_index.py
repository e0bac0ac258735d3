import torch

from occ_core.ops.cpu import moved_index as voxel_filter_compiled
from occ_core.voxel_filter import Recall
from occ_core.voxel_grid import VoxelGrid


def test_compiled_finds_the_places_that_torch_finds():
    """Two samples, turned and moved their own ways; about half of the voxels lie beyond the grid
    then.
    """
    fine = VoxelGrid((-5.0, -4.0, -1.0, 5.0, 4.0, 3.0), 0.5)  # 20 x 16 x 8
    drawn = torch.Generator().manual_seed(3)
    children = torch.stack(
        [torch.randint(0, side, (5000,), generator=drawn) for side in (2, *fine.shape)], dim=1
    )
    there_from_here = torch.eye(4).repeat(2, 1, 1)
    there_from_here[0, :2, :2] = torch.tensor([[0.8, -0.6], [0.6, 0.8]])
    there_from_here[:, :3, 3] = torch.tensor([[2.1, 0.3, 0.1], [-3.3, 1.2, -0.4]])
    by_torch = Recall.places(children, there_from_here, fine)
    compiled = voxel_filter_compiled.places(children, there_from_here, fine)
    assert (compiled == by_torch).float().mean() > 0.999  # float32, a centre may fall on a border
    assert 0.2 < (compiled < 0).float().mean() < 0.8 and compiled.max() < 2 * 20 * 16 * 8
    assert torch.equal(compiled >= 20 * 16 * 8, (compiled >= 0) & (children[:, 0] == 1))
