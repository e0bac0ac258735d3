"""The ROS node: inputs are stored and matched, one worker runs the model, results are published."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

import torch
from rclpy.clock import Clock, ClockType, JumpThreshold
from rclpy.duration import Duration
from rclpy.node import Node
from std_srvs.srv import Trigger

from occ_core.engine import AnswerError, check_answer
from occ_core.types import Occupancy
from occ_perception_ros.assembler import FrameAssembler
from occ_perception_ros.diagnostics import Health
from occ_perception_ros.filters import FrameCollector
from occ_perception_ros.frame_parts import FrameParts
from occ_perception_ros.frames import Engine, FrameError, FrameReport, build_frame
from occ_perception_ros.inputs import Inputs, refuse_unknown_overrides
from occ_perception_ros.monitor import Monitor
from occ_perception_ros.parameters import NodeConfig, ParameterError, declare
from occ_perception_ros.process import RunningClock
from occ_perception_ros.publishers import STAGES, Publishers
from occ_perception_ros.worker import Mailbox, Worker

LOG_PERIOD_S = 5.0
TICK_S = 0.2
DIAGNOSTICS_PERIOD_S = 1.0
STOPPED_S = 1.0
"""Without a tick for this long, the process got no processor time."""
STOP_TIMEOUT_S = 2.0

EngineFactory = Callable[[NodeConfig], tuple[Engine, tuple[int, int]]]
"""Creates the engine and returns it with the model's image size ``(height, width)``."""


@dataclass(frozen=True, slots=True)
class _Job:
    """A frame's parts for the worker, with monotonic times."""

    parts: FrameParts
    arrived_s: float
    """Arrival of the LiDAR sweep."""
    completed_s: float
    """Arrival of the message that completed the frame."""


class OccupancyNode(Node):
    """Semantic occupancy from cameras and LiDAR; docs/robot.md lists topics and parameters.

    Args:
        make_engine: called after the parameters have been checked.
        node_options: passed to ``rclpy.node.Node``.

    Raises:
        ParameterError: a parameter or the calibration file is not usable.
        CheckpointError: the checkpoint is not usable.
    """

    def __init__(self, make_engine: EngineFactory, **node_options: Any) -> None:
        super().__init__("occupancy_node", **node_options)
        self.config = declare(self, NodeConfig)
        self._logged_s: dict[str, float] = {}
        self._log_lock = threading.Lock()
        try:
            self.assembler = FrameAssembler(self.config, self._warn, RunningClock())
        except (OSError, ValueError) as error:
            raise ParameterError(str(error)) from error
        self._engine, self._image_size = make_engine(self.config)
        self._outputs = Publishers(self)
        self.health = self._make_health()
        self._last_published_s: float | None = None
        self._last_level: bytes | None = None
        self._last_diagnostics_s = 0.0
        self._last_tick_s = time.monotonic()
        self._mailbox: Mailbox[_Job] = Mailbox(_keep_reset)
        self.worker: Worker[_Job] = Worker(
            self._mailbox, self._process, self._on_failure, self.config.max_failures
        )
        self.collector = FrameCollector(self.assembler, self._on_malformed)
        self.collector.registerCallback(self._submit)
        self._inputs = Inputs(self, self.config, self.collector, self.health, self._warn)
        refuse_unknown_overrides(self)
        self._monitor = Monitor(self, self.assembler, self.health, self._warn)
        self.create_service(Trigger, "~/reset", self._on_reset)
        # A steady clock: with use_sim_time but no /clock, the node's own clock never fires a timer.
        self.create_timer(TICK_S, self._tick, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._clock_jumps = self.get_clock().create_jump_callback(
            JumpThreshold(
                min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=False
            ),
            post_callback=self._on_clock_jump,
        )
        self.worker.start()

    def stop(self) -> bool:
        """Ends the worker and returns whether it ended in time. The node must no longer spin."""
        return self.worker.stop(STOP_TIMEOUT_S)

    # --- callbacks of the executor's thread ---

    def _submit(self, parts: FrameParts) -> None:
        now_s = time.monotonic()
        self.health.count("frames_in")
        if self._mailbox.put(_Job(parts, self._inputs.arrival_s(parts.stamp_ns, now_s), now_s)):
            self.health.replaced(now_s)
            text = "a frame is dropped for a newer one: the model was still busy with another"
            self._warn("replaced", text)

    def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self.assembler.reset("requested by ~/reset")
        response.success = True
        response.message = "all data but the calibration are dropped; the next frame has no memory"
        return response

    def _on_clock_jump(self, jump: Any) -> None:
        self.assembler.clock_jumped(self.get_clock().now().nanoseconds)

    def _on_malformed(self, error: Exception) -> None:
        self.health.count("malformed")
        kind = type(error).__name__
        self._warn(f"malformed {kind}", f"a message is ignored: {kind}: {error}")

    # --- the worker's thread ---

    def _process(self, job: _Job) -> None:
        try:
            self._process_frame(job)
        except FrameError as error:
            # The fault of a sensor, not a failure of the node, which would end it after a while.
            self._on_failure(error)
        except AnswerError as error:
            # As the cause may be in the memory, the next frame must not depend on it.
            self._engine.reset(str(error))
            self._report_reset(str(error))
            self._on_failure(error)
            self.health.rejected(f"an answer was not published: {error}")

    def _process_frame(self, job: _Job) -> None:
        parts = job.parts
        started_s = time.monotonic()
        self.health.began(parts.stamp_ns, started_s)
        if parts.reset_reason is not None:
            self._engine.reset(parts.reset_reason)
            self._report_reset(parts.reset_reason)
        frame, report = build_frame(parts, self.config.cameras, self._image_size)
        for camera in report.masked.keys() - parts.masked.keys():
            self.health.count("corrupt_images")
            self._warn(f"masked {camera}", f"camera '{camera}' is masked: {report.masked[camera]}")
        for key, text in report.warnings.items():
            self.health.count(key)
            self._warn(key, text)
        decoded_s = time.monotonic()
        occupancy = self._engine.step(frame)
        check_answer(frame, occupancy)
        stepped_s = time.monotonic()
        if occupancy.memory_reset is not None:
            self._report_reset(occupancy.memory_reset)
        self._outputs.publish(
            occupancy, parts.stamp_ns, self.config.grid_frame, self.config.vehicle_height_m
        )
        published_s = time.monotonic()
        self._publish_times(job, started_s, decoded_s, stepped_s, published_s)
        self.health.count("frames_out")
        processing_ms = (published_s - started_s) * 1e3
        facts = _facts(parts, report, occupancy)
        self.health.published(report.masked, processing_ms, published_s, facts)

    def _publish_times(
        self, job: _Job, started_s: float, decoded_s: float, stepped_s: float, published_s: float
    ) -> None:
        stages_s = (
            job.completed_s - job.arrived_s,
            decoded_s - started_s,
            stepped_s - decoded_s,
            published_s - stepped_s,
            published_s - started_s,
        )
        times_ms = {
            f"processing_time/{stage}_ms": seconds * 1e3
            for stage, seconds in zip(STAGES, stages_s, strict=True)
        }
        times_ms["pipeline_latency_ms"] = (published_s - job.arrived_s) * 1e3
        if self._last_published_s is not None:
            times_ms["cyclic_time_ms"] = (published_s - self._last_published_s) * 1e3
        self._last_published_s = published_s
        self._outputs.publish_times(times_ms)

    def _report_reset(self, reason: str) -> None:
        self.get_logger().info(f"memory reset: {reason}")
        self.health.count("resets")

    def _on_failure(self, error: Exception) -> None:
        self.health.count("dropped")
        self.health.count("failed")
        kind = "" if isinstance(error, (FrameError, AnswerError)) else f"{type(error).__name__}: "
        if isinstance(error, torch.cuda.OutOfMemoryError):
            torch.cuda.empty_cache()
        text = f"a frame is dropped: {kind}{error}"
        self.health.ended()
        self.health.failed(text)
        self._warn(f"failed {type(error).__name__}", text)

    # --- health ---

    def _make_health(self) -> Health:
        topics = {
            camera: self.resolve_topic_name(f"~/input/{camera}/image")
            for camera in self.config.cameras
        }
        if self.config.lidar:
            topics["points"] = self.resolve_topic_name("~/input/points")
        if self.config.pose_source == "odometry":
            topics["odometry"] = self.resolve_topic_name("~/input/odometry")
        return Health(
            self.get_fully_qualified_name(),
            topics,
            silence_s=max(2.0, 3 * self.config.sync.frame_period_s),
            max_processing_ms=self.config.max_processing_ms,
            anchor=self.config.anchor,
            grace_s=self.config.sync.startup_grace_s,
            max_delays=self.config.max_delays,
            clock_offset_s=self.config.max_clock_offset_s,
            hardware_id=socket.gethostname(),
        )

    def _tick(self) -> None:
        now_s = time.monotonic()
        if now_s - self._last_tick_s > STOPPED_S:
            self.health.resumed(now_s)
        self._last_tick_s = now_s
        self.collector.signal(self.assembler.poll())
        if self._inputs.count_silent_tick() == self._max_silent_ticks():
            # No stamp of a later message will end the wait of the pending frames.
            self.collector.signal(self.assembler.flush())
        self._monitor.tick(now_s)
        level, _ = self.health.overall(now_s)
        if level != self._last_level or now_s - self._last_diagnostics_s >= DIAGNOSTICS_PERIOD_S:
            self._last_level, self._last_diagnostics_s = level, now_s
            message = self.health.message(self.get_clock().now().nanoseconds, now_s)
            self._outputs.publish_diagnostics(message)

    def _max_silent_ticks(self) -> int:
        return ceil(max(1.0, 2 * self.config.sync.timeout_s) / TICK_S)

    def _warn(self, key: str, text: str) -> None:
        """Logs a warning; warnings of the same key at most every ``LOG_PERIOD_S``."""
        now_s = time.monotonic()
        with self._log_lock:
            if now_s - self._logged_s.get(key, -LOG_PERIOD_S) < LOG_PERIOD_S:
                return
            self._logged_s[key] = now_s
        self.get_logger().warning(text)


def _keep_reset(old: _Job, new: _Job) -> _Job:
    """The newer job, with the reset of the older one if it has none of its own."""
    reset_reason = new.parts.reset_reason or old.parts.reset_reason
    return replace(new, parts=replace(new.parts, reset_reason=reset_reason))


def _facts(parts: FrameParts, report: FrameReport, occupancy: Occupancy) -> dict[str, str]:
    # Without a WeatherFusion there are no weights.
    weights = zip(("weight_camera", "weight_lidar"), occupancy.sensor_weights, strict=False)
    return {
        "context_weather": parts.context.weather,
        "context_region": parts.context.region,
        "points": str(report.points),
        **{f"points_{name}": str(number) for name, number in report.points_dropped.items()},
        "sweeps": str(len(parts.sweeps)),
        "cameras": str(len(parts.cameras)),
        **{name: f"{weight:.3f}" for name, weight in weights},
    }
