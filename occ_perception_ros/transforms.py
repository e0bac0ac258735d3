"""Transforms between named frames over time, from TF, odometry or a file. No rclpy import."""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import Any

import numpy as np

from occ_core.geometry.poses import interpolate_pose, invert_pose, pose_matrix

NS = 1_000_000_000

JUMP_NS = NS
"""A sample this far from the newest one is used only once another one confirms the jump in time."""
MAX_POSITION_M = 1e8
"""Coordinates of maps stay below; beyond, a double no longer resolves a thousandth of a voxel."""


class TransformError(LookupError):
    """A transform is not known; the text names the frames and the known transforms."""


class PoseTrack:
    """``parent_from_child`` of a moving frame over time, interpolated between samples.

    Args:
        tolerance_s: how far outside the samples the nearest one may still be used.
        max_gap_s: no interpolation between samples that are further apart.
        capacity: number of samples that are kept.
    """

    def __init__(
        self, tolerance_s: float = 0.06, max_gap_s: float = 1.0, capacity: int = 4000
    ) -> None:
        self._tolerance_ns = round(tolerance_s * NS)
        self._max_gap_ns = round(max_gap_s * NS)
        self._capacity = capacity
        self._stamps: list[int] = []
        self._poses: dict[int, np.ndarray] = {}
        self._went_back = False
        """Whether time jumped back since ``keep_around``: all samples are of the new pass."""

    def add(self, stamp_ns: int, parent_from_child: np.ndarray, regression_s: float = 1.0) -> None:
        """Adds a sample.

        Args:
            stamp_ns: time of the sample.
            parent_from_child: ``[4, 4]``.
            regression_s: a sample that is older than the newest by more than this replaces all
                samples, since time jumped back.
        """
        if self._stamps and stamp_ns < self._stamps[-1] - regression_s * NS:
            self._stamps, self._poses = [], {}
            self._went_back = True
        if stamp_ns not in self._poses:
            insort(self._stamps, stamp_ns)
        self._poses[stamp_ns] = parent_from_child
        if len(self._stamps) > self._capacity:
            del self._poses[self._stamps.pop(0)]

    @property
    def newest_ns(self) -> int | None:
        """Stamp of the newest sample."""
        return self._stamps[-1] if self._stamps else None

    def keep_around(self, stamp_ns: int, window_s: float) -> None:
        """Drops the samples that are older than the stamp by ``window_s``, and those that are as
        much newer, unless these belong to the time after a jump back.
        """
        low, high = stamp_ns - window_s * NS, stamp_ns + window_s * NS
        if self._went_back:
            high = float("inf")
        self._went_back = False
        self._stamps = [stamp for stamp in self._stamps if low <= stamp <= high]
        self._poses = {stamp: self._poses[stamp] for stamp in self._stamps}

    def covers(self, stamp_ns: int) -> bool:
        """Whether no later sample can change the pose at the stamp."""
        return bool(self._stamps) and self._stamps[-1] >= stamp_ns

    def at(self, stamp_ns: int) -> np.ndarray:
        """``parent_from_child`` at the stamp, float64 ``[4, 4]``.

        Raises:
            TransformError: no sample is near enough.
        """
        exact = self._poses.get(stamp_ns)
        if exact is not None:
            return exact
        if not self._stamps:
            raise TransformError("no sample received yet")
        after = bisect_left(self._stamps, stamp_ns)
        if 0 < after < len(self._stamps):
            low, high = self._stamps[after - 1], self._stamps[after]
            if high - low <= self._max_gap_ns:
                return interpolate_pose(
                    self._poses[low], self._poses[high], (stamp_ns - low) / (high - low)
                )
        nearest = min(
            self._stamps[max(after - 1, 0) : after + 1], key=lambda stamp: abs(stamp - stamp_ns)
        )
        if abs(nearest - stamp_ns) > self._tolerance_ns:
            raise TransformError(
                f"requested at {stamp_ns / NS:.3f} s, nearest sample at {nearest / NS:.3f} s"
            )
        return self._poses[nearest]


class TransformTree:
    """Named frames, each with at most one parent; transforms are static or move over time.

    Args:
        tolerance_s: see ``PoseTrack``.
    """

    def __init__(self, tolerance_s: float = 0.06) -> None:
        self._tolerance_s = tolerance_s
        self._static: dict[str, tuple[str, np.ndarray]] = {}
        self._moving: dict[str, tuple[str, PoseTrack]] = {}
        self._doubtful: dict[str, tuple[int, np.ndarray]] = {}
        """Samples of moving frames whose stamps jump, until another sample confirms it."""

    def add_static(self, parent: str, child: str, parent_from_child: np.ndarray) -> None:
        """Sets a static transform ``[4, 4]``."""
        self._static[child] = (parent, parent_from_child)

    def add_moving(
        self, parent: str, child: str, stamp_ns: int, parent_from_child: np.ndarray
    ) -> None:
        """Adds a sample ``[4, 4]`` of a moving transform.

        A sample whose stamp jumps is held back until the next one jumps to the same side: a single
        wrong stamp must not discard the samples of the last seconds.

        Raises:
            ValueError: a frame has no name, or the frames would form a loop; the sample is ignored.
        """
        if not parent or not child:
            raise ValueError(f"frames must have names, got '{child}' in '{parent}'")
        if child in self._chain(parent):
            raise ValueError(
                f"'{child}' cannot move in '{parent}', which is itself a child of '{child}' by "
                "transforms received before"
            )
        known = self._moving.get(child)
        if known is None or known[0] != parent:
            known = self._moving[child] = (parent, PoseTrack(self._tolerance_s))
            self._doubtful.pop(child, None)
        track, held = known[1], self._doubtful.pop(child, None)
        newest_ns = track.newest_ns
        if newest_ns is not None and abs(stamp_ns - newest_ns) > JUMP_NS:
            if held is None or (held[0] > newest_ns) != (stamp_ns > newest_ns):
                self._doubtful[child] = (stamp_ns, parent_from_child)
                return
            track.add(*held)
        track.add(stamp_ns, parent_from_child)

    def keep_around(self, stamp_ns: int, window_s: float) -> None:
        """``PoseTrack.keep_around`` for every moving frame."""
        for child, (_, track) in self._moving.items():
            track.keep_around(stamp_ns, window_s)
            held = self._doubtful.get(child)
            if held is not None and abs(held[0] - stamp_ns) <= window_s * NS:
                track.add(*self._doubtful.pop(child))

    def covers(self, a: str, b: str, stamp_ns: int) -> bool:
        """Whether ``lookup(a, b, stamp_ns)`` has a result that no later sample can change."""
        try:
            chain_a, chain_b = self._chain(a), self._chain(b)
        except TransformError:
            return False
        if chain_a[-1] != chain_b[-1]:
            return False
        return all(
            self._moving[frame][1].covers(stamp_ns)
            for frame in {*chain_a, *chain_b}
            if frame in self._moving
        )

    def lookup(self, a: str, b: str, stamp_ns: int) -> np.ndarray:
        """``a_from_b`` at the stamp, float64 ``[4, 4]``.

        Raises:
            TransformError: the frames are not connected, or a moving transform is not known at the
                stamp.
        """
        chain_a, chain_b = self._chain(a), self._chain(b)
        if chain_a[-1] != chain_b[-1]:
            known = ", ".join(
                sorted(
                    f"{parent}->{child}"
                    for child, (parent, _) in {**self._static, **self._moving}.items()
                )
            )
            raise TransformError(
                f"no transform from '{b}' to '{a}': the root of '{b}' is '{chain_b[-1]}', that of "
                f"'{a}' is '{chain_a[-1]}' (known: {known or 'none'}). Provide it on /tf, on "
                "/tf_static, by odometry or in calibration_file"
            )
        return invert_pose(self._root_from(chain_a, stamp_ns)) @ self._root_from(chain_b, stamp_ns)

    def _parent(self, frame: str) -> str | None:
        known = self._static.get(frame) or self._moving.get(frame)
        return known[0] if known else None

    def _chain(self, frame: str) -> list[str]:
        chain = [frame]
        while (parent := self._parent(chain[-1])) is not None:
            if parent in chain:
                raise TransformError(f"the frames {' -> '.join([*chain, parent])} form a loop")
            chain.append(parent)
        return chain

    def _root_from(self, chain: list[str], stamp_ns: int) -> np.ndarray:
        root_from_frame = np.eye(4)
        for child in chain[:-1]:
            if child in self._static:
                parent_from_child = self._static[child][1]
            else:
                parent, track = self._moving[child]
                try:
                    parent_from_child = track.at(stamp_ns)
                except TransformError as error:
                    raise TransformError(
                        f"no transform from '{child}' to '{parent}': {error}"
                    ) from error
            root_from_frame = parent_from_child @ root_from_frame
        return root_from_frame


def transform_from_message(transform: Any) -> np.ndarray:
    """``parent_from_child`` ``[4, 4]`` of a geometry_msgs/Transform.

    Raises:
        ValueError: a number is not finite or too large, or the quaternion is zero.
    """
    return _matrix(transform.translation, transform.rotation)


def pose_from_message(pose: Any) -> np.ndarray:
    """``parent_from_child`` ``[4, 4]`` of a geometry_msgs/Pose.

    Raises:
        ValueError: a number is not finite or too large, or the quaternion is zero.
    """
    return _matrix(pose.position, pose.orientation)


def _matrix(t: Any, q: Any) -> np.ndarray:
    if max(abs(t.x), abs(t.y), abs(t.z)) > MAX_POSITION_M:
        raise ValueError(f"a position must lie within {MAX_POSITION_M:g} m, got {[t.x, t.y, t.z]}")
    return pose_matrix((t.x, t.y, t.z), (q.w, q.x, q.y, q.z))
