"""``docs/robot.md`` against the node: topics with types and quality of service, the counters and
values of its diagnostics.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rclpy
import yaml
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.parameter import Parameter

from occ_perception_ros.bags.nuscenes_messages import point_cloud
from occ_perception_ros.lenses import FISHEYE_MODELS, POLYNOMIAL_MODELS
from occ_perception_ros.messages import points_from_message
from occ_perception_ros.node import OccupancyNode
from occ_perception_ros.pixel_formats import IMAGE_ENCODINGS
from occ_perception_ros.sensor_health import SensorHealth
from occ_perception_ros.topics import CAMERAS

FOREIGN = ("/rosout", "/parameter_events", "/clock")
TRANSFORMS = ("/tf", "/tf_static")
"""Subscribed to only where tf2_msgs is installed."""


class NoEngine:
    """The node needs an engine to start, not to be looked at."""

    def step(self, frame: Any) -> Any:
        raise NotImplementedError

    def reset(self, reason: str) -> None: ...


def endpoints(folder: Path, input_qos: str) -> dict[str, tuple[str, str, str, int]]:
    """Type, reliability, durability and depth of every topic of a node of that ``input_qos``."""
    (folder / "calibration.yaml").write_text("frames: {}\n")
    given = {"calibration_file": str(folder / "calibration.yaml"), "input_qos": input_qos}
    context = rclpy.Context()
    rclpy.init(context=context)
    node = OccupancyNode(
        lambda config: (NoEngine(), (64, 64)),
        context=context,
        parameter_overrides=[Parameter(name, value=value) for name, value in given.items()],
    )
    try:
        return dict(_endpoints(node))
    finally:
        node.stop()
        node.destroy_node()
        rclpy.shutdown(context=context)


def _endpoints(node: OccupancyNode) -> Iterator[tuple[str, tuple[str, str, str, int]]]:
    for end in (*node.subscriptions, *node.publishers):
        topic = end.topic_name.replace("/occupancy_node/", "~/")
        topic = re.sub(rf"/({'|'.join(CAMERAS)})/", "/<camera>/", topic)
        if topic not in FOREIGN:
            kind, qos = end.msg_type, end.qos_profile
            package = kind.__module__.split(".")[0]
            policies = (
                each.name.lower().replace("_", " ") for each in (qos.reliability, qos.durability)
            )
            yield topic, (f"{package}/{kind.__name__}", *policies, qos.depth)


def described(page: str) -> dict[str, tuple[str, str]]:
    """Type and quality of service by topic, as the page's tables have them."""
    rows = re.findall(r"^\| `([~/][^`]*)` \| `(\w+)/msg/(\w+)` \| ([^|]*) \|", page, re.MULTILINE)
    return {topic: (f"{package}/{kind}", qos) for topic, package, kind, qos in rows}


def differences(page: str, folder: Path) -> list[str]:
    """What the page and the node say differently."""
    best, reliable = endpoints(folder, "sensor_data"), endpoints(folder, "reliable")
    expected = {}
    for topic, (kind, reliability, durability, depth) in best.items():
        follows = reliability != reliable[topic][1]
        expected[topic] = (
            kind,
            f"{'`input_qos`' if follows else reliability}, {durability}, {depth}",
        )
    found = {topic: row for topic, row in described(page).items() if topic not in TRANSFORMS}
    return [
        f"{topic}: {found.get(topic)} on the page, {expected.get(topic)} in the node"
        for topic in sorted(found.keys() | expected.keys())
        if found.get(topic) != expected.get(topic)
    ]


@pytest.fixture
def page(repository: Path) -> str:
    return (repository / "docs" / "robot.md").read_text()


def test_topics_are_the_nodes(page: str, tmp_path: Path) -> None:
    found = differences(page, tmp_path)
    assert not found, "\n".join(found)
    assert set(TRANSFORMS) <= described(page).keys()


def test_encodings_are_the_decoders(page: str) -> None:
    table = page.partition("<!-- encodings -->")[2].partition("<!-- end of encodings -->")[0]
    first_columns = re.findall(r"^\| (`[^|]*) \|", table, re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)`", " ".join(first_columns))) == sorted(IMAGE_ENCODINGS)


def test_lenses_and_counts_are_the_codes(page: str) -> None:
    for name in (*FISHEYE_MODELS, *POLYNOMIAL_MODELS):
        assert f"`{name}`" in page
    points = np.full((1, 5), 1.0, np.float32)
    _, counts = points_from_message(point_cloud(points, 1, "lidar_top"))
    for name in (*counts, "out_of_range", "bad_intensity", "clamped_intensity"):
        assert f"`{name}`" in page


def test_the_sample_status_has_the_values_of_the_code(page: str) -> None:
    blocks = re.findall(r"^```yaml\n(level: .*?)^```", page, re.DOTALL | re.MULTILINE)
    (sample,) = [yaml.safe_load(block) for block in blocks]
    assert list(sample) == [*DiagnosticStatus.get_fields_and_field_types()]
    camera = SensorHealth("/cam_front/image_rect_compressed", lag_s=-5.0)
    camera.compare(stamp_ns=5_000_000_000, sweep_ns=0)
    camera.received(5_000_000_000, now_s=0.0)
    assert list(sample["values"]) == list(camera.values(0.0))


def test_a_topic_that_changed_is_noticed(page: str, tmp_path: Path) -> None:
    edited = page.replace("~/output/markers", "~/output/cubes").replace(
        "`input_qos`, volatile, 1000", "reliable, volatile, 1000"
    )
    topics = [line.split(": ")[0] for line in differences(edited, tmp_path)]
    assert topics == ["~/input/odometry", "~/output/cubes", "~/output/markers"]
