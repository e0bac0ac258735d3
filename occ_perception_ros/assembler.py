"""From messages to the parts of a frame, for the node and for ``occ_offline`` alike.

No rclpy import: the messages may be rclpy's or those of rosbags.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from occ_core.geometry.poses import invert_pose
from occ_perception_ros.assembler_config import AssemblerConfig
from occ_perception_ros.calibration import (
    CameraModel,
    camera_model,
    has_distortion,
    info_key,
    load_calibration,
)
from occ_perception_ros.context import ContextCache
from occ_perception_ros.frame_parts import (
    CameraPart,
    FrameParts,
    NoSweep,
    PlacedSweep,
    Sweep,
    SweepMessage,
)
from occ_perception_ros.messages import check_header, stamp_ns
from occ_perception_ros.synchronizer import NS, LidarAnchoredSynchronizer, SensorSet
from occ_perception_ros.transforms import (
    TransformError,
    TransformTree,
    pose_from_message,
    transform_from_message,
)

POSE_PATIENCE_S = 4.0
"""How long a sweep waits for any pose near its stamp; without one it has no answer. After a stall,
DDS repeats lost messages of a reliable publisher within 3 s."""


class FrameAssembler:
    """Takes messages in the order of their arrival and returns the parts of complete frames.

    It only stores and matches; decoding is left to ``build_frame``. Every ``add_...`` method
    returns the frames that the message completes, oldest first.

    Args:
        warn: called with a short key, which is the same for the same problem, and the full text.
        clock_s: see ``LidarAnchoredSynchronizer``.

    Raises:
        FileNotFoundError: the calibration file does not exist.
        ValueError: the calibration file is malformed, or the configuration contradicts itself.
    """

    def __init__(
        self,
        config: AssemblerConfig,
        warn: Callable[[str, str], None] | None = None,
        clock_s: Callable[[], float] | None = None,
    ) -> None:
        self.config = config
        self.tree = TransformTree(config.pose_tolerance_s)
        self.context = ContextCache(config.context)
        self.synchronizer = LidarAnchoredSynchronizer(config.cameras, config.sync, clock_s)
        self.counts: Counter[str] = Counter()
        self._warn = warn or (lambda key, text: None)
        self._clock_s = clock_s
        self._fixed_models = (
            load_calibration(Path(config.calibration_file), self.tree)
            if config.calibration_file
            else {}
        )
        self._models: dict[str, CameraModel] = {}
        self._info_keys: dict[str, tuple[Any, ...]] = {}
        self._bad_info: dict[str, str] = {}
        self._awaiting_pose: list[tuple[SensorSet, float]] = []
        """Sets without a final pose, and the running times since which they wait."""
        self._last_pose: tuple[int, np.ndarray] | None = None
        self._sweeps_from_ns = 0
        """Older sweeps were taken before the vehicle was relocated."""
        self._reset_reason: str | None = None

    def reconfigure(self, config: AssemblerConfig) -> None:
        """Uses the dynamic fields of another configuration from now on; see ``parameter_fields``.

        Raises:
            ConfigError: the configuration does not fit the number of cameras.
        """
        self.synchronizer.reconfigure(config.sync)
        self.config = config
        self.context.config = config.context

    def add_image(self, camera: str, message: Any) -> list[FrameParts]:
        """Adds a sensor_msgs/Image or CompressedImage."""
        stamp = self._stamp(camera, message)
        if stamp is None:
            return []
        collected = self._collect(self.synchronizer.add_image(camera, stamp, message))
        if camera == self.config.anchor:
            collected += self._add_sweep(stamp, NoSweep(self.config.grid_frame))
        return collected

    def add_camera_info(
        self, camera: str, message: Any, rectified: bool = False
    ) -> list[FrameParts]:
        """Adds a sensor_msgs/CameraInfo; it replaces the camera's previous one.

        Args:
            camera: its name.
            message: the message.
            rectified: whether the camera's images come rectified.
        """
        key = info_key(message)
        if camera not in self._fixed_models and self._info_keys.get(camera) != key:
            self._info_keys[camera] = key
            try:
                self._models[camera] = camera_model(camera, message, rectified)
                self._bad_info.pop(camera, None)
                if rectified and has_distortion(message):
                    self._warn_of_distortion(camera, message)
            except ValueError as error:
                self._models.pop(camera, None)
                self._bad_info[camera] = str(error)
                self._warn(f"camera_info {camera}", str(error))
        return []

    def _warn_of_distortion(self, camera: str, message: Any) -> None:
        if self.config.rectified_images == "auto":  # otherwise the user has settled it
            self._warn(
                f"distortion {camera}",
                f"camera_info of '{camera}' describes a lens ({message.distortion_model}), but its "
                "topic says that the images are rectified; they are used as they come. "
                "rectified_images:=always confirms that, never undistorts them",
            )

    def add_points(self, message: Any) -> list[FrameParts]:
        """Adds a sensor_msgs/PointCloud2, the anchor of a frame."""
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
        sweep = SweepMessage(message, self.config.max_points, self.config.intensity_max)
        return self._add_sweep(stamp, sweep)

    def _add_sweep(self, stamp: int, sweep: Sweep) -> list[FrameParts]:
        resets = self.synchronizer.resets
        sets = self.synchronizer.add_sweep(stamp, sweep)
        if self.synchronizer.resets == resets:
            return self._collect(sets)
        # Time jumped. Sets from before the jump get the poses that are known, since no more will
        # arrive for them.
        before = [released for released in sets if released.stamp_ns != stamp]
        parts = self._collect(before, wait=False)
        self._forget(stamp)
        return parts + self._collect([released for released in sets if released.stamp_ns == stamp])

    def add_odometry(self, message: Any) -> list[FrameParts]:
        """Adds a nav_msgs/Odometry: the pose of ``child_frame_id`` in ``header.frame_id``."""
        stamp = self._stamp("odometry", message)
        if stamp is not None:
            parent = message.header.frame_id.lstrip("/")
            child = message.child_frame_id.lstrip("/")
            try:
                self.tree.add_moving(parent, child, stamp, pose_from_message(message.pose.pose))
            except (ValueError, TransformError) as error:
                self.counts["bad_poses"] += 1
                self._warn("odometry", f"odometry at {stamp / NS:.3f} s is not usable: {error}")
        return self._collect([], settle=False)  # the next pose may lie nearer

    def add_transforms(self, message: Any, static: bool) -> list[FrameParts]:
        """Adds a tf2_msgs/TFMessage of /tf_static (``static``) or /tf."""
        for stamped in message.transforms:
            parent, child = stamped.header.frame_id.lstrip("/"), stamped.child_frame_id.lstrip("/")
            try:
                transform = transform_from_message(stamped.transform)
                if static:
                    self.tree.add_static(parent, child, transform)
                else:
                    self.tree.add_moving(parent, child, stamp_ns(stamped.header), transform)
            except (ValueError, TransformError) as error:
                self.counts["bad_poses"] += 1
                text = f"the transform from '{child}' to '{parent}' is not usable: {error}"
                self._warn(f"tf {child}", text)
        return self._collect([], settle=False)  # the next pose may lie nearer

    def add_context(self, topic: str, message: Any) -> list[FrameParts]:
        """Adds a std_msgs/String of the topic ``"weather"`` or ``"region"``."""
        try:
            self.context.set(topic, message.data, self.synchronizer.newest_ns)
        except ValueError as error:
            self.counts["unknown_context"] += 1
            self._warn(f"context {topic}", str(error))
        return []

    def flush(self) -> list[FrameParts]:
        """Returns the frames that still wait for messages, when no more will arrive."""
        return self._collect(self.synchronizer.flush(), wait=False)

    def lacks_pose(self) -> bool:
        """Whether the oldest complete sweep has been waiting for its pose for longer than usual."""
        return bool(self._awaiting_pose) and (
            self._sensor_time_since(self._awaiting_pose[0][0]) > 2 * self.config.pose_timeout_s
        )

    def poll(self) -> list[FrameParts]:
        """Returns the frames whose wait has ended without any message."""
        return self._collect(self.synchronizer.poll())

    def clock_jumped(self, now_ns: int) -> None:
        """Resets if the clock was set back to ``now_ns`` and the sweeps have not shown it yet."""
        newest = self.synchronizer.newest_ns
        if newest is not None and newest - now_ns > self.config.sync.regression_s * NS:
            self.reset(f"the clock went back to {now_ns / NS:.3f} s", now_ns)

    def reset(self, reason: str, stamp_ns: int | None = None) -> None:
        """Drops all data but the calibration; data close to ``stamp_ns``, if given, are kept.

        The next frame has ``reason`` as its ``reset_reason``.
        """
        self.counts["forgotten"] += len(self.synchronizer.restart(stamp_ns, reason))
        self._forget(stamp_ns)

    def _forget(self, stamp_ns: int | None) -> None:
        self.counts["forgotten"] += len(self._awaiting_pose)
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

    def _collect(
        self, sets: Sequence[SensorSet], wait: bool = True, settle: bool = True
    ) -> list[FrameParts]:
        """The sets with their poses, oldest first.

        With ``wait``, sets whose poses may still arrive are held back until their time is over;
        without ``settle``, even then.
        """
        now_s = 0.0 if self._clock_s is None else self._clock_s()
        self._awaiting_pose.extend((each, now_s) for each in sets)
        collected = []
        while self._awaiting_pose:
            chosen, since_s = self._awaiting_pose[0]
            # Live, seconds of sweeps may be received before the odometry of the first of them.
            waited_s = self._sensor_time_since(chosen)
            if self._clock_s is not None:
                waited_s = min(waited_s, now_s - since_s)
            open_ = wait and not self._pose_is_final(chosen)
            if open_ and (not settle or waited_s < self.config.pose_timeout_s):
                break
            try:
                parts = self._parts(chosen)
            except TransformError as error:
                if open_ and waited_s < max(self.config.pose_timeout_s, POSE_PATIENCE_S):
                    break
                self.counts["no_pose"] += 1
                self._reset_reason = self._reset_reason or chosen.reset_reason
                self._warn("pose", f"the sweep at {chosen.stamp_ns / NS:.3f} s is skipped: {error}")
            else:
                collected.append(parts)
            self._awaiting_pose.pop(0)
        return collected

    def _sensor_time_since(self, chosen: SensorSet) -> float:
        newest = self.synchronizer.newest_ns
        return 0.0 if newest is None else (newest - chosen.stamp_ns) / NS

    def _pose_is_final(self, chosen: SensorSet) -> bool:
        """Whether no later message can change the pose of the sweep or of an image."""
        latest = max([chosen.stamp_ns, *(stamp for stamp, _ in chosen.images.values())])
        lidar_frame = chosen.sweeps[-1][1].frame_id
        return self.tree.covers(self.config.world_frame, lidar_frame, latest)

    def _parts(self, chosen: SensorSet) -> FrameParts:
        """The set with its poses.

        Raises:
            TransformError: the pose of the grid or of the anchor sweep is not known.
        """
        world, grid = self.config.world_frame, self.config.grid_frame
        world_from_grid = self.tree.lookup(world, grid, chosen.stamp_ns)
        reset_reason = self._reset_reason or chosen.reset_reason
        jump = self._ego_jump(chosen.stamp_ns, world_from_grid)
        if jump is not None:
            reset_reason = reset_reason or jump
            self._sweeps_from_ns = chosen.stamp_ns
        sweeps = self._posed_sweeps(chosen)
        cameras, masked = self._posed_cameras(chosen, invert_pose(world_from_grid))
        for camera, reason in masked.items():
            self._warn(f"masked {camera}", f"camera '{camera}' is masked: {reason}")
        self._reset_reason = None
        self._last_pose = (chosen.stamp_ns, world_from_grid)
        return FrameParts(
            stamp_ns=chosen.stamp_ns,
            cameras=cameras,
            masked=masked,
            sweeps=sweeps,
            world_from_grid=world_from_grid,
            context=self.context.at(chosen.stamp_ns),
            ego_box_m=self.config.ego_box_m,
            ego_polygon_m=self.config.ego_polygon_m,
            max_points=self.config.max_points,
            reset_reason=reset_reason,
        )

    def _posed_sweeps(self, chosen: SensorSet) -> tuple[PlacedSweep, ...]:
        """The sweeps whose pose is known; the anchor last.

        Raises:
            TransformError: the anchor's pose is not known.
        """
        world, grid = self.config.world_frame, self.config.grid_frame
        posed = []
        for stamp, sweep in chosen.sweeps:
            if stamp < self._sweeps_from_ns:
                continue
            try:
                world_from_grid = self.tree.lookup(world, grid, stamp)
                grid_from_lidar = self.tree.lookup(grid, sweep.frame_id, stamp)
            except TransformError:
                if stamp == chosen.stamp_ns:
                    raise
                self.counts["sweeps_without_pose"] += 1
            else:
                posed.append(PlacedSweep(stamp, sweep, world_from_grid, grid_from_lidar))
        return tuple(posed)

    def _posed_cameras(
        self, chosen: SensorSet, grid_from_world: np.ndarray
    ) -> tuple[dict[str, CameraPart], dict[str, str]]:
        """The cameras with their poses, and the others with the reason why they are masked."""
        cameras, masked = {}, dict(chosen.missing)
        for camera, (stamp, message) in chosen.images.items():
            model = self._fixed_models.get(camera) or self._models.get(camera)
            if model is None:
                masked[camera] = self._bad_info.get(camera, "no camera_info received yet")
                continue
            frame = message.header.frame_id.lstrip("/")
            try:
                # At the image's own stamp: the vehicle moves between exposure and sweep.
                world_from_camera = self.tree.lookup(self.config.world_frame, frame, stamp)
            except TransformError as error:
                masked[camera] = str(error)
                continue
            camera_from_rectified = invert_pose(model.rectified_from_camera)
            grid_from_camera = grid_from_world @ world_from_camera @ camera_from_rectified
            cameras[camera] = CameraPart(message, stamp, model, grid_from_camera)
        return cameras, masked

    def _ego_jump(self, stamp: int, world_from_grid: np.ndarray) -> str | None:
        """Why the vehicle cannot have driven here since the last frame; None where it can have."""
        if self._last_pose is None:
            return None
        seconds = (stamp - self._last_pose[0]) / NS
        metres = float(np.linalg.norm(world_from_grid[:3, 3] - self._last_pose[1][:3, 3]))
        if metres <= self.config.max_speed_mps * seconds + 1.0:
            return None
        self.counts["ego_jumps"] += 1
        return f"the vehicle jumped {metres:.1f} m in {seconds:.3f} s"
