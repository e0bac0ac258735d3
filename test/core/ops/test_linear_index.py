import torch

from occ_core.ops.linear_index import linear_index, unravel_index

SHAPE = (6, 8, 4)


def test_linear_index_is_row_major_and_invertible():
    index = torch.tensor(
        [[0, 0, 0, 0], [0, 0, 0, 3], [0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0], [1, 5, 7, 3]]
    )
    # strides of [B, 6, 8, 4]: 192, 32, 4, 1; the last voxel is number 2 * 192 - 1
    assert linear_index(index, SHAPE).tolist() == [0, 3, 4, 32, 192, 383]
    assert torch.equal(unravel_index(linear_index(index, SHAPE), SHAPE), index)
