"""The benchmarks: what is timed against what, on which input. The rivals are the ways that one would write first."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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
from occ_core.sparse import SparseBlock, linear_index, sparse_volume
from occ_core.taxonomy import CLASS_ID, NUM_CLASSES
from occ_core.types import Frame
from occ_core.voxel_grid import SURROUNDOCC_GRID
from occ_perception_ros.markers import marker_array, marker_array_bytes
from occ_perception_ros.outputs import occupancy_points, occupancy_points_bytes, voxel_points
from occ_perception_ros.synchronizer import NS, NUSCENES_OFFSETS_S, LidarAnchoredSynchronizer, SyncConfig
from training.make_world import WorldConfig, make_world

IMAGE_SIZE = (128, 352)
STAMP_NS = 1_600_000_000 * NS
FRAME_ID = "lidar_top"


@dataclass(frozen=True)
class Contest:
    """Ways to the same result."""

    ours: Callable[[], Any]
    rivals: dict[str, Callable[[], Any]]
    same: Callable[[Any, Any], bool]
    """Whether a rival's result is ours."""


def street() -> tuple[np.ndarray, np.ndarray]:
    """Labels uint8 [200, 200, 16] as a street has them, and probabilities: a full ground, and one voxel in 30 above it."""
    random = np.random.default_rng(0)
    shape = SURROUNDOCC_GRID.shape
    labels = np.where(random.random(shape) < 1 / 30, random.integers(1, NUM_CLASSES, shape), 0).astype(np.uint8)
    labels[:, :, 0] = CLASS_ID["driveable_surface"]
    return labels, random.random(shape).astype(np.float32)


def _read_bgr(path: Path) -> np.ndarray:
    image = cv2.imread(str(path))
    assert image is not None, path
    return image


@contextmanager
def town() -> Iterator[Keyframe]:
    """The last keyframe of a small generated drive, with nine sweeps before it, at nuScenes' full image size."""
    with TemporaryDirectory() as folder:
        make_world(WorldConfig(Path(folder), scenes=1, seed=0, keyframes=2, workers=1))
        yield NuScenes(Path(folder)).keyframes(None, sweeps=9)[-1]


@contextmanager
def markers() -> Iterator[Contest]:
    """A MarkerArray ready to send, against rclpy's way over one Point object a voxel."""
    labels, _ = street()
    yield Contest(
        ours=lambda: marker_array_bytes(labels, SURROUNDOCC_GRID, STAMP_NS, FRAME_ID),
        rivals={"rclpy_points": lambda: serialize_message(marker_array(labels, SURROUNDOCC_GRID, STAMP_NS, FRAME_ID))},
        same=lambda ours, theirs: deserialize_message(ours, MarkerArray) == deserialize_message(theirs, MarkerArray),
    )


@contextmanager
def pointcloud() -> Iterator[Contest]:
    """A PointCloud2 ready to send, against rclpy's message and against packing point by point, as ROS 1's tools did."""
    labels, probability = street()

    def packed() -> bytes:
        points = voxel_points(labels, probability, SURROUNDOCC_GRID)
        layout = struct.Struct("<fffB3xf")
        data = bytearray(layout.size * len(points))
        for number, point in enumerate(points.tolist()):
            layout.pack_into(data, number * layout.size, *point)
        message = occupancy_points(np.zeros_like(labels), probability, SURROUNDOCC_GRID, STAMP_NS, FRAME_ID)
        message.width, message.row_step, message.data = len(points), len(data), bytes(data)
        return bytes(serialize_message(message))

    yield Contest(
        ours=lambda: occupancy_points_bytes(labels, probability, SURROUNDOCC_GRID, STAMP_NS, FRAME_ID),
        rivals={
            "rclpy_message": lambda: serialize_message(
                occupancy_points(labels, probability, SURROUNDOCC_GRID, STAMP_NS, FRAME_ID)
            ),
            "point_by_point": packed,
        },
        same=lambda ours, theirs: deserialize_message(ours, PointCloud2) == deserialize_message(theirs, PointCloud2),
    )


@contextmanager
def synchronizer() -> Iterator[Contest]:
    """Two minutes of keyframes at 2 Hz, against message_filters' ApproximateTimeSynchronizer.

    Where message_filters is not installed, against the plain search: for each sweep, of all images kept the nearest.
    """
    offsets_ns = [round(offset * NS) for offset in NUSCENES_OFFSETS_S]
    sweeps = [STAMP_NS + number * NS // 2 for number in range(240)]
    images = [(sweep + offset, camera) for sweep in sweeps for camera, offset in enumerate(offsets_ns)]
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
        return [(one.stamp_ns, *(one.images[camera][0] for camera in NUSCENES_CAMERAS)) for one in sets]

    def nearest() -> list[tuple[int, ...]]:
        kept: list[list[int]] = [[] for _ in NUSCENES_CAMERAS]
        waiting: list[int] = []
        sets = []
        for stamp, camera in events:
            (waiting if camera < 0 else kept[camera]).append(stamp)
            for sweep in list(waiting):
                found = [
                    min(stamps, key=lambda image, target=sweep + offset: abs(image - target), default=0)  # type: ignore[misc]
                    for stamps, offset in zip(kept, offsets_ns, strict=True)
                ]
                if all(abs(image - sweep - offset) < NS // 20 for image, offset in zip(found, offsets_ns, strict=True)):
                    sets.append((sweep, *found))
                    waiting.remove(sweep)
        return sets

    yield Contest(
        ours=ours,
        rivals={"nearest": nearest, **_message_filters(events)},
        same=lambda first, second: first == second,
    )


def _message_filters(events: list[tuple[int, int]]) -> dict[str, Callable[[], list[tuple[int, ...]]]]:
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
            lambda *found: sets.append(tuple(one.header.stamp.sec * NS + one.header.stamp.nanosec for one in found))
        )
        for message, camera in messages:
            inputs[camera + 1].signalMessage(message)
        return sets

    return {"message_filters": approximate}


@contextmanager
def loader() -> Iterator[Contest]:
    """A frame from its files, against full-size decoding and sweeps moved by 4x4 products as nuscenes-devkit moves them."""

    def plain(keyframe: Keyframe) -> Frame:
        grid_from_world = invert_pose(keyframe.lidar.world_from_lidar)
        views = [keyframe.cameras[channel] for channel in NUSCENES_CAMERAS]
        clouds = []
        for sweep in (*reversed(keyframe.sweeps), keyframe.lidar):
            points = sweep.read()
            homogeneous = np.concatenate([points[:, :3], np.ones((len(points), 1))], axis=1)
            moved = (grid_from_world @ sweep.world_from_lidar @ homogeneous.T).T[:, :3]
            low, high = np.array(EGO_BOX_M[:3]), np.array(EGO_BOX_M[3:])
            kept = ~((points[:, :3] > low) & (points[:, :3] < high)).all(axis=1)
            age_s = np.full((len(points), 1), (keyframe.stamp_ns - sweep.stamp_ns) / NS)
            clouds.append(np.concatenate([moved, points[:, 3:4], age_s], axis=1)[kept])
        return frame_from_sensors(
            [np.ascontiguousarray(_read_bgr(view.path)[..., ::-1]) for view in views],
            [view.intrinsics for view in views],
            [grid_from_world @ view.world_from_camera for view in views],
            np.concatenate(clouds).astype(np.float32),
            keyframe.lidar.world_from_lidar,
            keyframe.stamp_ns,
            keyframe.context,
            IMAGE_SIZE,
        )

    def same(ours: Frame, theirs: Frame) -> bool:
        # A JPEG that is reduced while it is decoded goes through another low-pass filter than one reduced afterwards: the
        # images agree to two grey levels on average, everything else to rounding.
        difference = (ours.images.float() - theirs.images.float()).abs().mean()
        return bool(
            difference < 2
            and torch.allclose(ours.intrinsics, theirs.intrinsics, atol=1e-3)
            and torch.allclose(ours.grid_from_camera, theirs.grid_from_camera, atol=1e-5)
            and ours.points[0].shape == theirs.points[0].shape
            and torch.allclose(ours.points[0], theirs.points[0], atol=1e-3)
        )

    with town() as keyframe:
        yield Contest(
            ours=lambda: frame_from_keyframe(keyframe, IMAGE_SIZE),
            rivals={"full_size": lambda: plain(keyframe)},
            same=same,
        )


@contextmanager
def model_cpu() -> Iterator[Contest]:
    """A sparse 3D convolution on the CPU, against spconv's own, which is right there with one thread only."""
    random = torch.Generator().manual_seed(0)
    shape = SURROUNDOCC_GRID.shape
    cells = torch.randperm(shape[0] * shape[1] * shape[2], generator=random)[:30_000].sort().values
    index = torch.stack([torch.zeros_like(cells), *torch.unravel_index(cells, shape)], dim=1)
    features = torch.randn(len(cells), 32, generator=random)
    torch.manual_seed(0)
    block = SparseBlock(32, 32, stride=1, share="benchmark").eval()

    def spconv() -> torch.Tensor:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        volume = block.convolution(sparse_volume(features, index, shape, 1))
        torch.set_num_threads(threads)
        order = linear_index(volume.indices, shape).argsort()
        return torch.relu(block.norm(volume.features[order]))

    with torch.inference_mode():
        yield Contest(
            ours=lambda: block(sparse_volume(features, index, shape, 1)).features,
            rivals={"spconv": spconv},
            same=lambda ours, theirs: torch.allclose(ours, theirs, atol=1e-4),
        )


CONTESTS: dict[str, Callable[[], Any]] = {
    contest.__name__: contest for contest in (loader, markers, pointcloud, synchronizer, model_cpu)
}
