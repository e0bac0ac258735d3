"""Removal of LiDAR returns that are not from the scene's surfaces: those from the ego vehicle,
outliers, and raindrops (TACOcc, section V).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import open3d as o3d

from occ_core.geometry.points import EGO_BOX_M, is_return
from occ_core.types import DriveContext


@dataclass(frozen=True, kw_only=True)
class LidarFilterConfig:
    """What counts as an outlier.

    Raises:
        ValueError: the radius is not positive, or a number of neighbours is below 1.
    """

    radius: float = 0.03
    """Radius of the neighbourhood in radians across the ray, and ten times as much in ln(range)
    along it; the beams of a 32-beam LiDAR are 0.023 rad apart.
    """
    neighbours: int = 1
    """A point with fewer neighbours is an outlier."""
    neighbours_in_rain: int = 2
    """The same for weak returns in rain."""
    weak: float = 10.0
    """Returns of an intensity (0..255) up to this may be from a raindrop."""
    ego_box_m: tuple[float, ...] = EGO_BOX_M
    """Returns from inside this box are from the ego vehicle; see ``EGO_BOX_M``."""

    def __post_init__(self) -> None:
        if self.radius <= 0 or min(self.neighbours, self.neighbours_in_rain) < 1:
            raise ValueError(
                f"LidarFilterConfig needs radius > 0 and at least 1 neighbour, got {self}"
            )


def surface_points(
    points: np.ndarray, context: DriveContext, config: LidarFilterConfig | None = None
) -> np.ndarray:
    """Whether each point of one sweep is from a surface of the scene.

    The points of a LiDAR thin out with the range, so a fixed distance in metres would make
    everything far away an outlier. Distances are therefore measured in direction and in the
    logarithm of the range, where a surface is equally dense near and far.

    Args:
        points: ``[N, >=4]``, x, y, z in metres in the sensor frame, intensity in 0..255.
        context: raindrops are removed where its weather has rain.

    Returns:
        bool ``[N]``, True for the points to keep.

    Raises:
        ValueError: the points are of a wrong shape.
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
    """Which points have fewer neighbours than this within the radius."""
    if len(points) == 0:
        return np.zeros(0, dtype=bool)
    range_m = np.linalg.norm(points, axis=1, keepdims=True)
    # Points are moved to a distance of 10 + ln(range): a radian is then about 10 long, and ground
    # seen at a grazing angle is still one surface.
    sphere = 10.0
    warped = points / range_m * (sphere + np.log(range_m))
    cloud = o3d.t.geometry.PointCloud(
        o3d.core.Tensor.from_numpy(np.ascontiguousarray(warped, dtype=np.float32))
    )
    _, kept = cloud.remove_radius_outliers(neighbours + 1, radius * sphere)  # a point counts itself
    alone: np.ndarray = ~kept.numpy()
    return alone
