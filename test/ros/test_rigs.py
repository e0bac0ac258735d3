"""Rigs of other vehicles on rclpy: any cameras in any encoding, no LiDAR, no cameras."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import rclpy
import torch
from diagnostic_msgs.msg import DiagnosticStatus
from nav_msgs.msg import Odometry
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2, PointField

from occ_core.build import build_model
from occ_core.checkpoint import save_checkpoint
from occ_core.config import debug
from occ_core.types import Frame, Occupancy
from occ_core.voxel_grid import VoxelGrid
from occ_perception_ros.lenses import Lens
from occ_perception_ros.node import OccupancyNode
from occ_perception_ros.node_config import NodeConfig
from occ_perception_ros.occupancy_node import load_engine
from occ_perception_ros.parameters import ParameterError

SIZE = (32, 48)
WAIT_S = 600.0
"""A limit for hangs; no test needs it."""
STEPS = 4
SCENE = cv2.resize(np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8), SIZE[::-1])
K = np.array([[38.0, 0.0, 23.5], [0.0, 39.0, 15.5], [0.0, 0.0, 1.0]])
BENT = {"distortion_model": "plumb_bob", "d": [-0.3, 0.1, 0.0, 0.0, 0.0]}


@dataclass
class Recorder:
    """An engine that keeps the frames."""

    frames: list[Frame] = field(default_factory=list)

    def step(self, frame: Frame) -> Occupancy:
        self.frames.append(frame)
        labels = torch.zeros((1, 2, 2, 2), dtype=torch.uint8)
        labels[0, 0] = 1
        grid = VoxelGrid((-4.0, -4.0, -4.0, 4.0, 4.0, 4.0), 4.0)
        return Occupancy(labels, torch.full((1, 2, 2, 2), 0.5), grid, frame.stamp_ns, "lidar_top")

    def reset(self, reason: str) -> None: ...


def raw(encoding: str, pixels: np.ndarray) -> Image:
    step = pixels.nbytes // len(pixels)
    data = array("B", pixels.tobytes())
    return Image(height=SIZE[0], width=SIZE[1], encoding=encoding, step=step, data=data)


def compressed(ending: str, image: np.ndarray = SCENE) -> CompressedImage:
    data = cv2.imencode(ending, image[..., ::-1])[1].tobytes()
    return CompressedImage(format=ending[1:], data=array("B", data))


def damaged() -> CompressedImage:
    message = compressed(".jpg", np.random.default_rng(1).integers(0, 256, SCENE.shape, np.uint8))
    whole = bytes(message.data)
    middle = len(whole) * 2 // 3
    message.data = array("B", whole[:middle] + bytes(200) + whole[middle + 200 :])
    return message


def bayer() -> Image:
    """RGGB of a scene whose colour is the same everywhere."""
    mosaic = np.full(SIZE, 100, np.uint8)
    mosaic[::2, ::2], mosaic[1::2, 1::2] = 200, 50
    return raw("bayer_rggb8", mosaic)


class Rig:
    """The node, and another that plays a vehicle at rest."""

    def __init__(self, folder: Path, parameters: dict[str, Any]) -> None:
        calibration = folder / "calibration.yaml"
        calibration.write_text(
            "frames:\n  lidar_top: {parent: base_link, translation: [0, 0, 2], "
            "rotation_xyzw: [0, 0, 0, 1]}\n  camera: {parent: base_link, translation: [1, 0, 1], "
            "rotation_xyzw: [0, 0, 0, 1]}\n"
        )
        values = {
            "calibration_file": str(calibration),
            "input_qos": "reliable",
            "sync.camera_offsets_s": [0.0],
            "sync.frame_period_s": 0.0,
            **parameters,
        }
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.engine = Recorder()
        self.node = OccupancyNode(
            lambda config: (self.engine, SIZE),
            context=self.context,
            parameter_overrides=[Parameter(name, value=value) for name, value in values.items()],
        )
        self.other = Node("vehicle", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.executor.add_node(self.other)
        self.publishers: dict[str, Any] = {}

    def drive(self, images: dict[str, Any], points: bool = True, **info: Any) -> list[Frame]:
        """The frames of some steps with these images by camera, and one sweep each."""
        camera_info = CameraInfo(
            height=SIZE[0], width=SIZE[1], k=K.ravel(), r=np.eye(3).ravel(), **info
        )
        inputs = {f"{camera}/image": message for camera, message in images.items()}
        inputs |= {f"{camera}/camera_info": camera_info for camera in images}
        inputs["odometry"] = Odometry(child_frame_id="base_link")
        inputs["odometry"].pose.pose.orientation.w = 1.0
        if points:
            inputs["points"] = cloud()
        for name, message in inputs.items():
            topic = self.node.resolve_topic_name(f"~/input/{name}")
            self.publishers[name] = self.other.create_publisher(type(message), topic, 100)
        ends = self.publishers.values()
        self.until(lambda: all(end.get_subscription_count() for end in ends), "subscribers")
        for step in range(STEPS + 1):  # the last ends the wait for what comes after the others
            for name, message in sorted(inputs.items()):  # camera_info before image
                message.header.stamp.sec = 100 + step
                message.header.frame_id = {"points": "lidar_top", "odometry": "map"}.get(
                    name, "camera"
                )
                self.publishers[name].publish(message)
            self.until(lambda n=step: self.has_answered(n), f"frame {step}")
        return self.engine.frames

    def has_answered(self, frames: int) -> bool:
        """Whether this many frames have come, and all that have come are processed."""
        frames_in = self.count("frames_in")
        return frames_in >= frames and frames_in == self.count("frames_out") + self.count("dropped")

    def count(self, name: str) -> int:
        return self.node.health.counted(name)

    def until(self, done: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + WAIT_S
        while not done():
            assert time.monotonic() < deadline, f"no {what} in {WAIT_S} s"
            self.executor.spin_once(timeout_sec=0.02)

    def close(self) -> None:
        self.until(self.node.stop, "end of the worker")
        self.executor.shutdown()
        self.node.destroy_node()
        self.other.destroy_node()
        rclpy.shutdown(context=self.context)


def cloud() -> PointCloud2:
    """200 points five metres ahead, with intensities from 0 to 199."""
    points = np.full((200, 4), 5.0, np.float32)
    points[:, 3] = np.arange(200)
    names = ("x", "y", "z", "intensity")
    fields = [PointField(name=n, offset=4 * i, datatype=7, count=1) for i, n in enumerate(names)]
    return PointCloud2(
        height=1,
        width=200,
        fields=fields,
        point_step=16,
        row_step=3200,
        data=array("B", points.tobytes()),
    )


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Callable[..., Rig]]:
    """Call it with parameters of the node, once."""
    made: list[Rig] = []

    def make(**parameters: Any) -> Rig:
        named = {name.replace("__", "."): value for name, value in parameters.items()}
        made.append(Rig(tmp_path, named))
        return made[0]

    yield make
    for each in made:
        each.close()


def difference(frame: Frame, camera: int, expected: np.ndarray) -> float:
    found = frame.images[0, camera].permute(1, 2, 0).numpy().astype(int)
    return float(np.abs(found - expected).mean())


@pytest.mark.parametrize("cameras", [[], [""]])
def test_a_lidar_alone(cameras: list[str], rig: Callable[..., Rig]) -> None:
    vehicle = rig(cameras=cameras)
    frames = vehicle.drive({})
    assert all(frame.camera_mask.shape == (1, 0) for frame in frames)
    assert all(len(frame.points[0]) in (200, 400, 600, 800, 1000) for frame in frames)
    level = vehicle.node.health.overall(time.monotonic())[0]
    assert level in (DiagnosticStatus.OK, DiagnosticStatus.WARN)  # a busy machine drops frames


@pytest.mark.parametrize("count", [1, 9])
def test_any_number_of_cameras(count: int, rig: Callable[..., Rig]) -> None:
    names = [f"camera_{number}" for number in range(count)]
    frames = rig(cameras=names).drive({name: compressed(".jpg") for name in names})
    assert all(frame.camera_mask.tolist() == [[True] * count] for frame in frames)


def test_cameras_without_a_lidar(rig: Callable[..., Rig]) -> None:
    vehicle = rig(cameras=["left", "right"], lidar=False)
    frames = vehicle.drive({"left": compressed(".jpg"), "right": compressed(".jpg")}, points=False)
    assert {frame.stamp_ns[0] for frame in frames} <= {s * 10**9 for s in range(100, 105)}
    assert all(frame.points[0].shape == (0, 5) for frame in frames)
    assert all(frame.camera_mask.all() for frame in frames)
    topics = {end.topic_name for end in vehicle.node.subscriptions}
    assert "/occupancy_node/input/points" not in topics
    statuses = vehicle.node.health.message(0, time.monotonic()).status
    names = {status.name.rpartition(": ")[2] for status in statuses}
    assert {"left", "right"} <= names and "points" not in names


def test_each_camera_in_its_own_kind_of_message(rig: Callable[..., Rig]) -> None:
    i420 = cv2.cvtColor(SCENE, cv2.COLOR_RGB2YUV_I420)
    images = {
        "jpeg": compressed(".jpg"),
        "png": compressed(".png"),
        "bayer": bayer(),
        "yuv": raw("i420", i420),
        "grey": raw("mono16", (SCENE[..., 0].astype(np.uint16) * 257)),
    }
    images["yuv"].step = SIZE[1]
    vehicle = rig(cameras=list(images), compressed_images=[True, True, False, False, False])
    frame = vehicle.drive(images)[0]
    assert frame.camera_mask.all() and vehicle.count("corrupt_images") == 0
    assert difference(frame, 1, SCENE) == 0
    assert difference(frame, 0, SCENE) < 6 and difference(frame, 3, SCENE) < 6
    assert difference(frame, 2, np.broadcast_to([200, 100, 50], SCENE.shape)) < 1
    assert difference(frame, 4, np.repeat(SCENE[..., :1], 3, axis=2)) == 0


@pytest.mark.parametrize(
    ("rectified_images", "undistorted"), [("auto", True), ("never", True), ("always", False)]
)
def test_a_lens_is_undistorted_unless_images_come_rectified(
    rectified_images: str, undistorted: bool, rig: Callable[..., Rig]
) -> None:
    vehicle = rig(cameras=["front"], compressed_images=False, rectified_images=rectified_images)
    frame = vehicle.drive({"front": raw("rgb8", SCENE)}, **BENT)[0]
    straight = Lens("plumb_bob", BENT["d"], K, np.eye(3), SIZE).rectified(SCENE, K)
    assert difference(frame, 0, straight if undistorted else SCENE) == 0
    assert difference(frame, 0, SCENE if undistorted else straight) > 1


def test_what_cannot_be_used_is_masked_counted_and_named(rig: Callable[..., Rig]) -> None:
    images = {"damaged": damaged(), "depth": raw("32FC1", np.ones(SIZE, np.float32))}
    vehicle = rig(cameras=["good", *images], compressed_images=[True, True, False])
    frames = vehicle.drive({"good": compressed(".jpg"), **images})
    assert all(frame.camera_mask.tolist() == [[True, False, False]] for frame in frames)
    assert vehicle.count("corrupt_images") >= 2 * len(frames) - 2
    text = vehicle.node.health.overall(time.monotonic())[1]
    assert "'damaged': the JPEG of" in text and "encoding '32FC1' is not supported" in text


def test_another_unit_of_the_intensity_is_told(rig: Callable[..., Rig]) -> None:
    vehicle = rig(cameras=[], intensity_max=1.0)
    frames = vehicle.drive({})
    # Most lie above 1, so that none is used.
    assert set(frames[0].points[0][:, 3].tolist()) == {0.0}
    assert vehicle.count("intensity") >= 1


@pytest.mark.parametrize(
    ("uses", "sensors"),
    [({"lidar": False}, {"cameras": ()}), ({"camera": False}, {"lidar": False})],
)
def test_a_model_that_sees_none_of_the_sensors_is_refused(
    uses: dict[str, bool], sensors: dict[str, Any], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, build_model(replace(debug(), **uses)), {})
    with pytest.raises(ParameterError, match="the checkpoint's model uses (images|points) only"):
        load_engine(NodeConfig(checkpoint=str(path), device="cpu", **sensors))
