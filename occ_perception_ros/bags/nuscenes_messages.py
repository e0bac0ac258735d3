"""ROS messages from values of nuScenes: from numpy to objects of rosbags' type store.

All stamps are in nanoseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from rosbags.typesys.stores import ros2_jazzy as ros

from occ_core.geometry.boxes import Box
from occ_core.geometry.poses import quaternion_from_rotation
from occ_core.taxonomy import PALETTE

POINT_DTYPE = np.dtype(
    [
        ("x", "<f4"),
        ("y", "<f4"),
        ("z", "<f4"),
        ("intensity", "<f4"),
        ("ring", "<u2"),
        ("time", "<f4"),
    ]
)
"""The layout of the Velodyne driver, which LiDAR odometry packages expect: 22 packed bytes.
``time`` is in seconds relative to the header stamp, at most 0."""

_FOUR_FLOATS = np.dtype([("xyzi", "V16"), ("ring", "<u2"), ("time", "<f4")])
"""``POINT_DTYPE``, with the first four floats as one value."""

_GREY = (128, 128, 128)
"""Colour of boxes whose category has no class."""

_PNG_SIGNATURE = b"\x89PNG"

LIDAR_PERIOD_S = 0.05
LIDAR_RINGS = 32

_FLOAT32, _UINT16 = (
    ros.sensor_msgs__msg__PointField.FLOAT32,
    ros.sensor_msgs__msg__PointField.UINT16,
)
POINT_FIELDS = [
    ros.sensor_msgs__msg__PointField("x", 0, _FLOAT32, 1),
    ros.sensor_msgs__msg__PointField("y", 4, _FLOAT32, 1),
    ros.sensor_msgs__msg__PointField("z", 8, _FLOAT32, 1),
    ros.sensor_msgs__msg__PointField("intensity", 12, _FLOAT32, 1),
    ros.sensor_msgs__msg__PointField("ring", 16, _UINT16, 1),
    ros.sensor_msgs__msg__PointField("time", 18, _FLOAT32, 1),
]


def time_message(stamp_ns: int) -> ros.builtin_interfaces__msg__Time:
    """A builtin_interfaces/Time."""
    return ros.builtin_interfaces__msg__Time(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)


def header(stamp_ns: int, frame_id: str) -> ros.std_msgs__msg__Header:
    """A std_msgs/Header."""
    return ros.std_msgs__msg__Header(stamp=time_message(stamp_ns), frame_id=frame_id)


def compressed_image(
    data: bytes, stamp_ns: int, frame_id: str
) -> ros.sensor_msgs__msg__CompressedImage:
    """A sensor_msgs/CompressedImage with the bytes of a JPEG or PNG file."""
    kind = "png" if data.startswith(_PNG_SIGNATURE) else "jpeg"
    return ros.sensor_msgs__msg__CompressedImage(
        header(stamp_ns, frame_id), kind, np.frombuffer(data, np.uint8)
    )


def raw_image(image_bgr: np.ndarray, stamp_ns: int, frame_id: str) -> ros.sensor_msgs__msg__Image:
    """A sensor_msgs/Image of the encoding ``bgr8``, from uint8 ``[H, W, 3]``."""
    height, width, _ = image_bgr.shape
    return ros.sensor_msgs__msg__Image(
        header(stamp_ns, frame_id),
        height,
        width,
        "bgr8",
        0,
        width * 3,
        np.ascontiguousarray(image_bgr).reshape(-1),
    )


def camera_info(
    intrinsics: np.ndarray, size: tuple[int, int], stamp_ns: int, frame_id: str
) -> ros.sensor_msgs__msg__CameraInfo:
    """The sensor_msgs/CameraInfo of a rectified camera: no distortion, R = I, P = [K | 0].

    Args:
        intrinsics: K, ``[3, 3]``.
        size: ``(height, width)`` of the image in pixels.
        stamp_ns: stamp of the image.
        frame_id: TF frame of the camera.
    """
    return ros.sensor_msgs__msg__CameraInfo(
        header(stamp_ns, frame_id),
        height=size[0],
        width=size[1],
        distortion_model="plumb_bob",
        d=np.zeros(5),
        k=np.asarray(intrinsics, np.float64).reshape(9),
        r=np.eye(3).reshape(9),
        p=np.hstack([np.asarray(intrinsics, np.float64), np.zeros((3, 1))]).reshape(12),
        binning_x=0,
        binning_y=0,
        roi=ros.sensor_msgs__msg__RegionOfInterest(0, 0, 0, 0, do_rectify=False),
    )


def firing_times_s(ring: np.ndarray) -> np.ndarray:
    """Firing time of each point, float32 ``[N]``, in seconds relative to the end of the sweep.

    nuScenes stores all 32 returns of every firing in order, so that the position in the file gives
    the time. All times are 0 for a file in another order.

    Args:
        ring: index of the laser of each point, ``[N]``.
    """
    rings, times_s = _regular_firing(len(ring))
    return times_s if np.array_equal(ring, rings) else np.zeros(len(ring), np.float32)


@lru_cache(maxsize=8)
def _regular_firing(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Lasers and firing times of a sweep in the usual order; sweeps have few sizes."""
    column = np.arange(count) // LIDAR_RINGS
    columns = max(-(-count // LIDAR_RINGS), 1)
    times_s = np.asarray(((column + 1) / columns - 1) * LIDAR_PERIOD_S, np.float32)
    rings = np.asarray(np.arange(count) % LIDAR_RINGS, np.float32)
    rings.flags.writeable = times_s.flags.writeable = False
    return rings, times_s


def point_cloud(
    points: np.ndarray, stamp_ns: int, frame_id: str
) -> ros.sensor_msgs__msg__PointCloud2:
    """A sensor_msgs/PointCloud2 with one row of ``POINT_DTYPE``.

    Args:
        points: ``[N, 5]``: x, y, z in metres, intensity, ring.
        stamp_ns: end of the sweep.
        frame_id: TF frame of the LiDAR.
    """
    points = np.ascontiguousarray(points, np.float32)
    cloud = np.empty(len(points), POINT_DTYPE)
    # Column by column this takes five times as long.
    cloud.view(_FOUR_FLOATS)["xyzi"] = np.ndarray(
        len(points), _FOUR_FLOATS["xyzi"], points, strides=points.strides[:1]
    )
    cloud["ring"] = points[:, 4]
    cloud["time"] = firing_times_s(points[:, 4])
    is_finite = np.isfinite(points).all() or np.isfinite(points[:, :3]).all()  # the first is faster
    return ros.sensor_msgs__msg__PointCloud2(
        header(stamp_ns, frame_id),
        height=1,
        width=len(cloud),
        fields=POINT_FIELDS,
        is_bigendian=False,
        point_step=POINT_DTYPE.itemsize,
        row_step=POINT_DTYPE.itemsize * len(cloud),
        data=cloud.view(np.uint8),
        is_dense=bool(is_finite),
    )


def transform(
    parent_from_child: np.ndarray, stamp_ns: int, parent: str, child: str
) -> ros.geometry_msgs__msg__TransformStamped:
    """A geometry_msgs/TransformStamped from a pose ``[4, 4]``."""
    return ros.geometry_msgs__msg__TransformStamped(
        header(stamp_ns, parent),
        child,
        ros.geometry_msgs__msg__Transform(
            ros.geometry_msgs__msg__Vector3(*map(float, parent_from_child[:3, 3])),
            _quaternion(parent_from_child),
        ),
    )


def transforms(
    stamped: Sequence[ros.geometry_msgs__msg__TransformStamped],
) -> ros.tf2_msgs__msg__TFMessage:
    """A tf2_msgs/TFMessage."""
    return ros.tf2_msgs__msg__TFMessage(list(stamped))


def odometry(
    world_from_ego: np.ndarray,
    linear_m_s: np.ndarray,
    angular_rad_s: np.ndarray,
    stamp_ns: int,
    frame_id: str,
    child: str,
) -> ros.nav_msgs__msg__Odometry:
    """A nav_msgs/Odometry; its covariances are 0, which means unknown.

    Args:
        world_from_ego: ``[4, 4]``.
        linear_m_s: velocity ``[3]`` in the ego frame.
        angular_rad_s: angular velocity ``[3]`` in the ego frame.
        stamp_ns: time of the pose.
        frame_id: TF frame of the world.
        child: TF frame of the vehicle.
    """
    return ros.nav_msgs__msg__Odometry(
        header(stamp_ns, frame_id),
        child,
        ros.geometry_msgs__msg__PoseWithCovariance(_pose(world_from_ego), np.zeros(36)),
        ros.geometry_msgs__msg__TwistWithCovariance(
            ros.geometry_msgs__msg__Twist(
                ros.geometry_msgs__msg__Vector3(*map(float, linear_m_s)),
                ros.geometry_msgs__msg__Vector3(*map(float, angular_rad_s)),
            ),
            np.zeros(36),
        ),
    )


def string(text: str) -> ros.std_msgs__msg__String:
    """A std_msgs/String."""
    return ros.std_msgs__msg__String(text)


def box_markers(
    boxes: Sequence[Box], stamp_ns: int, frame_id: str
) -> ros.visualization_msgs__msg__MarkerArray:
    """Boxes as translucent cubes in the colours of their classes, with the category as ``ns``.

    The first marker deletes those of the previous keyframe.
    """
    marker = ros.visualization_msgs__msg__Marker
    erase: Any = _marker(stamp_ns, frame_id, "", 0, marker.DELETEALL, np.eye(4), np.zeros(3), _GREY)
    cubes: list[Any] = []  # MarkerArray is declared with the Marker of an older distribution
    for index, box in enumerate(boxes):
        frame_from_box = np.eye(4)
        frame_from_box[:3, :3], frame_from_box[:3, 3] = box.rotation, box.center
        width, length, height = box.size_wlh
        colour = _GREY if box.class_id is None else PALETTE[box.class_id]
        size_m = np.array([length, width, height])
        cubes.append(
            _marker(
                stamp_ns, frame_id, box.category, index, marker.ADD, frame_from_box, size_m, colour
            )
        )
    return ros.visualization_msgs__msg__MarkerArray([erase, *cubes])


def _marker(
    stamp_ns: int,
    frame_id: str,
    namespace: str,
    index: int,
    action: int,
    pose: np.ndarray,
    size_m: np.ndarray,
    colour: tuple[int, int, int],
) -> ros.visualization_msgs__msg__Marker:
    red, green, blue = (channel / 255 for channel in colour)
    return ros.visualization_msgs__msg__Marker(
        header=header(stamp_ns, frame_id),
        ns=namespace,
        id=index,
        type=ros.visualization_msgs__msg__Marker.CUBE,
        action=action,
        pose=_pose(pose),
        scale=ros.geometry_msgs__msg__Vector3(*map(float, size_m)),
        color=ros.std_msgs__msg__ColorRGBA(red, green, blue, 0.4),
        lifetime=ros.builtin_interfaces__msg__Duration(0, 0),
        frame_locked=False,
        points=[],
        colors=[],
        texture_resource="",
        texture=ros.sensor_msgs__msg__CompressedImage(header(0, ""), "", np.zeros(0, np.uint8)),
        uv_coordinates=[],
        text="",
        mesh_resource="",
        mesh_file=ros.visualization_msgs__msg__MeshFile("", np.zeros(0, np.uint8)),
        mesh_use_embedded_materials=False,
    )


def _pose(a_from_b: np.ndarray) -> ros.geometry_msgs__msg__Pose:
    return ros.geometry_msgs__msg__Pose(
        ros.geometry_msgs__msg__Point(*map(float, a_from_b[:3, 3])), _quaternion(a_from_b)
    )


def _quaternion(a_from_b: np.ndarray) -> ros.geometry_msgs__msg__Quaternion:
    return _quaternion_of(np.ascontiguousarray(a_from_b[:3, :3], np.float64).tobytes())


@lru_cache(maxsize=64)
def _quaternion_of(rotation: bytes) -> ros.geometry_msgs__msg__Quaternion:
    """Of the bytes of a matrix: transform and odometry of one event have the same pose."""
    matrix = np.frombuffer(rotation, np.float64).reshape(3, 3)
    w, x, y, z = map(float, quaternion_from_rotation(matrix))
    return ros.geometry_msgs__msg__Quaternion(x, y, z, w)
