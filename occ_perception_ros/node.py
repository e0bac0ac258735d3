"""``OccupancyNode``: subscriptions that only store, one worker that answers, publishers; no maths."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import ceil
from typing import Any

import torch
from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import OccupancyGrid, Odometry
from rclpy.clock import Clock, ClockType, JumpThreshold
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from std_msgs.msg import Float64, Float64MultiArray, String
from std_srvs.srv import Trigger
from visualization_msgs.msg import MarkerArray

from occ_core.types import Occupancy
from occ_perception_ros.diagnostics import Health
from occ_perception_ros.filters import FrameCollector, Subscriber
from occ_perception_ros.frames import (
    Engine,
    FrameAssembler,
    FrameError,
    FrameParts,
    FrameReport,
    build_frame,
)
from occ_perception_ros.markers import marker_array_bytes
from occ_perception_ros.messages import stamp_ns
from occ_perception_ros.outputs import occupancy_grid, occupancy_points_bytes
from occ_perception_ros.parameters import NodeConfig, ParameterError, declare
from occ_perception_ros.worker import Mailbox, Worker

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks

NS = 1_000_000_000
LOG_PERIOD_S = 5.0
TICK_S = 0.2
DIAGNOSTICS_PERIOD_S = 1.0
CLOCK_PATIENCE_S = 5.0
STOP_TIMEOUT_S = 2.0
STAGES = ("collect", "decode", "model", "publish", "total")


EngineFactory = Callable[[NodeConfig], tuple[Engine, tuple[int, int]]]
"""Makes the engine, and says which image size ``(height, width)`` it takes."""


@dataclass(frozen=True, slots=True)
class _Job:
    """A frame's parts on their way to the worker, with the monotonic times of its sweep's arrival
    and of its completion.
    """

    parts: FrameParts
    arrived_s: float
    released_s: float


class OccupancyNode(Node):
    """Semantic occupancy of cameras and LiDAR; see README for topics and parameters.

    Args:
        make_engine: called once the parameters are known to be right.
        node_options: passed to ``rclpy.node.Node``.

    Raises:
        ParameterError: parameters, or the calibration file, are not usable.
        CheckpointError: the checkpoint is not.
    """

    def __init__(self, make_engine: EngineFactory, **node_options: Any) -> None:
        super().__init__("occupancy_node", **node_options)
        self.config = declare(self, NodeConfig)
        self._logged_s: dict[str, float] = {}
        self._log_lock = threading.Lock()
        try:
            self.assembler = FrameAssembler(self.config, self._warn_of_input)
        except (OSError, ValueError) as error:
            raise ParameterError(str(error)) from error
        self._engine, self._image_size = make_engine(self.config)
        self._outputs = _Outputs(self)
        self.health = self._make_health()
        self._arrivals_s: OrderedDict[int, float] = OrderedDict()
        self._silent_ticks = 0
        self._last_published_s: float | None = None
        self._counted: dict[str, int] = {}
        self._told_offsets = False
        self._last_level: bytes | None = None
        self._last_diagnostics_s = 0.0
        self._started_s = time.monotonic()
        self._mailbox: Mailbox[_Job] = Mailbox(_keep_reset)
        self.worker: Worker[_Job] = Worker(
            self._mailbox, self._answer, self._on_failure, self.config.max_failures
        )
        self.collector = FrameCollector(self.assembler, self._on_malformed)
        self.collector.registerCallback(self._submit)
        self._subscribe()
        self.create_service(Trigger, "~/reset", self._on_reset)
        # Wall time: with use_sim_time and no /clock, a timer of the node's clock would never fire.
        self.create_timer(TICK_S, self._tick, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._clock_jumps = self.get_clock().create_jump_callback(
            JumpThreshold(
                min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=False
            ),
            post_callback=self._on_clock_jump,
        )
        self.worker.start()

    def stop(self) -> bool:
        """Ends the worker; whether it ended in time. The node must not spin meanwhile."""
        return self.worker.stop(STOP_TIMEOUT_S)

    # --- inputs: callbacks only store ---

    def _subscribe(self) -> None:
        reliable = self.config.input_qos == "reliable"
        reliability = ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
        few = QoSProfile(depth=5, reliability=reliability)
        # Of images one a set counts; a sweep or pose that is lost, in contrast, changes the answer.
        many = QoSProfile(depth=200, reliability=reliability)
        image_type = CompressedImage if self.config.compressed_images else Image
        add = self.assembler
        for camera in self.config.cameras:
            self._input(image_type, f"{camera}/image", few, camera, camera, add.add_image)
            self._input(CameraInfo, f"{camera}/camera_info", few, None, camera, add.add_camera_info)
        self._input(PointCloud2, "points", many, "points", None, add.add_points)
        # Latched: what was said before the node started still holds.
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._input(String, "weather", latched, None, "weather", add.add_context)
        self._input(String, "region", latched, None, "region", add.add_context)
        if self.config.pose_source == "odometry":
            self._input(Odometry, "odometry", many, None, None, add.add_odometry)
        if self.config.pose_source == "tf" or not self.config.calibration_file:
            self._subscribe_to_transforms()

    def _input(
        self,
        kind: Any,
        name: str,
        qos: QoSProfile,
        sensor: str | None,
        key: str | None,
        add: Callable[..., list[FrameParts]],
    ) -> None:
        """One input as a filter. ``sensor``: its name in the diagnostics; ``key``: the first
        argument of ``add``.
        """
        topic = self.resolve_topic_name(f"~/input/{name}")

        def on_incompatible(event: Any) -> None:
            text = f"a publisher of '{topic}' offers no {_asked(qos)} quality of service, so nothing is received from it"
            if sensor is not None:
                self.health.trouble(sensor, text)
            self._warn(f"qos {topic}", text)

        source = Subscriber(
            self,
            kind,
            f"~/input/{name}",
            qos_profile=qos,
            event_callbacks=SubscriptionEventCallbacks(incompatible_qos=on_incompatible),
        )

        def store(message: Any) -> list[FrameParts]:
            now_s = time.monotonic()
            self._silent_ticks = 0
            if sensor is not None:
                stamp = stamp_ns(message.header)
                self.health.seen(sensor, stamp, now_s)
                if sensor == "points":
                    self._arrivals_s[stamp] = now_s
                    while len(self._arrivals_s) > 100:
                        self._arrivals_s.popitem(last=False)
            return add(message) if key is None else add(key, message)

        self.collector.connect(source, store)

    def _subscribe_to_transforms(self) -> None:
        try:
            from tf2_msgs.msg import TFMessage
        except ImportError as error:
            raise ParameterError(
                "tf2_msgs is not installed, so /tf and /tf_static cannot be read; give "
                "calibration_file (nuscenes_to_bag writes "
                "calibration.yaml into its bag's folder) and keep pose_source:=odometry, or "
                "install ros-<distro>-tf2-msgs"
            ) from error
        latched = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        static = Subscriber(self, TFMessage, "/tf_static", qos_profile=latched)
        self.collector.connect(static, partial(self.assembler.add_transforms, static=True))
        if self.config.pose_source == "tf":
            moving = Subscriber(self, TFMessage, "/tf", qos_profile=QoSProfile(depth=200))
            self.collector.connect(moving, partial(self.assembler.add_transforms, static=False))

    def _submit(self, parts: FrameParts) -> None:
        now_s = time.monotonic()
        self.health.count("frames_in")
        if self._mailbox.put(_Job(parts, self._arrivals_s.get(parts.stamp_ns, now_s), now_s)):
            self.health.count("dropped")

    def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self.assembler.reset("requested by ~/reset")
        response.success, response.message = (
            True,
            "everything but calibration is forgotten; the next frame is a first one",
        )
        return response

    def _on_clock_jump(self, jump: Any) -> None:
        self.assembler.clock_jumped(self.get_clock().now().nanoseconds)

    def _on_malformed(self, error: Exception) -> None:
        self.health.count("malformed")
        self._warn(
            f"malformed {type(error).__name__}",
            f"a message is left out: {type(error).__name__}: {error}",
        )

    # --- the worker ---

    def _answer(self, job: _Job) -> None:
        try:
            self._answer_frame(job)
        except FrameError as error:
            self._on_failure(
                error
            )  # the sensor's fault, however often: only failures of our own end the node

    def _answer_frame(self, job: _Job) -> None:
        parts = job.parts
        started_s = time.monotonic()
        if parts.reset_reason is not None:
            self._engine.reset(parts.reset_reason)
            self._tell_reset(parts.reset_reason)
        frame, report = build_frame(parts, self.config.cameras, self._image_size)
        for camera in report.masked.keys() - parts.masked.keys():
            self.health.count("corrupt_images")
            self._warn(f"masked {camera}", f"camera '{camera}' is masked: {report.masked[camera]}")
        decoded_s = time.monotonic()
        occupancy = self._engine.step(frame)
        stepped_s = time.monotonic()
        if occupancy.memory_reset is not None:
            self._tell_reset(occupancy.memory_reset)
        self._outputs.publish(
            occupancy, parts.stamp_ns, self.config.grid_frame, self.config.vehicle_height_m
        )
        now_s = time.monotonic()
        collect_s, total_s = job.released_s - job.arrived_s, now_s - started_s
        stages_s = (
            collect_s,
            decoded_s - started_s,
            stepped_s - decoded_s,
            now_s - stepped_s,
            total_s,
        )
        times_ms = {
            f"processing_time/{stage}_ms": seconds * 1e3
            for stage, seconds in zip(STAGES, stages_s, strict=True)
        }
        times_ms["pipeline_latency_ms"] = (now_s - job.arrived_s) * 1e3
        if self._last_published_s is not None:
            times_ms["cyclic_time_ms"] = (now_s - self._last_published_s) * 1e3
        self._last_published_s = now_s
        self._outputs.publish_times(times_ms)
        self.health.count("frames_out")
        self.health.answered(
            report.masked, (now_s - started_s) * 1e3, now_s, _facts(parts, report, occupancy)
        )

    def _tell_reset(self, reason: str) -> None:
        self.get_logger().info(f"memory reset: {reason}")
        self.health.count("resets")

    def _on_failure(self, error: Exception) -> None:
        self.health.count("dropped")
        self.health.count("failed")
        kind = "" if isinstance(error, FrameError) else f"{type(error).__name__}: "
        if isinstance(error, torch.cuda.OutOfMemoryError):
            torch.cuda.empty_cache()
        text = f"a frame is dropped: {kind}{error}"
        self.health.failed(text)
        self._warn(f"failed {type(error).__name__}", text)

    # --- health ---

    def _make_health(self) -> Health:
        topics = {
            camera: self.resolve_topic_name(f"~/input/{camera}/image")
            for camera in self.config.cameras
        }
        topics["points"] = self.resolve_topic_name("~/input/points")
        silence_s = max(2.0, 3 * self.config.sync.frame_period_s)
        return Health(self.get_name(), topics, silence_s, self.config.max_processing_ms)

    def _tick(self) -> None:
        now_s = time.monotonic()
        # Ticks that found nothing new, not seconds: where the processor was taken away, messages
        # are still in the queues.
        self._silent_ticks += 1
        if self._silent_ticks == ceil(max(1.0, 2 * self.config.sync.timeout_s) / TICK_S):
            self.collector.signal(
                self.assembler.flush()
            )  # the inputs went silent: no stamp will end the waiting
        self._notice_refusals()
        self._suggest_offsets()
        stale, sources = [], {}
        newest = self.assembler.synchronizer.newest_ns
        if newest is not None:
            stale = self.assembler.context.stale(newest)
            sources = self.assembler.context.sources(newest)
        facts = self._input_counts() | {
            f"context_{topic}_from": source for topic, source in sources.items()
        }
        self.health.tell(facts, self._clock_trouble(now_s), stale)
        level, _ = self.health.overall(now_s)
        if level != self._last_level or now_s - self._last_diagnostics_s >= DIAGNOSTICS_PERIOD_S:
            self._last_level, self._last_diagnostics_s = level, now_s
            self._outputs.diagnostics.publish(
                self.health.message(self.get_clock().now().nanoseconds, now_s)
            )

    def _notice_refusals(self) -> None:
        """Says why sweeps got no answer, where the collector refused them."""
        sync = self.config.sync
        reasons = {
            "below_min_cameras": f"fewer than min_cameras ({sync.min_cameras}) cameras are fresh",
            "starting": f"cameras that never came are waited for ({sync.startup_grace_s} s from the first sweep on)",
            "no_pose": f"no pose in '{self.config.world_frame}' at the sweeps' stamps",
        }
        counts = self.assembler.synchronizer.counts + self.assembler.counts
        for name, text in reasons.items():
            if counts[name] > self._counted.get(name, 0):
                self.health.failed(text)
                self._warn(f"refused {name}", f"no output: {text}")
            self._counted[name] = counts[name]

    def _suggest_offsets(self) -> None:
        synchronizer = self.assembler.synchronizer
        sets = synchronizer.counts["sets"]
        if self._told_offsets or (sets or synchronizer.counts["idle"]) < 20:
            return
        self._told_offsets = True
        configured, found = synchronizer.offsets_s(), synchronizer.suggested_offsets_s()
        if any(
            abs(offset - configured[camera]) > self.config.sync.tolerance_s / 2
            for camera, offset in found.items()
        ):
            suggestion = [
                round(found.get(camera, configured[camera]), 3) for camera in self.config.cameras
            ]
            self.get_logger().info(
                "measured camera stamps minus LiDAR stamps suggest "
                f"sync.camera_offsets_s:={suggestion}"
            )

    def _clock_trouble(self, now_s: float) -> str:
        if not self.get_parameter("use_sim_time").value or self.get_clock().now().nanoseconds:
            return ""
        if now_s - self._started_s < CLOCK_PATIENCE_S:
            return ""
        text = "use_sim_time is set, but nothing comes on /clock; play the bag with --clock"
        self._warn("clock", text)
        return text

    def _input_counts(self) -> dict[str, str]:
        counts = self.assembler.synchronizer.counts + self.assembler.counts
        names = (
            "idle",
            "below_min_cameras",
            "out_of_order",
            "duplicates",
            "no_pose",
            "bad_headers",
            "empty_clouds",
        )
        return {name: str(counts[name]) for name in names} | {
            name: str(self.health.counted(name)) for name in ("corrupt_images", "malformed")
        }

    def _warn_of_input(self, key: str, text: str) -> None:
        self._warn(key, text)

    def _warn(self, key: str, text: str) -> None:
        """A warning, repeated only every few seconds while its cause lasts."""
        now_s = time.monotonic()
        with self._log_lock:
            if now_s - self._logged_s.get(key, -LOG_PERIOD_S) < LOG_PERIOD_S:
                return
            self._logged_s[key] = now_s
        self.get_logger().warning(text)


class _Outputs:
    """The node's publishers; a message is made only where somebody listens."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._markers = node.create_publisher(MarkerArray, "~/output/markers", 1)
        self._points = node.create_publisher(PointCloud2, "~/output/occupancy_points", 5)
        self._grid = node.create_publisher(OccupancyGrid, "~/output/occupancy_grid", 1)
        self.diagnostics = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        names = [f"processing_time/{stage}_ms" for stage in STAGES] + [
            "pipeline_latency_ms",
            "cyclic_time_ms",
        ]
        self._shares = node.create_publisher(Float64MultiArray, "~/debug/neighbour_shares", 10)
        self._weights = node.create_publisher(Float64MultiArray, "~/debug/sensor_weights", 10)
        self._times = {
            name: node.create_publisher(Float64, f"~/debug/{name}", 10) for name in names
        }

    def publish(
        self, occupancy: Occupancy, stamp: int, frame_id: str, vehicle_height_m: float
    ) -> None:
        labels, grid = occupancy.labels[0].numpy(), occupancy.grid
        if self._markers.get_subscription_count():
            self._markers.publish(marker_array_bytes(labels, grid, stamp, frame_id))
        if self._points.get_subscription_count():
            self._points.publish(
                occupancy_points_bytes(
                    labels, occupancy.probability[0].numpy(), grid, stamp, frame_id
                )
            )
        if self._grid.get_subscription_count():
            self._grid.publish(occupancy_grid(labels, grid, stamp, frame_id, vehicle_height_m))
        if occupancy.neighbour_shares:
            self._shares.publish(Float64MultiArray(data=list(occupancy.neighbour_shares)))
        if occupancy.sensor_weights:
            self._weights.publish(Float64MultiArray(data=list(occupancy.sensor_weights)))

    def publish_times(self, times_ms: Mapping[str, float]) -> None:
        for name, value in times_ms.items():
            self._times[name].publish(Float64(data=value))


def _keep_reset(old: _Job, new: _Job) -> _Job:
    """The newer frame wins, but a reset that the older one carried still has to happen."""
    return replace(
        new, parts=replace(new.parts, reset_reason=new.parts.reset_reason or old.parts.reset_reason)
    )


def _asked(qos: QoSProfile) -> str:
    return f"{qos.reliability.name.lower()}, {qos.durability.name.lower()}"


def _facts(parts: FrameParts, report: FrameReport, occupancy: Occupancy) -> dict[str, str]:
    weights = zip(
        ("weight_camera", "weight_lidar"), occupancy.sensor_weights, strict=False
    )  # none without WeathFusion
    return {
        "context_weather": parts.context.weather,
        "context_region": parts.context.region,
        "points": str(report.points),
        **{f"points_{name}": str(number) for name, number in report.points_dropped.items()},
        "sweeps": str(len(parts.sweeps)),
        "cameras": str(len(parts.cameras)),
        **{name: f"{weight:.3f}" for name, weight in weights},
    }
