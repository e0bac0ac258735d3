"""What a configured node runs: inputs are stored and matched, one worker runs the model, results
are published.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any

import torch
from rclpy.node import Node
from std_srvs.srv import Trigger

from occ_core.checkpoint import CheckpointError, load_checkpoint
from occ_core.engine import AnswerError, check_answer
from occ_core.export.package import read_description
from occ_core.types import Occupancy
from occ_perception_ros.assembler import FrameAssembler
from occ_perception_ros.calibration import load_calibration
from occ_perception_ros.diagnostics import Health
from occ_perception_ros.filters import FrameCollector
from occ_perception_ros.frame_parts import FrameParts
from occ_perception_ros.frames import Engine, FrameError, FrameReport, build_frame
from occ_perception_ros.inputs import Inputs, refuse_unknown_overrides
from occ_perception_ros.monitor import Monitor
from occ_perception_ros.node_config import NodeConfig
from occ_perception_ros.observation import seen_voxels
from occ_perception_ros.parameters import ParameterError
from occ_perception_ros.process import RunningClock, run_in_temporary_thread
from occ_perception_ros.publishers import STAGES, Publishers
from occ_perception_ros.ranges import ConfigError
from occ_perception_ros.refinement_budget import RefinementBudget
from occ_perception_ros.throttled_log import ThrottledLog, without_numbers
from occ_perception_ros.transforms import TransformTree
from occ_perception_ros.worker import Mailbox, Worker

TICK_S = 0.2
STOPPED_S = 1.0
"""Without a tick for this long, the process got no processor time."""

EngineFactory = Callable[[NodeConfig], tuple[Engine, tuple[int, int]]]
"""Creates the engine and returns it with the model's image size ``(height, width)``."""


@dataclass(frozen=True, slots=True)
class _Job:
    """A frame's parts for the worker, with monotonic times."""

    parts: FrameParts
    activation: int
    """Number of the activation in which the frame became complete."""
    arrived_s: float
    """Arrival of the LiDAR sweep."""
    completed_s: float
    """Arrival of the message that completed the frame."""


class Pipeline:
    """Subscriptions, model, worker and publishers of one configuration; at first it is inactive.

    While it is inactive, messages are still taken, so that the first frame after an activation has
    its sweeps, poses and calibration; frames are not answered.

    Args:
        node: on which subscriptions, publishers and the service ``~/reset`` are made; they are left
            to it.
        config: its parameters.
        make_engine: creates the engine.

    Raises:
        ParameterError: a file or parameter is not usable; the text lists all that are not.
    """

    def __init__(self, node: Node, config: NodeConfig, make_engine: EngineFactory) -> None:
        self._node = node
        self.config = config
        # rclpy tells lines apart by the place that logs them, so that each has a lambda.
        self._warn = ThrottledLog(lambda text: node.get_logger().warning(text))
        self._inform = ThrottledLog(lambda text: node.get_logger().info(text))
        self._last_published_s: float | None = None
        self._last_tick_s = time.monotonic()
        self._activations = 0
        self._is_active = False
        self._publishing = threading.Lock()
        """Held while an answer is published, so that none is after a deactivation."""
        self._reset_reason: str | None = None
        """Why the next frame must not use the memory."""
        self.health = self._make_health()
        problems: list[str] = []
        assembler: FrameAssembler | None = None
        with _collected(problems):
            assembler = FrameAssembler(config, self._warn, RunningClock())
        with _collected(problems):
            self._engine, self._image_size = make_engine(config)
        if assembler is not None:
            with _collected(problems):
                self._subscribe(assembler)
        if problems:
            raise ParameterError(*problems)
        self._budget = RefinementBudget(self._engine)
        self._outputs = Publishers(node, config.latched_grid)
        self._mailbox: Mailbox[_Job] = Mailbox(_keep_reset)
        self.worker: Worker[_Job] = Worker(
            self._mailbox, self._process, self._on_failure, config.max_failures
        )
        node.create_service(Trigger, "~/reset", self._on_reset)
        self.health.set_active(False, time.monotonic())
        self.worker.start()

    def _subscribe(self, assembler: FrameAssembler) -> None:
        """Makes the inputs.

        Raises:
            ParameterError: one cannot be made as the parameters want it.
        """
        self.assembler = assembler
        self.collector = FrameCollector(assembler, self._on_malformed)
        self.collector.registerCallback(self._submit)
        self._inputs = Inputs(self._node, self.config, self.collector, self.health, self._warn)
        refuse_unknown_overrides(self._node)
        self._monitor = Monitor(self._node, assembler, self.health, self._warn)

    def activate(self) -> None:
        """Answers the frames that become complete from now on."""
        self._activations += 1
        self._is_active = True
        self.health.set_active(True, time.monotonic())

    def deactivate(self) -> None:
        """Answers no more; not even the frame in work is published once this returns."""
        with self._publishing:
            self._is_active = False
        self._reset_reason = "the node was inactive"
        self.health.set_active(False, time.monotonic())

    def stop(self, timeout_s: float) -> bool:
        """Ends the worker after its current frame; returns whether it ended in time."""
        return self.worker.stop(timeout_s)

    def free_model(self) -> None:
        """Drops the model once the worker has ended, and not only with the last reference to this:
        the executor holds subscriptions and their callbacks a little longer.
        """
        del self._engine, self._budget

    def reconfigure(self, config: NodeConfig) -> None:
        """Uses other values of the dynamic parameters from the next frame on."""
        self.config = config
        self.assembler.reconfigure(config)
        self.health.set_limits(**_limits(config))

    def clock_jumped(self, now_ns: int) -> None:
        """Resets if the node's clock was set back to ``now_ns``."""
        self.assembler.clock_jumped(now_ns)

    def tick(self, now_s: float) -> None:
        """Does what no message triggers; to be called every ``TICK_S``."""
        if now_s - self._last_tick_s > STOPPED_S:
            self.health.resumed(now_s)
        self._last_tick_s = now_s
        self.collector.signal(self.assembler.poll())
        if self._inputs.count_silent_tick() == self._max_silent_ticks():
            # No stamp of a later message will end the wait of the pending frames.
            self.collector.signal(self.assembler.flush())
        self._monitor.tick(now_s)

    # --- callbacks of the executor's thread ---

    def _submit(self, parts: FrameParts) -> None:
        if not self._is_active:
            self.health.count("inactive")
            return
        if self._reset_reason is not None:
            parts = replace(parts, reset_reason=self._reset_reason)
            self._reset_reason = None
        now_s = time.monotonic()
        arrived_s = self._inputs.arrival_s(parts.stamp_ns, now_s)
        self.health.count("frames_in")
        if self._mailbox.put(_Job(parts, self._activations, arrived_s, now_s)):
            self.health.replaced(now_s)
            text = "a frame is dropped for a newer one: the model was still busy with another"
            self._warn("replaced", text)

    def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self.assembler.reset("requested by ~/reset")
        response.success = True
        response.message = "all data but the calibration are dropped; the next frame has no memory"
        return response

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
        parts, config = job.parts, self.config
        if not self._is_wanted(job):
            self._drop_unwanted()
            return
        started_s = time.monotonic()
        self.health.began(parts.stamp_ns, started_s)
        if parts.reset_reason is not None:
            self._engine.reset(parts.reset_reason)
            self._report_reset(parts.reset_reason)
        frame, report = build_frame(parts, config.cameras, self._image_size)
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
        with self._publishing:
            wanted = self._is_wanted(job)
            if wanted:
                self._outputs.publish(
                    occupancy,
                    parts.stamp_ns,
                    config.grid_frame,
                    config.vehicle_height_m,
                    config.marker_lifetime_s,
                    partial(seen_voxels, frame, parts, occupancy),
                )
        if not wanted:
            self._drop_unwanted()
            return
        published_s = time.monotonic()
        self._publish_times(job, started_s, decoded_s, stepped_s, published_s)
        self.health.count("frames_out")
        processing_ms = (published_s - started_s) * 1e3
        self._budget.adapt(processing_ms, config.latency_goal_ms)
        self.health.published(
            report.masked,
            processing_ms,
            published_s,
            _facts(parts, report, occupancy),
            reduced=self._budget.text(config.latency_goal_ms),
        )

    def _is_wanted(self, job: _Job) -> bool:
        """Whether the node is active, and has been since the frame became complete."""
        return self._is_active and job.activation == self._activations

    def _drop_unwanted(self) -> None:
        self.health.count("dropped")
        self.health.count("withdrawn")
        self.health.ended()

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
        self._inform(f"reset {without_numbers(reason)}", f"memory reset: {reason}")
        self.health.count("resets")

    def _on_failure(self, error: Exception) -> None:
        self.health.count("dropped")
        self.health.count("failed")
        kind = "" if isinstance(error, (FrameError, AnswerError)) else f"{type(error).__name__}: "
        text = f"a frame is dropped: {kind}{error}"
        if isinstance(error, torch.cuda.OutOfMemoryError):
            error.with_traceback(None)  # its frames hold what the model has computed so far
            torch.cuda.empty_cache()
            self.health.rejected(text)
        self.health.ended()
        self.health.failed(text)
        self._warn(f"failed {type(error).__name__}", text)

    # --- health ---

    def _make_health(self) -> Health:
        config, resolve = self.config, self._node.resolve_topic_name
        topics = {camera: resolve(f"~/input/{camera}/image") for camera in config.cameras}
        if config.lidar:
            topics["points"] = resolve("~/input/points")
        if config.pose_source == "odometry":
            topics["odometry"] = resolve("~/input/odometry")
        return Health(
            self._node.get_fully_qualified_name(),
            topics,
            **_limits(config),
            anchor=config.anchor,
            hardware_id=socket.gethostname(),
        )

    def _max_silent_ticks(self) -> int:
        return ceil(max(1.0, 2 * self.config.sync.timeout_s) / TICK_S)


def file_problems(config: NodeConfig) -> list[str]:
    """What is wrong with the files that parameters name, where other parameters are wrong too."""
    problems: list[str] = []
    if config.calibration_file:
        with _collected(problems):
            load_calibration(Path(config.calibration_file), TransformTree())
    if config.checkpoint:
        with _collected(problems):
            run_in_temporary_thread(lambda: load_checkpoint(config.checkpoint))
    if config.exported_model:
        with _collected(problems):
            read_description(Path(config.exported_model))
    return problems


@contextmanager
def _collected(problems: list[str]) -> Iterator[None]:
    """Appends the problems of files and parameters that the block raises, and goes on."""
    try:
        yield
    except ConfigError as error:
        problems += error.problems
    except (CheckpointError, OSError, ValueError) as error:
        problems.append(str(error))


def _limits(config: NodeConfig) -> dict[str, Any]:
    """The limits of the diagnostics."""
    return {
        "silence_s": max(2.0, 3 * config.sync.frame_period_s),
        "max_processing_ms": config.max_processing_ms,
        "grace_s": config.sync.startup_grace_s,
        "max_delays": config.max_delays,
        "clock_offset_s": config.max_clock_offset_s,
    }


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
