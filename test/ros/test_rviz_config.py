"""The configuration that RViz gets: topics, fixed frame, and the layout of its window."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from occ_core.labels.sets import NUSCENES
from occ_core.voxel_grid import SURROUNDOCC_GRID
from occ_perception_ros.outputs import known_voxels
from occ_perception_ros.rviz_config import rviz_config, rviz_remappings, world_frame
from occ_perception_ros.topics import CAMERAS, PRESETS

FRAMES = {"nuscenes": "map", "clynamen": "odom", "watonomous": "map", "dataset_bridge": "world"}
RAW = ("clynamen", "dataset_bridge")
VOXELS = "/occupancy_node/output/voxels"


@pytest.fixture
def text(repository: Path) -> str:
    """The package's configuration."""
    return (repository / "rviz" / "occupancy.rviz").read_text()


def manager(text: str) -> Any:
    return yaml.safe_load(text)["Visualization Manager"]


def displays(text: str, kind: str) -> list[str]:
    """Topics of the displays of one kind."""
    found = (each for each in manager(text)["Displays"] if each["Class"].endswith(f"/{kind}"))
    return [display["Topic"]["Value"] for display in found]


def displays_topic(display: dict[str, Any]) -> str | None:
    return display.get("Topic", {}).get("Value")


def adapted(text: str, name: str, namespace: str = "") -> str:
    preset = PRESETS[name]
    return rviz_config(text, preset, world_frame(preset, None), namespace)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_has_its_fixed_frame_and_lidar(name: str, text: str) -> None:
    found = adapted(text, name)
    assert manager(found)["Global Options"]["Fixed Frame"] == FRAMES[name]
    assert displays(found, "PointCloud2") == [PRESETS[name].points, VOXELS]


@pytest.mark.parametrize("name", PRESETS)
def test_every_camera_is_shown_from_the_right_topic_and_type(name: str, text: str) -> None:
    """RViz takes a topic as compressed if, and only if, its name before remapping ends so."""
    shown = displays(adapted(text, name), "Image")
    remapped = dict(rviz_remappings(PRESETS[name]))
    assert {remapped.get(topic, topic) for topic in shown} == set(PRESETS[name].images().values())
    assert all(topic.endswith("/compressed") == (name not in RAW) for topic in shown)


def test_voxels_are_coloured_by_a_field_of_theirs_and_off_at_first(text: str) -> None:
    """While the display is on, the node has a subscriber and has to compute the free space."""
    (display,) = (each for each in manager(text)["Displays"] if displays_topic(each) == VOXELS)
    assert display["Enabled"] is False and display["Value"] is False
    assert display["Color Transformer"] == "Intensity" and display["Style"] == "Boxes"
    labels = np.zeros(SURROUNDOCC_GRID.shape, np.uint8)
    records = known_voxels(labels, labels.astype(np.float32), labels, SURROUNDOCC_GRID)
    assert display["Channel Name"] in records.dtype.names
    assert display["Size (m)"] <= SURROUNDOCC_GRID.voxel_size_m
    assert (display["Min Intensity"], display["Max Intensity"]) == (0, len(NUSCENES.names) - 1)


def test_without_a_preset_the_topics_stay(text: str) -> None:
    found = rviz_config(text, None, "odom", "")
    assert manager(found)["Global Options"]["Fixed Frame"] == "odom"
    assert displays(found, "Image") == displays(text, "Image") and rviz_remappings(None) == []


@pytest.mark.parametrize("namespace", ["car", "/car", "/car/"])
def test_a_namespace_changes_the_names_of_the_outputs_alone(namespace: str, text: str) -> None:
    found = adapted(text, "nuscenes", namespace)
    assert displays(found, "MarkerArray") == ["/car/occupancy_node/output/markers"]
    assert displays(found, "Map") == ["/car/occupancy_node/output/occupancy_grid"]
    assert displays(found, "PointCloud2") == ["/lidar_top", f"/car{VOXELS}"]
    (grid,) = (each for each in manager(found)["Displays"] if each["Name"] == "Drivable map")
    assert grid["Update Topic"]["Value"].startswith("/car/occupancy_node/")


def test_nothing_else_changes(text: str) -> None:
    assert yaml.safe_load(adapted(text, "nuscenes")) == yaml.safe_load(text)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("/**:\n  ros__parameters:\n    world_frame: earth\n", "earth"),
        ("occupancy_node:\n  ros__parameters:\n    world_frame: earth\n", "earth"),
        ("/car/occupancy_node:\n  ros__parameters:\n    world_frame: earth\n", "earth"),
        ("/car:\n  occupancy_node:\n    ros__parameters:\n      world_frame: earth\n", "earth"),
        ("other_node:\n  ros__parameters:\n    world_frame: earth\n", "odom"),
        ("/**:\n  ros__parameters:\n    grid_frame: earth\n", "odom"),
        ("", "odom"),
        ("- 1\n", "odom"),
    ],
)
def test_a_file_of_parameters_wins(content: str, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(content)
    assert world_frame(PRESETS["clynamen"], path) == expected
    assert world_frame(None, None) == "map"


def test_a_file_that_is_not_yaml_is_named(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_bytes(b"\xff{")
    with pytest.raises(ValueError, match=r"params.yaml is not a plain YAML file"):
        world_frame(None, tmp_path / "params.yaml")


VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["/**", "ros__parameters", "world_frame", "a"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)


@given(content=VALUES)
def test_any_yaml_gives_a_frame(content: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("any") / "params.yaml"
    path.write_text(yaml.safe_dump(content))
    assert isinstance(world_frame(None, path), str)


def test_the_window_has_a_layout(text: str) -> None:
    """The state that Qt writes: every dock, by name, and the areas of the window with their sizes.

    A dock area is its position (0 left, 1 right, 3 bottom), its width and its height as 32-bit
    integers.
    """
    geometry = yaml.safe_load(text)["Window Geometry"]
    assert geometry["Hide Right Dock"] is True and geometry["Hide Left Dock"] is False
    state = bytes.fromhex(geometry["QMainWindow State"])
    names = [each["Name"] for each in manager(text)["Displays"] if each["Class"].endswith("/Image")]
    assert len(names) == len(CAMERAS)
    for name in [*names, "Displays", "Time", "Views"]:
        assert name.encode("utf-16-be") in state, name
    # FF, version, FD, number of areas; then the left one.
    assert state[:10] == bytes.fromhex("000000ff00000000fd00")[:10]
    left, bottom = (re.escape(area.to_bytes(4, "big")) for area in (0, 3))
    (width, _), (_, height) = (
        next(
            (int.from_bytes(found[1], "big"), int.from_bytes(found[2], "big"))
            for found in re.finditer(area + rb"(.{4})(.{4})\xfc", state, re.DOTALL)
        )
        for area in (left, bottom)
    )
    assert width <= 0.2 * geometry["Width"]
    assert 0.15 * geometry["Height"] <= height <= 0.3 * geometry["Height"]
