"""A small drive in the layout of nuScenes, its bag, and its messages in an assembler."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from occ_core.datasets.nuscenes import NUSCENES_CAMERAS, NuScenes
from occ_core.geometry.poses import quaternion_from_rotation
from occ_perception_ros.assembler import FrameAssembler
from occ_perception_ros.bags.nuscenes_to_bag import convert_scene
from occ_perception_ros.frame_parts import FrameParts

START_US = 1_600_000_000_000_000
SPEED_M_S = 8.0
YAW_RATE_RAD_S = 0.2
IMAGE_SIZE = (32, 48)
CAMERA_YAWS_DEG = (55, 0, -55, 110, 180, -110)
LIDAR_COLUMNS = 40
Messages = list[tuple[str, Any]]
"""Topics and messages."""


def world_from_ego(time_s: float) -> np.ndarray:
    """The pose on a circle to the left at constant speed, which starts at (600, 400, 0) along x."""
    yaw, radius = YAW_RATE_RAD_S * time_s, SPEED_M_S / YAW_RATE_RAD_S
    pose = np.eye(4)
    pose[:2, :2] = [[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]]
    pose[:2, 3] = [600 + radius * np.sin(yaw), 400 + radius * (1 - np.cos(yaw))]
    return pose


def ego_from_camera(index: int) -> np.ndarray:
    """A camera (x right, y down, z forward) that is turned by its yaw; 1 m out and 1.5 m up."""
    yaw = np.deg2rad(CAMERA_YAWS_DEG[index])
    ahead, left = np.array([np.cos(yaw), np.sin(yaw), 0]), np.array([-np.sin(yaw), np.cos(yaw), 0])
    pose = np.eye(4)
    pose[:3, :3] = np.column_stack([-left, [0, 0, -1], ahead])
    pose[:3, 3] = ahead + [0, 0, 1.5]
    return pose


def ego_from_lidar() -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3] = [[0, 1, 0], [-1, 0, 0], [0, 0, 1]]  # LiDAR: x right, y forward
    pose[:3, 3] = [0.9, 0.0, 1.8]
    return pose


def lidar_points(seed: int) -> np.ndarray:
    """Points float32 [N, 5] in the order of their firing."""
    generator = np.random.default_rng(seed)
    ring = np.tile(np.arange(32), LIDAR_COLUMNS)
    azimuth = np.repeat(np.linspace(0, 2 * np.pi, LIDAR_COLUMNS, endpoint=False), 32)
    distance = generator.uniform(4, 40, len(ring))
    xyz = np.column_stack([distance * np.cos(azimuth), distance * np.sin(azimuth), ring / 16 - 1.5])
    return np.column_stack([xyz, generator.integers(0, 256, len(ring)), ring]).astype(np.float32)


def jpeg(seed: int) -> bytes:
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    return bytes(cv2.imencode(".jpg", cv2.resize(coarse, IMAGE_SIZE[::-1]))[1])


@dataclass
class SmallNuScenes:
    """A data set with LiDAR at 20 Hz, cameras at 4 Hz, and keyframes at 2 Hz with one car."""

    root: Path
    description: str = "Night, heavy rain, town"
    location: str = "singapore-onenorth"
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def write(
        self, names: tuple[str, ...] = ("scene-0001",), keyframes: int = 3, can_bus: bool = False
    ) -> SmallNuScenes:
        channels = ("LIDAR_TOP", *NUSCENES_CAMERAS)
        self.tables = {
            "sensor": [
                {"token": c, "channel": c, "modality": "lidar" if c == "LIDAR_TOP" else "camera"}
                for c in channels
            ],
            "calibrated_sensor": [self._calibration(channel) for channel in channels],
            "category": [{"token": "car", "name": "vehicle.car", "description": "", "index": 17}],
            "instance": [{"token": "car-1", "category_token": "car"}],
            "log": [{"token": "log", "location": self.location}],
            **{
                name: []
                for name in ("scene", "sample", "sample_data", "ego_pose", "sample_annotation")
            },
        }
        for number, name in enumerate(names):
            self._scene(name, 100.0 * number, keyframes)
            if can_bus:
                self._can_bus(name, 100.0 * number, keyframes)
        self.save()
        return self

    def save(self) -> None:
        folder = self.root / "v1.0-small"
        folder.mkdir(parents=True, exist_ok=True)
        for name, records in self.tables.items():
            (folder / f"{name}.json").write_text(json.dumps(records))

    def _calibration(self, channel: str) -> dict[str, Any]:
        lidar = channel == "LIDAR_TOP"
        pose = ego_from_lidar() if lidar else ego_from_camera(NUSCENES_CAMERAS.index(channel))
        intrinsics = [] if lidar else [[38.0, 0.0, 23.5], [0.0, 39.0, 15.5], [0.0, 0.0, 1.0]]
        return {
            "token": channel,
            "sensor_token": channel,
            "camera_intrinsic": intrinsics,
            **_pose(pose),
        }

    def _scene(self, name: str, start_s: float, keyframes: int) -> None:
        self.tables["scene"].append(
            {"token": name, "log_token": "log", "name": name, "description": self.description}
        )
        for index in range(keyframes):
            time_s = start_s + 0.5 * index
            token = f"{name}-{index}"
            self.tables["sample"].append(
                {"token": token, "timestamp": _stamp_us(time_s), "scene_token": name}
            )
            for sweep in range(10 if index < keyframes - 1 else 1):
                self._data(
                    token,
                    "LIDAR_TOP",
                    time_s + 0.05 * sweep,
                    sweep == 0,
                    lidar_points(index * 10 + sweep).tobytes(),
                )
            for camera, channel in enumerate(NUSCENES_CAMERAS):
                self._data(token, channel, time_s - 0.005 * camera, True, jpeg(index * 20 + camera))
                if index < keyframes - 1:
                    self._data(
                        token,
                        channel,
                        time_s - 0.005 * camera + 0.25,
                        False,
                        jpeg(index * 20 + 10 + camera),
                    )
            world = world_from_ego(time_s)
            world[:3, 3] += world[:3, :3] @ [10.0, 2.0, 0.8]
            self.tables["sample_annotation"].append(
                {
                    "token": f"{token}-car",
                    "sample_token": token,
                    "instance_token": "car-1",
                    "size": [1.9, 4.5, 1.6],
                    "prev": "",
                    "next": "",
                    "num_lidar_pts": 7,
                    **_pose(world),
                }
            )

    def _data(self, sample: str, channel: str, time_s: float, key: bool, content: bytes) -> None:
        stamp = _stamp_us(time_s)
        ending = "pcd.bin" if channel == "LIDAR_TOP" else "jpg"
        filename = f"{'samples' if key else 'sweeps'}/{channel}/small__{channel}__{stamp}.{ending}"
        (self.root / filename).parent.mkdir(parents=True, exist_ok=True)
        (self.root / filename).write_bytes(content)
        token = f"{channel}-{stamp}"
        height, width = (0, 0) if channel == "LIDAR_TOP" else IMAGE_SIZE
        self.tables["sample_data"].append(
            {
                "token": token,
                "sample_token": sample,
                "ego_pose_token": token,
                "calibrated_sensor_token": channel,
                "timestamp": stamp,
                "is_key_frame": key,
                "height": height,
                "width": width,
                "filename": filename,
            }
        )
        self.tables["ego_pose"].append(
            {"token": token, "timestamp": stamp, **_pose(world_from_ego(time_s))}
        )

    def _can_bus(self, name: str, start_s: float, keyframes: int) -> None:
        """Velocities that differ from those of the poses: 5 m/s + 1 m/s per second, 0.1 rad/s."""
        folder = self.root / "can_bus"
        folder.mkdir(exist_ok=True)
        records = [
            {
                "utime": _stamp_us(start_s + time_s),
                "vel": [5.0 + time_s, 0.0, 0.0],
                "rotation_rate": [0.0, 0.0, 0.1],
            }
            for time_s in np.arange(-0.1, 0.5 * keyframes, 0.02).tolist()
        ]
        (folder / f"{name}_pose.json").write_text(json.dumps(records))


def _stamp_us(time_s: float) -> int:
    return START_US + round(time_s * 1e6)


def _pose(pose: np.ndarray) -> dict[str, list[float]]:
    return {
        "translation": pose[:3, 3].tolist(),
        "rotation": quaternion_from_rotation(pose[:3, :3]).tolist(),
    }


@pytest.fixture
def small_nuscenes(tmp_path: Path) -> Callable[..., SmallNuScenes]:
    """A function with the arguments of ``SmallNuScenes.write``."""
    return SmallNuScenes(tmp_path / "nuscenes").write


@pytest.fixture(scope="session")
def small_drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A nuScenes data root with one scene; tests must not change it."""
    return SmallNuScenes(tmp_path_factory.mktemp("small") / "nuscenes").write(can_bus=True).root


@pytest.fixture(scope="session")
def small_bag(small_drive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bag of ``small_drive``; tests must not change it."""
    bag = tmp_path_factory.mktemp("small_bag") / "bag"
    convert_scene(NuScenes(small_drive), "scene-0001", bag)
    return bag


@pytest.fixture
def feed() -> Callable[[FrameAssembler, Messages], list[FrameParts]]:
    """``feed(assembler, messages)``: the frames that messages of ``small_bag`` complete."""
    return _feed


def _feed(assembler: FrameAssembler, messages: Messages) -> list[FrameParts]:
    collected: list[FrameParts] = []
    for topic, message in messages:
        name, _, last = topic.strip("/").partition("/")
        match last or name:
            case "image_rect_compressed":
                collected += assembler.add_image(name, message)
            case "camera_info":
                collected += assembler.add_camera_info(name, message)
            case "lidar_top":
                collected += assembler.add_points(message)
            case "odom":
                collected += assembler.add_odometry(message)
            case "tf_static":
                collected += assembler.add_transforms(message, static=True)
            case "weather" | "region":
                collected += assembler.add_context(last, message)
    return collected
