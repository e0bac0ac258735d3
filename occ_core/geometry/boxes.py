"""Annotated 3D boxes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_CORNER_SIGNS = np.array(
    [[x, y, z] for x in (1, -1) for y in (1, -1) for z in (1, -1)], dtype=np.float64
)


@dataclass(frozen=True, slots=True)
class Box:
    """An object's box. Its own axes: x forward (length), y left (width), z up (height)."""

    center: np.ndarray
    """float64 [3], metres, of the box's middle."""
    size_wlh: np.ndarray
    """float64 [3]: width, length, height in metres."""
    rotation: np.ndarray
    """float64 [3, 3]: ``frame_from_box``."""
    velocity: np.ndarray
    """float64 [3], metres per second in the frame's axes, NaN where unknown."""
    category: str
    """nuScenes category name, such as ``vehicle.car``."""
    class_id: int | None
    """In 1..16, or None where the taxonomy has no class for the category."""
    num_lidar_pts: int
    """LiDAR points in the box at the keyframe, as annotated."""
    instance_token: str

    @property
    def yaw_rad(self) -> float:
        """Heading of the box's x axis in the frame's x-y plane."""
        return float(np.arctan2(self.rotation[1, 0], self.rotation[0, 0]))

    def corners(self) -> np.ndarray:
        """The eight corners in metres, float64 ``[8, 3]``: front four first, then rear; left before
        right, top before bottom.
        """
        width, length, height = self.size_wlh
        return (
            _CORNER_SIGNS * (np.array([length, width, height]) / 2) @ self.rotation.T + self.center
        )


def points_in_box(points: np.ndarray, box: Box) -> np.ndarray:
    """Which of the points ``[N, >=3]``, in the box's frame of reference, lie in the box or on its
    faces: bool ``[N]``.
    """
    width, length, height = box.size_wlh
    local = (points[:, :3] - box.center) @ box.rotation
    return (np.abs(local) <= np.array([length, width, height]) / 2).all(axis=1)
