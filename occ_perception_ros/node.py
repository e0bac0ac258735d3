"""The ROS node: a managed (lifecycle) node, whose states make, start, stop and drop a pipeline."""

from __future__ import annotations

import gc
import socket
import time
from typing import Any

import torch
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType, JumpThreshold
from rclpy.duration import Duration
from rclpy.exceptions import ParameterException
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from occ_core.ops.allocator import return_freed_memory
from occ_perception_ros.assembler import FrameAssembler
from occ_perception_ros.diagnostics import Health
from occ_perception_ros.node_config import NodeConfig
from occ_perception_ros.parameters import ParameterError, Parameters
from occ_perception_ros.pipeline import TICK_S, EngineFactory, Pipeline, file_problems
from occ_perception_ros.sensor_health import NS
from occ_perception_ros.worker import Worker

DIAGNOSTICS_PERIOD_S = 1.0
STOP_TIMEOUT_S = 0.3
"""At the end a frame is waited for that is nearly done; others are given up."""
CLEAN_UP_TIMEOUT_S = 60.0
"""A frame may take seconds on a slow computer; a model that takes longer hangs."""
SUCCESS, FAILURE, ERROR = (
    TransitionCallbackReturn.SUCCESS,
    TransitionCallbackReturn.FAILURE,
    TransitionCallbackReturn.ERROR,
)


class OccupancyNode(LifecycleNode):
    """Semantic occupancy from cameras and LiDAR; docs/robot.md lists topics, parameters and states.

    With the parameter ``autostart`` it is active once it is made.

    Args:
        make_engine: called when the node is configured, with parameters that have been checked.
        node_options: passed to ``rclpy.node.Node``.

    Raises:
        ParameterError: with ``autostart``, parameters or files are not usable; the text lists all
            problems.
    """

    def __init__(self, make_engine: EngineFactory, **node_options: Any) -> None:
        try:
            super().__init__("occupancy_node", **node_options)
        except ParameterException as error:  # use_sim_time, which rclpy declares
            raise ParameterError(str(error)) from error
        self._make_engine = make_engine
        self._pipeline: Pipeline | None = None
        self._problem: Exception | None = None
        """Why the last attempt to configure failed."""
        self._state = "unconfigured"
        self._is_starting = False
        self._last_level: bytes | None = None
        self._last_diagnostics_s = 0.0
        try:
            self._declared = Parameters(self, NodeConfig, self._reconfigure)
            self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
            # Steady: with use_sim_time but no /clock, the node's own clock never fires a timer.
            self.create_timer(TICK_S, self._tick, clock=Clock(clock_type=ClockType.STEADY_TIME))
            self._clock_jumps = self.get_clock().create_jump_callback(
                JumpThreshold(
                    min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=False
                ),
                post_callback=self._on_clock_jump,
            )
            self._lasting: set[Any] = {*self.publishers, *self.subscriptions, *self.services}
            """What outlives a clean-up."""
            self._declared.lock(False)
            config, _ = self._declared.check()
            if config.autostart:
                self._start()
            else:
                self.get_logger().info("unconfigured; waiting for a lifecycle manager")
        except Exception:
            self.destroy_node()
            raise

    @property
    def pipeline(self) -> Pipeline:
        """What runs while the node is configured.

        Raises:
            RuntimeError: it is not.
        """
        if self._pipeline is None:
            raise RuntimeError(f"the node is {self._state}")
        return self._pipeline

    @property
    def config(self) -> NodeConfig:
        """The parameters of the configured node."""
        return self.pipeline.config

    @property
    def health(self) -> Health:
        """The health of the configured node."""
        return self.pipeline.health

    @property
    def worker(self) -> Worker[Any]:
        """The worker of the configured node."""
        return self.pipeline.worker

    @property
    def assembler(self) -> FrameAssembler:
        """The frame assembler of the configured node."""
        return self.pipeline.assembler

    @property
    def failure(self) -> str:
        """Why the node cannot go on, and its process has to end; empty: it can."""
        if self._pipeline is None:
            return ""
        if self._state == "finalized":
            return f"the model has not ended its frame in {CLEAN_UP_TIMEOUT_S:.0f} s"
        if self.worker.given_up:
            return f"{self.config.max_failures} frames in a row failed"
        return ""

    def stop(self) -> bool:
        """Ends the worker and returns whether it ended in time. The node must no longer spin."""
        return self._pipeline is None or self._pipeline.stop(STOP_TIMEOUT_S)

    # --- transitions ---

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Checks the parameters, loads the model, makes subscriptions and publishers."""
        try:
            self._configure()
        except Exception as error:
            self._problem = error
            self._destroy_made()
            if not self._is_starting:  # else it is raised
                problems: tuple[str, ...] = (f"{type(error).__name__}: {error}",)
                if isinstance(error, ParameterError):
                    problems = error.problems
                lines = "".join(f"\n  {problem}" for problem in problems)
                self.get_logger().error(f"the node cannot be configured:{lines}")
            return FAILURE
        self._problem = None
        self._state = "inactive"
        return SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Answers from now on."""
        self.pipeline.activate()
        self._state = "active"
        anchor = self.config.anchor
        kind, name = (
            ("point clouds", anchor) if self.config.lidar else ("images", f"{anchor}/image")
        )
        topic = self.resolve_topic_name(f"~/input/{name}")
        self.get_logger().info(f"ready; waiting for {kind} on '{topic}'")
        return SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Answers no more; the model stays loaded."""
        self.pipeline.deactivate()
        self._state = "inactive"
        return SUCCESS

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Drops model, subscriptions and publishers."""
        if not self._drop_pipeline():
            return ERROR
        self._state = "unconfigured"
        return SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Likewise, for good."""
        if not self._drop_pipeline():
            return ERROR
        self._state = "finalized"
        return SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Ends the node: a thread is lost in the model, see ``failure``."""
        self._state = "finalized"
        return FAILURE

    def _start(self) -> None:
        """Configures and activates the node.

        Raises:
            ParameterError: parameters or files are not usable.
        """
        self._is_starting = True
        self.trigger_configure()
        self._is_starting = False
        if self._problem is not None:
            raise self._problem
        self.trigger_activate()

    def _configure(self) -> None:
        """Makes the pipeline.

        Raises:
            ParameterError: parameters or files are not usable; the text lists all problems.
        """
        config, problems = self._declared.check()
        if problems:
            raise ParameterError(*problems, *file_problems(config))
        self._pipeline = Pipeline(self, config, self._make_engine)
        self._declared.lock()

    def _drop_pipeline(self) -> bool:
        """Ends the worker and frees everything; returns whether the worker ended in time."""
        if self._pipeline is not None:
            self._pipeline.deactivate()
            if not self._pipeline.stop(CLEAN_UP_TIMEOUT_S):
                return False
            self._pipeline.free_model()
        self._pipeline = None
        self._destroy_made()
        self._declared.lock(False)
        gc.collect()  # callbacks and what they belong to refer to one another
        torch.cuda.empty_cache()
        return_freed_memory()
        return True

    def _destroy_made(self) -> None:
        """Destroys what a configuration has made on the node."""
        for subscription in set(self.subscriptions) - self._lasting:
            self.destroy_subscription(subscription)
        for service in set(self.services) - self._lasting:
            self.destroy_service(service)
        for publisher in set(self.publishers) - self._lasting:
            self.destroy_publisher(publisher)

    # --- other callbacks ---

    def _reconfigure(self, config: NodeConfig) -> None:
        self.pipeline.reconfigure(config)

    def _on_clock_jump(self, jump: Any) -> None:
        if self._pipeline is not None:
            self._pipeline.clock_jumped(self.get_clock().now().nanoseconds)

    def _tick(self) -> None:
        now_s = time.monotonic()
        if self._pipeline is not None:
            self._pipeline.tick(now_s)
        stamp_ns = self.get_clock().now().nanoseconds
        message = self._diagnosis(stamp_ns, now_s)
        level = message.status[0].level
        if level != self._last_level or now_s - self._last_diagnostics_s >= DIAGNOSTICS_PERIOD_S:
            self._last_level, self._last_diagnostics_s = level, now_s
            self._diagnostics.publish(message)

    def _diagnosis(self, stamp_ns: int, now_s: float) -> DiagnosticArray:
        if self._pipeline is not None:
            return self._pipeline.health.message(stamp_ns, now_s)
        name, host = self.get_fully_qualified_name(), socket.gethostname()
        problem = "" if self._problem is None else str(self._problem)
        return _unconfigured_diagnostics(name, host, self._state, problem, stamp_ns)


def _unconfigured_diagnostics(
    name: str, hardware_id: str, state: str, problem: str, stamp_ns: int
) -> DiagnosticArray:
    """The only status of a node without sensors.

    Args:
        name: the node's fully qualified name.
        hardware_id: name of the computer.
        state: its lifecycle state.
        problem: why it could not be configured; empty: it was not asked to.
        stamp_ns: time of the message.
    """
    array = DiagnosticArray()
    array.header.stamp.sec, array.header.stamp.nanosec = divmod(stamp_ns, NS)
    status = DiagnosticStatus(
        level=DiagnosticStatus.ERROR if problem else DiagnosticStatus.OK,
        name=name,
        message=f"{state}: {problem}" if problem else state,
        hardware_id=hardware_id,
        values=[KeyValue(key="lifecycle_state", value=state)],
    )
    array.status.append(status)
    return array
