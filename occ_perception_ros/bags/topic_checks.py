"""Checks of whole topics for ``bag_check``: stamps, cameras, LiDAR, context."""

from __future__ import annotations

import numpy as np

from occ_perception_ros.bags.findings import Findings
from occ_perception_ros.bags.topic_data import (
    CAMERA_INFO,
    CLOUD,
    COMPRESSED,
    IMAGE,
    STRING,
    TF,
    TopicData,
    Topics,
)
from occ_perception_ros.context import FROM_TEXT

LATE_S = 0.2
"""A difference between bag time and header stamp beyond a sensor's usual latency."""
APART_S = 2.0
"""A difference that indicates different clocks."""
BURST_S = 0.001
"""Messages within this time were written together."""
SWEEP_PERIOD_MAX_S = 0.25
"""Longer periods are those of a data set's keyframes, not of a LiDAR."""


def check_topics(topics: Topics, findings: Findings) -> None:
    """Checks each topic by itself, and each camera with its camera_info."""
    for name, data in topics.items():
        if data.topic.count == 0:
            findings.add("empty-topic", name, "the topic has no message")
        _check_headers(name, data, findings)
    _check_cameras(topics, findings)
    _check_lidar(topics, findings)
    _check_context(topics, findings)


def _check_headers(name: str, data: TopicData, findings: Findings) -> None:
    if data.has_type(CLOUD, IMAGE, COMPRESSED, CAMERA_INFO) and "" in data.frame_ids:
        findings.add("empty-frame", name, "header.frame_id is empty")
    bag_ns, header_ns = np.asarray(data.bag_ns, np.int64), np.asarray(data.header_ns, np.int64)
    zeros = int((header_ns == 0).sum())
    if zeros:
        text = f"header.stamp is 0 in {zeros} of {len(header_ns)} messages"
        findings.add("zero-stamp", name, text)
    bag_ns, header_ns = bag_ns[header_ns != 0], header_ns[header_ns != 0]
    if len(header_ns) == 0 or (data.has_type(TF) and name.endswith("tf_static")):
        return  # the stamp of a static transform has no meaning
    _check_bag_times(name, bag_ns, header_ns, findings)
    steps = np.diff(header_ns)
    if (steps < 0).any():
        back = f"{int((steps < 0).sum())} times, by up to {-steps.min() / 1e9:.3f} s"
        findings.add("out-of-order", name, f"header.stamp goes back {back}")
    duplicates = int((steps == 0).sum())
    if data.has_type(CLOUD, IMAGE, COMPRESSED) and duplicates:
        text = f"{duplicates} messages repeat the stamp of the previous one"
        findings.add("duplicate-stamp", name, text)


def _check_bag_times(
    name: str, bag_ns: np.ndarray, header_ns: np.ndarray, findings: Findings
) -> None:
    """Compares bag times with header stamps; only the worst fault is reported."""
    late_s = (bag_ns - header_ns) / 1e9
    same_bag_time = np.abs(np.diff(bag_ns)) < BURST_S * 1e9
    other_stamp = np.abs(np.diff(header_ns)) > 5 * BURST_S * 1e9
    in_bursts = int((same_bag_time & other_stamp).sum())
    late = int((np.abs(late_s) > LATE_S).sum())
    if abs(np.median(late_s)) > APART_S:
        text = f"bag time is {np.median(late_s):.3f} s after header.stamp (median)"
        findings.add("stamp-apart", name, text)
    elif in_bursts > 0.3 * len(bag_ns):
        text = f"{in_bursts} messages share the bag time of the previous one"
        findings.add("burst", name, text)
    elif late:
        worst_s = late_s[np.argmax(np.abs(late_s))]
        text = f"the bag time of {late} messages is up to {worst_s:.3f} s after header.stamp"
        findings.add("late", name, text)


def _check_cameras(topics: Topics, findings: Findings) -> None:
    images = {name: data for name, data in topics.items() if data.has_type(IMAGE, COMPRESSED)}
    infos = {name: data for name, data in topics.items() if data.has_type(CAMERA_INFO)}
    if not images:
        findings.add("no-image", "", "the bag has no image topic")
    for name, image in images.items():
        parent = name.rsplit("/", 1)[0]
        grandparent = parent.rsplit("/", 1)[0]  # for image_raw/compressed
        candidates = [f"{parent}/camera_info", f"{grandparent}/camera_info"]
        info = next((infos[candidate] for candidate in candidates if candidate in infos), None)
        if info is None:
            text = f"the bag has neither {' nor '.join(candidates)}"
            findings.add("no-camera-info", name, text)
        elif image.sizes and info.sizes and image.sizes != info.sizes:
            text = (
                f"the images are {_sizes(image.sizes)}, but {info.topic.name} is for "
                f"{_sizes(info.sizes)}"
            )
            findings.add("size-mismatch", name, text)


def _check_lidar(topics: Topics, findings: Findings) -> None:
    clouds = {name: data for name, data in topics.items() if data.has_type(CLOUD)}
    if not any(data.topic.count for data in clouds.values()):
        findings.add("no-lidar", "", "the bag has no point cloud")
    for name, data in clouds.items():
        stamps_ns = data.bag_ns if 0 in data.header_ns else data.header_ns
        if len(stamps_ns) < 3:
            continue
        period_s = float(np.median(np.diff(sorted(stamps_ns)))) / 1e9
        if period_s > SWEEP_PERIOD_MAX_S:
            findings.add("keyframes-only", name, f"one cloud every {period_s:.2f} s")


def _check_context(topics: Topics, findings: Findings) -> None:
    for what, from_text in FROM_TEXT.items():
        names = [
            name for name, data in topics.items() if data.has_type(STRING) and name.endswith(what)
        ]
        if not names:
            findings.add(f"no-{what}", "", f"the bag has no {what} topic")
        for name in names:
            for text in sorted(topics[name].texts):
                try:
                    from_text(text)
                except ValueError as error:
                    findings.add("unknown-context", name, str(error))
                    break


def _sizes(sizes: set[tuple[int, int]]) -> str:
    return " and ".join(f"{width}x{height}" for height, width in sorted(sizes))
