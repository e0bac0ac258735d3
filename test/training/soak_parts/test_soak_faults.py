"""The plan of faults, and what they do to the drive."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CompressedImage, PointCloud2

from occ_perception_ros.image_files import decode_image_file
from occ_perception_ros.messages import points_from_message
from occ_perception_ros.topics import CAMERAS
from training.soak_parts.drive import INPUT, POINTS, TYPES, SoakDrive, stamp_of, stamped
from training.soak_parts.faults import DAMAGES, KINDS, Fault, FaultTimeline, plan_faults

CAMERA = f"{INPUT}/cam_front/image"


@pytest.fixture(scope="module")
def drive() -> SoakDrive:
    return SoakDrive(0)


def test_a_plan_depends_on_its_seed_alone_and_has_every_kind() -> None:
    plan = plan_faults(3, 6.0, 200.0, CAMERAS)
    assert plan == plan_faults(3, 6.0, 200.0, CAMERAS) != plan_faults(4, 6.0, 200.0, CAMERAS)
    assert list(plan) == sorted(plan, key=lambda fault: fault.at_s)
    assert all(fault.at_s > 6.0 and fault.at_s + fault.duration_s <= 200.0 for fault in plan)
    counts = Counter(fault.kind for fault in plan)
    # Every kind once before any comes again: no two counts differ by more than one.
    assert counts.keys() == {*KINDS} and max(counts.values()) - min(counts.values()) <= 1


def test_the_timeline_knows_what_is_in_effect() -> None:
    a, b = Fault("burst", 1.0, 3.0), Fault("burst", 2.0, 1.0)
    timeline = FaultTimeline([a, b])
    found = [list(timeline.at(at_s)) for at_s in (0.5, 1.0, 2.5, 3.0, 4.0)]
    assert found == [[], [a], [a, b], [a], []]


def test_the_drive_is_in_order_and_of_its_types(drive: SoakDrive) -> None:
    messages = list(drive.messages(2.0))
    assert [m.at_s for m in messages] == sorted(m.at_s for m in messages)
    counts = Counter(message.topic for message in messages)
    # 2 s of clouds every 0.1 s; of images every 0.5 s, from 0.5 s on
    assert counts[POINTS] == 20 and counts[CAMERA] == 4 and counts.keys() == TYPES.keys()
    for message in messages:
        decoded = deserialize_message(stamped(message.data, 5_000_000_007), TYPES[message.topic])
        stamp = getattr(decoded, "header", None)
        stamp = decoded.clock if stamp is None else stamp.stamp
        assert (stamp.sec, stamp.nanosec) == (5, 7)
    assert stamp_of(stamped(messages[0].data, 5_000_000_007)) == 5_000_000_007


def test_a_dropout_silences_one_camera_or_all(drive: SoakDrive) -> None:
    one = drive.messages(2.0, [Fault("dropout", 0.0, 1.2, "cam_front")])
    counts = Counter(message.topic for message in one)
    assert counts[CAMERA] == 2 and counts[f"{INPUT}/cam_back/image"] == 4
    every = drive.messages(2.0, [Fault("dropout", 0.0, 9.0)])
    assert not [message for message in every if message.topic.endswith("/image")]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_images_cannot_be_decoded(damage: str, drive: SoakDrive) -> None:
    fault = Fault("corrupt", 0.0, 9.0, "cam_front", damage)
    (data,) = {m.data for m in drive.messages(1.0, [fault]) if m.topic == CAMERA}
    with pytest.raises(ValueError):
        decode_image_file(bytes(deserialize_message(data, CompressedImage).data))


@pytest.mark.parametrize(
    ("target", "kept"), [("not_finite", 0), ("half_finite", 300), ("empty", 0)]
)
def test_bad_clouds_have_fewer_points(target: str, kept: int, drive: SoakDrive) -> None:
    fault = Fault("cloud", 0.0, 9.0, target)
    (data,) = {m.data for m in drive.messages(1.0, [fault]) if m.topic == POINTS}
    points, _ = points_from_message(deserialize_message(data, PointCloud2))
    assert len(points) == kept and np.isfinite(points).all()
