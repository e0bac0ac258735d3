"""The live node on rclpy: a bag's messages go in over DDS, answers come out; and the node as a
process.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
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

from occ_core.build import build_model
from occ_core.checkpoint import save_checkpoint
from occ_core.config import PRESETS
from occ_core.taxonomy import CLASS_NAMES
from occ_core.types import Frame, Occupancy
from occ_core.voxel_grid import VoxelGrid
from occ_perception_ros.assembler import AssemblerConfig, FrameAssembler
from occ_perception_ros.bags.reader import BagReader
from occ_perception_ros.frames import build_frame
from occ_perception_ros.node import STOP_TIMEOUT_S, OccupancyNode
from occ_perception_ros.occupancy_node import run
from occ_perception_ros.outputs import occupancy_points
from occ_perception_ros.parameters import NodeConfig
from occ_perception_ros.topics import preset_arguments

GRID = VoxelGrid((-40.0, -40.0, -4.0, 40.0, 40.0, 4.0), 1.0)
SIZE = (16, 24)
WAIT_S = 60.0
TYPES = {
    "image_rect_compressed": CompressedImage,
    "camera_info": CameraInfo,
    "lidar_top": PointCloud2,
    "odom": Odometry,
}
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class FakeEngine:
    """A voxel is occupied where a point is; its class tells how many cameras took part."""

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
    """The node, a player and a listener, spun by the test."""

    def __init__(self, bag: Path, **parameters: object) -> None:
        self.context = rclpy.Context()
        rclpy.init(args=["test", *preset_arguments("nuscenes")], context=self.context)
        self.engine = FakeEngine()
        values = {
            "calibration_file": str(bag / "calibration.yaml"),
            "input_qos": "reliable",
            **parameters,
        }
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        self.node = OccupancyNode(
            self._make_engine, context=self.context, parameter_overrides=overrides
        )
        self.other = Node("other", context=self.context, use_global_arguments=False)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.executor.add_node(self.other)
        with BagReader(bag) as reader:
            self.messages = [
                (raw.topic, bytes(raw.data)) for raw in reader.messages(list(reader.topics))
            ]
        self.publishers: dict[str, Any] = {}
        for topic in {topic for topic, _ in self.messages}:
            kind = TYPES.get(topic.rsplit("/", 1)[-1])
            if kind is not None:
                self.publishers[topic] = self.other.create_publisher(kind, topic, 100)
            elif topic.startswith("/can/"):
                self.publishers[topic] = self.other.create_publisher(String, topic, LATCHED)
        self.received: dict[str, list[Any]] = {}

    def _make_engine(self, config: NodeConfig) -> tuple[FakeEngine, tuple[int, int]]:
        return self.engine, SIZE

    def listen(self, kind: Any, topic: str, raw: bool = False) -> list[Any]:
        received = self.received.setdefault(topic, [])
        self.other.create_subscription(kind, topic, received.append, 100, raw=raw)
        return received

    def until(self, done: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + WAIT_S
        while not done():
            assert time.monotonic() < deadline, f"waited in vain for {what}"
            self.executor.spin_once(timeout_sec=0.02)

    def connect(self) -> None:
        """Waits until everybody has found everybody."""
        self.until(
            lambda: all(p.get_subscription_count() for p in self.publishers.values()),
            "subscriptions",
        )
        for topic in self.received:
            self.until(
                lambda topic=topic: self.other.count_publishers(topic) > 0, f"publisher of {topic}"
            )

    def play(
        self,
        leave_out: str = "",
        first: int = 0,
        last: int | None = None,
        change: Callable[[str, bytes], bytes] = lambda topic, data: data,
    ) -> None:
        """Publishes the bag's messages in their order, as fast as they are taken."""
        for topic, data in self.messages[first:last]:
            if topic in self.publishers and not (leave_out and topic.startswith(leave_out)):
                self.publishers[topic].publish(change(topic, data))
                for _ in range(3):
                    self.executor.spin_once(timeout_sec=0.002)

    def counts(self) -> tuple[int, int, int]:
        return tuple(
            self.node.health.counted(name) for name in ("frames_in", "frames_out", "dropped")
        )  # type: ignore[return-value]

    def settle(self, frames: int) -> None:
        """Waits until so many frames are answered or lost."""
        self.until(
            lambda: sum(self.counts()[1:]) >= frames, f"{frames} frames; {self.counts()} came"
        )

    def close(self) -> None:
        if self.engine.gate is not None:
            self.engine.gate.set()
        assert self.node.stop()
        self.executor.shutdown()
        self.node.destroy_node()
        self.other.destroy_node()
        rclpy.shutdown(context=self.context)


@pytest.fixture
def graph(small_bag: Path) -> Iterator[Callable[..., Graph]]:
    made: list[Graph] = []

    def make(**parameters: object) -> Graph:
        made.append(Graph(small_bag, **parameters))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_every_keyframe_is_answered_on_every_topic(graph: Callable[..., Graph]) -> None:
    live = graph()
    points = live.listen(PointCloud2, "/occupancy_node/output/occupancy_points")
    markers = live.listen(MarkerArray, "/occupancy_node/output/markers")
    grids = live.listen(OccupancyGrid, "/occupancy_node/output/occupancy_grid")
    totals = live.listen(Float64, "/occupancy_node/debug/processing_time/total_ms")
    latencies = live.listen(Float64, "/occupancy_node/debug/pipeline_latency_ms")
    live.connect()
    live.play()
    live.settle(3)
    live.until(lambda: all(len(got) >= 3 for got in (points, totals, latencies)), "outputs")
    live.until(lambda: bool(markers and grids), "markers and grid")
    assert live.counts() == (3, 3, 0)
    stamps = [stamp for topic, stamp in _stamps(live) if topic == "/lidar_top"]
    assert [(m.header.stamp.sec, m.header.stamp.nanosec) for m in points] == [
        stamps[0],
        stamps[10],
        stamps[20],
    ]
    assert {m.header.frame_id for m in (*points, *markers[-1].markers, *grids)} == {"lidar_top"}
    expected = FakeEngine().step(live.engine.frames[0])
    stamp_ns = live.engine.frames[0].stamp_ns[0]
    assert points[0] == occupancy_points(
        expected.labels[0].numpy(), expected.probability[0].numpy(), GRID, stamp_ns, "lidar_top"
    )
    assert {marker.ns for marker in markers[-1].markers if marker.points} == {
        CLASS_NAMES[7]
    }  # 1 + six cameras
    assert 0 < totals[0].data < 60_000 and latencies[0].data > 0
    assert [frame.context[0].weather for frame in live.engine.frames] == ["rain at night"] * 3


def _stamps(live: Graph) -> list[tuple[str, tuple[int, int]]]:
    found = []
    for topic, data in live.messages:
        kind = TYPES.get(topic.rsplit("/", 1)[-1])
        if kind is not None:
            stamp = deserialize_message(data, kind).header.stamp
            found.append((topic, (stamp.sec, stamp.nanosec)))
    return found


def test_nothing_is_built_when_nobody_listens(
    graph: Callable[..., Graph], monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object) -> None:
        raise AssertionError("built without a listener")

    for name in ("marker_array_bytes", "occupancy_points_bytes", "occupancy_grid"):
        monkeypatch.setattr(f"occ_perception_ros.node.{name}", forbidden)
    live = graph()
    live.connect()
    live.play()
    live.settle(3)
    assert live.counts() == (3, 3, 0)


def test_a_camera_that_never_comes_is_masked_and_named(graph: Callable[..., Graph]) -> None:
    live = graph(**{"sync.startup_grace_s": 0.0})
    diagnostics = live.listen(DiagnosticArray, "/diagnostics")
    live.connect()
    live.play(leave_out="/cam_back/")
    live.settle(3)
    assert [int(frame.camera_mask.sum()) for frame in live.engine.frames] == [5, 5, 5]

    def told() -> list[DiagnosticStatus]:
        text = "camera 'cam_back' is masked: never seen"
        return [array.status[0] for array in diagnostics if array.status[0].message == text]

    live.until(lambda: bool(told()), "a warning about cam_back")
    assert told()[0].level == DiagnosticStatus.WARN


@pytest.mark.parametrize("told", [True, False], ids=["told", "silent"])
def test_the_context_is_used_and_never_waited_for(told: bool, graph: Callable[..., Graph]) -> None:
    live = graph()
    diagnostics = live.listen(DiagnosticArray, "/diagnostics")
    weights = live.listen(Float64MultiArray, "/occupancy_node/debug/sensor_weights")
    live.connect()
    live.play(leave_out="" if told else "/can/", change=_in_somebodys_words)
    live.settle(3)
    live.until(lambda: len(weights) >= 3, "weights")
    assert live.counts() == (3, 3, 0)
    expected = [0.25, 0.75] if told else [0.5, 0.5]
    assert [list(message.data) for message in weights] == [expected] * 3

    def facts() -> dict[str, str]:
        return (
            {pair.key: pair.value for pair in diagnostics[-1].status[0].values}
            if diagnostics
            else {}
        )

    live.until(
        lambda: facts().get("weight_lidar") == f"{expected[1]:.3f}", "the weights' diagnostics"
    )
    live.until(lambda: "context_weather_from" in facts(), "where the weather comes from")
    assert facts()["context_weather"] == ("rain" if told else "unknown")
    assert facts()["context_weather_from"] == (
        "topic" if told else "default: nothing came on the topic"
    )


def _in_somebodys_words(topic: str, data: bytes) -> bytes:
    return serialize_message(String(data="Raining, wet road")) if topic == "/can/weather" else data


def test_silence_ends_the_waiting_for_an_image(graph: Callable[..., Graph]) -> None:
    live = graph()
    live.connect()
    last_image = max(
        i
        for i, (topic, _) in enumerate(live.messages)
        if topic == "/cam_back/image_rect_compressed"
    )
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
    live.settle(3)
    assert [int(frame.camera_mask.sum()) for frame in live.engine.frames] == [5, 5, 5]
    assert live.node.health.counted("corrupt_images") == 3


def test_a_frame_that_fails_is_dropped_and_the_next_works(graph: Callable[..., Graph]) -> None:
    live = graph()
    live.engine.fail_on = {1}
    live.connect()
    live.play()
    live.settle(3)
    assert live.counts() == (3, 2, 1) and live.node.health.counted("failed") == 1
    assert not live.node.worker.given_up


def test_failures_in_a_row_end_the_worker(graph: Callable[..., Graph]) -> None:
    live = graph(max_failures=2)
    live.engine.fail_on = {0, 1, 2}
    live.connect()
    live.play()
    live.until(lambda: live.node.worker.given_up, "the worker to give up")


def test_a_slow_model_gets_the_newest_frame_and_the_loss_is_counted(
    graph: Callable[..., Graph],
) -> None:
    live = graph()
    live.engine.gate = threading.Event()
    live.connect()
    live.play()
    live.until(lambda: live.counts()[0] == 3, "three frames in")
    live.engine.gate.set()
    live.settle(3)
    # The first is being answered while the second waits and is replaced by the third.
    assert live.counts() == (3, 2, 1)
    assert [frame.stamp_ns[0] for frame in live.engine.frames] == sorted(
        frame.stamp_ns[0] for frame in live.engine.frames
    )


def test_a_loop_resets_once_and_answers_as_before(graph: Callable[..., Graph]) -> None:
    live = graph()
    live.connect()
    for frames in (3, 6):
        live.play()
        live.settle(frames)
    first, second = live.engine.frames[:3], live.engine.frames[3:]
    assert len(live.engine.resets) == 1 and "went back" in live.engine.resets[0]
    for a, b in zip(first, second, strict=True):
        assert (
            torch.equal(a.images, b.images)
            and torch.equal(a.points[0], b.points[0])
            and a.stamp_ns == b.stamp_ns
        )


def test_the_reset_service(graph: Callable[..., Graph]) -> None:
    live = graph()
    live.connect()
    half = len(live.messages) // 2
    live.play(last=half)
    client = live.other.create_client(Trigger, "/occupancy_node/reset")
    live.until(client.service_is_ready, "the service")
    future = client.call_async(Trigger.Request())
    live.until(future.done, "its answer")
    assert future.result().success
    live.play(first=half)
    live.until(lambda: bool(live.engine.resets), "a reset")
    assert (
        live.engine.resets == ["requested by ~/reset"] and live.node.health.counted("resets") == 1
    )


def test_live_frames_are_the_offline_runs(graph: Callable[..., Graph], small_bag: Path) -> None:
    live = graph()
    live.connect()
    live.play()
    live.settle(3)
    config = AssemblerConfig(calibration_file=str(small_bag / "calibration.yaml"))
    assembler, parts = FrameAssembler(config), []
    adders: dict[str, Any] = {"lidar_top": assembler.add_points, "odom": assembler.add_odometry}
    with BagReader(small_bag) as reader:
        for raw in reader.messages(list(reader.topics)):
            name, _, last = raw.topic.strip("/").partition("/")
            if name in adders:
                parts += adders[name](reader.decode(raw))
            elif last == "camera_info":
                parts += assembler.add_camera_info(name, reader.decode(raw))
            elif last == "image_rect_compressed":
                parts += assembler.add_image(name, reader.decode(raw))
    offline = [build_frame(part, config.cameras, SIZE)[0] for part in parts + assembler.flush()]
    assert len(offline) == 3
    for ours, theirs in zip(live.engine.frames, offline, strict=True):
        for name in ("images", "camera_mask", "intrinsics", "grid_from_camera", "world_from_grid"):
            assert torch.equal(getattr(ours, name), getattr(theirs, name)), name
        assert torch.equal(ours.points[0], theirs.points[0])
    assert np.array_equal([f.stamp_ns for f in live.engine.frames], [f.stamp_ns for f in offline])


# --- the node as a program ---

IN_THE_MIDDLE_OF_A_FRAME = """
import sys, time
from occ_perception_ros import node
from occ_perception_ros import occupancy_node

def answer(self, job):
    print("working", file=sys.stderr, flush=True)
    time.sleep(60)  # as an inference does: without the interpreter's lock

def make(*arguments, **options):
    made = Node(*arguments, **options)
    # once it spins
    timer = made.create_timer(0.05, lambda: (timer.cancel(), made._mailbox.put("a frame")))
    return made

Node, Node._answer, node.OccupancyNode = node.OccupancyNode, answer, make
occupancy_node.main()
"""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "debug.safetensors"
    save_checkpoint(path, build_model(PRESETS["debug"]()), {})
    return path


@pytest.mark.parametrize(
    ("program", "when", "number"),
    [
        (["-m", "occ_perception_ros.occupancy_node"], "ready", signal.SIGTERM),
        (["-c", IN_THE_MIDDLE_OF_A_FRAME], "working", signal.SIGINT),
    ],
)
def test_it_ends_cleanly_when_asked(
    program: list[str], when: str, number: signal.Signals, checkpoint: Path, small_bag: Path
) -> None:
    parameters = [
        "-p",
        f"checkpoint:={checkpoint}",
        "-p",
        f"calibration_file:={small_bag / 'calibration.yaml'}",
    ]
    command = [sys.executable, *program, "--topics", "nuscenes", "--ros-args", *parameters]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if when in line:
            break
    used_s = _cpu_seconds(process.pid)
    process.send_signal(number)
    lines += process.stderr.readlines()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, lines
    assert "Traceback" not in "".join(lines)
    # Processor time, so that a busy machine does not fail it; beside it, ending sleeps for at most
    # STOP_TIMEOUT_S.
    assert usage.ru_utime + usage.ru_stime - used_s + STOP_TIMEOUT_S < 3 + 1 / os.sysconf(
        "SC_CLK_TCK"
    )


def _cpu_seconds(process_id: int) -> float:
    user, system = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


@pytest.fixture
def signals() -> Iterator[None]:
    """The program takes them over; they are given back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("signals")
@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["-p", "checkpoint:=/nowhere/model.safetensors"], "/nowhere/model.safetensors"),
        (
            ["-p", "sync.sweeps:=0", "-p", "device:=tpu"],
            "sync.sweeps: 0 is no int in 1..100; device must be auto",
        ),
        (
            ["-p", "calibration_file:=/nowhere.yaml"],
            "calibration_file /nowhere.yaml does not exist",
        ),
        (["-p", "nonsense"], "nonsense"),
        (["-p", "device:=cuda:7"], "torch sees"),
        (["--", "--topic", "nuscenes"], "unknown arguments ['--topic', 'nuscenes']"),
        (["--topics", "kitti"], "topics 'kitti' is unknown; expected one of"),
    ],
)
def test_it_refuses_to_start_in_one_line(
    arguments: list[str], reason: str, small_bag: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    calibration = ["-p", f"calibration_file:={small_bag / 'calibration.yaml'}"]
    assert run(["--ros-args", *calibration, *arguments]) == 1
    told = [
        line for line in capfd.readouterr().err.splitlines() if line.startswith("occupancy_node: ")
    ]
    assert len(told) == 1 and reason in told[0]


def test_loading_leaves_no_threads_that_compute_behind() -> None:
    """They would make the worker's OpenMP threads sleep between two operations (the processor's
    cores are too few for all).
    """
    program = """
import os, time, torch
import occ_core.engine  # its libraries start threads of their own
from occ_perception_ros.occupancy_node import load_engine
from occ_perception_ros.parameters import NodeConfig
threads = lambda: len(os.listdir("/proc/self/task"))
torch.zeros(1)
before = threads()
load_engine(NodeConfig(device="cpu"))
deadline = time.monotonic() + 5
while (left := threads() - before) and time.monotonic() < deadline:
    time.sleep(0.1)
print(left)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.strip() == "0"
