"""Sparse convolution on the CPU against the dense one and against spconv's own: values and
gradients.
"""

from itertools import product

import pytest
import torch
import torch.nn.functional as F

from occ_core.ops.linear_index import linear_index
from occ_core.ops.sparse import SparseBlock, neighbour_pairs, sparse_volume, to_dense

SHAPE = (6, 8, 4)


def random_volume(channels: int, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    occupied = torch.rand(2, *SHAPE, generator=generator) < 0.2
    index = occupied.nonzero()
    features = torch.randn(len(index), channels, generator=generator, requires_grad=True)
    return features, index, occupied


def test_to_dense_puts_every_feature_in_its_voxel():
    features, index, occupied = random_volume(3)
    dense = to_dense(sparse_volume(features, index, SHAPE, 2))
    assert dense.shape == (2, 3, *SHAPE)
    assert torch.equal(dense.permute(0, 2, 3, 4, 1)[occupied], features)
    assert (dense.permute(0, 2, 3, 4, 1)[~occupied] == 0).all()


@pytest.mark.parametrize("stride", [1, 2])
def test_sparse_convolution_equals_dense_convolution(stride: int):
    """Stride 1: the dense 3x3x3 convolution, read at the occupied voxels. Stride 2: the 2x2x2 one,
    at voxels with a child.
    """
    torch.manual_seed(0)
    features, index, occupied = random_volume(4)
    block = SparseBlock(4, 8, stride=stride, share="test")
    block.norm = torch.nn.Identity()
    result = block(sparse_volume(features, index, SHAPE, 2))

    dense_features = features.detach().clone().requires_grad_()
    weight = block.convolution.weight.detach().permute(0, 4, 1, 2, 3)  # from [out, x, y, z, in]
    weight = weight.contiguous().requires_grad_()
    dense = to_dense(sparse_volume(dense_features, index, SHAPE, 2))
    expected = torch.relu(F.conv3d(dense, weight, stride=stride, padding=1 if stride == 1 else 0))
    kept = occupied if stride == 1 else F.max_pool3d(occupied.float(), 2).bool()
    assert len(result.indices) == kept.sum()
    at = result.indices.long().unbind(1)
    assert kept[at].all()
    # float32 sums of up to 27 * 4 products of order 1
    torch.testing.assert_close(
        result.features, expected.permute(0, 2, 3, 4, 1)[at], atol=1e-5, rtol=1e-5
    )

    upstream = torch.randn(result.features.shape, generator=torch.Generator().manual_seed(1))
    (result.features * upstream).sum().backward()
    (expected.permute(0, 2, 3, 4, 1)[at] * upstream).sum().backward()
    torch.testing.assert_close(features.grad, dense_features.grad, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        block.convolution.weight.grad.permute(0, 4, 1, 2, 3), weight.grad, atol=1e-4, rtol=1e-5
    )


@pytest.mark.parametrize("stride", [1, 2])
def test_equals_spconv_on_one_thread(stride: int, set_threads):
    """With one thread spconv's forward pass on the CPU is right; its weights and ours are the same
    tensor.
    """
    torch.manual_seed(0)
    features, index, _ = random_volume(16)
    block = SparseBlock(16, 32, stride=stride, share="test")
    block.norm = torch.nn.Identity()
    ours = block(sparse_volume(features, index, SHAPE, 2))
    set_threads(1)
    theirs = block.convolution(sparse_volume(features.detach(), index, SHAPE, 2))
    order = linear_index(theirs.indices, tuple(theirs.spatial_shape)).argsort()
    assert torch.equal(theirs.indices[order], ours.indices)
    torch.testing.assert_close(
        torch.relu(theirs.features[order]), ours.features, atol=1e-5, rtol=1e-5
    )


def test_pairs_are_those_of_a_search_of_all_against_all():
    """Two samples of 6 x 5 x 4, a third of the voxels non-empty, some at the borders."""
    index = (torch.rand(2, 6, 5, 4, generator=torch.Generator().manual_seed(2)) < 0.33).nonzero()
    pairs = neighbour_pairs(sparse_volume(torch.zeros(len(index), 1), index, (6, 5, 4), 2))
    assert len(pairs) == 27
    for step, (source, target) in zip(product((-1, 0, 1), repeat=3), pairs, strict=True):
        neighbour = index + torch.tensor([0, *step])
        same = (neighbour[:, None] == index[None]).all(dim=2)  # [V, V]
        assert torch.equal(torch.stack([target, source], dim=1), same.nonzero())


def test_without_voxels_there_are_no_pairs():
    empty = sparse_volume(torch.zeros(0, 1), torch.zeros(0, 4, dtype=torch.long), (6, 5, 4), 1)
    assert [len(source) + len(target) for source, target in neighbour_pairs(empty)] == [0] * 27


def test_two_runs_are_equal_to_the_last_bit():
    features, index, _ = random_volume(16)
    block = SparseBlock(16, 16, stride=1, share="test")
    runs = [block(sparse_volume(features, index, SHAPE, 2)).features for _ in range(20)]
    assert all(torch.equal(run, runs[0]) for run in runs)
