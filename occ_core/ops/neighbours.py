"""Exact nearest neighbours between two sets of voxels (the retrieval of TACOcc, section III-A;
Co-Occ's KNN).

Voxels lie on a grid, so neither a tree nor a sort is needed: the keys are written into a dense
grid, and each query reads the cells around it, nearest first, until it has enough. Most queries are
done after a few cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import product
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from occ_core.ops import backend
from occ_core.ops.cpu import neighbours as kernels
from occ_core.ops.linear_index import linear_index

STAGES_D2 = (1, 3, 9, 29)
"""Squared radii, in voxels, of the first balls after which the torch form sets finished queries
aside; the larger ones follow in steps of ten.
"""


class Neighbours(NamedTuple):
    """The nearest keys of every query, nearest first."""

    row: Int[Tensor, "query k"]
    """Row of the key; -1 where fewer than k lie within the radius."""
    distance: Float[Tensor, "query k"]
    """Distance in voxels; infinite where there is no key."""


def nearest_neighbours(
    queries: Int[Tensor, "query 4"],
    keys: Int[Tensor, "key 4"],
    k: int,
    radius: float,
    shape: Sequence[int] | None = None,
) -> Neighbours:
    """The ``k`` nearest keys within ``radius`` of every query, in its own sample of the batch.

    Exact: of keys at the same distance those come first whose (x, y, z) is smaller. No gradient
    flows.

    Args:
        queries, keys: voxels (batch, x, y, z), not negative; no key occurs twice.
        radius: in voxels, inclusive.
        shape: of the grids, ``[B, X, Y, Z]``; only an export needs it, which cannot look it up.

    Raises:
        ValueError: ``k`` is below 1, the radius is negative, or an index is; a model is exported,
            and there is no shape.
    """
    if k < 1 or radius < 0:
        raise ValueError(
            f"nearest_neighbours needs k >= 1 and radius >= 0, got k={k}, radius={radius}"
        )
    if backend.is_exporting():
        if shape is None:
            raise ValueError("nearest_neighbours needs a shape while a model is exported")
        return _search_whole_ball(queries, keys, k, radius, shape)
    device = queries.device
    if not len(queries) or not len(keys):
        none = torch.full((len(queries), k), -1, dtype=torch.long, device=device)
        return Neighbours(none, torch.full((len(queries), k), torch.inf, device=device))
    if (low := min(int(queries.min()), int(keys.min()))) < 0:
        raise ValueError(f"nearest_neighbours takes voxels of a grid, got an index of {low}")
    if backend.use_kernel("nearest_neighbours", queries, keys):
        row, squared = kernels.search(queries, keys, k, _ball(radius))
    else:
        row, squared = _search(queries, keys, k, radius)
    return Neighbours(row, squared.sqrt_())


def _search(
    queries: Int[Tensor, "query 4"], keys: Int[Tensor, "key 4"], k: int, radius: float
) -> tuple[Int[Tensor, "query k"], Float[Tensor, "query k"]]:
    """Rows of the keys and squared distances, of all queries together, shell by shell."""
    device = queries.device
    # empty cells around each sample, so that no read leaves it
    border = queries.new_tensor([0, *[int(radius)] * 3])
    size = torch.maximum(queries.amax(dim=0), keys.amax(dim=0)) + 1 + 2 * border
    samples, x, y, z = size.tolist()
    strides = queries.new_tensor([x * y * z, y * z, z, 1])
    row_at = torch.full((samples * x * y * z,), -1, dtype=torch.long, device=device)
    row_at[((keys + border) * strides).sum(dim=1)] = torch.arange(len(keys), device=device)
    cells = ((queries + border) * strides).sum(dim=1)

    row = torch.full((len(queries), k), -1, dtype=torch.long, device=device)
    squared = torch.full((len(queries), k), torch.inf, device=device)
    active = torch.arange(len(queries), device=device)
    found = torch.zeros(len(queries), dtype=torch.long, device=device)
    for stage in _stages(radius):
        offsets, offsets_d2 = stage.to(device)[:, :3], stage.to(device)[:, 3]
        steps = (offsets * strides[1:]).sum(dim=1)
        seen = row_at[cells[active][:, None] + steps]  # [A, S], nearest cell first
        is_key = seen >= 0
        rank = found[active][:, None] + is_key.cumsum(dim=1) - 1  # of a key among its query's
        query, step = (is_key & (rank < k)).nonzero(as_tuple=True)
        entry = active[query], rank[query, step]
        row[entry] = seen[query, step]
        squared[entry] = offsets_d2[step].to(squared.dtype)
        found[active] += is_key.sum(dim=1)
        active = active[found[active] < k]
        if not len(active):
            break
    return row, squared


def _search_whole_ball(
    queries: Int[Tensor, "query 4"],
    keys: Int[Tensor, "key 4"],
    k: int,
    radius: float,
    shape: Sequence[int],
) -> Neighbours:
    """As ``_search``, of all cells of the ball at once: the form that can be exported."""
    reach = int(radius)
    x, y, z = (side + 2 * reach for side in shape[1:])  # no read leaves its sample
    border = queries.new_tensor([0, reach, reach, reach])
    row_at = queries.new_zeros(shape[0] * x * y * z)  # 1 plus the row of a key
    row_at[linear_index(keys + border, (x, y, z))] = 1 + torch.arange(
        keys.shape[0], device=keys.device
    )
    offsets = sorted(product(range(-reach, reach + 1), repeat=3), key=_squared)  # stable
    offsets = [offset for offset in offsets if _squared(offset) <= radius**2]
    steps = queries.new_tensor([(i * y + j) * z + k for i, j, k in offsets])
    seen = row_at[linear_index(queries + border, (x, y, z))[:, None] + steps]  # [Q, S]
    rank = torch.arange(len(offsets), device=queries.device).where(seen > 0, len(offsets))
    nearest = F.pad(rank, (0, k), value=len(offsets)).topk(k, dim=1, largest=False).values
    row = F.pad(seen, (0, 1)).gather(1, nearest) - 1  # [Q, k]
    distances = torch.tensor([*map(_squared, offsets), torch.inf], device=queries.device).sqrt()
    return Neighbours(row, distances[nearest])


def _squared(offset: Sequence[int]) -> int:
    return sum(step * step for step in offset)


@lru_cache(maxsize=16)
def _ball(radius: float) -> Int[Tensor, "step 4"]:
    """The cells of the ball as (dx, dy, dz, squared distance), nearest first, then in the order of
    (x, y, z).
    """
    reach = int(radius)
    steps = torch.arange(-reach, reach + 1)
    offsets = torch.cartesian_prod(steps, steps, steps).reshape(-1, 3)
    squared = (offsets**2).sum(dim=1)
    cells = torch.cat([offsets, squared[:, None]], dim=1)[squared <= radius**2]
    return cells[cells[:, 3].sort(stable=True).indices]


@lru_cache(maxsize=16)
def _stages(radius: float) -> tuple[Int[Tensor, "step 4"], ...]:
    """The ball, cut into shells at ``STAGES_D2``."""
    ball = _ball(radius)
    ends = [
        int((ball[:, 3] <= end).sum()) for end in (*STAGES_D2, *range(40, int(radius**2) + 10, 10))
    ]
    cuts = sorted({0, len(ball), *(end for end in ends if end < len(ball))})
    return tuple(ball[start:end] for start, end in zip(cuts[:-1], cuts[1:], strict=True))
