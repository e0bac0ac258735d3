"""Each fault in a bag that was made for it, and bags that cannot be read."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rosbags.interfaces import QosDurability

from occ_perception_ros.bags.check import check_bag, main
from occ_perception_ros.bags.rules import RULES
from occ_perception_ros.bags.writer import TYPESTORE, BagWriter, qos_profile

NS = 10**9
STATIC, TF, ODOM, LIDAR = "/tf_static", "/tf", "/odom", "/lidar_top"
IMAGE, INFO = "/cam_back/image_rect_compressed", "/cam_back/camera_info"

Change = Callable[[Any], object]


def remove(*prefixes: str) -> Change:
    return lambda bag: bag.remove(*prefixes)


def each(topic: str, change: Change) -> Change:
    return lambda bag: bag.each(topic, change)


def put(topic: str, **fields: Any) -> Change:
    """Sets fields of every message of the topic."""
    return each(topic, lambda entry: entry.set(**fields))


def put_field(index: int, **values: int) -> Change:
    """Changes one field in the layout of every cloud."""
    return each(
        LIDAR,
        lambda entry: [
            setattr(entry.message.fields[index], name, value) for name, value in values.items()
        ],
    )


def shorten(topic: str, size: int) -> Change:
    """Removes bytes from the end of every message's data."""
    return each(topic, lambda entry: entry.set(data=entry.message.data[:-size]))


def scale_intensity(factor: float) -> Change:
    def scale(entry: Any) -> None:
        data = np.array(entry.message.data).reshape(-1, entry.message.point_step)
        at = entry.message.fields[3].offset
        intensity = data[:, at : at + 4].copy().view("<f4") * np.float32(factor)
        data[:, at : at + 4] = intensity.view(np.uint8)
        entry.set(data=data.ravel())

    return each(LIDAR, scale)


def swap_stamps(bag: Any) -> None:
    first, second = (entry.header for entry in bag.on(LIDAR)[3:5])
    first.stamp, second.stamp = second.stamp, first.stamp


def repeat_stamp(bag: Any) -> None:
    first, second = (entry.header for entry in bag.on(LIDAR)[3:5])
    second.stamp = copy.deepcopy(first.stamp)


def remove_mounting(bag: Any) -> None:
    (static,) = bag.on(STATIC)
    static.message.transforms = [
        mounting for mounting in static.message.transforms if mounting.child_frame_id != "cam_back"
    ]


def stand_still(bag: Any) -> None:
    """One pose all the time, and no odometry."""
    pose = bag.on(TF)[0].message.transforms[0].transform
    bag.each(TF, lambda entry: setattr(entry.message.transforms[0], "transform", pose))
    bag.remove(ODOM)


R_RANK_1 = np.array([1.0, 0, 0, 1, 0, 0, 1, 0, 0])
NO_BYTES = np.zeros(0, np.uint8)
FAULTS: dict[str, tuple[Change, str, str]] = {
    # code: (change of a good bag, topic of the finding, part of its text)
    "no-image": (remove("/cam_"), "", "no image topic"),
    "no-camera-info": (remove(INFO), IMAGE, INFO),
    "no-lidar": (remove(LIDAR), "", "no point cloud"),
    "no-tf": (remove("/tf"), "", "no transform"),
    "no-ego-motion": (stand_still, "", "no transform changes"),
    "frame-unconnected": (remove_mounting, IMAGE, "'lidar_top'"),
    "static-in-tf": (lambda bag: bag.move_mountings_to_tf(), TF, "base_link -> "),
    "tf-sparse": (lambda bag: bag.keep_keyframes(TF), TF, "every 0.50 s"),
    "zero-stamp": (each(LIDAR, lambda e: e.clear_stamp()), LIDAR, "21 of 21"),
    "empty-frame": (each(IMAGE, lambda e: setattr(e.header, "frame_id", "")), IMAGE, "frame_id"),
    "stamp-apart": (each(LIDAR, lambda e: e.shift_header(200_000 * NS)), LIDAR, "-200000.000 s"),
    "late": (each(LIDAR, lambda e: e.shift_header(-NS)), LIDAR, "up to 1.000 s after"),
    "burst": (each(ODOM, lambda e: e.write_in_burst()), ODOM, "share the bag time"),
    "out-of-order": (swap_stamps, LIDAR, "back 1 times, by up to 0.050 s"),
    "duplicate-stamp": (repeat_stamp, LIDAR, "1 messages repeat"),
    "keyframes-only": (lambda bag: bag.keep_keyframes(LIDAR), LIDAR, "every 0.50 s"),
    "zero-intrinsics": (put(INFO, k=np.zeros(9)), INFO, "no focal length (and 4 more)"),
    "bad-rectification": (put(INFO, r=R_RANK_1), INFO, "rank 1"),
    "bad-projection": (put(INFO, p=np.zeros(12)), INFO, "no focal length"),
    "no-distortion-model": (put(INFO, distortion_model=""), INFO, "empty"),
    "lens-distortion": (
        put(INFO, d=np.array([-0.3, 0.1, 0.0, 0.0, 0.0])),
        INFO,
        "plumb_bob [-0.3, 0.1, 0.0, 0.0, 0.0]",
    ),
    "camera-info-unusable": (put(INFO, binning_x=100), INFO, "binning of 100x1"),
    "size-mismatch": (
        put(INFO, width=1600, height=900),
        IMAGE,
        "images are 48x32, but /cam_back/camera_info is for 1600x900",
    ),
    "corrupt-image": (shorten(IMAGE, 100), IMAGE, "truncated"),
    "image-encoding": (each(IMAGE, lambda e: e.make_raw("passthrough")), IMAGE, "'passthrough'"),
    "image-truncated": (
        each(IMAGE, lambda e: e.make_raw("bgr8", size=32 * 144 - 1)),
        IMAGE,
        "4607 bytes",
    ),
    "cloud-unusable": (put_field(2, datatype=6), LIDAR, "'z' is not a float"),
    "cloud-without-intensity": (
        each(LIDAR, lambda e: e.message.fields.pop(3)),
        LIDAR,
        "it has x, y, z, ring, time",
    ),
    "intensity-unit": (scale_intensity(12.0), LIDAR, "lies outside 0..255"),
    "intensity-not-finite": (scale_intensity(np.nan), LIDAR, "1280 of 1280 points"),
    "cloud-empty": (put(LIDAR, width=0, row_step=0, data=NO_BYTES), LIDAR, "0x1 points"),
    "no-odometry": (remove(ODOM), "", "nav_msgs/Odometry"),
    "no-weather": (remove("/can/weather"), "", "no weather topic"),
    "no-region": (remove("/can/region"), "", "no region topic"),
    "unknown-context": (
        put("/can/weather", data="snow"),
        "/can/weather",
        "weather 'snow' is unknown; expected one of",
    ),
}
OTHER_TESTS = {
    "unreadable",
    "no-metadata",
    "not-ros2-encoding",
    "ros1-bag",
    "corrupt-message",
    "unreadable-topic",
    "unknown-type",
    "unknown-sensor-type",
    "empty-topic",
    "tf-static-volatile",
}
"""Rules that have a test of their own."""


def test_every_rule_is_tested() -> None:
    assert FAULTS.keys() | OTHER_TESTS == RULES.keys()
    assert all(rule.cure for rule in RULES.values())


@pytest.mark.parametrize("code", FAULTS)
def test_a_fault_is_found_and_no_other(code: str, editable: Any, tmp_path: Path) -> None:
    change, topic, text = FAULTS[code]
    change(editable)
    findings = check_bag(editable.write(tmp_path / "bag"))
    found = [finding for finding in findings if (finding.code, finding.topic) == (code, topic)]
    assert found and text in found[0].message, findings
    assert found[0].severity == RULES[code].severity and found[0].cure == RULES[code].cure
    side_effects = {"no-odometry"} if code == "no-ego-motion" else set()
    assert {finding.code for finding in findings} == {code} | side_effects, findings


def test_a_good_bag_has_no_finding(editable: Any, tmp_path: Path) -> None:
    assert check_bag(editable.write(tmp_path / "bag")) == []


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (put_field(2, offset=20), "end at byte 24, beyond point_step 22"),
        (put(LIDAR, is_bigendian=True), "big-endian"),
        (each(LIDAR, lambda entry: entry.message.fields.pop(1)), "no field 'y'"),
        (shorten(LIDAR, 1), "28159 bytes"),  # 40 * 32 points of 22 bytes, less one
        (put(LIDAR, row_step=22), "row_step 22 is less than 1280 points of 22 bytes"),
    ],
)
def test_other_clouds_that_cannot_be_used(
    change: Change, text: str, editable: Any, tmp_path: Path
) -> None:
    change(editable)
    (finding,) = check_bag(editable.write(tmp_path / "bag"))
    assert finding.code == "cloud-unusable" and text in finding.message


def test_volatile_tf_static(editable: Any, tmp_path: Path) -> None:
    (finding,) = check_bag(editable.write(tmp_path / "bag", volatile=(STATIC,)))
    found = (finding.code, finding.topic, finding.severity)
    assert found == ("tf-static-volatile", STATIC, "error")


def test_an_empty_topic(editable: Any, tmp_path: Path) -> None:
    (finding,) = check_bag(editable.write(tmp_path / "bag", empty=("/chatter",)))
    assert (finding.code, finding.topic) == ("empty-topic", "/chatter")


def test_a_message_of_another_type(editable: Any, tmp_path: Path) -> None:
    with BagWriter(tmp_path / "bag") as writer:
        for entry in editable.entries:
            if entry.topic not in writer.counts:
                latched = entry.topic.startswith(("/tf_static", "/can"))
                writer.add_topic(entry.topic, entry.kind, qos_profile(10, latched=latched))
            writer.write(entry.topic, entry.message, entry.stamp_ns)
        writer.write_raw(LIDAR, b"\x00\x01\x00\x00\xff\xff", entry.stamp_ns)
    (finding,) = check_bag(tmp_path / "bag")
    assert (finding.code, finding.topic) == ("corrupt-message", LIDAR)
    assert "sensor_msgs/msg/PointCloud2" in finding.message


def test_bags_that_cannot_be_read(small_bag: Path, tmp_path: Path) -> None:
    (absent,) = check_bag(tmp_path / "absent")
    assert absent.code == "unreadable" and "does not exist" in absent.message
    cut = tmp_path / "cut"
    cut.mkdir()
    (cut / "metadata.yaml").write_bytes((small_bag / "metadata.yaml").read_bytes())
    (cut / "bag.mcap").write_bytes((small_bag / "bag.mcap").read_bytes()[:-5000])
    (finding,) = check_bag(cut)
    assert finding.code == "unreadable" and "mcap recover" in finding.cure
    (tmp_path / "text.txt").write_text("no bag")
    assert [finding.code for finding in check_bag(tmp_path / "text.txt")] == ["unreadable"]


def test_without_metadata_the_storage_file_is_checked(small_bag: Path, tmp_path: Path) -> None:
    (tmp_path / "bag.mcap").write_bytes((small_bag / "bag.mcap").read_bytes())
    assert check_bag(tmp_path / "bag.mcap") == []
    (finding,) = check_bag(tmp_path)
    assert finding.code == "no-metadata" and "reindex" in finding.cure
    (tmp_path / "bag.mcap").unlink()
    (finding,) = check_bag(tmp_path)
    assert "no .mcap or .db3 file" in finding.message


def test_a_bag_that_does_not_state_its_qos_is_fine(editable: Any, tmp_path: Path) -> None:
    """Bags of old distributions do not."""
    with BagWriter(tmp_path / "bag") as writer:
        for entry in editable.entries:
            if entry.topic not in writer.counts:
                writer._connections[entry.topic] = writer._writer.add_connection(
                    entry.topic, entry.kind, typestore=TYPESTORE
                )
                writer.counts[entry.topic] = 0
            writer.write(entry.topic, entry.message, entry.stamp_ns)
    assert check_bag(tmp_path / "bag") == []
    assert qos_profile(1).durability is QosDurability.VOLATILE


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["bag_check", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_the_exit_code_is_1_for_errors_only(
    editable: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, editable.write(tmp_path / "good")) == 0
    assert "0 errors, 0 warnings" in capsys.readouterr().out
    editable.remove("/can/weather")
    assert run(monkeypatch, editable.write(tmp_path / "info"), "--json") == 0
    assert json.loads(capsys.readouterr().out) == [
        {
            "code": "no-weather",
            "severity": "info",
            "topic": "",
            "message": "the bag has no weather topic",
            "cure": RULES["no-weather"].cure,
        }
    ]
    editable.remove(INFO)
    assert run(monkeypatch, editable.write(tmp_path / "bad")) == 1
    assert f"ERROR [no-camera-info] {IMAGE}: " in capsys.readouterr().out
