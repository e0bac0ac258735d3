"""The sensors of a small made-up vehicle on a circle, as serialised ROS messages."""

from __future__ import annotations

import heapq
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from nav_msgs.msg import Odometry
from rclpy.serialization import serialize_message
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, PointCloud2, PointField

from occ_perception_ros.sync_config import NUSCENES_OFFSETS_S
from occ_perception_ros.topics import CAMERAS
from training.soak_parts.faults import Fault, FaultTimeline

IMAGE_SIZE = (32, 48)
SWEEP_S, IMAGE_S, FRAME_S = 0.1, 0.5, 0.5
"""Periods of LiDAR and odometry, of each camera, and of the node's answers."""
INPUT = "/occupancy_node/input"
CLOCK, POINTS, ODOMETRY = "/clock", f"{INPUT}/points", f"{INPUT}/odometry"
TYPES: dict[str, Any] = {
    CLOCK: Clock,
    POINTS: PointCloud2,
    ODOMETRY: Odometry,
    **{f"{INPUT}/{camera}/image": CompressedImage for camera in CAMERAS},
}
"""Message type of every topic."""

_POINTS = 600
_VARIANTS = 8
_RADIUS_M, _LAP_SWEEPS = 50.0, 300
_STAMP = struct.Struct("<iI")
_STAMP_AT = 4
"""Position of the stamp in serialised messages that begin with it, behind CDR's own header."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message of the drive."""

    at_s: float
    """Time in the drive."""
    topic: str
    data: bytes
    """Serialised, with a stamp of zero."""


def stamped(data: bytes, stamp_ns: int) -> bytes:
    """The serialised message with another stamp."""
    stamp = _STAMP.pack(*divmod(stamp_ns, 1_000_000_000))
    return data[:_STAMP_AT] + stamp + data[_STAMP_AT + _STAMP.size :]


def stamp_of(data: bytes) -> int:
    """The stamp of a serialised message that begins with it."""
    seconds, nanoseconds = _STAMP.unpack_from(data, _STAMP_AT)
    return int(seconds) * 1_000_000_000 + int(nanoseconds)


class SoakDrive:
    """Messages of clock, odometry, LiDAR and six cameras.

    Args:
        seed: of points and images.
    """

    def __init__(self, seed: int) -> None:
        generator = np.random.default_rng(seed)
        images = [_jpeg(generator) for _ in range(_VARIANTS)]
        self._images = {camera: [_image(camera, data) for data in images] for camera in CAMERAS}
        self._damaged = {
            (camera, damage): _image(camera, data)
            for damage, data in _damages(images[0]).items()
            for camera in CAMERAS
        }
        points = [_points(generator) for _ in range(_VARIANTS)]
        self._clouds = [_cloud(each) for each in points]
        self._bad_clouds = {kind: _cloud(each) for kind, each in _bad_points(points[0]).items()}
        turns = np.arange(_LAP_SWEEPS) * (2 * np.pi / _LAP_SWEEPS)
        self._poses = [_odometry(float(turn)) for turn in turns]
        self._clock = bytes(serialize_message(Clock()))

    def messages(self, until_s: float, faults: Sequence[Fault] = ()) -> Iterator[Outgoing]:
        """The messages in the order of their times, with the faults of the sensors."""
        streams = [self._image_stream(index, until_s) for index in range(len(CAMERAS))]
        merged = heapq.merge(self._sweep_stream(until_s), *streams, key=lambda each: each.at_s)
        timeline = FaultTimeline(faults)
        for message in merged:
            data = self._spoilt(message, timeline.at(message.at_s))
            if data is not None:
                yield Outgoing(message.at_s, message.topic, data)

    def _sweep_stream(self, until_s: float) -> Iterator[Outgoing]:
        for index in range(1, int(until_s / SWEEP_S) + 1):
            at_s = index * SWEEP_S
            yield Outgoing(at_s, CLOCK, self._clock)
            yield Outgoing(at_s, ODOMETRY, self._poses[index % _LAP_SWEEPS])
            yield Outgoing(at_s, POINTS, self._clouds[index % _VARIANTS])

    def _image_stream(self, camera: int, until_s: float) -> Iterator[Outgoing]:
        name = CAMERAS[camera]
        for index in range(1, int(until_s / IMAGE_S) + 1):
            at_s = index * IMAGE_S + NUSCENES_OFFSETS_S[camera]
            yield Outgoing(at_s, f"{INPUT}/{name}/image", self._images[name][index % _VARIANTS])

    def _spoilt(self, message: Outgoing, active: Sequence[Fault]) -> bytes | None:
        """The message's data with the active faults; None: it is not sent."""
        data = message.data
        for fault in active:
            if fault.kind == "cloud" and message.topic == POINTS:
                data = self._bad_clouds[fault.target]
            elif fault.kind in ("dropout", "corrupt") and message.topic.endswith("/image"):
                camera = message.topic.removeprefix(f"{INPUT}/").removesuffix("/image")
                if fault.target in ("", camera):
                    if fault.kind == "dropout":
                        return None
                    data = self._damaged[camera, fault.damage]
        return data


def write_calibration(path: Path) -> None:
    """Writes the vehicle's calibration file."""
    height, width = IMAGE_SIZE
    upright = {"parent": "base_link", "rotation_xyzw": [0.0, 0.0, 0.0, 1.0]}
    frames = {name: {**upright, "translation": [1.0, 0.0, 1.5]} for name in CAMERAS}
    frames["lidar_top"] = {**upright, "translation": [0.0, 0.0, 1.8]}
    pinhole = [38.0, 0.0, width / 2, 0.0, 38.0, height / 2, 0.0, 0.0, 1.0]
    cameras = {name: {"size": [height, width], "intrinsics": pinhole} for name in CAMERAS}
    path.write_text(yaml.safe_dump({"frames": frames, "cameras": cameras}))


def _jpeg(generator: np.random.Generator) -> bytes:
    coarse = generator.integers(0, 256, (4, 6, 3), dtype=np.uint8)
    return bytes(cv2.imencode(".jpg", cv2.resize(coarse, IMAGE_SIZE[::-1]))[1])


def _damages(good: bytes) -> dict[str, bytes]:
    middle = len(good) * 3 // 4
    return {
        "truncated": good[:middle],
        "overwritten": good[:middle] + b"\xff\x00" * 10 + good[middle + 20 :],
        "no_image": b"no image at all",
        "empty": b"",
    }


def _image(camera: str, data: bytes) -> bytes:
    message = CompressedImage(format="jpeg")
    message.header.frame_id = camera
    message.data = data
    return bytes(serialize_message(message))


def _points(generator: np.random.Generator) -> np.ndarray:
    """x, y, z, intensity, float32 [N, 4], outside the vehicle."""
    turn = generator.uniform(0, 2 * np.pi, _POINTS)
    distance = generator.uniform(4, 35, _POINTS)
    height, intensity = generator.uniform(-1.5, 2, _POINTS), generator.uniform(0, 255, _POINTS)
    columns = [distance * np.cos(turn), distance * np.sin(turn), height, intensity]
    return np.column_stack(columns).astype(np.float32)


def _bad_points(good: np.ndarray) -> dict[str, np.ndarray]:
    none, half = good.copy(), good.copy()
    none[:, :3] = np.nan
    half[::2, 0] = np.inf
    return {"not_finite": none, "half_finite": half, "empty": good[:0]}


def _cloud(points: np.ndarray) -> bytes:
    message = PointCloud2(height=1, width=len(points), point_step=16, row_step=16 * len(points))
    message.header.frame_id = "lidar_top"
    message.fields = [
        PointField(name=name, offset=4 * index, datatype=PointField.FLOAT32, count=1)
        for index, name in enumerate(("x", "y", "z", "intensity"))
    ]
    message.data = points.tobytes()
    return bytes(serialize_message(message))


def _odometry(turn: float) -> bytes:
    message = Odometry(child_frame_id="base_link")
    message.header.frame_id = "map"
    position, rotation = message.pose.pose.position, message.pose.pose.orientation
    position.x, position.y = float(_RADIUS_M * np.cos(turn)), float(_RADIUS_M * np.sin(turn))
    heading = turn + np.pi / 2
    rotation.z, rotation.w = float(np.sin(heading / 2)), float(np.cos(heading / 2))
    return bytes(serialize_message(message))
