"""Benchmarks of ROS messages and of the synchronizer."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import PointCloud2
from visualization_msgs.msg import MarkerArray

from occ_core.datasets.nuscenes import NUSCENES_CAMERAS
from occ_core.voxel_grid import SURROUNDOCC_GRID
from occ_perception_ros.markers import marker_array, marker_array_bytes
from occ_perception_ros.outputs import cloud_bytes, occupancy_points, voxel_points
from occ_perception_ros.sync_config import NUSCENES_OFFSETS_S, SyncConfig
from occ_perception_ros.synchronizer import NS, LidarAnchoredSynchronizer
from training.benchmarks.definition import Benchmark
from training.benchmarks.inputs import street

_STAMP_NS = 1_600_000_000 * NS
_OUTPUT = (SURROUNDOCC_GRID, _STAMP_NS, "lidar_top")
"""Grid, stamp and frame of the messages."""
_LIDAR = -1
"""Stands for the LiDAR where a number stands for a camera."""

Event = tuple[int, int]
"""Stamp in nanoseconds, and number of the camera or ``_LIDAR``."""
Match = tuple[int, ...]
"""Stamps of a sweep and of the image of each camera."""


@contextmanager
def markers() -> Iterator[Benchmark]:
    """A serialised MarkerArray, against rclpy with one Point object for each voxel."""
    labels, _ = street()
    yield Benchmark(
        candidate=lambda: marker_array_bytes(labels, *_OUTPUT),
        baselines={"rclpy_points": lambda: serialize_message(marker_array(labels, *_OUTPUT))},
        same=partial(_same_message, MarkerArray),
        clock=time.process_time,
    )


@contextmanager
def pointcloud() -> Iterator[Benchmark]:
    """A serialised PointCloud2 as the node publishes it, against a message that rclpy serialises
    and against packing each point, as the Python tools of ROS 1 do.
    """
    labels, probability = street()

    def candidate() -> bytes:
        records = voxel_points(labels, probability, SURROUNDOCC_GRID)
        return cloud_bytes(records, _STAMP_NS, "lidar_top")

    def rclpy_message() -> bytes:
        return bytes(serialize_message(occupancy_points(labels, probability, *_OUTPUT)))

    def point_by_point() -> bytes:
        points = voxel_points(labels, probability, SURROUNDOCC_GRID)
        layout = struct.Struct("<fffB3xf")
        data = bytearray(layout.size * len(points))
        for number, point in enumerate(points.tolist()):
            layout.pack_into(data, number * layout.size, *point)
        message = occupancy_points(np.zeros_like(labels), probability, *_OUTPUT)
        message.width, message.row_step, message.data = len(points), len(data), bytes(data)
        return bytes(serialize_message(message))

    yield Benchmark(
        candidate=candidate,
        baselines={"rclpy_message": rclpy_message, "point_by_point": point_by_point},
        same=partial(_same_message, PointCloud2),
        clock=time.process_time,
    )


@contextmanager
def synchronizer() -> Iterator[Benchmark]:
    """Two minutes of keyframes at 2 Hz, against ApproximateTimeSynchronizer of message_filters.

    The other baseline searches all images for the nearest ones. It is the only baseline where
    message_filters is not installed.
    """
    offsets_ns = [round(offset * NS) for offset in NUSCENES_OFFSETS_S]
    sweeps = [_STAMP_NS + number * NS // 2 for number in range(240)]
    images = [
        (sweep + offset, camera) for sweep in sweeps for camera, offset in enumerate(offsets_ns)
    ]
    events: list[Event] = sorted([*images, *((sweep, _LIDAR) for sweep in sweeps)])

    def candidate() -> list[Match]:
        collector = LidarAnchoredSynchronizer(NUSCENES_CAMERAS, SyncConfig())
        sets = []
        for stamp, camera in events:
            sets += (
                collector.add_sweep(stamp, None)
                if camera == _LIDAR
                else collector.add_image(NUSCENES_CAMERAS[camera], stamp, None)
            )
        return [
            (found.stamp_ns, *(found.images[camera][0] for camera in NUSCENES_CAMERAS))
            for found in sets
        ]

    yield Benchmark(
        candidate=candidate,
        baselines={
            "nearest": lambda: _match_by_search(events, offsets_ns),
            **_message_filters(events),
        },
        same=lambda candidate, baseline: candidate == baseline,
        clock=time.process_time,
    )


def _same_message(kind: type, data: bytes, expected: bytes) -> bool:
    return bool(deserialize_message(data, kind) == deserialize_message(expected, kind))


def _match_by_search(events: list[Event], offsets_ns: list[int]) -> list[Match]:
    """Finds the images nearest to each sweep in the list of all images so far."""
    images: list[list[int]] = [[] for _ in offsets_ns]
    waiting: list[int] = []
    matches: list[Match] = []
    for stamp, camera in events:
        (waiting if camera == _LIDAR else images[camera]).append(stamp)
        for sweep in list(waiting):
            due = [sweep + offset for offset in offsets_ns]
            nearest = [
                min(stamps, key=partial(_distance, target), default=0)
                for stamps, target in zip(images, due, strict=True)
            ]
            distances = map(_distance, nearest, due)
            if all(distance < NS // 20 for distance in distances):
                matches.append((sweep, *nearest))
                waiting.remove(sweep)
    return matches


def _distance(stamp: int, other: int) -> int:
    return abs(stamp - other)


def _message_filters(events: list[Event]) -> dict[str, Callable[[], list[Match]]]:
    """ApproximateTimeSynchronizer on these events, if it is installed."""
    try:
        from message_filters import ApproximateTimeSynchronizer, SimpleFilter
    except ImportError:
        return {}
    from sensor_msgs.msg import CompressedImage

    def message_at(stamp: int) -> CompressedImage:
        message = CompressedImage()
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, NS)
        return message

    def stamp_of(message: CompressedImage) -> int:
        return message.header.stamp.sec * NS + message.header.stamp.nanosec

    messages = [(message_at(stamp), camera) for stamp, camera in events]

    def approximate() -> list[Match]:
        inputs = [SimpleFilter() for _ in range(len(NUSCENES_CAMERAS) + 1)]
        matches: list[Match] = []
        synchronizer = ApproximateTimeSynchronizer(inputs, queue_size=10, slop=0.1)
        synchronizer.registerCallback(lambda *found: matches.append(tuple(map(stamp_of, found))))
        for message, camera in messages:
            inputs[camera + 1].signalMessage(message)
        return matches

    return {"message_filters": approximate}
