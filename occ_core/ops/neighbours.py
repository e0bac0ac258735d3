"""Exact nearest neighbours between two sets of voxels (the retrieval of TACOcc, section III-A;
Co-Occ's KNN).

Voxels lie on a grid, so no tree is built and nothing is sorted: the keys are written into a dense
grid, and each query reads the cells around it, nearest first, until it has enough. Most queries are
done after a few cells.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple, no_type_check

import numpy as np
import torch
from jaxtyping import Float, Int
from numba import njit
from torch import Tensor

STAGES_D2 = (1, 3, 9, 29)
"""Squared radii, in voxels, of the balls after which ``search_in_stages`` puts aside the queries
that have enough; larger ones are by tens."""


class Neighbours(NamedTuple):
    """The nearest keys of every query, nearest first."""

    row: Int[Tensor, "query k"]
    """Row of the key; -1 where the radius holds fewer than k."""
    distance: Float[Tensor, "query k"]
    """In voxels; infinite where there is no key."""


def nearest_neighbours(
    queries: Int[Tensor, "query 4"], keys: Int[Tensor, "key 4"], k: int, radius: float
) -> Neighbours:
    """The ``k`` nearest keys within ``radius`` of every query, in its own sample of the batch.

    Exact: of keys at the same distance those come first whose (x, y, z) is smaller. No gradient
    flows.

    Args:
        queries, keys: voxels as (batch, x, y, z), not negative; no key twice.
        radius: in voxels, inclusive.

    Raises:
        ValueError: ``k`` below 1, a negative radius, or a negative index.
    """
    if k < 1 or radius < 0:
        raise ValueError(
            f"nearest_neighbours needs k >= 1 and radius >= 0, got k={k}, radius={radius}"
        )
    device = queries.device
    if not len(queries) or not len(keys):
        nobody = torch.full((len(queries), k), -1, dtype=torch.long, device=device)
        return Neighbours(nobody, torch.full((len(queries), k), torch.inf, device=device))
    if (low := min(int(queries.min()), int(keys.min()))) < 0:
        raise ValueError(f"nearest_neighbours takes voxels of a grid, got an index of {low}")
    search = search_compiled if device.type == "cpu" else search_in_stages
    return search(queries, keys, k, radius)


def search_in_stages(
    queries: Int[Tensor, "query 4"], keys: Int[Tensor, "key 4"], k: int, radius: float
) -> Neighbours:
    """All queries at once, shell by shell, on any device: the readable form of ``search_compiled``."""
    device = queries.device
    border = queries.new_tensor(
        [0, *[int(radius)] * 3]
    )  # of empty cells around each sample: no read leaves the sample
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
        seen = row_at[
            cells[active][:, None] + (offsets * strides[1:]).sum(dim=1)
        ]  # [A, S], nearest cell first
        is_key = seen >= 0
        place = (
            found[active][:, None] + is_key.cumsum(dim=1) - 1
        )  # which neighbour of its query a key is
        query, step = (is_key & (place < k)).nonzero(as_tuple=True)
        at = active[query], place[query, step]
        row[at] = seen[query, step]
        squared[at] = offsets_d2[step].to(squared.dtype)
        found[active] += is_key.sum(dim=1)
        active = active[found[active] < k]
        if not len(active):
            break
    return Neighbours(row, squared.sqrt())


def search_compiled(
    queries: Int[Tensor, "query 4"], keys: Int[Tensor, "key 4"], k: int, radius: float
) -> Neighbours:
    """Query by query on the CPU. Instead of the keys' rows the grid holds one bit a cell, so that
    it stays in the cache.
    """
    ball = _ball(radius).numpy()
    row = torch.empty(len(queries), k, dtype=torch.long)
    squared = torch.empty(len(queries), k)
    voxels = (voxels.long().contiguous().numpy() for voxels in (queries, keys))
    _read_until_enough(*voxels, ball, int(radius), row.numpy(), squared.numpy())
    return Neighbours(row, squared.sqrt_())


@njit(cache=True, nogil=True)
@no_type_check  # numba takes the bare function, without the checks that the tests put around it
def _read_until_enough(
    queries: np.ndarray,
    keys: np.ndarray,
    ball: np.ndarray,
    border: int,
    row: np.ndarray,
    squared: np.ndarray,
) -> None:
    samples, x, y, z = 0, 0, 0, 0
    for voxels in (queries, keys):
        for i in range(len(voxels)):
            samples, x = max(samples, voxels[i, 0] + 1), max(x, voxels[i, 1] + 1)
            y, z = max(y, voxels[i, 2] + 1), max(z, voxels[i, 3] + 1)
    x, y, z = (
        x + border,
        y + border,
        z + border,
    )  # the border after one line is the border before the next
    first = (border * y + border) * z + border  # cell of voxel (0, 0, 0, 0)
    cells = samples * x * y * z + 2 * first

    is_key = np.zeros(cells // 64 + 1, np.uint64)  # a bit a cell
    for key in range(len(keys)):
        cell = first + _cell(keys[key], x, y, z)
        is_key[cell >> 6] |= np.uint64(1) << np.uint64(cell & 63)
    before = np.zeros(len(is_key), np.int32)  # keys in the words before
    for word in range(1, len(is_key)):
        before[word] = before[word - 1] + _bits(is_key[word - 1])
    row_of = np.empty(len(keys), np.int32)  # by the order of the cells
    for key in range(len(keys)):
        row_of[_rank(first + _cell(keys[key], x, y, z), is_key, before)] = key

    steps = np.empty(len(ball), np.int64)
    for step in range(len(ball)):
        steps[step] = (ball[step, 0] * y + ball[step, 1]) * z + ball[step, 2]
    k = row.shape[1]
    for query in range(len(queries)):
        centre = first + _cell(queries[query], x, y, z)
        found = 0
        for step in range(len(steps)):
            cell = centre + steps[step]
            if (is_key[cell >> 6] >> np.uint64(cell & 63)) & np.uint64(1):
                row[query, found] = row_of[_rank(cell, is_key, before)]
                squared[query, found] = ball[step, 3]
                found += 1
                if found == k:
                    break
        row[query, found:] = -1
        squared[query, found:] = np.inf


@njit(cache=True, nogil=True, inline="always")
@no_type_check
def _cell(voxel: np.ndarray, x: int, y: int, z: int) -> int:
    return ((voxel[0] * x + voxel[1]) * y + voxel[2]) * z + voxel[3]


@njit(cache=True, nogil=True, inline="always")
@no_type_check
def _rank(cell: int, is_key: np.ndarray, before: np.ndarray) -> int:
    """How many keys lie in the cells before this one."""
    below = (np.uint64(1) << np.uint64(cell & 63)) - np.uint64(1)
    return before[cell >> 6] + _bits(is_key[cell >> 6] & below)


@njit(cache=True, nogil=True, inline="always")
@no_type_check
def _bits(word: np.uint64) -> int:
    """How many bits of a word are set (Hacker's Delight, 5-1)."""
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    word = (word & np.uint64(0x3333333333333333)) + (
        (word >> np.uint64(2)) & np.uint64(0x3333333333333333)
    )
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((word * np.uint64(0x0101010101010101)) >> np.uint64(56))


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
    """The ball, cut into shells between ``STAGES_D2``."""
    ball = _ball(radius)
    ends = [
        int((ball[:, 3] <= end).sum()) for end in (*STAGES_D2, *range(40, int(radius**2) + 10, 10))
    ]
    cuts = sorted({0, len(ball), *(end for end in ends if end < len(ball))})
    return tuple(ball[start:end] for start, end in zip(cuts[:-1], cuts[1:], strict=True))
