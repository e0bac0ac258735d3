"""Annotated 3D boxes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_CORNER_SIGNS = np.array(
    [[x, y, z] for x in (1, -1) for y in (1, -1) for z in (1, -1)], dtype=np.float64
)


@dataclass(frozen=True, slots=True)
class Box:
    """An object's box in some frame; the box's axes are x forward, y left, z up."""

    center: np.ndarray
    """float64 [3], metres in the frame."""
    size_wlh: np.ndarray
    """float64 [3]: width, length, height in metres."""
    rotation: np.ndarray
    """float64 [3, 3]: ``frame_from_box``."""
    velocity: np.ndarray
    """float64 [3], metres per second along the frame's axes; NaN where unknown."""
    category: str
    """Category in nuScenes, such as ``vehicle.car``."""
    class_id: int | None
    """1..16, or None where the taxonomy has no class for the category."""
    num_lidar_pts: int
    """Number of LiDAR points in the box, as annotated."""
    instance_token: str

    @property
    def yaw_rad(self) -> float:
        """Heading of the box's x axis in the frame's x-y plane."""
        return float(np.arctan2(self.rotation[1, 0], self.rotation[0, 0]))

    def corners(self) -> np.ndarray:
        """The eight corners, float64 ``[8, 3]``, metres in the frame.

        The front four come first; within each four left before right, top before bottom.
        """
        width, length, height = self.size_wlh
        return (
            _CORNER_SIGNS * (np.array([length, width, height]) / 2) @ self.rotation.T + self.center
        )


def points_in_box(points: np.ndarray, box: Box) -> np.ndarray:
    """Whether each point lies in the box or on its faces, bool ``[N]``.

    Args:
        points: ``[N, >=3]``, x, y, z in metres in the frame in which the box is given.
    """
    width, length, height = box.size_wlh
    local = (points[:, :3] - box.center) @ box.rotation
    return (np.abs(local) <= np.array([length, width, height]) / 2).all(axis=1)
