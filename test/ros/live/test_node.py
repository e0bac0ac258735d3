"""The live node on rclpy: a bag's messages go in over DDS, results come out."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from nav_msgs.msg import OccupancyGrid
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CompressedImage, PointCloud2
from std_msgs.msg import Float64, Float64MultiArray, String
from std_srvs.srv import Trigger
from visualization_msgs.msg import MarkerArray

from occ_core.taxonomy import CLASS_NAMES
from occ_perception_ros.assembler import FrameAssembler
from occ_perception_ros.assembler_config import AssemblerConfig
from occ_perception_ros.bags.reader import BagReader
from occ_perception_ros.frames import build_frame
from occ_perception_ros.outputs import occupancy_points

Live = Callable[..., Any]
"""``conftest.Graph``."""


def test_every_keyframe_is_published_on_every_topic(graph: Live) -> None:
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
    expected = type(live.engine)().step(live.engine.frames[0])
    stamp_ns = live.engine.frames[0].stamp_ns[0]
    assert points[0] == occupancy_points(
        expected.labels[0].numpy(),
        expected.probability[0].numpy(),
        expected.grid,
        stamp_ns,
        "lidar_top",
    )
    # 1 + six cameras
    assert {marker.ns for marker in markers[-1].markers if marker.points} == {CLASS_NAMES[7]}
    decode, model, publish, total = (got[0].data for got in times)
    assert total == pytest.approx(decode + model + publish) and latencies[0].data >= total
    assert [frame.context[0].weather for frame in live.engine.frames] == ["rain at night"] * 3


def test_nothing_is_built_without_a_subscriber(
    graph: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object) -> None:
        raise AssertionError("built without a subscriber")

    builders = ("marker_array_bytes", "voxel_points", "obstacle_points", "known_voxels")
    for name in (*builders, "occupancy_grid"):
        monkeypatch.setattr(f"occ_perception_ros.publishers.{name}", forbidden)
    monkeypatch.setattr("occ_perception_ros.pipeline.seen_voxels", forbidden)
    live = graph()
    live.connect()
    live.play()
    assert live.counts() == (3, 3, 0)


def test_a_camera_without_images_is_masked_and_named(graph: Live) -> None:
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
def test_the_context_is_used_but_not_waited_for(published: bool, graph: Live) -> None:
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


def test_silence_ends_the_wait_for_an_image(graph: Live) -> None:
    live = graph()
    live.connect()
    topics = [topic for topic, _ in live.messages]
    last_image = max(i for i, t in enumerate(topics) if t == "/cam_back/image_rect_compressed")
    live.play(last=last_image)
    live.play(first=last_image + 1)
    live.settle(3)
    assert [int(frame.camera_mask.sum()) for frame in live.engine.frames] == [6, 6, 5]


def test_a_corrupt_image_is_masked_and_counted(graph: Live) -> None:
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


def test_a_frame_that_fails_is_dropped_and_the_next_works(graph: Live) -> None:
    live = graph()
    live.engine.fail_on = {1}
    live.connect()
    live.play()
    assert live.counts() == (3, 2, 1) and live.node.health.counted("failed") == 1
    assert not live.node.worker.given_up


def test_failures_in_a_row_end_the_worker(graph: Live) -> None:
    live = graph(max_failures=2)
    live.engine.fail_on = {0, 1, 2}
    live.connect()
    live.play()
    live.until(lambda: live.node.worker.given_up, "end of the worker")


def test_a_slow_model_gets_the_newest_frame_and_the_dropped_one_is_counted(graph: Live) -> None:
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


def test_a_loop_resets_once_and_gives_the_same_frames(graph: Live) -> None:
    live = graph()
    live.connect()
    live.play()
    live.play()
    first, second = live.engine.frames[:3], live.engine.frames[3:]
    assert len(live.engine.resets) == 1 and "went back" in live.engine.resets[0]
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a.images, b.images) and torch.equal(a.points[0], b.points[0])
        assert a.stamp_ns == b.stamp_ns


def test_the_reset_service(graph: Live) -> None:
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


def test_live_frames_equal_those_of_an_assembler_on_the_bag(graph: Live, small_bag: Path) -> None:
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
    offline = [
        build_frame(part, config.cameras, live.image_size)[0] for part in parts + assembler.flush()
    ]
    for ours, expected in zip(live.engine.frames, offline, strict=True):
        for name in ("images", "camera_mask", "intrinsics", "grid_from_camera", "world_from_grid"):
            assert torch.equal(getattr(ours, name), getattr(expected, name)), name
        assert torch.equal(ours.points[0], expected.points[0])
        assert ours.stamp_ns == expected.stamp_ns
