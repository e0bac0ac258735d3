"""The live node on rclpy: a bag's messages go in over DDS, results come out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import rclpy
import torch
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from nav_msgs.msg import OccupancyGrid, Odometry
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage, PointCloud2
from std_msgs.msg import Float64, Float64MultiArray, String
from std_srvs.srv import Trigger
from visualization_msgs.msg import MarkerArray

from occ_core.taxonomy import CLASS_NAMES
from occ_core.types import Frame, Occupancy
from occ_core.voxel_grid import VoxelGrid
from occ_perception_ros.assembler import AssemblerConfig, FrameAssembler
from occ_perception_ros.bags.reader import BagReader
from occ_perception_ros.filters import FrameCollector
from occ_perception_ros.frames import build_frame
from occ_perception_ros.node import OccupancyNode
from occ_perception_ros.outputs import occupancy_points
from occ_perception_ros.parameters import NodeConfig
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
        weights = (0.25, 0.75) if "rain" in frame.context[0].weather else (0.5, 0.5)
        return Occupancy(
            labels, labels.float() / 16, GRID, frame.stamp_ns, "lidar", sensor_weights=weights
        )

    def reset(self, reason: str) -> None:
        self.resets.append(reason)


class Graph:
    """The node and another that plays and listens, both spun by the test.

    Every message is received before the next one is published, and every frame is processed before
    the next one is complete, so that the results do not depend on the speed of the machine.
    """

    def __init__(self, bag: Path, **parameters: object) -> None:
        self.context = rclpy.Context()
        rclpy.init(args=["test", *preset_arguments("nuscenes")], context=self.context)
        self.engine = FakeEngine()
        self.received = 0
        """Messages that the node has received."""
        values = {
            "calibration_file": str(bag / "calibration.yaml"),
            "input_qos": "reliable",
            **parameters,
        }
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        self.node = OccupancyNode(
            self._make_engine, context=self.context, parameter_overrides=overrides
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
        return self.engine, SIZE

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


def test_every_keyframe_is_published_on_every_topic(graph: Callable[..., Graph]) -> None:
    live = graph()
    points = live.listen(PointCloud2, "/occupancy_node/output/occupancy_points")
    markers = live.listen(MarkerArray, "/occupancy_node/output/markers")
    grids = live.listen(OccupancyGrid, "/occupancy_node/output/occupancy_grid")
    stages = ("decode", "model", "publish", "total")
    times = [live.listen(Float64, f"/occupancy_node/debug/processing_time/{s}_ms") for s in stages]
    latencies = live.listen(Float64, "/occupancy_node/debug/pipeline_latency_ms")
    live.connect()
    live.play()
    live.until(lambda: all(len(got) >= 3 for got in (points, latencies, *times)), "outputs")
    live.until(lambda: bool(markers and grids), "markers and grid")
    assert live.counts() == (3, 3, 0)
    clouds = [data for topic, data in live.messages if topic == "/lidar_top"]
    stamps = [deserialize_message(cloud, PointCloud2).header.stamp for cloud in clouds]
    assert [m.header.stamp for m in points] == [stamps[0], stamps[10], stamps[20]]
    assert {m.header.frame_id for m in (*points, *markers[-1].markers, *grids)} == {"lidar_top"}
    expected = FakeEngine().step(live.engine.frames[0])
    stamp_ns = live.engine.frames[0].stamp_ns[0]
    assert points[0] == occupancy_points(
        expected.labels[0].numpy(), expected.probability[0].numpy(), GRID, stamp_ns, "lidar_top"
    )
    # 1 + six cameras
    assert {marker.ns for marker in markers[-1].markers if marker.points} == {CLASS_NAMES[7]}
    decode, model, publish, total = (got[0].data for got in times)
    assert total == pytest.approx(decode + model + publish) and latencies[0].data >= total
    assert [frame.context[0].weather for frame in live.engine.frames] == ["rain at night"] * 3


def test_nothing_is_built_without_a_subscriber(
    graph: Callable[..., Graph], monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object) -> None:
        raise AssertionError("built without a subscriber")

    for name in ("marker_array_bytes", "occupancy_points", "occupancy_grid"):
        monkeypatch.setattr(f"occ_perception_ros.publishers.{name}", forbidden)
    live = graph()
    live.connect()
    live.play()
    assert live.counts() == (3, 3, 0)


def test_a_camera_without_images_is_masked_and_named(graph: Callable[..., Graph]) -> None:
    live = graph(**{"sync.startup_grace_s": 0.0})
    diagnostics = live.listen(DiagnosticArray, "/diagnostics")
    live.connect()
    live.play(leave_out="/cam_back/")
    live.settle(3)
    assert [int(frame.camera_mask.sum()) for frame in live.engine.frames] == [5, 5, 5]

    def warned() -> bool:
        statuses = [array.status[0] for array in diagnostics]
        text = "camera 'cam_back' is masked: never received"
        return (DiagnosticStatus.WARN, text) in [(s.level, s.message) for s in statuses]

    live.until(warned, "warning about cam_back")


@pytest.mark.parametrize("published", [True, False], ids=["published", "absent"])
def test_the_context_is_used_but_not_waited_for(
    published: bool, graph: Callable[..., Graph]
) -> None:
    live = graph()
    diagnostics = live.listen(DiagnosticArray, "/diagnostics")
    weights = live.listen(Float64MultiArray, "/occupancy_node/debug/sensor_weights")
    live.connect()
    live.play(leave_out="" if published else "/can/", change=_in_free_text)
    live.until(lambda: len(weights) >= 3, "weights")
    assert live.counts() == (3, 3, 0)
    expected = [0.25, 0.75] if published else [0.5, 0.5]
    assert [list(message.data) for message in weights] == [expected] * 3

    def facts() -> dict[str, str]:
        status = diagnostics[-1].status[0] if diagnostics else DiagnosticStatus()
        return {pair.key: pair.value for pair in status.values}

    weight = f"{expected[1]:.3f}"
    live.until(lambda: facts().get("weight_lidar") == weight, "diagnostics of the weights")
    live.until(lambda: "context_weather_from" in facts(), "source of the weather")
    assert facts()["context_weather"] == ("rain" if published else "unknown")
    source = "topic" if published else "default: no message on the topic"
    assert facts()["context_weather_from"] == source


def _in_free_text(topic: str, data: bytes) -> bytes:
    return serialize_message(String(data="Raining, wet road")) if topic == "/can/weather" else data


def test_silence_ends_the_wait_for_an_image(graph: Callable[..., Graph]) -> None:
    live = graph()
    live.connect()
    topics = [topic for topic, _ in live.messages]
    last_image = max(i for i, t in enumerate(topics) if t == "/cam_back/image_rect_compressed")
    live.play(last=last_image)
    live.play(first=last_image + 1)
    live.settle(3)
    assert [int(frame.camera_mask.sum()) for frame in live.engine.frames] == [6, 6, 5]


def test_a_corrupt_image_is_masked_and_counted(graph: Callable[..., Graph]) -> None:
    def truncate(topic: str, data: bytes) -> bytes:
        if topic != "/cam_front/image_rect_compressed":
            return data
        message = deserialize_message(data, CompressedImage)
        message.data = message.data[: len(message.data) // 2]
        return bytes(serialize_message(message))

    live = graph()
    live.connect()
    live.play(change=truncate)
    assert [int(frame.camera_mask.sum()) for frame in live.engine.frames] == [5, 5, 5]
    assert live.node.health.counted("corrupt_images") == 3


def test_a_frame_that_fails_is_dropped_and_the_next_works(graph: Callable[..., Graph]) -> None:
    live = graph()
    live.engine.fail_on = {1}
    live.connect()
    live.play()
    assert live.counts() == (3, 2, 1) and live.node.health.counted("failed") == 1
    assert not live.node.worker.given_up


def test_failures_in_a_row_end_the_worker(graph: Callable[..., Graph]) -> None:
    live = graph(max_failures=2)
    live.engine.fail_on = {0, 1, 2}
    live.connect()
    live.play()
    live.until(lambda: live.node.worker.given_up, "end of the worker")


def test_a_slow_model_gets_the_newest_frame_and_the_dropped_one_is_counted(
    graph: Callable[..., Graph],
) -> None:
    live = graph()
    live.engine.gate = threading.Event()
    live.connect()
    live.play()
    assert live.counts() == (3, 0, 1)  # the first is in the model; the third replaced the second
    live.engine.gate.set()
    live.settle(3)
    assert live.counts() == (3, 2, 1)
    first, third = (frame.stamp_ns[0] for frame in live.engine.frames)
    assert third - first == 1_000_000_000


def test_a_loop_resets_once_and_gives_the_same_frames(graph: Callable[..., Graph]) -> None:
    live = graph()
    live.connect()
    live.play()
    live.play()
    first, second = live.engine.frames[:3], live.engine.frames[3:]
    assert len(live.engine.resets) == 1 and "went back" in live.engine.resets[0]
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a.images, b.images) and torch.equal(a.points[0], b.points[0])
        assert a.stamp_ns == b.stamp_ns


def test_the_reset_service(graph: Callable[..., Graph]) -> None:
    live = graph()
    live.connect()
    half = len(live.messages) // 2
    live.play(last=half)
    client = live.other.create_client(Trigger, "/occupancy_node/reset")
    live.until(client.service_is_ready, "service")
    future = client.call_async(Trigger.Request())
    live.until(future.done, "response")
    assert future.result().success
    live.play(first=half)
    assert live.engine.resets == ["requested by ~/reset"]
    assert live.node.health.counted("resets") == 1


def test_live_frames_equal_those_of_an_assembler_on_the_bag(
    graph: Callable[..., Graph], small_bag: Path
) -> None:
    live = graph()
    live.connect()
    live.play()
    config = AssemblerConfig(calibration_file=str(small_bag / "calibration.yaml"))
    assembler, parts = FrameAssembler(config), []
    adders: dict[str, Any] = {"lidar_top": assembler.add_points, "odom": assembler.add_odometry}
    with BagReader(small_bag) as reader:
        for raw in reader.messages():
            name, _, last = raw.topic.strip("/").partition("/")
            if name in adders:
                parts += adders[name](reader.decode(raw))
            elif last == "camera_info":
                parts += assembler.add_camera_info(name, reader.decode(raw))
            elif last == "image_rect_compressed":
                parts += assembler.add_image(name, reader.decode(raw))
    offline = [build_frame(part, config.cameras, SIZE)[0] for part in parts + assembler.flush()]
    for ours, expected in zip(live.engine.frames, offline, strict=True):
        for name in ("images", "camera_mask", "intrinsics", "grid_from_camera", "world_from_grid"):
            assert torch.equal(getattr(ours, name), getattr(expected, name)), name
        assert torch.equal(ours.points[0], expected.points[0])
        assert ours.stamp_ns == expected.stamp_ns
