"""Says what is wrong with a bag of camera and LiDAR data, and how to cure it."""

from __future__ import annotations

import json
import struct
import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from occ_perception_ros.bags.mcap_channels import McapChannel, mcap_channels
from occ_perception_ros.bags.reader import BagError, BagReader, BagTopic
from occ_perception_ros.bags.rules import (
    RULES,
    Severity,
    camera_info_faults,
    cloud_faults,
    compressed_image_size,
    image_faults,
)
from occ_perception_ros.context import FROM_TEXT

CLOUD, IMAGE, COMPRESSED = (
    "sensor_msgs/msg/PointCloud2",
    "sensor_msgs/msg/Image",
    "sensor_msgs/msg/CompressedImage",
)
CAMERA_INFO, TF, ODOMETRY = (
    "sensor_msgs/msg/CameraInfo",
    "tf2_msgs/msg/TFMessage",
    "nav_msgs/msg/Odometry",
)
STRING = "std_msgs/msg/String"

LATE_S = 0.2
"""A bag time this far from the header stamp is more than a sensor's latency."""
APART_S = 2.0
"""And this far is another clock."""
BURST_S = 0.001
SWEEP_PERIOD_MAX_S = 0.25
"""Slower LiDARs than 4 Hz are keyframes of a data set, not sweeps."""
EGO_POSE_PERIOD_MAX_S = 0.2


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with a bag."""

    code: str
    """A key of ``bag_rules.RULES``."""
    severity: Severity
    topic: str
    """Empty where it concerns the whole bag."""
    message: str
    cure: str


@dataclass
class _Stream:
    """What was seen of one topic."""

    topic: BagTopic
    frame_ids: set[str] = field(default_factory=set)
    bag_ns: list[int] = field(default_factory=list)
    header_ns: list[int] = field(default_factory=list)
    sizes: set[tuple[int, int]] = field(default_factory=set)
    """(H, W) of images and of CameraInfo."""


@dataclass
class _Edge:
    """One parent -> child pair of the TF tree."""

    topic: str
    values: np.ndarray
    moves: bool = False
    stamps_ns: list[int] = field(default_factory=list)


class _Findings:
    """Collects findings; equal ones of a topic are told once, with their number."""

    def __init__(self) -> None:
        self._texts: dict[tuple[str, str], list[str]] = defaultdict(list)

    def add(self, code: str, topic: str, text: str) -> None:
        self._texts[code, topic].append(text)

    def has(self, code: str, topic: str) -> bool:
        return (code, topic) in self._texts

    def result(self) -> list[Finding]:
        """The worst first."""
        order = {"error": 0, "warning": 1, "info": 2}
        found = [
            Finding(
                code,
                RULES[code].severity,
                topic,
                texts[0] if len(texts) == 1 else f"{texts[0]} (and {len(texts) - 1} more)",
                RULES[code].cure,
            )
            for (code, topic), texts in self._texts.items()
        ]
        return sorted(
            found, key=lambda finding: (order[finding.severity], finding.code, finding.topic)
        )


def check_bag(path: Path) -> list[Finding]:
    """Everything that is wrong with the bag at ``path``, the worst first; an empty list where
    nothing is.

    Reads rosbag2 folders, single ``.mcap`` and ``.db3`` files and ROS 1 bags; a bag that cannot be
    read is a finding too.
    """
    findings = _Findings()
    if path.is_dir() and not (path / "metadata.yaml").exists():
        storages = sorted([*path.glob("*.mcap"), *path.glob("*.db3")])
        also = "" if storages else ", and no .mcap or .db3 file either"
        findings.add("no-metadata", "", f"{path} has no metadata.yaml{also}")
        if not storages:
            return findings.result()
        path = storages[0]
    if foreign := _foreign_channels(path):
        encodings = sorted(
            {
                f"{c.message_encoding} messages of {c.schema_encoding or 'no'} schemas"
                for c in foreign
            }
        )
        topics = ", ".join(channel.topic for channel in foreign[:3])
        findings.add(
            "not-ros2-encoding",
            "",
            f"{len(foreign)} channels hold {' and '.join(encodings)}: {topics}, ...",
        )
        return findings.result()
    try:
        with BagReader(path) as bag:
            if not bag.is_ros2:
                findings.add("ros1-bag", "", f"{path} is a ROS 1 bag, which no ROS 2 player plays")
            _check_contents(bag, findings)
    except BagError as error:
        findings.add("unreadable", "", str(error))
    return findings.result()


def _foreign_channels(path: Path) -> list[McapChannel]:
    """Channels of MCAP files that are not ROS 2's; a damaged file is left to the reader, which
    tells what is wrong with it.
    """
    foreign = []
    for file in (
        sorted(path.glob("*.mcap")) if path.is_dir() else [path] if path.suffix == ".mcap" else []
    ):
        try:
            foreign += [channel for channel in mcap_channels(file) if not channel.is_ros2]
        except (ValueError, struct.error, OSError):
            continue
    return foreign


def _check_contents(bag: BagReader, findings: _Findings) -> None:
    streams = {name: _Stream(topic) for name, topic in bag.topics.items()}
    edges: dict[tuple[str, str], _Edge] = {}
    context: dict[str, set[str]] = defaultdict(set)
    for message in bag.messages():
        try:
            decoded = bag.decode(message)
        except BagError as error:
            findings.add("corrupt-message", message.topic, str(error))
            continue
        stream = streams[message.topic]
        _check_message(decoded, message.message_type, message.topic, stream, findings)
        if message.message_type == TF:
            for transform in decoded.transforms:
                _note_edge(edges, transform, message.topic)
            headers = [transform.header for transform in decoded.transforms[:1]]
        else:
            headers = [decoded.header] if hasattr(decoded, "header") else []
        if message.message_type == STRING:
            context[message.topic].add(str(decoded.data))
        for header in headers:
            stream.bag_ns.append(message.stamp_ns)
            stream.header_ns.append(_nanoseconds(header.stamp))
            stream.frame_ids.add(header.frame_id)
    for name, stream in streams.items():
        if stream.topic.count == 0:
            findings.add("empty-topic", name, "it is declared but holds no message")
        _check_stamps(name, stream, findings)
    _check_cameras(streams, findings)
    _check_lidar(streams, findings)
    _check_transforms(streams, edges, findings)
    _check_context(streams, context, findings)


def _check_message(
    decoded: Any, message_type: str, topic: str, stream: _Stream, findings: _Findings
) -> None:
    faults: Iterable[tuple[str, str]] = ()
    if message_type == CAMERA_INFO:
        faults = camera_info_faults(decoded)
        stream.sizes.add((decoded.height, decoded.width))
    elif message_type == IMAGE:
        faults = image_faults(decoded)
        stream.sizes.add((decoded.height, decoded.width))
    elif message_type == CLOUD:
        faults = cloud_faults(decoded)
    elif message_type == COMPRESSED:
        try:
            stream.sizes.add(compressed_image_size(decoded))
        except (ValueError, struct.error) as error:
            faults = [("corrupt-image", str(error))]
    for code, text in faults:
        findings.add(code, topic, text)


def _check_stamps(name: str, stream: _Stream, findings: _Findings) -> None:
    bag_ns, header_ns = np.asarray(stream.bag_ns, np.int64), np.asarray(stream.header_ns, np.int64)
    if (
        stream.topic.message_type in (CLOUD, IMAGE, COMPRESSED, CAMERA_INFO)
        and "" in stream.frame_ids
    ):
        findings.add("empty-frame", name, "header.frame_id is empty")
    if (header_ns == 0).any():
        findings.add(
            "zero-stamp",
            name,
            f"header.stamp is 0 in {int((header_ns == 0).sum())} of {len(header_ns)} messages",
        )
    bag_ns, header_ns = bag_ns[header_ns != 0], header_ns[header_ns != 0]
    if len(header_ns) == 0 or (stream.topic.message_type == TF and name.endswith("tf_static")):
        return  # a static transform's stamp says nothing
    apart_s = (bag_ns - header_ns) / 1e9
    same_bag_time = np.abs(np.diff(bag_ns)) < BURST_S * 1e9
    other_stamp = np.abs(np.diff(header_ns)) > 5 * BURST_S * 1e9
    if abs(np.median(apart_s)) > APART_S:
        findings.add(
            "stamp-apart",
            name,
            f"bag time is {np.median(apart_s):.3f} s after header.stamp (median)",
        )
    elif (same_bag_time & other_stamp).sum() > 0.3 * len(bag_ns):
        findings.add(
            "burst",
            name,
            f"{int((same_bag_time & other_stamp).sum())} messages share the bag time of the one "
            "before",
        )
    elif (np.abs(apart_s) > LATE_S).any():
        late = apart_s[np.argmax(np.abs(apart_s))]
        findings.add(
            "late",
            name,
            f"{int((np.abs(apart_s) > LATE_S).sum())} messages lie up to {late:.3f} s after "
            "header.stamp",
        )
    steps = np.diff(header_ns)
    if (steps < 0).any():
        back = f"{int((steps < 0).sum())} times, by up to {-steps.min() / 1e9:.3f} s"
        findings.add("out-of-order", name, f"header.stamp goes back {back}")
    if stream.topic.message_type in (CLOUD, IMAGE, COMPRESSED) and (steps == 0).any():
        findings.add(
            "duplicate-stamp",
            name,
            f"{int((steps == 0).sum())} messages repeat the stamp of the one before",
        )


def _check_cameras(streams: dict[str, _Stream], findings: _Findings) -> None:
    images = {
        name: stream
        for name, stream in streams.items()
        if stream.topic.message_type in (IMAGE, COMPRESSED)
    }
    infos = {
        name: stream for name, stream in streams.items() if stream.topic.message_type == CAMERA_INFO
    }
    if not images:
        findings.add("no-image", "", "the bag holds no image topic")
    for name, image in images.items():
        beside = name.rsplit("/", 1)[0]
        candidates = [
            f"{beside}/camera_info",
            f"{beside.rsplit('/', 1)[0]}/camera_info",
        ]  # the second for image_raw/compressed
        info = next((infos[candidate] for candidate in candidates if candidate in infos), None)
        if info is None:
            findings.add(
                "no-camera-info", name, f"neither {' nor '.join(candidates)} is in the bag"
            )
        elif image.sizes and info.sizes and image.sizes != info.sizes:
            findings.add(
                "size-mismatch",
                name,
                f"images are {_sizes(image.sizes)}, {info.topic.name} says {_sizes(info.sizes)}",
            )


def _check_lidar(streams: dict[str, _Stream], findings: _Findings) -> None:
    clouds = {
        name: stream for name, stream in streams.items() if stream.topic.message_type == CLOUD
    }
    if not any(stream.topic.count for stream in clouds.values()):
        findings.add("no-lidar", "", "the bag holds no point cloud")
    for name, stream in clouds.items():
        stamps_ns = stream.bag_ns if 0 in stream.header_ns else stream.header_ns
        if (
            len(stamps_ns) >= 3
            and (period_s := float(np.median(np.diff(sorted(stamps_ns)))) / 1e9)
            > SWEEP_PERIOD_MAX_S
        ):
            findings.add("keyframes-only", name, f"one cloud every {period_s:.2f} s")


def _check_transforms(
    streams: dict[str, _Stream], edges: dict[tuple[str, str], _Edge], findings: _Findings
) -> None:
    sensors = {
        name: frame_id.strip("/")
        for name, stream in streams.items()
        if stream.topic.message_type in (CLOUD, IMAGE, COMPRESSED)
        for frame_id in stream.frame_ids
        if frame_id
    }
    if not edges:
        findings.add("no-tf", "", "the bag holds no transform")
    else:
        for name, frame in sensors.items():
            reached = _connected(frame, edges)
            if apart := sorted({other for other in sensors.values() if other not in reached}):
                findings.add(
                    "frame-unconnected",
                    name,
                    f"no transforms join {frame!r} to {', '.join(map(repr, apart))}",
                )
    for name, stream in streams.items():
        if (
            stream.topic.message_type == TF
            and name.endswith("tf_static")
            and stream.topic.qos
            and not stream.topic.latched
        ):
            findings.add("tf-static-volatile", name, "it is recorded with volatile durability")
    moving = [edge for edge in edges.values() if edge.moves]
    if (
        not moving
        and not _has(streams, ODOMETRY)
        and max((len(e.stamps_ns) for e in edges.values()), default=0) != 1
    ):
        findings.add("no-ego-motion", "", "no transform changes and there is no odometry")
    for (parent, child), edge in edges.items():
        if not edge.topic.endswith("tf_static") and not edge.moves and child in sensors.values():
            findings.add(
                "static-in-tf",
                edge.topic,
                f"{parent} -> {child} never changes, and comes {len(edge.stamps_ns)} times",
            )
        if (
            edge.moves
            and (period_s := float(np.median(np.diff(np.unique(edge.stamps_ns)))) / 1e9)
            > EGO_POSE_PERIOD_MAX_S
        ):
            findings.add(
                "tf-sparse", edge.topic, f"{parent} -> {child} comes every {period_s:.2f} s only"
            )


def _check_context(
    streams: dict[str, _Stream], context: dict[str, set[str]], findings: _Findings
) -> None:
    if not _has(streams, ODOMETRY):
        findings.add("no-odometry", "", "the bag holds no nav_msgs/Odometry")
    for what, from_text in FROM_TEXT.items():
        topics = [
            name
            for name, stream in streams.items()
            if stream.topic.message_type == STRING and name.endswith(what)
        ]
        if not topics:
            findings.add(f"no-{what}", "", f"the bag holds no {what} topic")
        for name in topics:
            for text in sorted(context[name]):
                try:
                    from_text(text)
                except ValueError as error:
                    findings.add("unknown-context", name, str(error))
                    break


def _note_edge(edges: dict[tuple[str, str], _Edge], transform: Any, topic: str) -> None:
    move, turn = transform.transform.translation, transform.transform.rotation
    values = np.array([move.x, move.y, move.z, turn.x, turn.y, turn.z, turn.w])
    key = transform.header.frame_id.strip("/"), transform.child_frame_id.strip("/")
    edge = edges.setdefault(key, _Edge(topic, values))
    edge.moves |= not np.allclose(values, edge.values, rtol=0, atol=1e-9)
    edge.stamps_ns.append(_nanoseconds(transform.header.stamp))


def _connected(frame: str, edges: Iterable[tuple[str, str]]) -> set[str]:
    """All frames that a chain of edges joins to ``frame``, itself included."""
    neighbours = defaultdict(set)
    for parent, child in edges:
        neighbours[parent].add(child)
        neighbours[child].add(parent)
    reached, open_ends = {frame}, [frame]
    while open_ends:
        fresh = neighbours[open_ends.pop()] - reached
        reached |= fresh
        open_ends += fresh
    return reached


def _has(streams: dict[str, _Stream], message_type: str) -> bool:
    return any(
        stream.topic.message_type == message_type and stream.topic.count
        for stream in streams.values()
    )


def _sizes(sizes: set[tuple[int, int]]) -> str:
    return " and ".join(f"{width}x{height}" for height, width in sorted(sizes))


def _nanoseconds(stamp: Any) -> int:
    return int(stamp.sec) * 10**9 + int(stamp.nanosec)


def main() -> None:
    """Console entry point ``bag_check``."""
    sys.exit(tyro.cli(_run, prog="bag_check"))


def _run(
    bag: tyro.conf.Positional[Path], as_json: Annotated[bool, tyro.conf.arg(name="json")] = False
) -> int:
    """Says what is wrong with a bag of camera and LiDAR data; exits with 1 where it finds an error.

    Args:
        bag: A rosbag2 folder, an .mcap, .db3 or ROS 1 .bag file.
        as_json: Print the findings as JSON.
    """
    found = check_bag(bag)
    if as_json:
        print(json.dumps([asdict(finding) for finding in found], indent=2))
    else:
        for finding in found:
            place = f" {finding.topic}" if finding.topic else ""
            print(
                f"{finding.severity.upper()} [{finding.code}]{place}: {finding.message}\n    cure: "
                f"{finding.cure}"
            )
        errors = sum(finding.severity == "error" for finding in found)
        print(
            f"{bag}: {errors} errors, {sum(finding.severity == 'warning' for finding in found)} "
            "warnings"
        )
    return int(any(finding.severity == "error" for finding in found))


if __name__ == "__main__":
    main()
