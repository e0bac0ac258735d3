"""Points gathered in small cells, so that a surface weighs by its area and not by how often the
LiDAR has hit it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from training.labels.drive import NOISE, UNKNOWN

_AXIS_BITS = 17
_HALF = 1 << (_AXIS_BITS - 1)
_CLASS_BITS = 10
_CLASS_OFFSET = 2
"""Class ids begin at ``NOISE`` = -2."""
_BUFFERED_POINTS = 4_000_000


class Cells(NamedTuple):
    """Cells that hold points."""

    points: np.ndarray
    """float32 [K, 3], the mean of each cell's points."""
    classes: np.ndarray
    """int16 [K], its most frequent class; ``UNKNOWN`` only where no point has one."""

    def take(self, chosen: np.ndarray) -> Cells:
        """The chosen cells, by mask or index."""
        return Cells(self.points[chosen], self.classes[chosen])


class CellMap:
    """Collects points of any number of sweeps.

    Args:
        cell_m: edge length of a cell in metres; points must lie within 65,536 cells of the origin.
    """

    def __init__(self, cell_m: float) -> None:
        self.cell_m = cell_m
        self._parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._buffered = 0

    def add(self, points: np.ndarray, classes: np.ndarray) -> None:
        """Adds points ``[N, 3]`` in metres, with their classes int16 ``[N]``."""
        index = np.floor(points * (1.0 / self.cell_m)).astype(np.int64) + _HALF
        near = ((index >= 0) & (index < 2 * _HALF)).all(axis=1)
        if not near.all():
            index, points, classes = index[near], points[near], classes[near]
        key = (index[:, 0] << _AXIS_BITS | index[:, 1]) << _AXIS_BITS | index[:, 2]
        key = key << _CLASS_BITS | (classes.astype(np.int64) + _CLASS_OFFSET)
        self._parts.append((key, points.astype(np.float64), np.ones(len(key), np.int64)))
        self._buffered += len(key)
        if self._buffered > _BUFFERED_POINTS:
            self._parts = [_joined(self._parts)]
            self._buffered = 0

    def cells(self) -> Cells:
        """All cells so far."""
        if not self._parts:
            return Cells(np.zeros((0, 3), np.float32), np.zeros(0, np.int16))
        key, total, count = _joined(self._parts)
        cell, classes = key >> _CLASS_BITS, (key & ((1 << _CLASS_BITS) - 1)) - _CLASS_OFFSET
        # In each cell known classes come first, the most frequent ahead.
        order = np.lexsort((-count, classes == UNKNOWN, cell))
        cell, classes, total, count = cell[order], classes[order], total[order], count[order]
        first = np.flatnonzero(np.diff(cell, prepend=-1))
        points = np.add.reduceat(count, first)[:, None]
        mean = np.add.reduceat(total, first, axis=0) / points
        return Cells(mean.astype(np.float32), classes[first].astype(np.int16))


def _joined(
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Keys (cell and class), sums of points and counts, one row for every key."""
    key, total, count = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(key, kind="stable")
    key, total, count = key[order], total[order], count[order]
    first = np.flatnonzero(np.diff(key, prepend=-1))
    return key[first], np.add.reduceat(total, first, axis=0), np.add.reduceat(count, first)


def classify(cells: Cells, reach_m: float) -> Cells:
    """Gives cells without a class that of the nearest cell with one, and leaves out noise.

    Args:
        cells: of static surfaces.
        reach_m: beyond this distance a cell gets class 0, of no class.
    """
    unknown = np.flatnonzero(cells.classes == UNKNOWN)
    known = np.flatnonzero(cells.classes != UNKNOWN)
    classes = cells.classes.copy()
    classes[unknown] = 0
    if len(known) and len(unknown):
        tree = cKDTree(cells.points[known], balanced_tree=False, compact_nodes=False)
        distance, nearest = tree.query(cells.points[unknown], distance_upper_bound=reach_m)
        found = np.isfinite(distance)
        classes[unknown[found]] = classes[known[nearest[found]]]
    return cells._replace(classes=classes).take(classes != NOISE)
