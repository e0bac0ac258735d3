"""The whole surface of an object, of which the LiDAR has seen a part."""

from __future__ import annotations

import numpy as np
from scipy.spatial import ConvexHull, QhullError

from training.labels.cells import CellMap, Cells
from training.labels.tracks import ObjectTrack

_ENOUGH_POINTS = 8
"""With fewer points the hull says little; the object then is what was seen of it."""
_RIM_M = 0.3
"""What of an object lies so little below its highest point has the outline of the roof."""


def complete_object(cells: Cells, track: ObjectTrack, spacing_m: float | None) -> Cells:
    """The object's cells, their mirror image where it is symmetric, and the convex hull of both.

    Roofs lie so close below the LiDAR that it hardly hits them, and undersides and far sides it
    does not see; the hull of what it has seen covers them. The box says how high the roof lies.

    Args:
        cells: points in the frame of the object's box.
        track: its box.
        spacing_m: between two points on the hull; None leaves the object as it was seen.
    """
    if spacing_m is None:
        return cells._replace(classes=np.full_like(cells.classes, track.class_id))
    points = cells.points
    if track.symmetric:
        points = np.concatenate([points, points * np.array([1, -1, 1], np.float32)])
    if track.solid and len(points) >= _ENOUGH_POINTS:
        outline = _with_roof(points, float(track.size_lwh[2]) / 2)
        points = np.concatenate([points, _hull(outline, spacing_m)])
    # The hull's triangles overlap in slivers; in cells they weigh by their area.
    whole = CellMap(spacing_m)
    whole.add(points, np.full(len(points), track.class_id, np.int16))
    return whole.cells()


def _with_roof(points: np.ndarray, top_m: float) -> np.ndarray:
    """Points [N, 3], and the highest of them once more at the height of the roof, if they do not
    reach it.
    """
    highest = float(points[:, 2].max())
    if highest >= top_m:
        return points
    roof = points[points[:, 2] > highest - _RIM_M].copy()
    roof[:, 2] = top_m
    return np.concatenate([points, roof])


def _hull(points: np.ndarray, spacing_m: float) -> np.ndarray:
    """Points float32 [M, 3] on the faces of the convex hull; none where all lie in one plane."""
    try:
        hull = ConvexHull(points)
    except QhullError:
        return np.zeros((0, 3), np.float32)
    a, b, c = (points[hull.simplices[:, corner]] for corner in range(3))
    longest = np.max([np.linalg.norm(p - q, axis=1) for p, q in ((a, b), (b, c), (c, a))], axis=0)
    samples = []
    for steps in np.unique(np.ceil(longest / spacing_m)).astype(int).tolist():
        chosen = np.ceil(longest / spacing_m) == steps
        u, v = np.meshgrid(np.arange(steps + 1), np.arange(steps + 1), indexing="ij")
        inside = u + v <= steps
        u, v = (axis[inside][None, :, None] / max(steps, 1) for axis in (u, v))
        face = a[chosen, None] + u * (b - a)[chosen, None] + v * (c - a)[chosen, None]
        samples.append(face.reshape(-1, 3))
    return np.concatenate(samples).astype(np.float32)
