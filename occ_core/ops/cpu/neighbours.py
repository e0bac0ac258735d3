"""As ``ops.neighbours.nearest_neighbours``, compiled: query by query.

Instead of the rows of the keys the grid holds one bit a cell, so that it stays in the cache.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from occ_core.ops.cpu.arrays import arrays
from occ_core.ops.cpu.kernel import kernel


def search(
    queries: Int[Tensor, "query 4"], keys: Int[Tensor, "key 4"], k: int, ball: Int[Tensor, "step 4"]
) -> tuple[Int[Tensor, "query k"], Float[Tensor, "query k"]]:
    """Rows of the keys and squared distances; at least one query and one key.

    Args:
        ball: offsets (dx, dy, dz) and their squared lengths, in the order in which they are tried.
    """
    row = torch.empty(len(queries), k, dtype=torch.long)
    squared = torch.empty(len(queries), k)
    _search(*arrays(queries.long(), keys.long(), ball, row, squared))
    return row, squared


class _Keys(NamedTuple):
    """The set of keys as bits, with the row of each."""

    bits: np.ndarray
    """uint64, 64 cells a word; a set bit is a key."""
    before: np.ndarray
    """Number of keys in all words before each."""
    row: np.ndarray
    """Row of each key, in the order of the cells."""


@kernel
def _search(
    queries: np.ndarray, keys: np.ndarray, ball: np.ndarray, row: np.ndarray, squared: np.ndarray
) -> None:
    border = ball[:, 2].max()
    samples, x, y, z = 0, 0, 0, 0
    for voxels in (queries, keys):
        for i in range(len(voxels)):
            samples, x = max(samples, voxels[i, 0] + 1), max(x, voxels[i, 1] + 1)
            y, z = max(y, voxels[i, 2] + 1), max(z, voxels[i, 3] + 1)
    # The empty border after one line of cells serves as the border before the next.
    shape = (x + border, y + border, z + border)
    first = _cell((0, border, border, border), shape)  # cell of voxel (0, 0, 0, 0)
    found_keys = _index_keys(keys, shape, first, samples * shape[0] * shape[1] * shape[2])

    steps = np.empty(len(ball), np.int64)
    for step in range(len(ball)):
        steps[step] = _cell((0, ball[step, 0], ball[step, 1], ball[step, 2]), shape)
    k = row.shape[1]
    for query in range(len(queries)):
        centre = first + _cell(queries[query], shape)
        found = 0
        for step in range(len(steps)):
            cell = centre + steps[step]
            if (found_keys.bits[cell >> 6] >> np.uint64(cell & 63)) & np.uint64(1):
                row[query, found] = found_keys.row[_rank(cell, found_keys.bits, found_keys.before)]
                squared[query, found] = ball[step, 3]
                found += 1
                if found == k:
                    break
        row[query, found:] = -1
        squared[query, found:] = np.inf


@kernel
def _index_keys(keys: np.ndarray, shape: tuple[int, int, int], first: int, cells: int) -> _Keys:
    bits = np.zeros((cells + 2 * first) // 64 + 1, np.uint64)
    for key in range(len(keys)):
        cell = first + _cell(keys[key], shape)
        bits[cell >> 6] |= np.uint64(1) << np.uint64(cell & 63)
    before = np.zeros(len(bits), np.int32)
    for word in range(1, len(bits)):
        before[word] = before[word - 1] + _count_bits(bits[word - 1])
    row = np.empty(len(keys), np.int32)
    for key in range(len(keys)):
        row[_rank(first + _cell(keys[key], shape), bits, before)] = key
    return _Keys(bits, before, row)


@kernel(inline="always")
def _cell(voxel: Any, shape: tuple[int, int, int]) -> int:
    return ((voxel[0] * shape[0] + voxel[1]) * shape[1] + voxel[2]) * shape[2] + voxel[3]


@kernel(inline="always")
def _rank(cell: int, bits: np.ndarray, before: np.ndarray) -> int:
    """Number of keys in the cells before this one."""
    below = (np.uint64(1) << np.uint64(cell & 63)) - np.uint64(1)
    return before[cell >> 6] + _count_bits(bits[cell >> 6] & below)


@kernel(inline="always")
def _count_bits(word: np.uint64) -> np.int64:
    """Number of bits of a word that are set (Hacker's Delight, section 5-1)."""
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    word = (word & np.uint64(0x3333333333333333)) + (
        (word >> np.uint64(2)) & np.uint64(0x3333333333333333)
    )
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((word * np.uint64(0x0101010101010101)) >> np.uint64(56))
