"""The ground between the rings of the LiDAR, which meet it up to several metres apart."""

from __future__ import annotations

import numpy as np
from scipy.interpolate import LinearNDInterpolator, NearestNDInterpolator
from scipy.ndimage import binary_erosion, distance_transform_edt
from scipy.spatial import QhullError

from training.labels.cells import CellMap, Cells

_REACH_M = 10.0
"""How far from the nearest ground point the ground is continued."""
_CLEARLY = 2.0
"""By this factor another class must lie further away; between two that lie about equally far, which
one goes on is a guess.
"""


def ground_between(ground: Cells, pitch_m: float) -> Cells:
    """Points on the ground where no ground was hit, but near where some was.

    The class is that of the nearest ground, and 0, none, where ground of another class lies hardly
    further away. The height is interpolated between ground of the same class, as kerbs part one
    class from another.

    Args:
        ground: cells of flat ground, in a frame whose z points up.
        pitch_m: distance between neighbouring points along x and y.
    """
    if not len(ground.points):
        return ground
    flat = CellMap(pitch_m)
    flat.add(ground.points * np.array([1, 1, 0], np.float32), ground.classes)
    columns = flat.cells()
    border = int(np.ceil(_REACH_M / pitch_m))
    index = np.floor(columns.points[:, :2] / pitch_m).astype(np.int64)
    corner = index.min(axis=0) - border
    shape = tuple((index.max(axis=0) - corner + border + 1).tolist())
    classes = np.full(shape, -1, np.int16)
    classes[tuple((index - corner).T)] = columns.classes
    height = _mean_height(ground, classes >= 0, corner, pitch_m)
    known = classes >= 0
    distance, nearest = distance_transform_edt(~known, return_indices=True)
    wanted = np.argwhere(~known & (distance * pitch_m <= _REACH_M))
    wanted_classes = classes[tuple(nearest[(slice(None), *wanted.T)])]
    # Surrounded ground says nothing about what lies between.
    edges = np.argwhere(known & ~binary_erosion(known))
    z = np.empty(len(wanted))
    for label in np.unique(wanted_classes).tolist():
        at, own = wanted_classes == label, edges[classes[tuple(edges.T)] == label]
        z[at] = _interpolated(own, height[tuple(own.T)], wanted[at])
    wanted_classes[~_is_clear(classes, wanted)] = 0
    points = np.column_stack([(wanted + corner + 0.5) * pitch_m, z])
    return Cells(points.astype(np.float32), wanted_classes)


def _is_clear(classes: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Whether one class is clearly the nearest to each of the columns [M, 2], bool [M].

    Args:
        classes: int16 ``[X, Y]``, negative where none is known.
        wanted: the columns that are asked for.
    """
    nearest, second = np.full((2, len(wanted)), np.inf)
    for label in np.unique(classes[classes >= 0]).tolist():
        distance = distance_transform_edt(classes != label)[tuple(wanted.T)]
        second = np.minimum(second, np.maximum(nearest, distance))
        nearest = np.minimum(nearest, distance)
    clear: np.ndarray = second > _CLEARLY * nearest
    return clear


def _mean_height(
    ground: Cells, known: np.ndarray, corner: np.ndarray, pitch_m: float
) -> np.ndarray:
    """Mean height float64 [X, Y] of the ground points in each column; 0 where there are none."""
    index = np.floor(ground.points[:, :2] / pitch_m).astype(np.int64) - corner
    column = np.ravel_multi_index(tuple(index.T), known.shape)
    count = np.bincount(column, minlength=known.size)
    total = np.bincount(column, ground.points[:, 2], known.size)
    mean: np.ndarray = (total / np.maximum(count, 1)).reshape(known.shape)
    return mean


def _interpolated(places: np.ndarray, heights: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Heights [M] at columns [M, 2], linear between known ones [N, 2], and that of the nearest
    beyond them.
    """
    found: np.ndarray = NearestNDInterpolator(places, heights)(wanted)
    try:
        linear = LinearNDInterpolator(places, heights)(wanted)
    except (QhullError, ValueError):  # too few, or all in one line
        return found
    return np.where(np.isfinite(linear), linear, found)
