"""Managed nodes on rclpy, and what drives and manages them. The vehicle is at rest and has a LiDAR
alone.
"""

from __future__ import annotations

import gc
import threading
import time
import weakref
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rclpy
import torch
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from nav_msgs.msg import Odometry
from rcl_interfaces.srv import SetParameters, SetParametersAtomically
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import PointCloud2, PointField

from occ_core.types import Frame, Occupancy
from occ_core.voxel_grid import VoxelGrid
from occ_perception_ros.node import OccupancyNode
from occ_perception_ros.node_config import NodeConfig

WAIT_S = 600.0
"""A limit for hangs; no test needs it."""
RESEND_S = 10.0
GRID = VoxelGrid((-4.0, -4.0, -4.0, 4.0, 4.0, 4.0), 4.0)
LIDAR_ALONE = {"cameras": [""], "sync.frame_period_s": 0.0, "input_qos": "reliable"}


class CountingEngine:
    """Keeps frames; with a gate, it waits there."""

    made: list[weakref.ref[CountingEngine]] = []
    max_refined = 16_000
    refined = 12_000

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.resets: list[str] = []
        self.gate: threading.Event | None = None
        CountingEngine.made.append(weakref.ref(self))

    def step(self, frame: Frame) -> Occupancy:
        self.frames.append(frame)
        if self.gate is not None:
            self.gate.wait(WAIT_S)
        labels = torch.zeros((1, 2, 2, 2), dtype=torch.uint8)
        labels[0, 0] = 1
        return Occupancy(labels, torch.full((1, 2, 2, 2), 0.5), GRID, frame.stamp_ns, "lidar_top")

    def reset(self, reason: str) -> None:
        self.resets.append(reason)


def sweep(second: int) -> PointCloud2:
    points = np.full((50, 4), 3.0, np.float32)
    fields = [PointField(name=n, offset=4 * i, datatype=7, count=1) for i, n in enumerate("xyzi")]
    fields[3].name = "intensity"
    data = array("B", points.tobytes())
    message = PointCloud2(height=1, width=50, fields=fields, point_step=16, row_step=800, data=data)
    message.header.stamp.sec, message.header.frame_id = second, "lidar_top"
    return message


def pose(second: int) -> Odometry:
    message = Odometry(child_frame_id="base_link")
    message.header.stamp.sec, message.header.frame_id = second, "map"
    message.pose.pose.orientation.w = 1.0
    return message


@dataclass
class Vehicle:
    """A node in a namespace, and another one that drives and manages it."""

    name: str
    """The node's fully qualified name."""
    driver: Node
    spin: Callable[[], None]
    made: OccupancyNode | None = None
    """The node, if it is one of this process."""
    answers: list[int] = field(default_factory=list)
    """Seconds of the stamps of the answers."""
    diagnostics: list[DiagnosticStatus] = field(default_factory=list)
    """The node's overall status over time."""

    def __post_init__(self) -> None:
        make = self.driver.create_publisher
        self._points = make(PointCloud2, f"{self.name}/input/points", 100)
        self._odometry = make(Odometry, f"{self.name}/input/odometry", 100)

        def hear(message: PointCloud2) -> None:
            self.answers.append(message.header.stamp.sec)

        output = f"{self.name}/output/occupancy_points"
        self.driver.create_subscription(PointCloud2, output, hear, 100)
        self.driver.create_subscription(DiagnosticArray, "/diagnostics", self._hear_status, 100)

    @property
    def node(self) -> OccupancyNode:
        assert self.made is not None
        return self.made

    def _hear_status(self, message: DiagnosticArray) -> None:
        self.diagnostics += [each for each in message.status if each.name == self.name]

    def until(self, done: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + WAIT_S
        while not done():
            assert time.monotonic() < deadline, f"no {what} in {WAIT_S} s"
            self.spin()

    def call(self, kind: Any, service: str, **request: Any) -> tuple[Any, bool]:
        """The answer, and whether the request was sent again: an answer is lost if the middleware
        finds the way back to a client later than the way there.
        """
        client = self.driver.create_client(kind, f"{self.name}/{service}")
        self.until(client.service_is_ready, service)
        futures: list[Any] = []
        sent_s = -RESEND_S

        def answered() -> bool:
            nonlocal sent_s
            if time.monotonic() - sent_s > RESEND_S:
                futures.append(client.call_async(kind.Request(**request)))
                sent_s = time.monotonic()
            return any(future.done() for future in futures)

        self.until(answered, f"answer of {service}")
        self.driver.destroy_client(client)
        answer = next(future.result() for future in futures if future.done())
        return answer, len(futures) > 1

    def change(self, transition: int) -> bool:
        before = self.state()
        request = Transition(id=transition)
        answer, resent = self.call(ChangeState, "change_state", transition=request)
        return bool(answer.success) or (resent and self.state() != before)

    def state(self) -> str:
        return str(self.call(GetState, "get_state")[0].current_state.label)

    def is_heard(self) -> bool:
        """Whether somebody has subscribed to both inputs."""
        ends = (self._points, self._odometry)
        return all(end.get_subscription_count() for end in ends)

    def connect(self) -> None:
        """Waits until the node and its driver have found one another."""
        self.until(self.is_heard, "subscribers")
        topic = f"{self.name}/output/occupancy_points"
        (output,) = (end for end in self.node.publishers if end.topic_name == topic)
        self.until(lambda: output.get_subscription_count() > 0, "listener")

    def drive(self, *seconds: int) -> None:
        """Sends sweeps with their poses, each once the one before has been answered or dropped."""
        for second in seconds:
            self.send(second)
            self.until(lambda stamp_ns=second * 10**9: self.has_taken(stamp_ns), f"sweep {second}")

    def send(self, second: int) -> None:
        self._odometry.publish(pose(second))
        self._points.publish(sweep(second))

    def has_taken(self, stamp_ns: int) -> bool:
        """Whether the sweep and its pose have arrived, and all frames so far are done."""
        count, assembler = self.node.health.counted, self.node.assembler
        is_in = assembler.synchronizer.newest_ns == stamp_ns and not assembler._awaiting_pose
        return is_in and count("frames_in") == count("frames_out") + count("dropped")

    def set(self, kind: Any = SetParameters, **values: Any) -> Any:
        """Sets parameters by a service; ``__`` in a name stands for a dot."""
        parameters = [
            Parameter(name.replace("__", "."), value=value).to_parameter_msg()
            for name, value in values.items()
        ]
        atomically = kind is SetParametersAtomically
        service = "set_parameters_atomically" if atomically else "set_parameters"
        answer, _ = self.call(kind, service, parameters=parameters)
        return answer.result if atomically else answer.results

    def entities(self) -> list[str]:
        """Topics and services of the node's own."""
        ends = [*self.node.publishers, *self.node.subscriptions]
        names = [end.topic_name for end in ends] + [each.srv_name for each in self.node.services]
        return sorted(name for name in names if "/occupancy_node/" in name)

    def hear(self, level: bytes, text: str) -> None:
        """Waits for a status."""
        self.until(
            lambda: any(s.level == level and text in s.message for s in self.diagnostics[-5:]),
            f"status {text!r}",
        )

    def hear_state(self, state: str) -> None:
        """Waits for a status that names the lifecycle state."""

        def is_heard() -> bool:
            values = self.diagnostics[-1].values if self.diagnostics else []
            return ("lifecycle_state", state) in [(pair.key, pair.value) for pair in values]

        self.until(is_heard, f"state {state!r}")


@dataclass
class Fleet:
    """Nodes of one process on one executor."""

    folder: Path
    nodes: list[Node] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.calibration = self.folder / "calibration.yaml"
        self.calibration.write_text(
            "frames:\n  lidar_top: {parent: base_link, translation: [0, 0, 2], "
            "rotation_xyzw: [0, 0, 0, 1]}\n"
        )

    def node(self, make_engine: Any, namespace: str = "", **parameters: Any) -> OccupancyNode:
        given = {name.replace("__", "."): value for name, value in parameters.items()}
        values = {**LIDAR_ALONE, "calibration_file": str(self.calibration), **given}
        made = OccupancyNode(
            make_engine,
            context=self.context,
            namespace=namespace,
            parameter_overrides=[Parameter(name, value=value) for name, value in values.items()],
        )
        self.nodes.append(made)
        self.executor.add_node(made)
        return made

    def vehicle(self, make_engine: Any, namespace: str = "", **parameters: Any) -> Vehicle:
        node = self.node(make_engine, namespace, **parameters)
        return self.driven(node.get_fully_qualified_name(), namespace, node)

    def driven(self, name: str, namespace: str, node: OccupancyNode | None = None) -> Vehicle:
        """A driver for the node of that name, which may be one of another process."""
        driver = Node("driver", context=self.context, namespace=namespace)
        self.nodes.append(driver)
        self.executor.add_node(driver)
        return Vehicle(name, driver, lambda: self.executor.spin_once(timeout_sec=0.02), node)

    @staticmethod
    def fresh(config: NodeConfig) -> tuple[CountingEngine, tuple[int, int]]:
        """A new engine, and the size of its images."""
        return CountingEngine(), (16, 24)

    @staticmethod
    def engines() -> int:
        """Number of engines in memory."""
        gc.collect()
        return sum(made() is not None for made in CountingEngine.made)

    @staticmethod
    def workers() -> int:
        """Number of threads that run an engine."""
        return sum(thread.name == "occupancy worker" for thread in threading.enumerate())

    def close(self) -> None:
        for node in self.nodes:
            if isinstance(node, OccupancyNode):
                assert node.stop()
        self.executor.shutdown()
        for node in self.nodes:
            node.destroy_node()
        rclpy.shutdown(context=self.context)


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    CountingEngine.made.clear()
    made = Fleet(tmp_path)
    yield made
    made.close()
