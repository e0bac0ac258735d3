"""Reports what is wrong with a bag of camera and LiDAR data, and how to fix it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import tyro

from occ_perception_ros.bags.findings import Finding, Findings
from occ_perception_ros.bags.message_checks import (
    Fault,
    camera_info_faults,
    cloud_faults,
    encoded_image_size,
    image_faults,
)
from occ_perception_ros.bags.reader import BagError, BagReader, mcap_encodings
from occ_perception_ros.bags.topic_checks import check_topics
from occ_perception_ros.bags.topic_data import (
    CAMERA_INFO,
    CLOUD,
    COMPRESSED,
    IMAGE,
    STRING,
    TF,
    TopicData,
)
from occ_perception_ros.bags.transform_checks import Transforms, add_transform, check_transforms

ROS2_SCHEMAS = ("ros2msg", "ros2idl", "omgidl", "")


def check_bag(path: Path) -> list[Finding]:
    """All findings for the bag at ``path``, the most severe first; empty if it is fine.

    Reads rosbag2 folders, single ``.mcap`` and ``.db3`` files and ROS 1 bags. A bag that cannot be
    read is a finding too.
    """
    findings = Findings()
    if path.is_dir() and not (path / "metadata.yaml").exists():
        storages = sorted([*path.glob("*.mcap"), *path.glob("*.db3")])
        also = "" if storages else ", and no .mcap or .db3 file either"
        findings.add("no-metadata", "", f"{path} has no metadata.yaml{also}")
        if not storages:
            return findings.result()
        path = storages[0]
    if other := _other_encodings(path):
        topics = ", ".join(list(other)[:3])
        kinds = sorted({f"{message} messages of {schema}" for message, schema in other.values()})
        text = f"{len(other)} topics have {' and '.join(kinds)} schemas: {topics}, ..."
        findings.add("not-ros2-encoding", "", text)
        return findings.result()
    try:
        with BagReader(path) as bag:
            if not bag.is_ros2:
                findings.add("ros1-bag", "", f"{path} is a ROS 1 bag, which ROS 2 cannot play")
            _check_contents(bag, findings)
    except BagError as error:
        findings.add("unreadable", "", str(error))
    return findings.result()


def _other_encodings(path: Path) -> dict[str, tuple[str, str]]:
    """Message and schema encoding of the topics of MCAP files that are not encoded as in ROS 2."""
    files = sorted(path.glob("*.mcap")) if path.is_dir() else [path]
    other = {}
    for file in files:
        if file.suffix != ".mcap":
            continue
        try:
            encodings = mcap_encodings(file)
        except (BagError, OSError):
            continue  # BagReader will fail as well, with a reason
        for topic, (message, schema) in encodings.items():
            if message != "cdr" or schema not in ROS2_SCHEMAS:
                other[topic] = (message, schema or "no")
    return other


def _check_contents(bag: BagReader, findings: Findings) -> None:
    topics = {name: TopicData(topic) for name, topic in bag.topics.items()}
    transforms: Transforms = {}
    for message in bag.messages():
        try:
            decoded = bag.decode(message)
        except BagError as error:
            findings.add("corrupt-message", message.topic, str(error))
            continue
        data = topics[message.topic]
        for code, text in _message_faults(decoded, data):
            findings.add(code, message.topic, text)
        if data.has_type(TF):
            for stamped in decoded.transforms:
                add_transform(transforms, stamped, message.topic)
            headers = [stamped.header for stamped in decoded.transforms[:1]]
        else:
            headers = [decoded.header] if hasattr(decoded, "header") else []
        for header in headers:
            data.add_header(header, message.stamp_ns)
    check_topics(topics, findings)
    check_transforms(topics, transforms, findings)


def _message_faults(decoded: Any, data: TopicData) -> Iterable[Fault]:
    """Faults of one message, whose size or text is added to the topic's data."""
    if data.has_type(CAMERA_INFO, IMAGE):
        data.sizes.add((decoded.height, decoded.width))
        return camera_info_faults(decoded) if data.has_type(CAMERA_INFO) else image_faults(decoded)
    if data.has_type(CLOUD):
        return cloud_faults(decoded)
    if data.has_type(COMPRESSED):
        try:
            data.sizes.add(encoded_image_size(decoded.data.tobytes()))
        except ValueError as error:
            return [("corrupt-image", str(error))]
    if data.has_type(STRING):
        data.texts.add(str(decoded.data))
    return []


def main() -> None:
    """Runs the command ``bag_check``."""
    sys.exit(tyro.cli(_run, prog="bag_check"))


def _run(
    bag: tyro.conf.Positional[Path], as_json: Annotated[bool, tyro.conf.arg(name="json")] = False
) -> int:
    """Reports what is wrong with a bag of camera and LiDAR data, and how to fix it.

    The exit code is 1 if there is an error.

    Args:
        bag: A rosbag2 folder, or an .mcap, .db3 or ROS 1 .bag file.
        as_json: Print the findings as JSON.
    """
    found = check_bag(bag)
    errors, warnings = (
        sum(finding.severity == severity for finding in found) for severity in ("error", "warning")
    )
    if as_json:
        print(json.dumps([asdict(finding) for finding in found], indent=2))
    else:
        for finding in found:
            topic = f" {finding.topic}" if finding.topic else ""
            print(f"{finding.severity.upper()} [{finding.code}]{topic}: {finding.message}")
            print(f"    cure: {finding.cure}")
        print(f"{bag}: {errors} errors, {warnings} warnings")
    return int(errors > 0)


if __name__ == "__main__":
    main()
