"""The launch file and the RViz configuration: their names match those of the node."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from occ_core.taxonomy import CLASS_NAMES
from occ_perception_ros.topics import CAMERAS, PRESETS, preset_arguments


@pytest.fixture
def bringup(repository: Path) -> Any:
    for module in ("launch.actions", "launch_ros.actions", "ament_index_python"):
        try:
            found = importlib.util.find_spec(module)
        except ModuleNotFoundError:
            found = None
        if found is None:
            pytest.skip(
                f"ROS 2's {module.split('.')[0]} is not installed; the launch file needs it"
            )
    spec = importlib.util.spec_from_file_location(
        "bringup", repository / "launch" / "bringup.launch.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_argument_has_a_description(bringup: Any) -> None:
    arguments = {argument.name: argument for argument in bringup.arguments()}
    assert {
        "bag",
        "rviz",
        "checkpoint",
        "device",
        "params_file",
        "use_sim_time",
        "topics",
    } <= arguments.keys()
    assert all(len(argument.description) > 10 for argument in arguments.values())
    assert arguments["topics"].choices == [*PRESETS, "custom"]
    assert arguments["rviz"].choices == ["true", "false"]


def test_a_bag_adds_the_player_and_the_middleware_profile(
    bringup: Any, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from launch import LaunchContext
    from launch.logging import launch_config

    launch_config.log_dir = str(tmp_path)
    monkeypatch.setattr(bringup, "get_package_share_directory", lambda package: str(repository))
    monkeypatch.delenv("FASTDDS_DEFAULT_PROFILES_FILE", raising=False)
    context = LaunchContext()
    for argument in bringup.arguments():
        argument.execute(context)
    context.launch_configurations.update({"bag": str(tmp_path), "rviz": "true", "device": "cpu"})
    actions = bringup.bringup(context)
    kinds = [type(action).__name__ for action in actions]
    # The environment must come first; the second handler starts the player when the node is ready.
    assert kinds == [
        "SetEnvironmentVariable",
        "Node",
        "RegisterEventHandler",
        "RegisterEventHandler",
        "Node",
    ]
    config = yaml.safe_load((tmp_path / "occupancy.rviz").read_text())["Visualization Manager"]
    assert config["Global Options"]["Fixed Frame"] == "map"
    context.launch_configurations.update({"bag": "", "topics": "dataset_bridge"})
    bringup.bringup(context)
    config = yaml.safe_load((tmp_path / "occupancy.rviz").read_text())["Visualization Manager"]
    assert config["Global Options"]["Fixed Frame"] == "world"
    context.launch_configurations.update({"bag": "", "rviz": "false"})
    assert [type(action).__name__ for action in bringup.bringup(context)] == [
        "Node",
        "RegisterEventHandler",
    ]
    context.launch_configurations["bag"] = "/nowhere/bag"
    with pytest.raises(FileNotFoundError, match="bag '/nowhere/bag' does not exist"):
        bringup.bringup(context)


@pytest.mark.parametrize(
    ("cameras", "names"), [("front, rear", ("front", "rear")), ("none", ("",)), ("", None)]
)
def test_the_rig_comes_by_launch_arguments(
    cameras: str,
    names: tuple[str, ...] | None,
    bringup: Any,
    repository: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from launch import LaunchContext
    from launch_ros.utilities import evaluate_parameters

    monkeypatch.setattr(bringup, "get_package_share_directory", lambda package: str(repository))
    context = LaunchContext()
    for argument in bringup.arguments():
        argument.execute(context)
    lidar = "" if names is None else "false"
    context.launch_configurations.update({"rviz": "false", "cameras": cameras, "lidar": lidar})
    node = bringup.bringup(context)[0]
    given = evaluate_parameters(context, node._Node__parameters)[-1]
    assert given.get("cameras") == names
    assert given.get("lidar") == (None if names is None else False)


@pytest.mark.parametrize(
    ("use_sim_time", "bag", "expected"),
    [("auto", True, True), ("auto", False, False), ("true", False, True), ("false", True, False)],
)
def test_node_and_rviz_have_the_same_clock(
    use_sim_time: str,
    bag: bool,
    expected: bool,
    bringup: Any,
    repository: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from launch import LaunchContext
    from launch.logging import launch_config
    from launch_ros.utilities import evaluate_parameters

    launch_config.log_dir = str(tmp_path)
    monkeypatch.setattr(bringup, "get_package_share_directory", lambda package: str(repository))
    context = LaunchContext()
    for argument in bringup.arguments():
        argument.execute(context)
    chosen = {"use_sim_time": use_sim_time, "bag": str(tmp_path) if bag else ""}
    context.launch_configurations.update(chosen)
    nodes = [action for action in bringup.bringup(context) if type(action).__name__ == "Node"]
    given = [evaluate_parameters(context, node._Node__parameters)[-1] for node in nodes]
    assert [values["use_sim_time"] for values in given] == [expected, expected]


def test_the_command_line_comes_after_the_file_of_parameters(
    bringup: Any, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from launch import LaunchContext
    from launch_ros.utilities import evaluate_parameters

    path = tmp_path / "robot.yaml"
    path.write_text("/**:\n  ros__parameters:\n    device: cuda\n")
    monkeypatch.setattr(bringup, "get_package_share_directory", lambda package: str(repository))
    context = LaunchContext()
    for argument in bringup.arguments():
        argument.execute(context)
    chosen = {"rviz": "false", "params_file": str(path), "device": "cpu"}
    context.launch_configurations.update(chosen)
    node = next(each for each in bringup.bringup(context) if type(each).__name__ == "Node")
    given = evaluate_parameters(context, node._Node__parameters)
    # The package's file, the preset, the user's file, the launch arguments: rcl takes the last.
    assert [Path(each).name for each in given if isinstance(each, Path)] == [
        "occupancy_node.yaml",
        "robot.yaml",
    ]
    assert given[-2] == path and given[-1]["device"] == "cpu"


def test_the_launch_file_compiles_without_ros(repository: Path) -> None:
    path = repository / "launch" / "bringup.launch.py"
    compile(path.read_text(), str(path), "exec")


def test_presets_have_every_input_once() -> None:
    for name, preset in PRESETS.items():
        pairs = preset.remappings()
        assert len(pairs) == 2 * len(CAMERAS) + 4 == len({source for source, _ in pairs})
        assert len({target for _, target in pairs}) == len(pairs)
        assert all("{" not in target and target.startswith("/") for _, target in pairs), name
    assert ("~/input/cam_front/image", "/cam_front/image_rect_compressed") in PRESETS[
        "nuscenes"
    ].remappings()
    assert "~/input/points:=/LIDAR_TOP" in preset_arguments("watonomous")
    assert preset_arguments("custom") == []


def test_the_display_shows_what_the_node_publishes(repository: Path) -> None:
    content = yaml.safe_load((repository / "rviz" / "occupancy.rviz").read_text())[
        "Visualization Manager"
    ]
    assert content["Global Options"]["Fixed Frame"] == "map"
    kinds = [re.sub(".*/", "", display["Class"]) for display in content["Displays"]]
    assert kinds.count("Image") == 6 and {"MarkerArray", "PointCloud2", "TF", "Map"} <= set(kinds)
    markers = next(
        display for display in content["Displays"] if display["Class"].endswith("MarkerArray")
    )
    assert list(markers["Namespaces"]) == list(CLASS_NAMES[1:])
    assert markers["Topic"]["Value"] == "/occupancy_node/output/markers"
    images = {
        display["Topic"]["Value"]
        for display in content["Displays"]
        if display["Class"].endswith("/Image")
    }
    assert images == {f"/{camera}/image/compressed" for camera in CAMERAS}
