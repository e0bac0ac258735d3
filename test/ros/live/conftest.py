"""A graph of the live node and another one that plays a bag and listens, on rclpy."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import rclpy
import torch
from nav_msgs.msg import Odometry
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo, CompressedImage, PointCloud2
from std_msgs.msg import String
from torch import Tensor

from occ_core.types import Frame, Occupancy
from occ_core.voxel_grid import VoxelGrid
from occ_perception_ros.bags.reader import BagReader
from occ_perception_ros.filters import FrameCollector
from occ_perception_ros.node import OccupancyNode
from occ_perception_ros.node_config import NodeConfig
from occ_perception_ros.topics import preset_arguments

GRID = VoxelGrid((-40.0, -40.0, -4.0, 40.0, 40.0, 4.0), 1.0)
SIZE = (16, 24)
WAIT_S = 600.0
"""A limit for hangs; no test needs it."""
TYPES = {
    "image_rect_compressed": CompressedImage,
    "camera_info": CameraInfo,
    "lidar_top": PointCloud2,
    "odom": Odometry,
}
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class FakeEngine:
    """A voxel is occupied where there is a point; its class is 1 + the number of cameras."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.resets: list[str] = []
        self.fail_on: set[int] = set()
        self.gate: threading.Event | None = None
        self.spoil: Callable[[Tensor, Tensor], None] = lambda labels, probability: None
        """Changes an answer in place."""

    def step(self, frame: Frame) -> Occupancy:
        self.frames.append(frame)
        if self.gate is not None:
            self.gate.wait(WAIT_S)
        if len(self.frames) - 1 in self.fail_on:
            raise RuntimeError("made to fail")
        labels = torch.zeros((1, *GRID.shape), dtype=torch.uint8)
        index = GRID.index(frame.points[0][:, :3])
        index = index[GRID.contains(index)]
        labels[0, index[:, 0], index[:, 1], index[:, 2]] = 1 + int(frame.camera_mask.sum())
        probability = labels.float() / 16
        self.spoil(labels, probability)
        weights = (0.25, 0.75) if "rain" in frame.context[0].weather else (0.5, 0.5)
        return Occupancy(labels, probability, GRID, frame.stamp_ns, "lidar", sensor_weights=weights)

    def reset(self, reason: str) -> None:
        self.resets.append(reason)


class Graph:
    """The node and another that plays and listens, both spun by the test.

    Every message is received before the next one is published, and every frame is processed before
    the next one is complete, so that the results do not depend on the speed of the machine.
    """

    def __init__(self, bag: Path, namespace: str = "", **parameters: object) -> None:
        self.context = rclpy.Context()
        rclpy.init(args=["test", *preset_arguments("nuscenes")], context=self.context)
        self.engine = FakeEngine()
        self.image_size = SIZE
        self.received = 0
        """Messages that the node has received."""
        values = {
            "calibration_file": str(bag / "calibration.yaml"),
            "input_qos": "reliable",
            **parameters,
        }
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        self.node = OccupancyNode(
            self._make_engine,
            context=self.context,
            namespace=namespace,
            parameter_overrides=overrides,
        )
        self.node.health._silence_s = WAIT_S  # a busy machine is not a silent sensor
        self.other = Node("other", context=self.context, use_global_arguments=False)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.executor.add_node(self.other)
        with BagReader(bag) as reader:
            self.messages = [(raw.topic, bytes(raw.data)) for raw in reader.messages()]
        self.publishers: dict[str, Any] = {}
        for topic in {topic for topic, _ in self.messages}:
            kind = TYPES.get(topic.rsplit("/", 1)[-1])
            if kind is not None:
                self.publishers[topic] = self.other.create_publisher(kind, topic, 100)
            elif topic.startswith("/can/"):
                self.publishers[topic] = self.other.create_publisher(String, topic, LATCHED)
        self.listened: list[str] = []

    def _make_engine(self, config: NodeConfig) -> tuple[FakeEngine, tuple[int, int]]:
        return self.engine, self.image_size

    def listen(self, kind: Any, topic: str) -> list[Any]:
        """The list to which the topic's messages are appended."""
        messages: list[Any] = []
        self.other.create_subscription(kind, topic, messages.append, 100)
        self.listened.append(topic)
        return messages

    def until(self, done: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + WAIT_S
        while not done():
            assert time.monotonic() < deadline, f"no {what} in {WAIT_S} s"
            self.executor.spin_once(timeout_sec=0.02)

    def connect(self) -> None:
        """Waits until all publishers and subscribers have found one another."""
        publishers = self.publishers.values()
        self.until(lambda: all(p.get_subscription_count() for p in publishers), "subscribers")
        ends = [end for end in self.node.publishers if end.topic_name in self.listened]
        self.until(lambda: all(end.get_subscription_count() for end in ends), "listeners")

    def play(
        self,
        leave_out: str = "",
        first: int = 0,
        last: int | None = None,
        change: Callable[[str, bytes], bytes] = lambda topic, data: data,
    ) -> None:
        """Publishes the bag's messages in their order."""
        for topic, data in self.messages[first:last]:
            if topic in self.publishers and not (leave_out and topic.startswith(leave_out)):
                expected = self.received + 1
                self.publishers[topic].publish(change(topic, data))
                self.until(lambda n=expected: self.received >= n, f"message on {topic}")
                self.until(self.has_caught_up, "result")

    def burst(self) -> None:
        """Publishes the whole bag at once, while the node does not run."""
        for topic, data in self.messages:
            if topic in self.publishers:
                self.publishers[topic].publish(data)

    def status(self, name: str = "") -> Any:
        """The node's overall status, or that of an input."""
        message = self.node.health.message(0, time.monotonic())
        full = self.node.get_fully_qualified_name() + (f": {name}" if name else "")
        return next(status for status in message.status if status.name == full)

    def all_texts(self) -> str:
        """The texts of all statuses."""
        message = self.node.health.message(0, time.monotonic())
        return "; ".join(status.message for status in message.status)

    def has_caught_up(self) -> bool:
        """Whether the worker has processed all frames; behind the gate, whether it has begun."""
        frames_in, frames_out, dropped = self.counts()
        if self.engine.gate is not None and not self.engine.gate.is_set():
            return frames_in == 0 or bool(self.engine.frames)
        return frames_in == frames_out + dropped or self.node.worker.given_up

    def counts(self) -> tuple[int, ...]:
        """Frames in, frames out, and dropped frames."""
        names = ("frames_in", "frames_out", "dropped")
        return tuple(self.node.health.counted(name) for name in names)

    def settle(self, frames: int) -> None:
        """Waits until this number of frames is processed or dropped."""
        self.until(lambda: sum(self.counts()[1:]) >= frames, f"{frames} frames")

    def close(self) -> None:
        if self.engine.gate is not None:
            self.engine.gate.set()
        self.until(self.node.stop, "end of the worker")
        self.executor.shutdown()
        self.node.destroy_node()
        self.other.destroy_node()
        rclpy.shutdown(context=self.context)


@pytest.fixture
def graph(small_bag: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Graph]]:
    """Call it with parameters of the node, once."""
    made: list[Graph] = []
    feed = FrameCollector._feed

    def count(self: FrameCollector, *arguments: Any) -> None:
        feed(self, *arguments)
        made[0].received += 1

    monkeypatch.setattr(FrameCollector, "_feed", count)

    def make(**parameters: object) -> Graph:
        made.append(Graph(small_bag, **parameters))
        return made[0]

    yield make
    for live in made:
        live.close()
