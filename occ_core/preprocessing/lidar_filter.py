"""Which LiDAR returns are no surfaces: the ego vehicle's own, outliers, and drops of rain where it
rains (TACOcc, section V).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import open3d as o3d

from occ_core.geometry.points import EGO_BOX_M, is_return
from occ_core.types import DriveContext


@dataclass(frozen=True, kw_only=True)
class LidarFilterConfig:
    """What counts as alone."""

    radius: float = 0.03
    """In radians across the ray, and ten times as much in ln(range) along it; beams of a 32-beam
    LiDAR are 0.023 apart.
    """
    neighbours: int = 1
    """A point with fewer others within the radius is an outlier."""
    neighbours_in_rain: int = 2
    """The same where it rains, of weak returns."""
    weak: float = 10.0
    """Intensities (0..255) up to this are a drop's rather than a surface's."""
    ego_box_m: tuple[float, ...] = EGO_BOX_M

    def __post_init__(self) -> None:
        if self.radius <= 0 or min(self.neighbours, self.neighbours_in_rain) < 1:
            raise ValueError(
                f"LidarFilterConfig needs radius > 0 and at least 1 neighbour, got {self}"
            )


def surface_points(
    points: np.ndarray, context: DriveContext, config: LidarFilterConfig | None = None
) -> np.ndarray:
    """Which points of one sweep are to be kept.

    A LiDAR's points thin out with the range, so a fixed distance in metres would call all that is
    far an outlier; here distance is measured in direction and in logarithm of the range, where a
    surface is as dense far as near.

    Args:
        points: ``[N, >=4]``, x, y, z in metres in the sensor frame, intensity in 0..255.
        context: where its weather has rain, drops are looked for too.

    Returns:
        bool ``[N]``.

    Raises:
        ValueError: points of a wrong shape.
    """
    config = config or LidarFilterConfig()
    if points.ndim != 2 or points.shape[1] < 4:
        raise ValueError(
            f"a sweep must be [N, >=4] (x, y, z, intensity, ...), got {list(points.shape)}"
        )
    keep = is_return(points[:, :4].T, config.ego_box_m)
    alone = _fewer_than(points[keep, :3], config.neighbours, config.radius)
    if "rain" in context.weather:
        weak = points[keep, 3] <= config.weak
        alone |= weak & _fewer_than(points[keep, :3], config.neighbours_in_rain, config.radius)
    keep[keep] = ~alone
    return keep


def _fewer_than(points: np.ndarray, neighbours: int, radius: float) -> np.ndarray:
    """Which points have fewer neighbours than this, in directions and logarithms of the range."""
    if len(points) == 0:
        return np.zeros(0, dtype=bool)
    range_m = np.linalg.norm(points, axis=1, keepdims=True)
    # On a sphere of radius 10 + ln(range), a radian is about 10 long, and ground seen at a grazing
    # angle still is one surface.
    sphere = 10.0
    warped = points / range_m * (sphere + np.log(range_m))
    cloud = o3d.t.geometry.PointCloud(
        o3d.core.Tensor.from_numpy(np.ascontiguousarray(warped, dtype=np.float32))
    )
    _, kept = cloud.remove_radius_outliers(neighbours + 1, radius * sphere)  # a point counts itself
    alone: np.ndarray = ~kept.numpy()
    return alone
