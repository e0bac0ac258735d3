"""An annotated object along its way: boxes at some instants, poses at any time between."""

from __future__ import annotations

import numpy as np
from scipy.interpolate import CubicHermiteSpline
from scipy.spatial.transform import Rotation, Slerp

_BEYOND_S = 0.55
"""How long before its first box and after its last one an object is taken to go on as it went:
boxes are half a second apart, and the sweeps between two are not annotated.
"""


class ObjectTrack:
    """The boxes of one object.

    Args:
        class_id: class of the object; 0 for one of no class.
        size_lwh: length, width and height in metres, the largest of all its boxes.
        times_s: float64 ``[K]`` of its boxes, ascending.
        world_from_box: float64 ``[K, 4, 4]``; box axes: x forward, y left, z up.
        symmetric: whether its left and right halves are alike.
        solid: whether it fills the convex hull of its surface.

    Raises:
        ValueError: there is no box, or the times do not ascend.
    """

    def __init__(
        self,
        class_id: int,
        size_lwh: np.ndarray,
        times_s: np.ndarray,
        world_from_box: np.ndarray,
        *,
        symmetric: bool = False,
        solid: bool = False,
    ) -> None:
        if len(times_s) < 1 or (np.diff(times_s) <= 0).any():
            raise ValueError(f"a track needs boxes at ascending times, got {times_s.tolist()}")
        self.class_id, self.symmetric, self.solid = class_id, symmetric, solid
        self.size_lwh = np.asarray(size_lwh, np.float64)
        self.first_s, self.last_s = float(times_s[0]), float(times_s[-1])
        self._position = self._turn = None
        self._only = world_from_box[0]
        if len(times_s) > 1:
            position = world_from_box[:, :3, 3]
            velocity = np.gradient(position, times_s, axis=0)
            self._position = CubicHermiteSpline(times_s, position, velocity)
            self._turn = Slerp(times_s, Rotation.from_matrix(world_from_box[:, :3, :3]))

    def exists_at(self, times_s: np.ndarray | float) -> np.ndarray:
        """Whether the object's pose is known at each time, bool of the same shape."""
        times = np.asarray(times_s)
        return (times >= self.first_s - _BEYOND_S) & (times <= self.last_s + _BEYOND_S)

    def poses_at(self, times_s: np.ndarray | float) -> np.ndarray:
        """``world_from_box``, float64 ``[..., 4, 4]``, at times of any shape.

        Beyond the first and the last box the object goes on with the velocity that it has there.
        """
        times = np.asarray(times_s, np.float64)
        poses = np.broadcast_to(self._only, (*times.shape, 4, 4)).copy()
        if self._position is not None and self._turn is not None:
            inside = np.clip(times, self.first_s, self.last_s)
            velocity = self._position(inside, 1)
            poses[..., :3, 3] = self._position(inside) + velocity * (times - inside)[..., None]
            turn = self._turn(inside.ravel()).as_matrix()
            poses[..., :3, :3] = turn.reshape(*times.shape, 3, 3)
        return poses
