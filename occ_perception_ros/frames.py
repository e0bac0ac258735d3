"""From messages to frames: the one way, for the live node and for ``occ_offline`` alike. No rclpy
import.

``FrameAssembler`` only stores what comes and says when a frame's parts are together;
``build_frame`` does the heavy work (decoding, joining sweeps) and may run in another thread, since
the parts hold all it needs.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from occ_core.datasets.frames import frame_from_sensors
from occ_core.geometry.images import fit_image
from occ_core.geometry.points import EGO_BOX_M, accumulate_sweeps
from occ_core.geometry.poses import invert_pose
from occ_core.types import DriveContext, Frame, Occupancy
from occ_perception_ros.calibration import (
    CameraModel,
    TransformError,
    TransformTree,
    camera_model,
    load_calibration,
    pose_from_message,
    transform_from_message,
)
from occ_perception_ros.context import ContextCache, ContextConfig
from occ_perception_ros.messages import (
    check_header,
    image_from_message,
    points_from_message,
    stamp_ns,
)
from occ_perception_ros.synchronizer import NS, LidarAnchoredSynchronizer, SensorSet, SyncConfig
from occ_perception_ros.topics import CAMERAS


class FrameError(ValueError):
    """No frame can be built of these parts; the text says why."""


class Engine(Protocol):
    """What answers frames: ``occ_core.engine.OccupancyEngine``."""

    def step(self, frame: Frame) -> Occupancy: ...

    def reset(self, reason: str) -> None: ...


@dataclass(frozen=True, kw_only=True)
class AssemblerConfig:
    """How messages become frames."""

    cameras: tuple[str, ...] = CAMERAS
    """Names of the cameras, in the model's order."""
    grid_frame: str = "lidar_top"
    """TF frame in which the voxel grid is fixed; the checkpoint was trained with it."""
    world_frame: str = "map"
    """TF frame that does not move: parent in the odometry or on /tf."""
    calibration_file: str = ""
    """Static transforms (and camera models) as YAML; empty: /tf_static."""
    pose_timeout_s: float = field(default=0.2, metadata={"range": (0.0, 10.0)})
    """How long, after the sweep, its pose is waited for."""
    pose_tolerance_s: float = field(default=0.06, metadata={"range": (0.0, 10.0)})
    """How far outside the known poses the nearest one still serves."""
    max_speed_mps: float = field(default=70.0, metadata={"range": (1.0, 1000.0)})
    """Faster than this between two frames, the vehicle was moved: another scene."""
    max_points: int = field(default=400_000, metadata={"range": (1, 100_000_000)})
    """A sweep's points above this number are thinned."""
    ego_box_m: tuple[float, ...] = EGO_BOX_M
    """Returns in here come from the vehicle itself and are left out: x_min, y_min, z_min, x_max,
    y_max, z_max in the LiDAR's frame; nuScenes' car by default."""
    sync: SyncConfig = SyncConfig()
    context: ContextConfig = ContextConfig()

    def __post_init__(self) -> None:
        problems = []
        if not self.cameras or len(set(self.cameras)) != len(self.cameras):
            problems.append(f"cameras must be distinct names, got {list(self.cameras)}")
        if not self.grid_frame or not self.world_frame:
            problems.append("grid_frame and world_frame must be named")
        if len(self.ego_box_m) != 6 or any(
            low > high for low, high in zip(self.ego_box_m[:3], self.ego_box_m[3:], strict=False)
        ):
            problems.append(
                "ego_box_m must be x_min, y_min, z_min, x_max, y_max, z_max, got "
                f"{list(self.ego_box_m)}"
            )
        for name, spec in self.__dataclass_fields__.items():
            if "range" in spec.metadata:
                low, high = spec.metadata["range"]
                if not low <= getattr(self, name) <= high:
                    problems.append(f"{name} must lie in {low}..{high}, got {getattr(self, name)}")
        if problems:
            raise ValueError("; ".join(problems))


class Sweep:
    """One point cloud message, decoded once however many frames it serves."""

    def __init__(self, message: Any, max_points: int) -> None:
        self.frame_id: str = message.header.frame_id.lstrip("/")
        self._message: Any = message
        self._max_points = max_points
        self._decoded: tuple[np.ndarray, dict[str, int]] | None = None

    def points(self) -> tuple[np.ndarray, dict[str, int]]:
        """As ``points_from_message``.

        Raises:
            ValueError: the cloud is malformed.
        """
        if self._decoded is None:
            self._decoded = points_from_message(self._message, self._max_points)
            self._message = None  # the bytes are no longer needed
        return self._decoded


@dataclass(frozen=True, slots=True)
class CameraPart:
    """One camera's share of a frame."""

    message: Any
    stamp_ns: int
    model: CameraModel
    grid_from_camera: np.ndarray


@dataclass(frozen=True, slots=True)
class FrameParts:
    """Everything a frame is built of, poses resolved; independent of what comes later."""

    stamp_ns: int
    cameras: dict[str, CameraPart]
    """Of the cameras that take part."""
    masked: dict[str, str]
    """Camera -> why it takes no part."""
    sweeps: tuple[tuple[int, Sweep, np.ndarray], ...]
    """Stamp, sweep, world_from_lidar [4, 4]; the anchor last."""
    grid_from_lidar: np.ndarray
    world_from_grid: np.ndarray
    context: DriveContext
    ego_box_m: tuple[float, ...]
    """As in ``AssemblerConfig``."""
    reset_reason: str | None
    """Why the memory of earlier frames does not hold for this one; ``None``: it holds."""


@dataclass(frozen=True, slots=True)
class FrameReport:
    """What happened while a frame was built."""

    masked: dict[str, str]
    """Camera -> why it took no part."""
    points: int
    points_dropped: dict[str, int]
    """Of the anchor sweep: reason -> points left out."""


class FrameAssembler:
    """Takes messages in the order of their coming, returns the parts of the frames that are
    complete.

    Args:
        warn: called with a short key (the same for the same trouble) and the full text; ``None``:
            nobody listens.

    Raises:
        FileNotFoundError, ValueError: the calibration file; the configuration contradicts itself.
    """

    def __init__(
        self, config: AssemblerConfig, warn: Callable[[str, str], None] | None = None
    ) -> None:
        self.config = config
        self.tree = TransformTree(config.pose_tolerance_s)
        self.context = ContextCache(config.context)
        self.synchronizer = LidarAnchoredSynchronizer(config.cameras, config.sync)
        self.counts: Counter[str] = Counter()
        self._warn = warn or (lambda key, text: None)
        self._fixed_models = (
            load_calibration(Path(config.calibration_file), self.tree)
            if config.calibration_file
            else {}
        )
        self._models: dict[str, CameraModel] = {}
        self._info_keys: dict[str, tuple[Any, ...]] = {}
        self._bad_info: dict[str, str] = {}
        self._awaiting_pose: list[SensorSet] = []
        self._last_pose: tuple[int, np.ndarray] | None = None
        self._sweeps_from_ns = 0
        """Older sweeps were taken before the vehicle was moved."""
        self._reset_reason: str | None = None

    def add_image(self, camera: str, message: Any) -> list[FrameParts]:
        """An Image or CompressedImage."""
        stamp = self._stamp(camera, message)
        return (
            []
            if stamp is None
            else self._collect(self.synchronizer.add_image(camera, stamp, message))
        )

    def add_camera_info(self, camera: str, message: Any) -> list[FrameParts]:
        """A CameraInfo; a changed one replaces the old."""
        key = (
            message.width,
            message.height,
            *(tuple(getattr(message, n, ())) for n in ("k", "r", "p", "K", "R", "P")),
        )
        if camera not in self._fixed_models and self._info_keys.get(camera) != key:
            self._info_keys[camera] = key
            try:
                self._models[camera] = camera_model(camera, message)
                self._bad_info.pop(camera, None)
            except ValueError as error:
                self._models.pop(camera, None)
                self._bad_info[camera] = str(error)
                self._warn(f"camera_info {camera}", str(error))
        return []

    def add_points(self, message: Any) -> list[FrameParts]:
        """A PointCloud2: the anchor."""
        stamp = self._stamp("points", message)
        if stamp is None:
            return []
        if int(message.width) * int(message.height) == 0:
            self.counts["empty_clouds"] += 1
            self._warn(
                "empty cloud",
                f"the point cloud at {stamp / NS:.3f} s is empty; it is treated as missing",
            )
            return []
        resets = self.synchronizer.counts["resets"]
        sets = self.synchronizer.add_sweep(stamp, Sweep(message, self.config.max_points))
        if self.synchronizer.counts["resets"] == resets:
            return self._collect(sets)
        # What was released still belongs to the time before the jump: its poses are known now or
        # never.
        parts = self._collect(
            [released for released in sets if released.stamp_ns != stamp], over=True
        )
        self._forget(stamp)
        return parts + self._collect([released for released in sets if released.stamp_ns == stamp])

    def add_odometry(self, message: Any) -> list[FrameParts]:
        """A nav_msgs/Odometry: the pose of ``child_frame_id`` in ``header.frame_id``."""
        stamp = self._stamp("odometry", message)
        if stamp is not None:
            try:
                pose = pose_from_message(message.pose.pose)
            except ValueError as error:
                self._warn("odometry", f"odometry at {stamp / NS:.3f} s is not usable: {error}")
            else:
                parent, child = (
                    message.header.frame_id.lstrip("/"),
                    message.child_frame_id.lstrip("/"),
                )
                self.tree.add_moving(parent, child, stamp, pose)
        return self._collect([])

    def add_transforms(self, message: Any, static: bool) -> list[FrameParts]:
        """A tf2_msgs/TFMessage of /tf_static (``static``) or /tf."""
        for stamped in message.transforms:
            parent, child = stamped.header.frame_id.lstrip("/"), stamped.child_frame_id.lstrip("/")
            try:
                transform = transform_from_message(stamped.transform)
            except ValueError as error:
                self._warn(
                    f"tf {child}",
                    f"the transform from '{child}' to '{parent}' is not usable: {error}",
                )
                continue
            if static:
                self.tree.add_static(parent, child, transform)
            else:
                self.tree.add_moving(parent, child, stamp_ns(stamped.header), transform)
        return self._collect([])

    def add_context(self, topic: str, message: Any) -> list[FrameParts]:
        """A std_msgs/String of the topic ``"weather"`` or ``"region"``."""
        try:
            self.context.set(topic, message.data, self.synchronizer.newest_ns)
        except ValueError as error:
            self.counts["unknown_context"] += 1
            self._warn(f"context {topic}", str(error))
        return []

    def flush(self) -> list[FrameParts]:
        """Nothing more will come: the frames whose time is over by that."""
        return self._collect(self.synchronizer.flush(), over=True)

    def clock_jumped(self, now_ns: int) -> None:
        """The clock was set to ``now_ns``: resets where the sweeps have not yet shown the same."""
        newest = self.synchronizer.newest_ns
        if newest is not None and newest - now_ns > self.config.sync.regression_s * NS:
            self.reset(f"the clock went back to {now_ns / NS:.3f} s", now_ns)

    def reset(self, reason: str, stamp_ns: int | None = None) -> None:
        """Forgets what came (but calibration); with a stamp, what came around it stays. The next
        frame carries the reason.
        """
        self.synchronizer.restart(stamp_ns, reason)
        self._forget(stamp_ns)

    def _forget(self, stamp_ns: int | None) -> None:
        self._awaiting_pose.clear()
        self._last_pose = None
        self._sweeps_from_ns = 0
        self.context.restart()
        if stamp_ns is not None:
            self.tree.keep_around(stamp_ns, self.config.sync.regression_s)

    def _stamp(self, topic: str, message: Any) -> int | None:
        try:
            return check_header(topic, message.header)
        except ValueError as error:
            self.counts["bad_headers"] += 1
            self._warn(f"header {topic}", str(error))
            return None

    def _collect(self, sets: Sequence[SensorSet], over: bool = False) -> list[FrameParts]:
        """The sets whose poses are known, or no longer waited for, as parts; oldest first."""
        self._awaiting_pose.extend(sets)
        collected = []
        while self._awaiting_pose and (over or self._pose_settled(self._awaiting_pose[0])):
            chosen = self._awaiting_pose.pop(0)
            try:
                collected.append(self._parts(chosen))
            except TransformError as error:
                self.counts["no_pose"] += 1
                self._reset_reason = self._reset_reason or chosen.reset_reason
                self._warn("pose", f"the sweep at {chosen.stamp_ns / NS:.3f} s is skipped: {error}")
        return collected

    def _pose_settled(self, chosen: SensorSet) -> bool:
        newest = self.synchronizer.newest_ns
        if newest is not None and newest - chosen.stamp_ns >= self.config.pose_timeout_s * NS:
            return True
        latest = max([chosen.stamp_ns, *(stamp for stamp, _ in chosen.images.values())])
        return self.tree.covers(self.config.world_frame, chosen.sweeps[-1][1].frame_id, latest)

    def _parts(self, chosen: SensorSet) -> FrameParts:
        world, grid = self.config.world_frame, self.config.grid_frame
        anchor: Sweep = chosen.sweeps[-1][1]
        world_from_grid = self.tree.lookup(world, grid, chosen.stamp_ns)
        grid_from_world = invert_pose(world_from_grid)
        reset_reason = self._reset_reason or chosen.reset_reason
        jump = self._ego_jump(chosen.stamp_ns, world_from_grid)
        if jump is not None:
            reset_reason = reset_reason or jump
            self._sweeps_from_ns = chosen.stamp_ns
        sweeps = [(stamp, sweep) for stamp, sweep in chosen.sweeps if stamp >= self._sweeps_from_ns]
        placed = []
        for stamp, sweep in sweeps:
            try:
                placed.append((stamp, sweep, self.tree.lookup(world, sweep.frame_id, stamp)))
            except TransformError:
                if sweep is anchor:
                    raise
                self.counts["sweeps_without_pose"] += 1
        cameras, masked = {}, dict(chosen.missing)
        for camera, (stamp, message) in chosen.images.items():
            model = self._fixed_models.get(camera) or self._models.get(camera)
            if model is None:
                masked[camera] = self._bad_info.get(camera, "no camera_info has come")
                continue
            try:
                world_from_camera = self.tree.lookup(
                    world, message.header.frame_id.lstrip("/"), stamp
                )
            except TransformError as error:
                masked[camera] = str(error)
                continue
            # The vehicle moves between exposure and sweep: each camera is placed by the pose at its
            # own stamp.
            grid_from_camera = (
                grid_from_world @ world_from_camera @ invert_pose(model.rectified_from_camera)
            )
            cameras[camera] = CameraPart(message, stamp, model, grid_from_camera)
        for camera, reason in masked.items():
            self._warn(f"masked {camera}", f"camera '{camera}' is masked: {reason}")
        self._reset_reason = None
        self._last_pose = (chosen.stamp_ns, world_from_grid)
        return FrameParts(
            stamp_ns=chosen.stamp_ns,
            cameras=cameras,
            masked=masked,
            sweeps=tuple(placed),
            grid_from_lidar=self.tree.lookup(grid, anchor.frame_id, chosen.stamp_ns),
            world_from_grid=world_from_grid,
            context=self.context.at(chosen.stamp_ns),
            ego_box_m=self.config.ego_box_m,
            reset_reason=reset_reason,
        )

    def _ego_jump(self, stamp: int, world_from_grid: np.ndarray) -> str | None:
        """Why the vehicle cannot have driven here from the last frame; ``None`` where it can."""
        if self._last_pose is None:
            return None
        seconds = (stamp - self._last_pose[0]) / NS
        metres = float(np.linalg.norm(world_from_grid[:3, 3] - self._last_pose[1][:3, 3]))
        if metres <= self.config.max_speed_mps * seconds + 1.0:
            return None
        self.counts["ego_jumps"] += 1
        return f"the vehicle jumped {metres:.1f} m in {seconds:.3f} s"


def build_frame(
    parts: FrameParts, cameras: Sequence[str], image_size: tuple[int, int]
) -> tuple[Frame, FrameReport]:
    """Decodes and joins the parts to the model's frame; a camera whose image is corrupt is masked.

    Args:
        cameras: names, in the model's order.
        image_size: ``(height, width)`` that the model takes.

    Raises:
        FrameError: the anchor sweep is malformed or holds no usable point.
    """
    masked = dict(parts.masked)
    images: list[np.ndarray | None] = []
    intrinsics: list[np.ndarray | None] = []
    poses: list[np.ndarray | None] = []
    with ThreadPoolExecutor(
        len(os.sched_getaffinity(0))
    ) as pool:  # images are decoded without Python's lock, beside the cloud
        coming = {
            camera: pool.submit(_image, camera, part, image_size)
            for camera, part in parts.cameras.items()
        }
        points, dropped = _points(parts)
    for camera in cameras:
        image, matrix, pose = None, None, None
        if camera in coming:
            try:
                image, matrix = coming[camera].result()
                pose = parts.cameras[camera].grid_from_camera
            except ValueError as error:
                masked[camera] = str(error)
        images.append(image)
        intrinsics.append(matrix)
        poses.append(pose)
    frame = frame_from_sensors(
        images,
        intrinsics,
        poses,
        points,
        parts.world_from_grid,
        parts.stamp_ns,
        parts.context,
        image_size,
    )
    return frame, FrameReport(masked, len(points), dropped)


def _image(
    camera: str, part: CameraPart, image_size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    image, matrix = image_from_message(camera, part.message, part.model, min_width=image_size[1])
    return fit_image(image, matrix, image_size)


def _points(parts: FrameParts) -> tuple[np.ndarray, dict[str, int]]:
    """The sweeps joined, and how many of the anchor's points were left out, by reason."""
    clouds = []
    dropped: dict[str, int] = {}
    for stamp, sweep, world_from_lidar in parts.sweeps:
        try:
            points, sweep_dropped = sweep.points()
        except ValueError as error:
            if stamp == parts.stamp_ns:
                raise FrameError(str(error)) from error
            # an old sweep less is no reason to give no answer; its own frame, if any, told of it
            continue
        clouds.append((points, world_from_lidar, stamp))
        if stamp == parts.stamp_ns:
            dropped = sweep_dropped
            if len(points) == 0:
                raise FrameError(
                    f"the point cloud at {stamp / NS:.3f} s holds no usable point (left out: "
                    f"{dropped})"
                )
    return accumulate_sweeps(clouds, parts.grid_from_lidar, parts.ego_box_m), dropped
