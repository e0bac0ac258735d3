"""Answers made-up frames before the first real one, so that it takes no longer than later ones.

A first frame otherwise pays for much that happens once: numba loads its compiled loops, torch and
spconv select kernels for shapes that they have not seen, and the large arrays, those of the memory
included, are taken from the system page by page. So the frames here are as large as real ones and
go the same way: messages are decoded, the model runs with its memory, and the outputs are built.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from functools import partial
from typing import Any

import cv2
import numpy as np
import simplejpeg
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage, Image, PointCloud2, PointField

from occ_core.taxonomy import DriveContext
from occ_core.types import Frame, Occupancy
from occ_perception_ros.calibration import CameraModel
from occ_perception_ros.frame_parts import (
    CameraPart,
    FrameParts,
    NoSweep,
    PlacedSweep,
    SweepMessage,
)
from occ_perception_ros.frames import Engine, build_frame
from occ_perception_ros.image_files import decode_image_file
from occ_perception_ros.messages import NS
from occ_perception_ros.node_config import NodeConfig
from occ_perception_ros.observation import seen_voxels
from occ_perception_ros.publishers import Publishers

FRAMES = 3
"""The first has no memory, the second begins one, the third moves and extends it."""
SCALE = 4
"""Size of the images, in the model's: JPEGs are reduced while they are decoded."""
POINTS = 34_720
"""Size of a sweep, that of nuScenes."""
FRAME_PERIOD_NS, SWEEP_PERIOD_NS = NS // 2, NS // 20
SPEED_M_S = 8.0


def warm_up(engine: Engine, image_size: tuple[int, int], config: NodeConfig) -> None:
    """Answers ``FRAMES`` frames of a made-up drive, and drops the memory of them.

    To be called before the node says that it is ready.

    Args:
        engine: runs the model.
        image_size: ``(height, width)`` of the model's images.
        config: parameters of the node, for its sensors.

    Raises:
        AnswerError: an answer of the model is not finite.
    """
    random = np.random.default_rng(0)
    size = (SCALE * image_size[0], SCALE * image_size[1])
    cameras = {
        camera: _image(random, size, compressed)
        for camera, compressed in config.compressed_by_camera().items()
    }
    sweeps = [_cloud(random) for _ in range(config.sync.sweeps)] if config.lidar else []
    publish = rehearsed_outputs(config)
    if any(config.compressed_by_camera().values()):
        _decode_restart_markers()
    for number in range(1, FRAMES + 1):
        stamp_ns = number * FRAME_PERIOD_NS
        parts = _parts(config, cameras, _camera_model(size), sweeps, stamp_ns)
        frame, _ = build_frame(parts, config.cameras, image_size)
        publish(frame, parts, engine.step(frame))
    engine.reset("start")


def rehearsed_outputs(config: NodeConfig) -> Callable[[Frame, FrameParts, Occupancy], None]:
    """A function that builds and serialises all outputs of a frame, but publishes nothing."""
    nowhere: Any = _Rehearsal()
    outputs = Publishers(nowhere)

    def publish(frame: Frame, parts: FrameParts, occupancy: Occupancy) -> None:
        outputs.publish(
            occupancy,
            parts.stamp_ns,
            config.grid_frame,
            config.vehicle_height_m,
            config.marker_lifetime_s,
            partial(seen_voxels, frame, parts, occupancy),
        )

    return publish


def _parts(
    config: NodeConfig,
    images: dict[str, Any],
    model: CameraModel,
    sweeps: list[PointCloud2],
    stamp_ns: int,
) -> FrameParts:
    """The parts of a frame of a straight drive, on which the cameras look around the vehicle."""
    placed = [
        PlacedSweep(
            stamp_ns - age * SWEEP_PERIOD_NS,
            SweepMessage(sweep, config.max_points, config.intensity_max),
            _world_from_grid(stamp_ns - age * SWEEP_PERIOD_NS),
            np.eye(4),
        )
        for age, sweep in reversed(list(enumerate(sweeps)))
    ]
    world_from_grid = _world_from_grid(stamp_ns)
    no_sweep = PlacedSweep(stamp_ns, NoSweep(config.grid_frame), world_from_grid, np.eye(4))
    return FrameParts(
        stamp_ns=stamp_ns,
        cameras={
            camera: CameraPart(
                image, stamp_ns, model, _grid_from_camera(2 * np.pi * number / len(images))
            )
            for number, (camera, image) in enumerate(images.items())
        },
        masked={},
        sweeps=tuple(placed or [no_sweep]),
        world_from_grid=world_from_grid,
        context=DriveContext(),
        ego_box_m=config.ego_box_m,
        ego_polygon_m=config.ego_polygon_m,
        max_points=config.max_points,
        reset_reason=None,
    )


class _Rehearsal:
    """In the place of a node: its publishers have a subscriber, and drop what they serialised."""

    def create_publisher(self, *_: Any) -> _Rehearsal:
        return self

    def get_subscription_count(self) -> int:
        return 1

    def publish(self, message: Any) -> None:
        if not isinstance(message, bytes):
            serialize_message(message)


def _image(random: np.random.Generator, size: tuple[int, int], compressed: bool) -> Any:
    """A message with an image of coarse noise, whose JPEG is about as large as a photograph's."""
    height, width = size
    coarse = random.integers(0, 256, (-(-height // 8), -(-width // 8), 3), dtype=np.uint8)
    pixels = np.ascontiguousarray(coarse.repeat(8, axis=0).repeat(8, axis=1)[:height, :width])
    if compressed:
        return CompressedImage(format="jpeg", data=array("B", simplejpeg.encode_jpeg(pixels)))
    data = array("B", pixels.tobytes())
    return Image(height=height, width=width, encoding="rgb8", step=3 * width, data=data)


def _decode_restart_markers() -> None:
    """Decodes a JPEG with restart markers, as many cameras write them: the check for damage has a
    compiled loop of its own for them.
    """
    black, every_block = np.zeros((32, 32, 3), np.uint8), [cv2.IMWRITE_JPEG_RST_INTERVAL, 1]
    decode_image_file(cv2.imencode(".jpg", black, every_block)[1].tobytes())


def _camera_model(size: tuple[int, int]) -> CameraModel:
    """A rectified camera that sees 53 degrees across."""
    height, width = size
    intrinsics = np.array(
        [[width, 0, (width - 1) / 2], [0, width, (height - 1) / 2], [0, 0, 1]], np.float64
    )
    return CameraModel(size, intrinsics, np.eye(4))


def _grid_from_camera(yaw: float) -> np.ndarray:
    """A camera (x right, y down, z forward) that is turned to the left by its yaw in radians."""
    pose = np.eye(4)
    pose[:3, 0] = [np.sin(yaw), -np.cos(yaw), 0]
    pose[:3, 1] = [0, 0, -1]
    pose[:3, 2] = [np.cos(yaw), np.sin(yaw), 0]
    return pose


def _cloud(random: np.random.Generator) -> PointCloud2:
    """A sweep over flat ground and a wall around it; near the sensor there are more points."""
    distance = 4 * 12 ** random.random(POINTS)
    azimuth = random.uniform(0, 2 * np.pi, POINTS)
    on_wall = distance > 30
    points = np.stack(
        [
            np.where(on_wall, 30, distance) * np.cos(azimuth),
            np.where(on_wall, 30, distance) * np.sin(azimuth),
            np.where(on_wall, random.uniform(-1.8, 3, POINTS), -1.8),
            random.uniform(0, 100, POINTS),
        ],
        axis=1,
    ).astype("<f4")
    names = ("x", "y", "z", "intensity")
    return PointCloud2(
        height=1,
        width=POINTS,
        fields=[
            PointField(name=name, offset=4 * index, datatype=PointField.FLOAT32, count=1)
            for index, name in enumerate(names)
        ],
        point_step=16,
        row_step=16 * POINTS,
        data=array("B", points.tobytes()),
        is_dense=True,
    )


def _world_from_grid(stamp_ns: int) -> np.ndarray:
    pose = np.eye(4)
    pose[0, 3] = SPEED_M_S * stamp_ns / NS
    return pose
