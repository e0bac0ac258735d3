"""Surfaces between two rings of a LiDAR, which lie further apart the further away they are."""

from __future__ import annotations

import numpy as np

_SAME_AZIMUTH_RAD = np.radians(0.25)
_NEAR_M = 1.0
"""Two returns of one class, one above the other, this near lie on one surface, unless it is seen
edge-on, when they may lie on two behind each other.
"""
_EDGE_ON = 0.3
"""Sine of the angle between the beam and the way from one return to the other."""
_FAR_M = 4.0
"""On flat ground two returns may be this far apart: further on, another class may lie between."""
_FARTHEST_M = 8.0
"""On a straight line through three rings, but not on ground, they may be this far apart."""
_STRAIGHT = 0.15
"""Sine of the largest bend of such a line."""
_FLAT = 0.15
"""Largest slope of ground, as a fraction."""


def between_rings(
    points: np.ndarray,
    rings: np.ndarray,
    kinds: np.ndarray,
    is_ground: np.ndarray,
    spacing_m: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Points on the surfaces between neighbouring rings.

    Args:
        points: float32 ``[N, 3]`` of one revolution, in metres in the LiDAR's frame.
        rings: uint8 ``[N]``; ring i + 1 lies next to ring i.
        kinds: int64 ``[N]``: only points of one kind lie on one surface; negative ones on none.
        is_ground: bool ``[N]``.
        spacing_m: between two points of the result.

    Returns:
        The points float32 ``[M, 3]``, and for each the index of a given point of its kind.
    """
    above = _above(points, rings, kinds)
    below = np.full(len(points), -1)
    paired = np.flatnonzero(above >= 0)
    below[above[paired]] = paired
    way = points[above[paired]] - points[paired]
    gap = np.linalg.norm(way, axis=1)
    direction = way / np.maximum(gap, 1e-6)[:, None]
    beam = points[paired] / np.linalg.norm(points[paired], axis=1, keepdims=True)
    faces = np.linalg.norm(np.cross(direction, beam), axis=1) > _EDGE_ON
    straight = _continues(points, direction, above[paired], above[above[paired]])
    straight |= _continues(points, -direction, paired, below[paired])
    flat = is_ground[paired] & (np.abs(direction[:, 2]) < _FLAT)
    joined = ((gap <= _NEAR_M) & faces) | ((gap <= _FAR_M) & flat)
    joined |= (gap <= _FARTHEST_M) & straight & ~is_ground[paired]
    count = np.where(joined, np.ceil(gap / spacing_m) - 1, 0).astype(np.int64)
    pair = np.repeat(np.arange(len(paired)), count)
    step = np.arange(len(pair)) - np.repeat(np.cumsum(count) - count, count) + 1
    share = (step / (count[pair] + 1)).astype(np.float32)
    return points[paired[pair]] + way[pair] * share[:, None], paired[pair]


def _above(points: np.ndarray, rings: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """For each point that of the same kind and azimuth in the next ring, int64 [N], -1 without."""
    azimuth = np.arctan2(points[:, 0], points[:, 1])
    above = np.full(len(points), -1)
    order = np.lexsort((azimuth, rings))
    starts = np.searchsorted(rings[order], np.arange(int(rings.max(initial=0)) + 2))
    for ring in range(len(starts) - 2):
        own = order[starts[ring] : starts[ring + 1]]
        other = order[starts[ring + 1] : starts[ring + 2]]
        if not len(own) or len(other) < 2:
            continue
        place = np.clip(np.searchsorted(azimuth[other], azimuth[own]), 1, len(other) - 1)
        left, right = other[place - 1], other[place]
        nearer_left = azimuth[own] - azimuth[left] < azimuth[right] - azimuth[own]
        found = np.where(nearer_left, left, right)
        fits = np.abs(azimuth[own] - azimuth[found]) < _SAME_AZIMUTH_RAD
        fits &= (kinds[own] == kinds[found]) & (kinds[own] >= 0)
        above[own[fits]] = found[fits]
    return above


def _continues(
    points: np.ndarray, direction: np.ndarray, end: np.ndarray, beyond: np.ndarray
) -> np.ndarray:
    """Whether the way on from ``end`` to ``beyond`` (-1: none) goes on in a direction, bool [N]."""
    way = points[beyond] - points[end]
    way /= np.maximum(np.linalg.norm(way, axis=1, keepdims=True), 1e-6)
    bend = np.linalg.norm(np.cross(way, direction), axis=1)
    ahead = np.einsum("ni,ni->n", way, direction) > 0
    result: np.ndarray = (beyond >= 0) & ahead & (bend < _STRAIGHT)
    return result
