"""Benchmarks of building a frame from files and from ROS messages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import torch
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import PointCloud2
from visualization_msgs.msg import MarkerArray

from occ_core.datasets.frames import frame_from_keyframe
from occ_core.datasets.nuscenes import NUSCENES_CAMERAS, Keyframe, NuScenes
from occ_core.datasets.sensors import CameraSample, frame_from_sensors
from occ_core.geometry.points import EGO_BOX_M
from occ_core.geometry.poses import invert_pose
from occ_core.types import Frame
from occ_core.voxel_grid import SURROUNDOCC_GRID
from occ_perception_ros.assembler import AssemblerConfig, FrameAssembler
from occ_perception_ros.bags.nuscenes_to_bag import convert_scene
from occ_perception_ros.bags.reader import BagReader
from occ_perception_ros.frame_parts import FrameParts
from occ_perception_ros.frames import build_frame
from occ_perception_ros.markers import marker_array, marker_array_bytes
from occ_perception_ros.messages import stamp_ns
from occ_perception_ros.outputs import occupancy_points
from occ_perception_ros.synchronizer import NS
from occ_perception_ros.topics import PRESETS
from training.benchmarks.definition import Benchmark
from training.benchmarks.inputs import street, town_keyframe

IMAGE_SIZE = (128, 352)
TOPICS = PRESETS["nuscenes"]
_FRAME_ID = "lidar_top"


@contextmanager
def loader() -> Iterator[Benchmark]:
    """A frame from its files; the baseline decodes at full size and moves sweeps by 4x4 products.

    nuscenes-devkit moves sweeps in this way.
    """
    with town_keyframe() as keyframe:
        yield Benchmark(
            candidate=lambda: frame_from_keyframe(keyframe, IMAGE_SIZE),
            baselines={"full_size": lambda: _plain_frame_from_keyframe(keyframe)},
            same=_same_frame,
        )


@contextmanager
def node_overhead() -> Iterator[Benchmark]:
    """All work of the node for a keyframe except the model, from messages to serialised output.

    The baseline starts with the matched messages and their poses.
    """
    labels, probability = street()
    with town_keyframe() as keyframe, TemporaryDirectory() as folder:
        nuscenes, bag = NuScenes(keyframe.lidar.path.parents[2]), Path(folder) / "bag"
        convert_scene(nuscenes, nuscenes.scenes[0]["name"], bag)
        config = AssemblerConfig(calibration_file=str(bag / "calibration.yaml"))
        with BagReader(bag) as reader:
            messages = [(message.topic, reader.decode(message)) for message in reader.messages()]
        clouds = {
            stamp_ns(message.header): message
            for topic, message in messages
            if topic == TOPICS.points
        }
        output = (SURROUNDOCC_GRID, keyframe.stamp_ns, _FRAME_ID)
        parts = _assemble(config, messages)

        def candidate() -> tuple[Frame, bytes, bytes]:
            frame, _ = build_frame(_assemble(config, messages), config.cameras, IMAGE_SIZE)
            markers = marker_array_bytes(labels, *output)
            points = serialize_message(occupancy_points(labels, probability, *output))
            return frame, markers, points

        def plain() -> tuple[Frame, bytes, bytes]:
            frame = _plain_frame_from_messages(parts, clouds, config.cameras)
            markers = serialize_message(marker_array(labels, *output))
            points = serialize_message(occupancy_points(labels, probability, *output))
            return frame, markers, points

        def same(
            candidate: tuple[Frame, bytes, bytes], baseline: tuple[Frame, bytes, bytes]
        ) -> bool:
            return _same_frame(candidate[0], baseline[0]) and all(
                deserialize_message(data, kind) == deserialize_message(expected, kind)
                for kind, data, expected in zip(
                    (MarkerArray, PointCloud2), candidate[1:], baseline[1:], strict=True
                )
            )

        yield Benchmark(candidate=candidate, baselines={"plain": plain}, same=same)


def _assemble(config: AssemblerConfig, messages: list[tuple[str, Any]]) -> FrameParts:
    """The parts of the last frame."""
    assembler = FrameAssembler(config)
    add: dict[str, Callable[[Any], list[FrameParts]]] = {
        TOPICS.points: assembler.add_points,
        TOPICS.odometry: assembler.add_odometry,
    }
    for camera, topic in TOPICS.images().items():
        add[topic] = partial(assembler.add_image, camera)
        add[f"/{camera}/camera_info"] = partial(assembler.add_camera_info, camera)
    frames = [parts for topic, message in messages if topic in add for parts in add[topic](message)]
    return [*frames, *assembler.flush()][-1]


def _plain_frame_from_keyframe(keyframe: Keyframe) -> Frame:
    grid_from_world = invert_pose(keyframe.lidar.world_from_lidar)
    clouds = [
        (sweep.read(), grid_from_world @ sweep.world_from_lidar, sweep.stamp_ns)
        for sweep in (*reversed(keyframe.sweeps), keyframe.lidar)
    ]
    samples = [
        CameraSample.fitted(
            _decode_rgb(view.path.read_bytes()),
            view.intrinsics,
            grid_from_world @ view.world_from_camera,
            IMAGE_SIZE,
        )
        for view in (keyframe.cameras[channel] for channel in NUSCENES_CAMERAS)
    ]
    return frame_from_sensors(
        samples,
        _plain_join(clouds),
        keyframe.lidar.world_from_lidar,
        keyframe.stamp_ns,
        keyframe.context,
        IMAGE_SIZE,
    )


def _plain_frame_from_messages(
    parts: FrameParts, clouds: dict[int, Any], cameras: Sequence[str]
) -> Frame:
    grid_from_world = invert_pose(parts.world_from_grid)
    sweeps = [
        (
            _points_from_lists(clouds[posed.stamp_ns]),
            grid_from_world @ posed.world_from_grid @ posed.grid_from_lidar,
            posed.stamp_ns,
        )
        for posed in parts.sweeps
    ]
    samples = [
        CameraSample.fitted(
            _decode_rgb(part.message.data), part.model.intrinsics, part.grid_from_camera, IMAGE_SIZE
        )
        for part in (parts.cameras[camera] for camera in cameras)
    ]
    return frame_from_sensors(
        samples,
        _plain_join(sweeps),
        parts.world_from_grid,
        parts.stamp_ns,
        parts.context,
        IMAGE_SIZE,
    )


def _decode_rgb(data: bytes) -> np.ndarray:
    """An image at full size."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return np.ascontiguousarray(image[..., ::-1])


def _points_from_lists(cloud: Any) -> np.ndarray:
    """x, y, z and intensity float32 [N, 4] of a cloud, by Python lists."""
    offsets = {entry.name: entry.offset for entry in cloud.fields}
    names = ["x", "y", "z", "intensity"]
    dtype = np.dtype(
        {
            "names": names,
            "formats": ["<f4"] * 4,
            "offsets": [offsets[name] for name in names],
            "itemsize": cloud.point_step,
        }
    )
    return np.array(np.frombuffer(cloud.data, dtype).tolist(), dtype=np.float32)


def _plain_join(clouds: list[tuple[np.ndarray, np.ndarray, int]]) -> np.ndarray:
    """Sweeps ``(points, grid_from_sensor, stamp_ns)`` in the grid's frame, by 4x4 products."""
    joined = []
    low, high = np.array(EGO_BOX_M[:3]), np.array(EGO_BOX_M[3:])
    for points, grid_from_sensor, stamp in clouds:
        homogeneous = np.concatenate([points[:, :3], np.ones((len(points), 1))], axis=1)
        moved = (grid_from_sensor @ homogeneous.T).T[:, :3]
        kept = ~((points[:, :3] > low) & (points[:, :3] < high)).all(axis=1)
        age_s = np.full((len(points), 1), (clouds[-1][2] - stamp) / NS)
        joined.append(np.concatenate([moved, points[:, 3:4], age_s], axis=1)[kept])
    return np.concatenate(joined).astype(np.float32)


def _same_frame(frame: Frame, expected: Frame) -> bool:
    # A JPEG that is reduced while it is decoded passes another low-pass filter than one reduced
    # afterwards: images agree to two grey levels on average, everything else to rounding.
    difference = (frame.images.float() - expected.images.float()).abs().mean()
    return bool(
        difference < 2
        and torch.allclose(frame.intrinsics, expected.intrinsics, atol=1e-3)
        and torch.allclose(frame.grid_from_camera, expected.grid_from_camera, atol=1e-5)
        and frame.points[0].shape == expected.points[0].shape
        and torch.allclose(frame.points[0], expected.points[0], atol=1e-3)
    )
