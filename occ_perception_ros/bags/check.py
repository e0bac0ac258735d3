"""Reports what is wrong with a bag of camera and LiDAR data, and how to fix it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import tyro

from occ_perception_ros.bags.findings import Finding, Findings
from occ_perception_ros.bags.mcap_storage import McapError, foreign_topics
from occ_perception_ros.bags.message_checks import (
    Fault,
    camera_info_faults,
    camera_info_size,
    cloud_faults,
    encoded_image_size,
    image_faults,
)
from occ_perception_ros.bags.reader import BagError, BagReader, UnknownTypeError
from occ_perception_ros.bags.topic_checks import check_topics
from occ_perception_ros.bags.topic_data import (
    CAMERA_INFO,
    CHECKED_TYPES,
    CLOUD,
    COMPRESSED,
    IMAGE,
    STRING,
    TF,
    TopicData,
)
from occ_perception_ros.bags.transform_checks import Transforms, add_transform, check_transforms


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
    try:
        with BagReader(path) as bag:
            if bag.skipped and not bag.topics:
                findings.add("not-ros2-encoding", "", _listed(bag.skipped))
                return findings.result()
            for topic, reason in bag.skipped.items():
                findings.add("unreadable-topic", topic, reason)
            if not bag.is_ros2:
                findings.add("ros1-bag", "", f"{path} is a ROS 1 bag, which ROS 2 cannot play")
            _check_contents(bag, findings)
    except BagError as error:
        if other := _foreign_topics(path):
            findings.add("not-ros2-encoding", "", _listed(other))
        else:
            findings.add("unreadable", "", str(error))
    return findings.result()


def _foreign_topics(path: Path) -> dict[str, str]:
    """The topics of MCAP files that are not encoded as in ROS 2, and what they have instead."""
    files = path.glob("*.mcap") if path.is_dir() else [path]
    found: dict[str, str] = {}
    for file in files:
        with suppress(McapError, OSError):
            found |= foreign_topics(file)
    return found


def _listed(reasons: dict[str, str]) -> str:
    topic, reason = next(iter(reasons.items()))
    return f"none of {len(reasons)} topics can be read; {topic}, for example: {reason}"


def _check_contents(bag: BagReader, findings: Findings) -> None:
    topics = {name: TopicData(topic) for name, topic in bag.topics.items()}
    transforms: Transforms = {}
    unknown: set[str] = set()
    for message in bag.messages():
        if message.topic in unknown:
            continue
        try:
            decoded = bag.decode(message)
        except UnknownTypeError as error:
            unknown.add(message.topic)
            used = topics[message.topic].has_type(*CHECKED_TYPES)
            code = "unknown-sensor-type" if used else "unknown-type"
            findings.add(code, message.topic, str(error))
            continue
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
    if data.has_type(CAMERA_INFO):
        data.sizes.add(camera_info_size(decoded))
        return camera_info_faults(decoded)
    if data.has_type(IMAGE):
        data.sizes.add((decoded.height, decoded.width))
        return image_faults(decoded)
    if data.has_type(CLOUD):
        return cloud_faults(decoded)
    if data.has_type(COMPRESSED):
        try:
            data.sizes.add(encoded_image_size(decoded.data.tobytes(), decoded.format))
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
