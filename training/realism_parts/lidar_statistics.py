"""What a LiDAR sweep looks like, as samples of simple quantities."""

from __future__ import annotations

import numpy as np

from occ_core.taxonomy import CLASS_ID

Samples = dict[str, np.ndarray]
"""Name of a quantity -> its samples, float [N]."""

_CLASSES = {
    "road": "driveable_surface",
    "sidewalk": "sidewalk",
    "terrain": "terrain",
    "vegetation": "vegetation",
    "manmade": "manmade",
    "car": "car",
}
"""Classes with quantities of their own, by the first word of these."""

LIDAR_QUANTITIES = {
    "range_m": "range, m",
    "elevation_deg": "elevation of the returns, degrees",
    "height_m": "height over the ground, m",
    "no_return": "directions below the horizon without return",
    "intensity": "intensity",
    "intensity_ground": "intensity on the ground",
    "intensity_above": "intensity above it",
    **{f"{name}_share": f"share of the points that are {name}" for name in _CLASSES},
    "other_share": "share of the points that are of other classes",
    **{f"{name}_intensity": f"{name}: log2 of its intensity over the sweep's" for name in _CLASSES},
    "intensity_spread": "spread of log2 intensity within a class",
    **{
        f"{name}_roughness": f"{name}: its points' distance from a plane within 0.8 m, cm"
        for name in _CLASSES
    },
}
"""Titles of the quantities of a sweep; those of a class need classes."""

OCTAVES = frozenset(name for name in LIDAR_QUANTITIES if name.endswith(("_intensity", "_spread")))
"""Quantities that are logarithms, and so need no scale."""

_PATCH_M, _PATCH_POINTS, _PATCH_REACH_M = 0.8, 10, 20.0
_PATCH_WIDTH_M = 0.08
"""Smallest deviation across a patch along its second axis: the points of one beam are a line."""
_MOST_POINTS = 4000
"""A sweep gives at most this many samples, evenly taken."""
_MIN_POINTS = 50
_NEAREST_M, _FARTHEST_M = 2.0, 80.0
_GROUND_Z_M = np.arange(-4.0, -0.4, 0.1)
_GROUND_REACH_M, _GROUND_HEIGHT_M = 25.0, 0.3
_HEIGHT_M = (-2.0, 10.0)
_AZIMUTHS, _ELEVATIONS_DEG = 720, np.arange(-20.0, -2.5, 0.5)
_SEEN_ROW = 0.3


def lidar_samples(points: np.ndarray, classes: np.ndarray | None = None) -> Samples:
    """Samples of one sweep.

    Args:
        points: [N, >=4], x, y, z in metres in a frame whose z points up, intensity in 0..255.
            Points within 2 m or beyond 80 m are left out.
        classes: [N], 1..16, or 0 where unknown.
    """
    distance = np.linalg.norm(points[:, :3], axis=1)
    kept = (distance > _NEAREST_M) & (distance < _FARTHEST_M)
    points, distance = points[kept], distance[kept]
    if not len(points):
        return {}
    elevation = np.degrees(np.arcsin(points[:, 2] / distance))
    height = points[:, 2] - _ground_z(points)
    intensity = points[:, 3]
    on_ground = height < _GROUND_HEIGHT_M
    samples = {
        "range_m": distance,
        "elevation_deg": elevation,
        "height_m": np.clip(height, *_HEIGHT_M),
        "intensity": intensity,
        "intensity_ground": intensity[on_ground],
        "intensity_above": intensity[~on_ground],
    }
    thinned = {name: _thin(values) for name, values in samples.items() if len(values)}
    thinned["no_return"] = np.array([_no_return(points, elevation)])
    if classes is not None:
        thinned |= _shares(classes[kept])
        thinned |= _intensities(intensity, classes[kept])
        near = distance < _PATCH_REACH_M
        thinned |= _roughness(points[near], classes[kept][near])
    return thinned


def _ground_z(points: np.ndarray) -> float:
    """The most frequent height near the car below its LiDAR."""
    near = np.hypot(points[:, 0], points[:, 1]) < _GROUND_REACH_M
    counts, edges = np.histogram(points[near, 2], _GROUND_Z_M)
    return float(edges[np.argmax(counts)] + 0.05)


def _no_return(points: np.ndarray, elevation: np.ndarray) -> float:
    """Share of the directions in the rows that the LiDAR scans below the horizon without return."""
    azimuth = np.arctan2(points[:, 1], points[:, 0])
    column = ((azimuth / (2 * np.pi) + 0.5) * _AZIMUTHS).astype(int) % _AZIMUTHS
    row = np.digitize(elevation, _ELEVATIONS_DEG)
    seen = np.zeros((len(_ELEVATIONS_DEG) + 1, _AZIMUTHS), bool)
    seen[row, column] = True
    rows = seen[1:-1]
    scanned = rows.mean(1) > _SEEN_ROW
    return float(1.0 - rows[scanned].mean()) if scanned.any() else 1.0


def _shares(classes: np.ndarray) -> Samples:
    """The share of the points with a class that each class has."""
    known = classes[classes > 0]
    if not len(known):
        return {}
    shares = {name: np.mean(known == CLASS_ID[of]) for name, of in _CLASSES.items()}
    shares["other"] = 1.0 - sum(shares.values())
    return {f"{name}_share": np.array([share]) for name, share in shares.items()}


def _intensities(intensity: np.ndarray, classes: np.ndarray) -> Samples:
    logs = np.log2(np.maximum(intensity, 1.0))
    middle = np.median(logs)
    samples, spreads = {}, []
    for name, class_name in _CLASSES.items():
        of_class = logs[classes == CLASS_ID[class_name]]
        if len(of_class) >= _MIN_POINTS:
            samples[f"{name}_intensity"] = np.array([np.median(of_class) - middle])
            spreads.append(of_class.std())
    if spreads:
        samples["intensity_spread"] = np.array([np.mean(spreads)])
    return samples


def _roughness(points: np.ndarray, classes: np.ndarray) -> Samples:
    """For every patch of a class, the deviation of its points from the plane through them, cm.

    The plane is fitted to the N points themselves, which takes 3 of their N degrees of freedom.
    """
    samples = {}
    for name, class_name in _CLASSES.items():
        of_class = points[classes == CLASS_ID[class_name], :3].astype(np.float64)
        cells = np.floor(of_class / _PATCH_M).astype(np.int64)
        _, patch, count = np.unique(cells, axis=0, return_inverse=True, return_counts=True)
        # first and second moments in each cell's own frame, which keeps them small
        local = of_class - (cells + 0.5) * _PATCH_M
        moments = np.zeros((len(count), 3, 3))
        means = np.zeros((len(count), 3))
        np.add.at(moments, patch.ravel(), local[:, :, None] * local[:, None])
        np.add.at(means, patch.ravel(), local)
        dense = count >= _PATCH_POINTS
        mean = means[dense] / count[dense, None]
        covariance = moments[dense] / count[dense, None, None] - mean[:, :, None] * mean[:, None]
        least, middle, _ = np.sqrt(np.maximum(np.linalg.eigvalsh(covariance), 0.0)).T
        if (middle > _PATCH_WIDTH_M).any():
            correction = count[dense] / (count[dense] - 3.0)
            wide = middle > _PATCH_WIDTH_M
            samples[f"{name}_roughness"] = 100.0 * (least * np.sqrt(correction))[wide]
    return samples


def _thin(values: np.ndarray) -> np.ndarray:
    return values[:: max(1, len(values) // _MOST_POINTS)]
