"""The benchmarks: what is timed against what, on which input. The rivals are the ways that one
would write first.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
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

from occ_core.datasets.frames import frame_from_keyframe, frame_from_sensors
from occ_core.datasets.nuscenes import NUSCENES_CAMERAS, Keyframe, NuScenes
from occ_core.geometry.points import EGO_BOX_M
from occ_core.geometry.poses import invert_pose
from occ_core.taxonomy import CLASS_ID, NUM_CLASSES
from occ_core.types import Frame
from occ_core.voxel_grid import SURROUNDOCC_GRID
from occ_perception_ros.bags.nuscenes_to_bag import convert_scene
from occ_perception_ros.bags.reader import BagReader
from occ_perception_ros.frames import AssemblerConfig, FrameAssembler, FrameParts, build_frame
from occ_perception_ros.markers import marker_array, marker_array_bytes
from occ_perception_ros.messages import stamp_ns
from occ_perception_ros.outputs import occupancy_points, occupancy_points_bytes, voxel_points
from occ_perception_ros.synchronizer import (
    NS,
    NUSCENES_OFFSETS_S,
    LidarAnchoredSynchronizer,
    SyncConfig,
)
from occ_perception_ros.topics import PRESETS
from training.benchmarks.gradients import gauss_render, sampling, splat, voxelise
from training.benchmarks.operators import Contest, model_cpu, neighbours, rasterize
from training.benchmarks.rays import rayiou
from training.make_world import WorldConfig, make_world

IMAGE_SIZE = (128, 352)
STAMP_NS = 1_600_000_000 * NS
FRAME_ID = "lidar_top"


def street() -> tuple[np.ndarray, np.ndarray]:
    """Labels uint8 [200, 200, 16] as a street has them, and probabilities: a full ground, and one
    voxel in 30 above it.
    """
    random = np.random.default_rng(0)
    shape = SURROUNDOCC_GRID.shape
    labels = np.where(
        random.random(shape) < 1 / 30, random.integers(1, NUM_CLASSES, shape), 0
    ).astype(np.uint8)
    labels[:, :, 0] = CLASS_ID["driveable_surface"]
    return labels, random.random(shape).astype(np.float32)


def _read_bgr(path: Path) -> np.ndarray:
    image = cv2.imread(str(path))
    assert image is not None, path
    return image


@contextmanager
def town() -> Iterator[Keyframe]:
    """The last keyframe of a small generated drive, with nine sweeps before it, at nuScenes' full
    image size.
    """
    with TemporaryDirectory() as folder:
        make_world(WorldConfig(Path(folder), scenes=1, seed=0, keyframes=2, workers=1))
        yield NuScenes(Path(folder)).keyframes(None, sweeps=9)[-1]


def _distance(target: int, stamp: int) -> int:
    return abs(stamp - target)


@contextmanager
def markers() -> Iterator[Contest]:
    """A MarkerArray ready to send, against rclpy's way over one Point object a voxel."""
    labels, _ = street()
    yield Contest(
        ours=lambda: marker_array_bytes(labels, SURROUNDOCC_GRID, STAMP_NS, FRAME_ID),
        rivals={
            "rclpy_points": lambda: serialize_message(
                marker_array(labels, SURROUNDOCC_GRID, STAMP_NS, FRAME_ID)
            )
        },
        same=lambda ours, theirs: (
            deserialize_message(ours, MarkerArray) == deserialize_message(theirs, MarkerArray)
        ),
    )


@contextmanager
def pointcloud() -> Iterator[Contest]:
    """A PointCloud2 ready to send, against rclpy's message and against packing point by point, as
    ROS 1's tools did.
    """
    labels, probability = street()

    def packed() -> bytes:
        points = voxel_points(labels, probability, SURROUNDOCC_GRID)
        layout = struct.Struct("<fffB3xf")
        data = bytearray(layout.size * len(points))
        for number, point in enumerate(points.tolist()):
            layout.pack_into(data, number * layout.size, *point)
        message = occupancy_points(
            np.zeros_like(labels), probability, SURROUNDOCC_GRID, STAMP_NS, FRAME_ID
        )
        message.width, message.row_step, message.data = len(points), len(data), bytes(data)
        return bytes(serialize_message(message))

    yield Contest(
        ours=lambda: occupancy_points_bytes(
            labels, probability, SURROUNDOCC_GRID, STAMP_NS, FRAME_ID
        ),
        rivals={
            "rclpy_message": lambda: serialize_message(
                occupancy_points(labels, probability, SURROUNDOCC_GRID, STAMP_NS, FRAME_ID)
            ),
            "point_by_point": packed,
        },
        same=lambda ours, theirs: (
            deserialize_message(ours, PointCloud2) == deserialize_message(theirs, PointCloud2)
        ),
    )


@contextmanager
def synchronizer() -> Iterator[Contest]:
    """Two minutes of keyframes at 2 Hz, against message_filters' ApproximateTimeSynchronizer.

    Where message_filters is not installed, against the plain search: for each sweep, of all images
    kept the nearest.
    """
    offsets_ns = [round(offset * NS) for offset in NUSCENES_OFFSETS_S]
    sweeps = [STAMP_NS + number * NS // 2 for number in range(240)]
    images = [
        (sweep + offset, camera) for sweep in sweeps for camera, offset in enumerate(offsets_ns)
    ]
    events = sorted([*images, *((sweep, -1) for sweep in sweeps)])  # -1: the LiDAR

    def ours() -> list[tuple[int, ...]]:
        collector = LidarAnchoredSynchronizer(NUSCENES_CAMERAS, SyncConfig())
        sets = []
        for stamp, camera in events:
            sets += (
                collector.add_sweep(stamp, None)
                if camera < 0
                else collector.add_image(NUSCENES_CAMERAS[camera], stamp, None)
            )
        return [
            (one.stamp_ns, *(one.images[camera][0] for camera in NUSCENES_CAMERAS)) for one in sets
        ]

    def nearest() -> list[tuple[int, ...]]:
        kept: list[list[int]] = [[] for _ in NUSCENES_CAMERAS]
        waiting: list[int] = []
        sets = []
        for stamp, camera in events:
            (waiting if camera < 0 else kept[camera]).append(stamp)
            for sweep in list(waiting):
                found = [
                    min(stamps, key=partial(_distance, sweep + offset), default=0)
                    for stamps, offset in zip(kept, offsets_ns, strict=True)
                ]
                if all(
                    abs(image - sweep - offset) < NS // 20
                    for image, offset in zip(found, offsets_ns, strict=True)
                ):
                    sets.append((sweep, *found))
                    waiting.remove(sweep)
        return sets

    yield Contest(
        ours=ours,
        rivals={"nearest": nearest, **_message_filters(events)},
        same=lambda first, second: first == second,
    )


def _message_filters(
    events: list[tuple[int, int]],
) -> dict[str, Callable[[], list[tuple[int, ...]]]]:
    """The true ApproximateTimeSynchronizer on these events, where it is installed."""
    try:
        from message_filters import ApproximateTimeSynchronizer, SimpleFilter
    except ImportError:
        return {}
    from sensor_msgs.msg import CompressedImage

    def message_at(stamp: int) -> CompressedImage:
        message = CompressedImage()
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, NS)
        return message

    messages = [(message_at(stamp), camera) for stamp, camera in events]

    def approximate() -> list[tuple[int, ...]]:
        inputs = [SimpleFilter() for _ in range(len(NUSCENES_CAMERAS) + 1)]
        sets: list[tuple[int, ...]] = []
        joined = ApproximateTimeSynchronizer(inputs, queue_size=10, slop=0.1)
        joined.registerCallback(
            lambda *found: sets.append(
                tuple(one.header.stamp.sec * NS + one.header.stamp.nanosec for one in found)
            )
        )
        for message, camera in messages:
            inputs[camera + 1].signalMessage(message)
        return sets

    return {"message_filters": approximate}


def _plain_join(clouds: list[tuple[np.ndarray, np.ndarray, int]]) -> np.ndarray:
    """Sweeps ``(points, grid_from_sensor, stamp)`` in the grid's frame, by 4x4 products."""
    joined = []
    for points, grid_from_sensor, stamp in clouds:
        homogeneous = np.concatenate([points[:, :3], np.ones((len(points), 1))], axis=1)
        moved = (grid_from_sensor @ homogeneous.T).T[:, :3]
        low, high = np.array(EGO_BOX_M[:3]), np.array(EGO_BOX_M[3:])
        kept = ~((points[:, :3] > low) & (points[:, :3] < high)).all(axis=1)
        age_s = np.full((len(points), 1), (clouds[-1][2] - stamp) / NS)
        joined.append(np.concatenate([moved, points[:, 3:4], age_s], axis=1)[kept])
    return np.concatenate(joined).astype(np.float32)


def _same_frame(ours: Frame, theirs: Frame) -> bool:
    # A JPEG that is reduced while it is decoded goes through another low-pass filter than one
    # reduced afterwards: the
    # images agree to two grey levels on average, everything else to rounding.
    difference = (ours.images.float() - theirs.images.float()).abs().mean()
    return bool(
        difference < 2
        and torch.allclose(ours.intrinsics, theirs.intrinsics, atol=1e-3)
        and torch.allclose(ours.grid_from_camera, theirs.grid_from_camera, atol=1e-5)
        and ours.points[0].shape == theirs.points[0].shape
        and torch.allclose(ours.points[0], theirs.points[0], atol=1e-3)
    )


@contextmanager
def loader() -> Iterator[Contest]:
    """A frame from its files, against full-size decoding and sweeps moved by 4x4 products as
    nuscenes-devkit moves them.
    """

    def plain(keyframe: Keyframe) -> Frame:
        grid_from_world = invert_pose(keyframe.lidar.world_from_lidar)
        views = [keyframe.cameras[channel] for channel in NUSCENES_CAMERAS]
        clouds = [
            (sweep.read(), grid_from_world @ sweep.world_from_lidar, sweep.stamp_ns)
            for sweep in (*reversed(keyframe.sweeps), keyframe.lidar)
        ]
        return frame_from_sensors(
            [np.ascontiguousarray(_read_bgr(view.path)[..., ::-1]) for view in views],
            [view.intrinsics for view in views],
            [grid_from_world @ view.world_from_camera for view in views],
            _plain_join(clouds),
            keyframe.lidar.world_from_lidar,
            keyframe.stamp_ns,
            keyframe.context,
            IMAGE_SIZE,
        )

    with town() as keyframe:
        yield Contest(
            ours=lambda: frame_from_keyframe(keyframe, IMAGE_SIZE),
            rivals={"full_size": lambda: plain(keyframe)},
            same=_same_frame,
        )


@contextmanager
def node_overhead() -> Iterator[Contest]:
    """All that the node does to a keyframe beside the model, from the messages to the bytes of its
    answer, against plain ways.

    The plain side is given the matched messages and their poses.
    """
    labels, probability = street()
    with town() as keyframe, TemporaryDirectory() as folder:
        nuscenes, bag = NuScenes(keyframe.lidar.path.parents[2]), Path(folder) / "bag"
        convert_scene(nuscenes, nuscenes.scenes[0]["name"], bag)
        config = AssemblerConfig(calibration_file=str(bag / "calibration.yaml"))
        with BagReader(bag) as reader:
            messages = [(message.topic, reader.decode(message)) for message in reader.messages()]
        sweeps = {
            stamp_ns(message.header): message
            for topic, message in messages
            if topic == PRESETS["nuscenes"].points
        }

        def collect() -> FrameParts:
            assembler = FrameAssembler(config)
            add: dict[str, Callable[[Any], list[FrameParts]]] = {
                PRESETS["nuscenes"].points: assembler.add_points,
                PRESETS["nuscenes"].odometry: assembler.add_odometry,
            }
            for camera, topic in PRESETS["nuscenes"].images().items():
                add[topic] = partial(assembler.add_image, camera)
                add[f"/{camera}/camera_info"] = partial(assembler.add_camera_info, camera)
            collected = [
                parts
                for topic, message in messages
                if topic in add
                for parts in add[topic](message)
            ]
            return [*collected, *assembler.flush()][-1]

        def ours() -> tuple[Frame, bytes, bytes]:
            frame, _ = build_frame(collect(), config.cameras, IMAGE_SIZE)
            return (
                frame,
                marker_array_bytes(labels, SURROUNDOCC_GRID, STAMP_NS, FRAME_ID),
                occupancy_points_bytes(labels, probability, SURROUNDOCC_GRID, STAMP_NS, FRAME_ID),
            )

        matched = collect()

        def plain() -> tuple[Frame, bytes, bytes]:
            clouds = []
            for stamp, _, world_from_lidar in matched.sweeps:
                cloud = sweeps[stamp]
                fields = {
                    field.name: field.offset
                    for field in cloud.fields
                    if field.name in ("x", "y", "z", "intensity")
                }
                dtype = np.dtype(
                    {
                        "names": list(fields),
                        "formats": ["<f4"] * 4,
                        "offsets": list(fields.values()),
                        "itemsize": cloud.point_step,
                    }
                )
                points = np.array(np.frombuffer(cloud.data, dtype).tolist(), dtype=np.float32)
                clouds.append(
                    (points, invert_pose(matched.world_from_grid) @ world_from_lidar, stamp)
                )
            cameras = [matched.cameras[camera] for camera in config.cameras]
            images = [
                cv2.imdecode(np.frombuffer(camera.message.data, np.uint8), cv2.IMREAD_COLOR)
                for camera in cameras
            ]
            frame = frame_from_sensors(
                [np.ascontiguousarray(image[..., ::-1]) for image in images if image is not None],
                [camera.model.intrinsics for camera in cameras],
                [camera.grid_from_camera for camera in cameras],
                _plain_join(clouds),
                matched.world_from_grid,
                matched.stamp_ns,
                matched.context,
                IMAGE_SIZE,
            )
            return (
                frame,
                serialize_message(marker_array(labels, SURROUNDOCC_GRID, STAMP_NS, FRAME_ID)),
                serialize_message(
                    occupancy_points(labels, probability, SURROUNDOCC_GRID, STAMP_NS, FRAME_ID)
                ),
            )

        def same(ours: tuple[Frame, bytes, bytes], theirs: tuple[Frame, bytes, bytes]) -> bool:
            kinds = (MarkerArray, PointCloud2)
            answers = zip(kinds, ours[1:], theirs[1:], strict=True)
            return _same_frame(ours[0], theirs[0]) and all(
                deserialize_message(one, kind) == deserialize_message(other, kind)
                for kind, one, other in answers
            )

        yield Contest(ours=ours, rivals={"plain": plain}, same=same)


CONTESTS: dict[str, Callable[[], Any]] = {
    contest.__name__: contest
    for contest in (
        loader,
        markers,
        pointcloud,
        synchronizer,
        node_overhead,
        neighbours,
        rasterize,
        rayiou,
        model_cpu,
        voxelise,
        splat,
        sampling,
        gauss_render,
    )  # fmt: skip
}
