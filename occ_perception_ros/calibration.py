"""Where the sensors are: transforms between frames over time, and what a camera's CameraInfo says.
No rclpy import.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from occ_core.geometry.poses import invert_pose, pose_matrix, quaternion_from_rotation

NS = 1_000_000_000


class TransformError(LookupError):
    """A pose is not known; the text names the frames and what is known."""


class PoseTrack:
    """``parent_from_child`` of a moving frame over time, interpolated between samples.

    Args:
        tolerance_s: how far outside the samples the nearest one still stands for the pose asked
            for.
        max_gap_s: samples further apart than this are not interpolated between.
        capacity: samples kept.
    """

    def __init__(
        self, tolerance_s: float = 0.06, max_gap_s: float = 1.0, capacity: int = 4000
    ) -> None:
        self._tolerance_ns = round(tolerance_s * NS)
        self._max_gap_ns = round(max_gap_s * NS)
        self._capacity = capacity
        self._stamps: list[int] = []
        self._poses: dict[int, np.ndarray] = {}

    def add(self, stamp_ns: int, parent_from_child: np.ndarray, regression_s: float = 1.0) -> None:
        """Adds a sample; one that is older than the newest by more than ``regression_s`` starts the
        track anew.
        """
        if self._stamps and stamp_ns < self._stamps[-1] - regression_s * NS:
            self._stamps, self._poses = [], {}
        if stamp_ns not in self._poses:
            insort(self._stamps, stamp_ns)
        self._poses[stamp_ns] = parent_from_child
        if len(self._stamps) > self._capacity:
            del self._poses[self._stamps.pop(0)]

    def keep_around(self, stamp_ns: int, window_s: float) -> None:
        """Forgets the samples further than ``window_s`` from the stamp."""
        self._stamps = [stamp for stamp in self._stamps if abs(stamp - stamp_ns) <= window_s * NS]
        self._poses = {stamp: self._poses[stamp] for stamp in self._stamps}

    def covers(self, stamp_ns: int) -> bool:
        """Whether no later sample can change the pose at the stamp."""
        return bool(self._stamps) and self._stamps[-1] >= stamp_ns

    def at(self, stamp_ns: int) -> np.ndarray:
        """``parent_from_child``, float64 ``[4, 4]``.

        Raises:
            TransformError: no sample is near enough.
        """
        exact = self._poses.get(stamp_ns)
        if exact is not None:
            return exact
        if not self._stamps:
            raise TransformError("no sample has come yet")
        after = bisect_left(self._stamps, stamp_ns)
        if 0 < after < len(self._stamps):
            low, high = self._stamps[after - 1], self._stamps[after]
            if high - low <= self._max_gap_ns:
                return _interpolate(
                    self._poses[low], self._poses[high], (stamp_ns - low) / (high - low)
                )
        nearest = min(
            self._stamps[max(after - 1, 0) : after + 1], key=lambda stamp: abs(stamp - stamp_ns)
        )
        if abs(nearest - stamp_ns) > self._tolerance_ns:
            raise TransformError(
                f"wanted at {stamp_ns / NS:.3f} s, nearest sample at {nearest / NS:.3f} s"
            )
        return self._poses[nearest]


class TransformTree:
    """Named frames, each with one parent; edges are static or move over time. Fed by TF, odometry
    or a file alike.
    """

    def __init__(self, tolerance_s: float = 0.06) -> None:
        self._tolerance_s = tolerance_s
        self._static: dict[str, tuple[str, np.ndarray]] = {}
        self._moving: dict[str, tuple[str, PoseTrack]] = {}

    def add_static(self, parent: str, child: str, parent_from_child: np.ndarray) -> None:
        self._static[child] = (parent, parent_from_child)

    def add_moving(
        self, parent: str, child: str, stamp_ns: int, parent_from_child: np.ndarray
    ) -> None:
        known = self._moving.get(child)
        if known is None or known[0] != parent:
            known = self._moving[child] = (parent, PoseTrack(self._tolerance_s))
        known[1].add(stamp_ns, parent_from_child)

    def keep_around(self, stamp_ns: int, window_s: float) -> None:
        """Forgets the moving edges' samples further than ``window_s`` from the stamp; static edges
        stay.
        """
        for _, track in self._moving.values():
            track.keep_around(stamp_ns, window_s)

    def covers(self, a: str, b: str, stamp_ns: int) -> bool:
        """Whether ``lookup(a, b, stamp_ns)`` would give an answer that no later sample changes."""
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
            TransformError: the frames are not connected, or a moving edge is not known at the
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
                f"no transform from '{b}' to '{a}': '{b}' hangs under '{chain_b[-1]}', '{a}' under "
                f"'{chain_a[-1]}' "
                f"(known: {known or 'none'}). Publish it on /tf or /tf_static, or give it in "
                "calibration_file or by odometry"
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


@dataclass(frozen=True, eq=False)
class CameraModel:
    """A pinhole camera whose images are rectified."""

    size: tuple[int, int]
    """``(height, width)`` in pixels."""
    intrinsics: np.ndarray
    """float64 [3, 3], in pixels of ``size``, pixel centres at integer coordinates."""
    rectified_from_camera: np.ndarray
    """float64 [4, 4]: from the frame that the image's header names to the one its pixels are in."""


def camera_model(camera: str, info: Any) -> CameraModel:
    """What a ``sensor_msgs/CameraInfo`` says of rectified images: P where it is set, K otherwise.

    Raises:
        ValueError: zero or nonsensical K, R that is no rotation, zero size; names the camera.
    """
    k = np.array(_field(info, "k"), dtype=np.float64).reshape(3, 3)
    r = np.array(_field(info, "r"), dtype=np.float64).reshape(3, 3)
    p = np.array(_field(info, "p"), dtype=np.float64).reshape(3, 4)
    if info.width == 0 or info.height == 0:
        raise ValueError(
            f"camera_info of '{camera}' has the size {info.width}x{info.height}; set width and "
            "height"
        )
    intrinsics = p[:, :3] if p[0, 0] else k
    for name, matrix in (("K", k), ("P", intrinsics)):
        if not _is_pinhole(matrix):
            raise ValueError(
                f"camera_info of '{camera}' has no usable {name}: {matrix.ravel().tolist()}; is "
                "the camera calibrated? "
                "calibration_file can give its intrinsics"
            )
    if not np.allclose(r @ r.T, np.eye(3), atol=1e-3) or np.linalg.det(r) < 0:
        raise ValueError(
            f"camera_info of '{camera}' has an R that is no rotation: {r.ravel().tolist()}; "
            "identity is right for a monocular "
            "camera. calibration_file can give its intrinsics"
        )
    rectified_from_camera = np.eye(4)
    rectified_from_camera[:3, :3] = r
    return CameraModel(
        (int(info.height), int(info.width)), intrinsics.copy(), rectified_from_camera
    )


def _is_pinhole(intrinsics: np.ndarray) -> bool:
    return bool(
        np.isfinite(intrinsics).all()
        and intrinsics[0, 0] > 0
        and intrinsics[1, 1] > 0
        and intrinsics[2, 2] == 1
    )


def transform_from_message(transform: Any) -> np.ndarray:
    """``parent_from_child`` of a ``geometry_msgs/Transform``.

    Raises:
        ValueError: the quaternion is zero or not finite.
    """
    t, q = transform.translation, transform.rotation
    return pose_matrix((t.x, t.y, t.z), (q.w, q.x, q.y, q.z))


def pose_from_message(pose: Any) -> np.ndarray:
    """``parent_from_child`` of a ``geometry_msgs/Pose``.

    Raises:
        ValueError: the quaternion is zero or not finite.
    """
    p, q = pose.position, pose.orientation
    return pose_matrix((p.x, p.y, p.z), (q.w, q.x, q.y, q.z))


def load_calibration(path: Path, tree: TransformTree) -> dict[str, CameraModel]:
    """Reads static transforms into the tree, and camera models where the file has them.

    The file's form::

        frames:                       # one entry a sensor frame
          cam_front: {parent: base_link, translation: [x, y, z], rotation_xyzw: [x, y, z, w]}
        cameras:                      # optional; stands in for CameraInfo
          cam_front: {size: [height, width], intrinsics: [fx, 0, cx, 0, fy, cy, 0, 0, 1]}

    Raises:
        FileNotFoundError: no such file.
        ValueError: an entry is missing or malformed; names it.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"calibration_file {path} does not exist; nuscenes_to_bag writes calibration.yaml "
            "beside its bag"
        )
    try:
        content = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is no YAML: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("frames"), dict):
        raise ValueError(f"{path} must hold a map 'frames', one entry a sensor frame")
    for frame, entry in content["frames"].items():
        try:
            x, y, z, w = entry["rotation_xyzw"]
            tree.add_static(
                str(entry["parent"]),
                str(frame),
                pose_matrix([float(v) for v in entry["translation"]], (w, x, y, z)),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path}, frames.{frame}: {_reason(error)}; "
                "expected {parent: name, translation: [x, y, z], rotation_xyzw: [x, y, z, w]}"
            ) from error
    models = {}
    for camera, entry in (content.get("cameras") or {}).items():
        try:
            height, width = entry["size"]
            intrinsics = np.array(entry["intrinsics"], dtype=np.float64).reshape(3, 3)
            if not _is_pinhole(intrinsics) or min(height, width) < 1:
                raise ValueError("the focal lengths, or the size, are not positive")
            models[str(camera)] = CameraModel((int(height), int(width)), intrinsics, np.eye(4))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path}, cameras.{camera}: {_reason(error)}; "
                "expected {size: [height, width], intrinsics: [9 numbers, row by row]}"
            ) from error
    return models


def _reason(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def _field(info: Any, name: str) -> Sequence[float]:
    # ROS 1's CameraInfo, as rosbags reads it, has capital letters.
    return getattr(info, name) if hasattr(info, name) else getattr(info, name.upper())


def _interpolate(before: np.ndarray, after: np.ndarray, share: float) -> np.ndarray:
    """Linear in position, spherical in orientation; ``share`` 0 gives ``before``."""
    q0, q1 = quaternion_from_rotation(before[:3, :3]), quaternion_from_rotation(after[:3, :3])
    dot = float(q0 @ q1)
    if dot < 0:  # the shorter way round
        q1, dot = -q1, -dot
    angle = np.arccos(min(dot, 1.0))
    if angle < 1e-6:
        quaternion = (1 - share) * q0 + share * q1
    else:
        quaternion = (np.sin((1 - share) * angle) * q0 + np.sin(share * angle) * q1) / np.sin(angle)
    return pose_matrix((1 - share) * before[:3, 3] + share * after[:3, 3], quaternion)
