"""What ``bag_check`` finds in the bags of other nuScenes converters, whose formats are imitated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from mcap.writer import Writer as McapWriter
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from occ_perception_ros.bags.check import check_bag
from occ_perception_ros.bags.writer import TYPESTORE

TF, ODOM, LIDAR = "/tf", "/odom", "/lidar_top"
IMAGE = "/cam_back/image_rect_compressed"


def codes(bag: Path) -> set[str]:
    return {finding.code for finding in check_bag(bag)}


def test_foxglove_nuscenes2mcap_is_not_a_ros2_bag(tmp_path: Path) -> None:
    path = tmp_path / "NuScenes-v1.0-mini-scene-0061.mcap"
    channels = [
        ("/cam_front/image_rect_compressed", "foxglove.CompressedImage", "protobuf", "protobuf"),
        ("/imu", "IMU", "jsonschema", "json"),
    ]
    with path.open("wb") as file:
        writer = McapWriter(file)
        writer.start()
        for topic, schema, schema_encoding, message_encoding in channels:
            schema_id = writer.register_schema(schema, schema_encoding, b"")
            writer.register_channel(topic, message_encoding, schema_id)
        writer.finish()
    (finding,) = check_bag(path)
    assert finding.code == "not-ros2-encoding" and "nuscenes_to_bag" in finding.cure
    assert finding.message == (
        "none of 2 topics can be read; /cam_front/image_rect_compressed, for example: it has "
        "protobuf messages of protobuf schema, which are not those of ROS 2"
    )


def test_clynamen_nuscenes2bag_is_ros1_without_camera_info(editable: Any, tmp_path: Path) -> None:
    store = get_typestore(Stores.ROS1_NOETIC)
    store.register(
        get_types_from_msg("geometry_msgs/TransformStamped[] transforms", "tf2_msgs/msg/TFMessage")
    )
    kinds = {
        LIDAR: "sensor_msgs/msg/PointCloud2",
        TF: "tf2_msgs/msg/TFMessage",
        "/cam_back/raw": "sensor_msgs/msg/Image",
    }
    editable.move_mountings_to_tf()
    editable.each(IMAGE, lambda entry: entry.make_raw("bgr8"))
    editable.each(IMAGE, lambda entry: setattr(entry, "topic", "/cam_back/raw"))
    with Ros1Writer(tmp_path / "scene.bag") as writer:
        connections = {
            topic: writer.add_connection(topic, kind, typestore=store)
            for topic, kind in kinds.items()
        }
        for entry in editable.entries:
            if entry.topic in kinds:
                cdr = TYPESTORE.serialize_cdr(entry.message, entry.kind)
                data = TYPESTORE.cdr_to_ros1(cdr, entry.kind)
                writer.write(connections[entry.topic], entry.stamp_ns, data)
    assert codes(tmp_path / "scene.bag") == {
        "ros1-bag",
        "no-camera-info",
        "static-in-tf",
        "no-odometry",
        "no-weather",
        "no-region",
    }


def test_wj_nuscenes2bag_ros2_has_no_stamps(editable: Any, tmp_path: Path) -> None:
    """No stamps on images and clouds, no frame on images, relative topic names, raw images, no
    camera_info, mountings in /tf.
    """
    editable.remove("/can", "/annotations")
    editable.move_mountings_to_tf()
    editable.each(IMAGE, lambda entry: entry.make_raw("bgr8"))
    editable.entries = [e for e in editable.entries if not e.topic.endswith("camera_info")]
    for entry in editable.entries:
        if entry.topic.startswith("/cam") or entry.topic == LIDAR:
            entry.clear_stamp()
        if entry.topic.startswith("/cam"):
            entry.message.header.frame_id = ""
        entry.topic = entry.topic if entry.topic in (TF, ODOM) else entry.topic.removeprefix("/")
    findings = check_bag(editable.write(tmp_path / "bag"))
    assert {finding.code for finding in findings} == {
        "zero-stamp",
        "empty-frame",
        "no-camera-info",
        "static-in-tf",
        "no-weather",
        "no-region",
    }
    assert sum(finding.code == "zero-stamp" for finding in findings) == 7  # 6 cameras, 1 LiDAR


def test_watonomous_nuscenes_to_ros2bag_has_singular_rectification(
    editable: Any, tmp_path: Path
) -> None:
    """R = [1,0,0,1,0,0,1,0,0], poses and mountings in /tf at keyframes, odometry in bursts."""
    editable.move_mountings_to_tf()
    editable.keep_keyframes(TF)
    editable.remove("/can", "/annotations")
    for entry in editable.entries:
        if entry.topic.endswith("camera_info"):
            entry.message.r = np.array([1.0, 0, 0, 1, 0, 0, 1, 0, 0])
    editable.each(ODOM, lambda entry: entry.write_in_burst())
    findings = check_bag(editable.write(tmp_path / "bag"))
    assert {finding.code for finding in findings} == {
        "bad-rectification",
        "static-in-tf",
        "tf-sparse",
        "burst",
        "no-weather",
        "no-region",
    }
    assert sum(finding.code == "bad-rectification" for finding in findings) == 6


def test_dataset_bridge_recorded_live(editable: Any, tmp_path: Path) -> None:
    """Keyframes only, R all zero, no distortion model, encoding "passthrough", mountings in /tf."""
    editable.move_mountings_to_tf()
    editable.keep_keyframes(LIDAR)
    editable.remove("/can", "/annotations", ODOM)
    editable.each(IMAGE, lambda entry: entry.make_raw("passthrough"))
    for entry in editable.entries:
        if entry.topic.endswith("camera_info"):
            entry.set(r=np.zeros(9), distortion_model="")
    assert codes(editable.write(tmp_path / "bag")) == {
        "keyframes-only",
        "bad-rectification",
        "no-distortion-model",
        "image-encoding",
        "static-in-tf",
        "no-odometry",
        "no-weather",
        "no-region",
    }
