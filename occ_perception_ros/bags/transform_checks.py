"""Checks of transforms and ego motion for ``bag_check``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from occ_perception_ros.bags.findings import Findings
from occ_perception_ros.bags.topic_data import (
    CLOUD,
    COMPRESSED,
    IMAGE,
    ODOMETRY,
    TF,
    Topics,
    has_messages,
    nanoseconds,
)

EGO_POSE_PERIOD_MAX_S = 0.2


@dataclass
class TransformData:
    """The transforms of one pair of frames."""

    topic: str
    values: np.ndarray
    """Translation and quaternion of the first one."""
    moves: bool = False
    """Whether a later one differs from the first."""
    stamps_ns: list[int] = field(default_factory=list)

    def period_s(self) -> float:
        """Median period; NaN for a single stamp."""
        steps = np.diff(np.unique(self.stamps_ns))
        return float(np.median(steps)) / 1e9 if len(steps) else float("nan")


Transforms = dict[tuple[str, str], TransformData]
"""Transform data by parent and child frame."""


def add_transform(transforms: Transforms, stamped: Any, topic: str) -> None:
    """Adds a geometry_msgs/TransformStamped."""
    move, turn = stamped.transform.translation, stamped.transform.rotation
    values = np.array([move.x, move.y, move.z, turn.x, turn.y, turn.z, turn.w])
    key = stamped.header.frame_id.strip("/"), stamped.child_frame_id.strip("/")
    data = transforms.setdefault(key, TransformData(topic, values))
    data.moves |= not np.allclose(values, data.values, rtol=0, atol=1e-9)
    data.stamps_ns.append(nanoseconds(stamped.header.stamp))


def check_transforms(topics: Topics, transforms: Transforms, findings: Findings) -> None:
    """Checks that transforms connect the sensors and have the ego motion."""
    sensor_frames = {
        name: frame_id.strip("/")
        for name, data in topics.items()
        if data.has_type(CLOUD, IMAGE, COMPRESSED)
        for frame_id in data.frame_ids
        if frame_id
    }
    if not transforms:
        findings.add("no-tf", "", "the bag has no transform")
    else:
        _check_connections(sensor_frames, transforms, findings)
    for name, data in topics.items():
        is_static = data.has_type(TF) and name.endswith("tf_static")
        if is_static and data.topic.qos and not data.topic.latched:
            findings.add("tf-static-volatile", name, "it is recorded with volatile durability")
    for (parent, child), transform in transforms.items():
        is_static = transform.topic.endswith("tf_static")
        if not is_static and not transform.moves and child in sensor_frames.values():
            text = f"{parent} -> {child} never changes, but occurs {len(transform.stamps_ns)} times"
            findings.add("static-in-tf", transform.topic, text)
        if transform.moves and transform.period_s() > EGO_POSE_PERIOD_MAX_S:
            text = f"{parent} -> {child} occurs only every {transform.period_s():.2f} s"
            findings.add("tf-sparse", transform.topic, text)
    _check_ego_motion(topics, transforms, findings)


def _check_connections(
    sensor_frames: dict[str, str], transforms: Transforms, findings: Findings
) -> None:
    for name, frame in sensor_frames.items():
        reached = _connected(frame, transforms)
        if apart := sorted({other for other in sensor_frames.values() if other not in reached}):
            others = ", ".join(map(repr, apart))
            findings.add("frame-unconnected", name, f"no transforms connect {frame!r} to {others}")


def _check_ego_motion(topics: Topics, transforms: Transforms, findings: Findings) -> None:
    has_odometry = has_messages(topics, ODOMETRY)
    if not has_odometry:
        findings.add("no-odometry", "", "the bag has no nav_msgs/Odometry")
    moves = any(transform.moves for transform in transforms.values())
    # A bag of one keyframe has each transform once, and no motion.
    most_stamps = max((len(transform.stamps_ns) for transform in transforms.values()), default=0)
    if not moves and not has_odometry and most_stamps != 1:
        findings.add("no-ego-motion", "", "no transform changes and there is no odometry")


def _connected(frame: str, transforms: Iterable[tuple[str, str]]) -> set[str]:
    """All frames that a chain of transforms connects to ``frame``, including itself."""
    neighbours = defaultdict(set)
    for parent, child in transforms:
        neighbours[parent].add(child)
        neighbours[child].add(parent)
    reached, to_visit = {frame}, [frame]
    while to_visit:
        new = neighbours[to_visit.pop()] - reached
        reached |= new
        to_visit += new
    return reached
