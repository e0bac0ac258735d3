"""Forms of operators that can leave Python, against those that cannot."""

import pytest
import torch

from occ_core.ops import backend
from occ_core.ops.linear_index import unravel_index
from occ_core.ops.neighbours import nearest_neighbours
from occ_core.ops.sparse import SparseBlock, SparseVolume, sparse_volume

SHAPE = (8, 6, 4)


def voxels(count: int, seed: int) -> torch.Tensor:
    """Different voxels of two samples, ascending."""
    cells = torch.randperm(2 * 8 * 6 * 4, generator=torch.Generator().manual_seed(seed))
    return unravel_index(cells[:count].sort().values, SHAPE)


@pytest.mark.parametrize("count", [100, 1, 0])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_gathered_convolution_is_the_same(stride: int, count: int):
    block = SparseBlock(3, 5, stride=stride, share="test")

    def convolved() -> SparseVolume:
        features = torch.arange(3.0 * count).view(-1, 3).sin()
        return block(sparse_volume(features, voxels(count, seed=1), SHAPE, batch_size=2))

    expected = convolved()
    with backend.exporting():
        found = convolved()
    assert torch.equal(found.indices, expected.indices)
    assert found.spatial_shape == expected.spatial_shape
    # sums of 81 products, in another order
    torch.testing.assert_close(found.features, expected.features, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("k", "radius"), [(3, 2.5), (1, 0.0), (4, 1.0)])
def test_the_neighbours_within_a_whole_ball_are_the_same(k: int, radius: float):
    queries, keys = voxels(60, seed=1), voxels(60, seed=2)
    expected = nearest_neighbours(queries, keys, k, radius)
    with backend.exporting():
        found = nearest_neighbours(queries, keys, k, radius, (2, *SHAPE))
        none = nearest_neighbours(queries, keys[:0], k, radius, (2, *SHAPE))
        with pytest.raises(ValueError, match="needs a shape"):
            nearest_neighbours(queries, keys, k, radius)
    assert torch.equal(found.row, expected.row)
    assert torch.equal(found.distance, expected.distance)
    assert (none.row == -1).all() and none.distance.isinf().all()


def test_exporting_ends_with_its_block():
    with backend.exporting():
        assert backend.is_exporting() and not backend.use_kernel("test", torch.zeros(1))
    assert not backend.is_exporting() and backend.use_kernel("test", torch.zeros(1))
