"""Each defect in a bag made for it, and the formats of other nuScenes converters."""

from __future__ import annotations

import copy
import json
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rosbags.interfaces import QosDurability
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from occ_perception_ros.bags.check import check_bag, main
from occ_perception_ros.bags.mcap_channels import mcap_channels
from occ_perception_ros.bags.reader import BagReader
from occ_perception_ros.bags.rules import RULES
from occ_perception_ros.bags.writer import TYPESTORE, BagWriter, qos_profile

NS = 10**9
STATIC, TF, ODOM, LIDAR = "/tf_static", "/tf", "/odom", "/lidar_top"
IMAGE, INFO = "/cam_back/image_rect_compressed", "/cam_back/camera_info"


@dataclass
class Entry:
    """One message on its way into a bad bag."""

    topic: str
    kind: str
    message: Any
    stamp_ns: int

    @property
    def header(self) -> Any:
        return (
            self.message.transforms[0].header
            if hasattr(self.message, "transforms")
            else self.message.header
        )

    def shift_header(self, shift_ns: int) -> None:
        stamp = self.header.stamp
        stamp.sec, stamp.nanosec = divmod(stamp.sec * NS + stamp.nanosec + shift_ns, NS)


@cache
def good(bag: Path) -> list[Entry]:
    with BagReader(bag) as reader:
        messages = list(reader.messages())
    return [
        Entry(
            m.topic, m.message_type, TYPESTORE.deserialize_cdr(m.data, m.message_type), m.stamp_ns
        )
        for m in messages
    ]


def write(
    path: Path, entries: list[Entry], volatile: tuple[str, ...] = (), empty: tuple[str, ...] = ()
) -> Path:
    with BagWriter(path) as writer:
        kinds = {entry.topic: entry.kind for entry in entries} | dict.fromkeys(
            empty, "std_msgs/msg/String"
        )
        for topic, kind in kinds.items():
            latched = topic.startswith(("/tf_static", "/can")) and topic not in volatile
            writer.add_topic(topic, kind, qos_profile(10, latched=latched))
        for entry in entries:
            writer.write(entry.topic, entry.message, entry.stamp_ns)
    return path


Change = Callable[[list[Entry]], list[Entry] | None]


def each(topic: str, act: Callable[[Entry], object]) -> Change:
    """Acts on every message of the topic."""

    def change(entries: list[Entry]) -> None:
        for entry in entries:
            if entry.topic == topic:
                act(entry)

    return change


def without(*prefixes: str) -> Change:
    return lambda entries: [entry for entry in entries if not entry.topic.startswith(prefixes)]


def put(**fields: Any) -> Callable[[Entry], object]:
    """Sets attributes of a message."""
    return lambda entry: [setattr(entry.message, name, value) for name, value in fields.items()]


def stamp_zero(entry: Entry) -> None:
    entry.header.stamp.sec = entry.header.stamp.nanosec = 0


def as_raw(encoding: str, step: int = 144, size: int = 32 * 144) -> Change:
    """The camera's images as 48x32 raw ones."""

    def act(entry: Entry) -> None:
        header = entry.message.header
        entry.kind = "sensor_msgs/msg/Image"
        entry.message = TYPESTORE.types[entry.kind](
            header, 32, 48, encoding, 0, step, np.zeros(size, np.uint8)
        )

    return each(IMAGE, act)


def bag_times_of_keyframes(entry: Entry) -> None:
    """Written in bursts, up to half a second late."""
    entry.stamp_ns = -(-entry.stamp_ns // (NS // 2)) * (NS // 2)


def swap_stamps(entries: list[Entry]) -> None:
    first, second = [entry for entry in entries if entry.topic == LIDAR][3:5]
    first.message.header.stamp, second.message.header.stamp = (
        second.message.header.stamp,
        first.message.header.stamp,
    )


def repeat_stamp(entries: list[Entry]) -> None:
    first, second = [entry for entry in entries if entry.topic == LIDAR][3:5]
    second.message.header.stamp = copy.deepcopy(first.message.header.stamp)


def keyframes_only(entries: list[Entry]) -> list[Entry]:
    keyframes = {entry.stamp_ns for entry in entries if entry.topic == "/annotations"}
    return [entry for entry in entries if entry.topic != LIDAR or entry.stamp_ns in keyframes]


def mountings_in_tf(entries: list[Entry]) -> list[Entry]:
    """No /tf_static; the mountings come again with every pose."""
    (static,) = [entry for entry in entries if entry.topic == STATIC]
    for entry in entries:
        if entry.topic == TF:
            edges = copy.deepcopy(static.message.transforms)
            for edge in edges:
                edge.header.stamp = entry.header.stamp
            entry.message.transforms += edges
    return [entry for entry in entries if entry is not static]


def poses_at_keyframes(entries: list[Entry]) -> list[Entry]:
    keyframes = {entry.stamp_ns for entry in entries if entry.topic == "/annotations"}
    return [entry for entry in entries if entry.topic != TF or entry.stamp_ns in keyframes]


def drop_mounting(entries: list[Entry]) -> None:
    for entry in entries:
        if entry.topic == STATIC:
            entry.message.transforms = [
                edge for edge in entry.message.transforms if edge.child_frame_id != "cam_back"
            ]


def standing(entries: list[Entry]) -> list[Entry]:
    """One pose all the time, and no odometry."""
    (first, *_) = [entry for entry in entries if entry.topic == TF]
    for entry in entries:
        if entry.topic == TF:
            entry.message.transforms[0].transform = first.message.transforms[0].transform
    return [entry for entry in entries if entry.topic != ODOM]


def field(index: int, **values: int) -> Callable[[Entry], object]:
    """Changes one field of a cloud's layout."""
    return lambda entry: [
        setattr(entry.message.fields[index], name, value) for name, value in values.items()
    ]


K = [38.0, 0.0, 23.5, 0.0, 39.0, 15.5, 0.0, 0.0, 1.0]
DEFECTS: dict[str, tuple[Change, str, str]] = {
    # name: (what is done to a good bag, topic of the finding, what its text must hold)
    "no-image": (without("/cam_"), "", "no image topic"),
    "no-camera-info": (without(INFO), IMAGE, INFO),
    "no-lidar": (without(LIDAR), "", "no point cloud"),
    "no-tf": (without("/tf"), "", "no transform"),
    "no-ego-motion": (standing, "", "no transform changes"),
    "frame-unconnected": (drop_mounting, IMAGE, "'lidar_top'"),
    "static-in-tf": (mountings_in_tf, TF, "base_link -> "),
    "tf-sparse": (poses_at_keyframes, TF, "every 0.50 s"),
    "zero-stamp": (each(LIDAR, stamp_zero), LIDAR, "21 of 21"),
    "empty-frame": (
        each(IMAGE, lambda e: setattr(e.message.header, "frame_id", "")),
        IMAGE,
        "frame_id is empty",
    ),
    "stamp-apart": (each(LIDAR, lambda e: e.shift_header(200_000 * NS)), LIDAR, "-200000.000 s"),
    "late": (each(LIDAR, lambda e: e.shift_header(-NS)), LIDAR, "up to 1.000 s after"),
    "burst": (each(ODOM, bag_times_of_keyframes), ODOM, "share the bag time"),
    "out-of-order": (swap_stamps, LIDAR, "back 1 times, by up to 0.050 s"),
    "duplicate-stamp": (repeat_stamp, LIDAR, "1 messages repeat"),
    "keyframes-only": (keyframes_only, LIDAR, "every 0.50 s"),
    "zero-intrinsics": (each(INFO, put(k=np.zeros(9))), INFO, "no focal length (and 4 more)"),
    "bad-rectification": (
        each(INFO, put(r=np.array([1.0, 0, 0, 1, 0, 0, 1, 0, 0]))),
        INFO,
        "rank 1",
    ),
    "bad-projection": (each(INFO, put(p=np.zeros(12))), INFO, "no focal length"),
    "no-distortion-model": (each(INFO, put(distortion_model="")), INFO, "empty"),
    "size-mismatch": (
        each(INFO, put(width=1600, height=900)),
        IMAGE,
        "images are 48x32, /cam_back/camera_info says 1600x900",
    ),
    "corrupt-image": (
        each(IMAGE, lambda e: setattr(e.message, "data", e.message.data[:-100])),
        IMAGE,
        "cut off",
    ),
    "image-encoding": (as_raw("passthrough"), IMAGE, "'passthrough'"),
    "image-truncated": (as_raw("bgr8", size=32 * 144 - 1), IMAGE, "4607 bytes"),
    "cloud-layout": (each(LIDAR, field(2, datatype=8)), LIDAR, "fields z are not float32"),
    "cloud-without-intensity": (
        each(LIDAR, lambda e: e.message.fields.pop(3)),
        LIDAR,
        "x: type 7 at 0",
    ),
    "cloud-truncated": (
        each(LIDAR, lambda e: setattr(e.message, "data", e.message.data[:-1])),
        LIDAR,
        "hold 28159 bytes",
    ),
    "cloud-empty": (
        each(LIDAR, put(width=0, row_step=0, data=np.zeros(0, np.uint8))),
        LIDAR,
        "0x1 points",
    ),
    "no-odometry": (without(ODOM), "", "nav_msgs/Odometry"),
    "no-weather": (without("/can/weather"), "", "no weather topic"),
    "no-region": (without("/can/region"), "", "no region topic"),
    "unknown-context": (
        each("/can/weather", put(data="snow")),
        "/can/weather",
        "weather 'snow' is unknown; expected one of",
    ),
}
SIDE_EFFECTS = {  # what else is wrong with such a bag
    "no-tf": {},
    "no-ego-motion": {"no-odometry"},
    "frame-unconnected": {"frame-unconnected"},
    "static-in-tf": {"static-in-tf"},
    "cloud-layout": {"cloud-layout"},
}
ELSEWHERE = {
    "unreadable",
    "no-metadata",
    "not-ros2-encoding",
    "ros1-bag",
    "corrupt-message",
    "empty-topic",
    "tf-static-volatile",
}
"""Rules with a test of their own below."""


def test_every_rule_has_its_bad_bag() -> None:
    assert DEFECTS.keys() | ELSEWHERE == RULES.keys()
    assert all(rule.cure for rule in RULES.values())


@pytest.mark.parametrize("code", DEFECTS)
def test_a_defect_is_found_where_it_is(code: str, small_bag: Path, tmp_path: Path) -> None:
    change, topic, text = DEFECTS[code]
    entries = copy.deepcopy(good(small_bag))
    bag = write(tmp_path / "bag", change(entries) or entries)
    findings = check_bag(bag)
    found = [finding for finding in findings if (finding.code, finding.topic) == (code, topic)]
    assert found and text in found[0].message, findings
    assert found[0].severity == RULES[code].severity and found[0].cure == RULES[code].cure
    assert {finding.code for finding in findings} - {code} == set(SIDE_EFFECTS.get(code, {})) - {
        code
    }, findings


def test_a_good_bag_has_no_finding(small_bag: Path, tmp_path: Path) -> None:
    assert check_bag(write(tmp_path / "bag", good(small_bag))) == []


def test_fields_beyond_the_point_and_big_endian_clouds(small_bag: Path, tmp_path: Path) -> None:
    for name, act, text in (
        ("beyond", field(5, offset=20), "fields time reach beyond point_step 22"),
        ("big", put(is_bigendian=True), "big-endian"),
        ("missing", lambda entry: entry.message.fields.pop(1), "fields y are missing"),
    ):
        entries = copy.deepcopy(good(small_bag))
        each(LIDAR, act)(entries)
        (finding,) = check_bag(write(tmp_path / name, entries))
        assert finding.code == "cloud-layout" and text in finding.message


def test_volatile_tf_static(small_bag: Path, tmp_path: Path) -> None:
    (finding,) = check_bag(write(tmp_path / "bag", good(small_bag), volatile=(STATIC,)))
    assert (finding.code, finding.topic, finding.severity) == (
        "tf-static-volatile",
        STATIC,
        "error",
    )


def test_an_empty_topic(small_bag: Path, tmp_path: Path) -> None:
    (finding,) = check_bag(write(tmp_path / "bag", good(small_bag), empty=("/chatter",)))
    assert (finding.code, finding.topic) == ("empty-topic", "/chatter")


def test_a_message_of_another_type(small_bag: Path, tmp_path: Path) -> None:
    with BagWriter(tmp_path / "bag") as writer:
        for entry in good(small_bag):
            if entry.topic not in writer.counts:
                writer.add_topic(
                    entry.topic,
                    entry.kind,
                    qos_profile(10, latched=entry.topic.startswith(("/tf_static", "/can"))),
                )
            writer.write(entry.topic, entry.message, entry.stamp_ns)
        writer.write_raw(LIDAR, b"\x00\x01\x00\x00\xff\xff", entry.stamp_ns)
    (finding,) = check_bag(tmp_path / "bag")
    assert (finding.code, finding.topic) == (
        "corrupt-message",
        LIDAR,
    ) and "sensor_msgs/msg/PointCloud2" in finding.message


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


# --- what other converters write (section and file names are theirs) ---


def mcap_file(channels: list[tuple[str, str, str, str]]) -> bytes:
    """An MCAP file with channels ``(topic, schema name, schema encoding, message encoding)`` and no
    message.
    """

    def text(value: str) -> bytes:
        return struct.pack("<I", len(value)) + value.encode()

    def record(opcode: int, body: bytes) -> bytes:
        return struct.pack("<BQ", opcode, len(body)) + body

    summary = b""
    for number, (topic, name, schema_encoding, message_encoding) in enumerate(channels, start=1):
        summary += record(
            0x03, struct.pack("<H", number) + text(name) + text(schema_encoding) + text("")
        )
        summary += record(
            0x04,
            struct.pack("<HH", number, number) + text(topic) + text(message_encoding) + text(""),
        )
    magic = b"\x89MCAP0\r\n"
    head = magic + record(0x01, text("") + text("test")) + record(0x0F, struct.pack("<I", 0))
    return head + summary + record(0x02, struct.pack("<QQI", len(head), 0, 0)) + magic


def test_foxglove_nuscenes2mcap_is_no_ros2_bag(tmp_path: Path) -> None:
    path = tmp_path / "NuScenes-v1.0-mini-scene-0061.mcap"
    path.write_bytes(
        mcap_file(
            [
                (
                    "/cam_front/image_rect_compressed",
                    "foxglove.CompressedImage",
                    "protobuf",
                    "protobuf",
                ),
                ("/imu", "IMU", "jsonschema", "json"),
            ]
        )
    )
    assert [channel.message_encoding for channel in mcap_channels(path)] == ["protobuf", "json"]
    (finding,) = check_bag(path)
    assert finding.code == "not-ros2-encoding" and "2 channels" in finding.message
    assert (
        "json messages of jsonschema schemas and protobuf messages of protobuf schemas"
        in finding.message
    )
    assert "nuscenes_to_bag" in finding.cure


def test_clynamen_nuscenes2bag_is_ros1_without_camera_info(small_bag: Path, tmp_path: Path) -> None:
    store = get_typestore(Stores.ROS1_NOETIC)
    store.register(
        get_types_from_msg("geometry_msgs/TransformStamped[] transforms", "tf2_msgs/msg/TFMessage")
    )
    kinds = {
        LIDAR: "sensor_msgs/msg/PointCloud2",
        TF: "tf2_msgs/msg/TFMessage",
        "/cam_back/raw": "sensor_msgs/msg/Image",
    }
    with Ros1Writer(tmp_path / "scene.bag") as writer:
        connections = {
            topic: writer.add_connection(topic, kind, typestore=store)
            for topic, kind in kinds.items()
        }
        for entry in mountings_in_tf(copy.deepcopy(good(small_bag))) or []:
            if entry.topic not in (LIDAR, TF, IMAGE):
                continue
            if entry.topic == IMAGE:
                as_raw("bgr8")([entry])
                entry.topic = "/cam_back/raw"
            cdr = TYPESTORE.serialize_cdr(entry.message, entry.kind)
            writer.write(
                connections[entry.topic], entry.stamp_ns, TYPESTORE.cdr_to_ros1(cdr, entry.kind)
            )
    codes = {finding.code for finding in check_bag(tmp_path / "scene.bag")}
    assert codes == {
        "ros1-bag",
        "no-camera-info",
        "static-in-tf",
        "no-odometry",
        "no-weather",
        "no-region",
    }


def test_wj_nuscenes2bag_ros2_has_no_stamps(small_bag: Path, tmp_path: Path) -> None:
    """Zero stamps on images and clouds, no image frame, relative names, raw images, no camera_info,
    mountings in /tf.
    """
    entries = mountings_in_tf(without("/can", "/annotations")(copy.deepcopy(good(small_bag))) or [])
    as_raw("bgr8")(entries)
    entries = [entry for entry in entries if not entry.topic.endswith("camera_info")]
    for entry in entries:
        if entry.topic.startswith("/cam") or entry.topic == LIDAR:
            stamp_zero(entry)
        if entry.topic.startswith("/cam"):
            entry.message.header.frame_id = ""
        entry.topic = entry.topic if entry.topic in (TF, ODOM) else entry.topic.removeprefix("/")
    findings = check_bag(write(tmp_path / "bag", entries))
    assert {finding.code for finding in findings} == {
        "zero-stamp",
        "empty-frame",
        "no-camera-info",
        "static-in-tf",
        "no-weather",
        "no-region",
    }
    assert sum(finding.code == "zero-stamp" for finding in findings) == 7


def test_watonomous_nuscenes_to_ros2bag_has_singular_rectification(
    small_bag: Path, tmp_path: Path
) -> None:
    """R = [1,0,0,1,0,0,1,0,0], poses and mountings in /tf at keyframes, odometry in bursts."""
    entries = (
        poses_at_keyframes(
            mountings_in_tf(without("/can", "/annotations")(copy.deepcopy(good(small_bag))) or [])
        )
        or []
    )
    assert not any(
        entry.topic == TF for entry in entries
    )  # keyframes are known by their annotations
    entries = mountings_in_tf(without("/can")(copy.deepcopy(good(small_bag))) or [])
    entries = without("/annotations")(poses_at_keyframes(entries)) or []
    for entry in entries:
        if entry.topic.endswith("camera_info"):
            entry.message.r = np.array([1.0, 0, 0, 1, 0, 0, 1, 0, 0])
        if entry.topic == ODOM:
            bag_times_of_keyframes(entry)
    findings = check_bag(write(tmp_path / "bag", entries))
    assert {finding.code for finding in findings} == {
        "bad-rectification",
        "static-in-tf",
        "tf-sparse",
        "burst",
        "no-weather",
        "no-region",
    }
    assert sum(finding.code == "bad-rectification" for finding in findings) == 6


def test_dataset_bridge_recorded_live(small_bag: Path, tmp_path: Path) -> None:
    """Keyframes only, R all zero, no distortion model, encoding "passthrough", mountings restamped
    in /tf, no /tf_static.
    """
    entries = keyframes_only(mountings_in_tf(copy.deepcopy(good(small_bag))))
    entries = without("/can", "/annotations", ODOM)(entries) or []
    as_raw("passthrough")(entries)
    for entry in entries:
        if entry.topic.endswith("camera_info"):
            entry.message.r, entry.message.distortion_model = np.zeros(9), ""
    assert {finding.code for finding in check_bag(write(tmp_path / "bag", entries))} == {
        "keyframes-only",
        "bad-rectification",
        "no-distortion-model",
        "image-encoding",
        "static-in-tf",
        "no-odometry",
        "no-weather",
        "no-region",
    }


def test_bags_of_old_distributions_without_qos_or_types(small_bag: Path, tmp_path: Path) -> None:
    """Where a bag does not say its QoS, nothing is said against it."""
    with BagWriter(tmp_path / "bag") as writer:
        for entry in good(small_bag):
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


def test_the_command_exits_with_1_on_errors_only(
    small_bag: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, small_bag) == 0
    assert "0 errors, 0 warnings" in capsys.readouterr().out
    info = write(tmp_path / "info", without("/can/weather")(good(small_bag)) or [])
    assert run(monkeypatch, info, "--json") == 0
    (finding,) = json.loads(capsys.readouterr().out)
    assert finding == {
        "code": "no-weather",
        "severity": "info",
        "topic": "",
        "message": "the bag holds no weather topic",
        "cure": RULES["no-weather"].cure,
    }
    bad = write(tmp_path / "bad", without(INFO)(good(small_bag)) or [])
    assert run(monkeypatch, bad) == 1
    assert f"ERROR [no-camera-info] {IMAGE}: " in capsys.readouterr().out
