from itertools import product

import torch

from occ_core.ops.sparse import neighbour_pairs, sparse_volume


def test_pairs_are_those_of_a_search_of_all_against_all():
    """Two samples of 6 x 5 x 4, a third of the voxels non-empty, some at the borders."""
    index = (torch.rand(2, 6, 5, 4, generator=torch.Generator().manual_seed(2)) < 0.33).nonzero()
    pairs = neighbour_pairs(sparse_volume(torch.zeros(len(index), 1), index, (6, 5, 4), 2))
    assert len(pairs) == 27
    for step, (source, target) in zip(product((-1, 0, 1), repeat=3), pairs, strict=True):
        wanted = index + torch.tensor([0, *step])
        same = (wanted[:, None] == index[None]).all(dim=2)  # [V, V]
        assert torch.equal(torch.stack([target, source], dim=1), same.nonzero())


def test_no_voxel_has_no_pair():
    empty = sparse_volume(torch.zeros(0, 1), torch.zeros(0, 4, dtype=torch.long), (6, 5, 4), 1)
    assert [len(source) + len(target) for source, target in neighbour_pairs(empty)] == [0] * 27
