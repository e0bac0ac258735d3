"""Every field of every topic of a converted scene, as rosbags reads it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from occ_core.datasets.nuscenes import NUSCENES_CAMERAS, NuScenes
from occ_core.geometry.poses import pose_matrix
from occ_perception_ros.bags.check import check_bag
from occ_perception_ros.bags.nuscenes_to_bag import convert_scene
from occ_perception_ros.bags.reader import BagReader
from occ_perception_ros.bags.writer import Storage
from occ_perception_ros.calibration import load_calibration
from occ_perception_ros.transforms import TransformTree

ReadTopic = Callable[[Path, str], list[tuple[int, Any]]]

NS = 10**9
LATCHED = {"/tf_static", "/can/weather", "/can/region"}
TOPICS = {
    "/tf_static": "tf2_msgs/msg/TFMessage",
    "/tf": "tf2_msgs/msg/TFMessage",
    "/odom": "nav_msgs/msg/Odometry",
    "/can/weather": "std_msgs/msg/String",
    "/can/region": "std_msgs/msg/String",
    "/lidar_top": "sensor_msgs/msg/PointCloud2",
    "/annotations": "visualization_msgs/msg/MarkerArray",
    **{
        f"/{c.lower()}/image_rect_compressed": "sensor_msgs/msg/CompressedImage"
        for c in NUSCENES_CAMERAS
    },
    **{f"/{c.lower()}/camera_info": "sensor_msgs/msg/CameraInfo" for c in NUSCENES_CAMERAS},
}


def header_ns(header: Any) -> int:
    return header.stamp.sec * NS + header.stamp.nanosec


def matrix(translation: Any, rotation: Any) -> np.ndarray:
    return pose_matrix(
        (translation.x, translation.y, translation.z),
        (rotation.w, rotation.x, rotation.y, rotation.z),
    )


@pytest.fixture(params=["mcap", "sqlite3"], scope="module")
def bag(
    request: pytest.FixtureRequest, small_drive: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    storage: Storage = request.param
    path = tmp_path_factory.mktemp(storage) / "bag"
    convert_scene(NuScenes(small_drive), "scene-0001", path, storage)
    assert (path / {"mcap": "bag.mcap", "sqlite3": "bag.db3"}[storage]).is_file()
    return path


def test_topics_types_and_qos(bag: Path) -> None:
    with BagReader(bag) as reader:
        assert {name: topic.message_type for name, topic in reader.topics.items()} == TOPICS
        assert {name for name, topic in reader.topics.items() if topic.latched} == LATCHED
        for topic in reader.topics.values():
            (qos,) = topic.qos
            assert (qos.reliability.name, qos.history.name) == ("RELIABLE", "KEEP_LAST")
            assert qos.depth >= 1
    metadata = yaml.safe_load((bag / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert metadata["custom_data"] == {
        "scene": "scene-0001",
        "description": "Night, heavy rain, town",
        "location": "singapore-onenorth",
    }
    # Players before Jazzy read QoS only as text.
    assert all(
        isinstance(t["topic_metadata"]["offered_qos_profiles"], str)
        for t in metadata["topics_with_message_count"]
    )


def test_messages_come_in_time_order_at_their_own_stamps(bag: Path) -> None:
    with BagReader(bag) as reader:
        stamps = []
        for message in reader.messages():
            decoded = reader.decode(message)
            stamps.append(message.stamp_ns)
            if hasattr(decoded, "header"):
                assert header_ns(decoded.header) == message.stamp_ns, message.topic
            for transform in getattr(decoded, "transforms", []):
                assert header_ns(transform.header) == message.stamp_ns
    assert stamps == sorted(stamps)


def test_bag_check_finds_nothing(bag: Path) -> None:
    assert check_bag(bag) == []


def test_images_are_the_files_and_camera_info_goes_with_them(
    bag: Path, small_drive: Path, read_topic: ReadTopic
) -> None:
    nuscenes = NuScenes(small_drive)
    for channel in NUSCENES_CAMERAS:
        views = nuscenes.camera_images("scene-0001", channel)
        images = read_topic(bag, f"/{channel.lower()}/image_rect_compressed")
        infos = read_topic(bag, f"/{channel.lower()}/camera_info")
        # 3 keyframes and an image between each two: keyframes and sweeps alike.
        stamps = [view.stamp_ns for view in views]
        assert len(stamps) == 5
        assert [stamp for stamp, _ in images] == [stamp for stamp, _ in infos] == stamps
        for view, (_, image), (_, info) in zip(views, images, infos, strict=True):
            assert image.data.tobytes() == view.path.read_bytes() and image.format == "jpeg"
            assert image.header.frame_id == info.header.frame_id == channel.lower()
            assert (info.height, info.width) == view.size == (32, 48)
            assert info.distortion_model == "plumb_bob" and info.d.tolist() == [0.0] * 5
            assert info.k.tolist() == [38.0, 0.0, 23.5, 0.0, 39.0, 15.5, 0.0, 0.0, 1.0]
            assert info.r.tolist() == [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
            p = [[38.0, 0.0, 23.5, 0.0], [0.0, 39.0, 15.5, 0.0], [0.0, 0.0, 1.0, 0.0]]
            assert info.p.reshape(3, 4).tolist() == p
            binning = (info.binning_x, info.binning_y, info.roi.width, info.roi.do_rectify)
            assert binning == (0, 0, 0, False)


def test_every_sweep_is_a_cloud_with_ring_and_time(
    bag: Path, small_drive: Path, read_topic: ReadTopic
) -> None:
    sweeps = NuScenes(small_drive).lidar_sweeps("scene-0001")
    clouds = read_topic(bag, "/lidar_top")
    assert len(sweeps) == 21 and [stamp for stamp, _ in clouds] == [
        sweep.stamp_ns for sweep in sweeps
    ]
    for sweep, (_, cloud) in zip(sweeps, clouds, strict=True):
        points = sweep.read()
        assert cloud.header.frame_id == "lidar_top"
        assert [(f.name, f.offset, f.datatype, f.count) for f in cloud.fields] == [
            ("x", 0, 7, 1),
            ("y", 4, 7, 1),
            ("z", 8, 7, 1),
            ("intensity", 12, 7, 1),
            ("ring", 16, 4, 1),
            ("time", 18, 7, 1),
        ]
        size = (cloud.height, cloud.width, cloud.point_step, cloud.row_step)
        assert size == (1, len(points), 22, 22 * len(points))
        assert not cloud.is_bigendian and cloud.is_dense
        rows = cloud.data.reshape(-1, 22)
        np.testing.assert_array_equal(rows[:, :16].copy().view("<f4"), points[:, :4])
        np.testing.assert_array_equal(rows[:, 16:18].copy().view("<u2")[:, 0], points[:, 4])
        times = rows[:, 18:22].copy().view("<f4")[:, 0]
        # 40 columns in 50 ms: the first ended 48.75 ms before the stamp, the last at it.
        np.testing.assert_allclose(
            times[[0, 31, 32, -1]], [-0.04875, -0.04875, -0.0475, 0.0], atol=1e-7
        )


def test_a_cloud_in_another_order_has_no_times(
    small_nuscenes: Callable[..., Any], tmp_path: Path, read_topic: ReadTopic
) -> None:
    drive = small_nuscenes(keyframes=1)
    (path,) = (drive.root / "samples" / "LIDAR_TOP").iterdir()
    points = np.fromfile(path, np.float32).reshape(-1, 5)
    points[::-1].tofile(path)
    convert_scene(NuScenes(drive.root), "scene-0001", tmp_path / "bag")
    ((_, cloud),) = read_topic(tmp_path / "bag", "/lidar_top")
    assert not cloud.data.reshape(-1, 22)[:, 18:].any()


def test_transforms_and_odometry_are_the_poses_of_the_tables(
    bag: Path, small_drive: Path, read_topic: ReadTopic
) -> None:
    nuscenes = NuScenes(small_drive)
    recordings = [
        *nuscenes.lidar_sweeps("scene-0001"),
        *nuscenes.camera_images("scene-0001", "CAM_BACK"),
    ]
    edges = {stamp: message.transforms for stamp, message in read_topic(bag, "/tf")}
    odometry = dict(read_topic(bag, "/odom"))
    assert edges.keys() == odometry.keys()
    for recording in recordings:
        (edge,) = edges[recording.stamp_ns]
        assert (edge.header.frame_id, edge.child_frame_id) == ("map", "base_link")
        transform, expected = edge.transform, recording.world_from_ego
        np.testing.assert_allclose(
            matrix(transform.translation, transform.rotation), expected, atol=1e-9
        )
        message = odometry[recording.stamp_ns]
        assert (message.header.frame_id, message.child_frame_id) == ("map", "base_link")
        pose = message.pose.pose
        np.testing.assert_allclose(matrix(pose.position, pose.orientation), expected, atol=1e-9)


def test_static_transforms_and_calibration_file_hold_the_mountings(
    bag: Path, small_drive: Path, read_topic: ReadTopic
) -> None:
    nuscenes = NuScenes(small_drive)
    ((stamp, message),) = read_topic(bag, "/tf_static")
    with BagReader(bag) as reader:
        assert stamp == next(iter(reader.messages())).stamp_ns
    tree = TransformTree()
    load_calibration(bag / "calibration.yaml", tree)
    expected = {
        c.lower(): nuscenes.camera_images("scene-0001", c)[0].ego_from_camera
        for c in NUSCENES_CAMERAS
    }
    expected["lidar_top"] = nuscenes.lidar_sweeps("scene-0001")[0].ego_from_lidar
    found = {edge.child_frame_id: edge for edge in message.transforms}
    assert found.keys() == expected.keys()
    for frame, base_link_from_sensor in expected.items():
        assert found[frame].header.frame_id == "base_link"
        transform = found[frame].transform
        np.testing.assert_allclose(
            matrix(transform.translation, transform.rotation), base_link_from_sensor, atol=1e-9
        )
        np.testing.assert_allclose(
            tree.lookup("base_link", frame, 0), base_link_from_sensor, atol=1e-9
        )


def test_twist_comes_from_the_can_bus(bag: Path, read_topic: ReadTopic) -> None:
    (first, _), *_ = read_topic(bag, "/lidar_top")
    for stamp, odometry in read_topic(bag, "/odom"):
        # The CAN bus of the drive: 5 m/s + 1 m/s per second from the first sweep, which linear
        # interpolation reproduces.
        assert odometry.twist.twist.linear.x == pytest.approx(5 + (stamp - first) / NS, abs=1e-6)
        assert odometry.twist.twist.angular.z == pytest.approx(0.1)


def test_without_can_bus_the_twist_is_that_of_the_poses(
    small_nuscenes: Callable[..., Any], tmp_path: Path, read_topic: ReadTopic
) -> None:
    convert_scene(NuScenes(small_nuscenes().root), "scene-0001", tmp_path / "bag")
    for _, odometry in read_topic(tmp_path / "bag", "/odom"):
        twist = odometry.twist.twist
        # A circle at 8 m/s and 0.2 rad/s. Poses are differentiated over 0.1 s, at the ends over
        # 0.05 s to one side, where the direction is off by at most 8 * 0.2 * 0.05 = 0.08 m/s.
        assert twist.linear.x == pytest.approx(8.0, abs=0.01)
        assert twist.linear.y == pytest.approx(0.0, abs=0.1)
        assert twist.angular.z == pytest.approx(0.2, abs=1e-6)
        assert twist.angular.x == pytest.approx(0.0, abs=1e-9)
        assert twist.linear.z == pytest.approx(0.0, abs=1e-9)


def test_weather_and_region_come_at_the_start_and_twice_a_second(
    bag: Path, read_topic: ReadTopic
) -> None:
    with BagReader(bag) as reader:
        stamps = [message.stamp_ns for message in reader.messages()]
    for topic, text in (("/can/weather", "rain at night"), ("/can/region", "singapore-onenorth")):
        messages = read_topic(bag, topic)
        assert [message.data for _, message in messages] == [text] * 3
        # The first image fires 25 ms before the first sweep, the last sweep is 1 s after it.
        assert [stamp - stamps[0] for stamp, _ in messages] == [0, NS // 2, NS]
        assert stamps[-1] - stamps[0] == 1_025_000_000


def test_annotations_are_boxes_in_the_lidar_frame(bag: Path, read_topic: ReadTopic) -> None:
    messages = read_topic(bag, "/annotations")
    assert len(messages) == 3
    for _, message in messages:
        erase, car = message.markers
        assert erase.action == erase.DELETEALL
        assert (car.ns, car.type, car.action) == ("vehicle.car", car.CUBE, car.ADD)
        assert car.header.frame_id == "lidar_top"
        length, width, height = car.scale.x, car.scale.y, car.scale.z
        assert (length, width, height) == pytest.approx((4.5, 1.9, 1.6))
        # In the ego frame the car is 10 m ahead, 2 m left and 0.8 m up, and the LiDAR 0.9 m ahead
        # and 1.8 m up; the LiDAR's x points right and its y ahead: (-2, 10 - 0.9, 0.8 - 1.8).
        position = car.pose.position
        assert (position.x, position.y, position.z) == pytest.approx((-2.0, 9.1, -1.0))
        assert car.color.a > 0


def test_raw_images_are_the_decoded_files(
    small_drive: Path, tmp_path: Path, read_topic: ReadTopic
) -> None:
    convert_scene(NuScenes(small_drive), "scene-0001", tmp_path / "bag", raw_images=True)
    compressed = read_topic(tmp_path / "bag", "/cam_back/image_rect_compressed")
    raw = read_topic(tmp_path / "bag", "/cam_back/image_rect")
    assert len(raw) == len(compressed) == 5
    for (stamp, image), (compressed_stamp, file) in zip(raw, compressed, strict=True):
        assert stamp == compressed_stamp and image.encoding == "bgr8" and not image.is_bigendian
        assert (image.height, image.width, image.step) == (32, 48, 48 * 3)
        np.testing.assert_array_equal(
            image.data.reshape(32, 48, 3), cv2.imdecode(file.data, cv2.IMREAD_COLOR)
        )
    assert check_bag(tmp_path / "bag") == []


def test_intrinsics_are_in_pixels_of_the_file_if_the_table_has_another_size(
    small_nuscenes: Callable[..., Any], tmp_path: Path, read_topic: ReadTopic
) -> None:
    drive = small_nuscenes(keyframes=1)
    for path in (drive.root / "samples" / "CAM_BACK").iterdir():
        path.write_bytes(cv2.imencode(".jpg", np.zeros((16, 24, 3), np.uint8))[1].tobytes())
    convert_scene(NuScenes(drive.root), "scene-0001", tmp_path / "bag")
    ((_, info),) = read_topic(tmp_path / "bag", "/cam_back/camera_info")
    assert (info.height, info.width) == (16, 24)
    # Half the size: fx 38 -> 19; cx (23.5 + 0.5) / 2 - 0.5 = 11.5; cy (15.5 + 0.5) / 2 - 0.5 = 7.5
    assert info.k.tolist() == [19.0, 0.0, 11.5, 0.0, 19.5, 7.5, 0.0, 0.0, 1.0]


def test_the_real_keyframe(real_data: Path, tmp_path: Path, read_topic: ReadTopic) -> None:
    report = convert_scene(NuScenes(real_data), "scene-0061", tmp_path / "bag")
    # 6 images with camera_info, 1 sweep, poses at 7 stamps on two topics, 1 static transform,
    # 1 weather, 1 region, 1 annotations
    assert sum(report.messages.values()) == 12 + 1 + 14 + 4 and report.skipped == {}
    ((_, cloud),) = read_topic(tmp_path / "bag", "/lidar_top")
    assert cloud.width == 34688
    times = cloud.data.reshape(-1, 22)[:, 18:].copy().view("<f4")[:, 0]
    assert times[0] == pytest.approx(-0.05, abs=1e-4) and times[-1] == 0.0
    assert (np.diff(times) >= 0).all()
    ((_, boxes),) = read_topic(tmp_path / "bag", "/annotations")
    assert len(boxes.markers) == 1 + 68
    assert [finding.code for finding in check_bag(tmp_path / "bag")] == []
