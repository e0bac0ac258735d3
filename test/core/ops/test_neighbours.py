import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree
from torch import Tensor

from occ_core.ops.backend import torch_only
from occ_core.ops.neighbours import nearest_neighbours


def voxels(seed: int, count: int, shape: tuple[int, int, int, int]) -> Tensor:
    """``count`` different voxels (batch, x, y, z), in no order."""
    random = torch.Generator().manual_seed(seed)
    cells = torch.randperm(int(np.prod(shape)), generator=random)[:count]
    return torch.stack(torch.unravel_index(cells, shape), dim=1)


def brute_force(queries: Tensor, keys: Tensor, k: int, radius: float) -> tuple[Tensor, Tensor]:
    """All pairs, sorted by distance, then by (x, y, z)."""
    rows, distances = torch.full((len(queries), k), -1), torch.full((len(queries), k), torch.inf)
    for number, query in enumerate(queries):
        squared = ((keys[:, 1:] - query[1:]) ** 2).sum(dim=1).tolist()
        near = [
            row
            for row in range(len(keys))
            if keys[row, 0] == query[0] and squared[row] <= radius**2
        ]
        near.sort(key=lambda row: (squared[row], keys[row, 1:].tolist()))
        for rank, row in enumerate(near[:k]):
            rows[number, rank], distances[number, rank] = row, squared[row] ** 0.5
    return rows, distances


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    k=st.integers(1, 5),
    radius=st.sampled_from([0.0, 1.0, 1.5, 2.0, 3.3, 7.0]),
    filled=st.sampled_from([1, 8, 60, 300]),
)
def test_it_is_brute_force_ties_included(seed: int, k: int, radius: float, filled: int):
    shape = (2, 7, 6, 5)
    queries, keys = voxels(seed, 40, shape), voxels(seed + 1, filled, shape)
    found = nearest_neighbours(queries, keys, k, radius)
    rows, distances = brute_force(queries, keys, k, radius)
    assert torch.equal(found.row, rows)
    torch.testing.assert_close(found.distance, distances)


def test_distances_are_those_of_a_kd_tree():
    keys, queries = voxels(0, 3000, (1, 60, 60, 12)), voxels(1, 2000, (1, 60, 60, 12))
    found = nearest_neighbours(queries, keys, 3, 4.0)
    distances, rows = cKDTree(keys[:, 1:].numpy()).query(
        queries[:, 1:].numpy(), k=3, distance_upper_bound=4.0 + 1e-6
    )
    np.testing.assert_allclose(found.distance.numpy(), distances, rtol=1e-6)
    assert ((found.row.numpy() >= 0) == (rows < len(keys))).all()


def test_a_key_of_another_sample_is_no_neighbour():
    queries, keys = torch.tensor([[0, 5, 5, 5]]), torch.tensor([[1, 5, 5, 5], [0, 5, 5, 7]])
    found = nearest_neighbours(queries, keys, 2, 3.0)
    assert found.row.tolist() == [[1, -1]] and found.distance.tolist() == [[2.0, torch.inf]]


def test_the_grids_edges_do_not_touch():
    """(x, y) = (0, 9) and (1, 0) are neighbours in memory, not in space."""
    queries, keys = (
        torch.tensor([[0, 0, 9, 0]]),
        torch.tensor([[0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 9, 3]]),
    )
    assert nearest_neighbours(queries, keys, 1, 2.0).row.tolist() == [[-1]]
    assert nearest_neighbours(queries, keys, 1, 3.0).row.tolist() == [[2]]


@pytest.mark.parametrize(("queries", "keys"), [(0, 5), (5, 0), (0, 0)])
def test_nothing_finds_nothing(queries: int, keys: int):
    found = nearest_neighbours(
        voxels(0, queries, (1, 4, 4, 4)), voxels(1, keys, (1, 4, 4, 4)), 2, 3.0
    )
    assert (
        found.row.shape == (queries, 2) and (found.row == -1).all() and found.distance.isinf().all()
    )


def test_what_makes_no_sense_is_refused():
    some = voxels(0, 3, (1, 4, 4, 4))
    with pytest.raises(ValueError, match="k >= 1"):
        nearest_neighbours(some, some, 0, 1.0)
    with pytest.raises(ValueError, match="radius >= 0"):
        nearest_neighbours(some, some, 1, -1.0)
    with pytest.raises(ValueError, match="index of -1"):
        nearest_neighbours(some, some - 1, 1, 1.0)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_the_compiled_search_finds_what_torch_finds(dtype: torch.dtype):
    queries, keys = voxels(0, 3000, (2, 40, 40, 12)).to(dtype), voxels(1, 1500, (2, 40, 40, 12))
    keys = keys.T.contiguous().T  # as nonzero() lays them out
    compiled = nearest_neighbours(queries, keys, 3, 5.0)
    with torch_only():
        by_torch = nearest_neighbours(queries, keys, 3, 5.0)
    assert torch.equal(compiled.row, by_torch.row)
    assert torch.equal(compiled.distance, by_torch.distance)
    assert 0 < (compiled.row < 0).sum() < len(queries)  # some find fewer than three
