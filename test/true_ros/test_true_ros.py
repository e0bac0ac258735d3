"""The package in a real ROS 2 installation, through the commands that its users type.

Each test skips where its tools are missing, and says which. ``run.sh`` builds the package with
colcon and runs them.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from occ_perception_ros.bags.reader import BagReader
from occ_perception_ros.topics import PRESETS

PACKAGE = "occ_perception_ros"
LAUNCH = ("ros2", "launch", PACKAGE, "bringup.launch.py")
NODE = "/occupancy_node"
OUTPUT = f"{NODE}/output/occupancy_points"
SCRIPTS = ("bag_check", "bag_play", "nuscenes_to_bag", "occ_offline", "occupancy_node")


def need(module: str) -> None:
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed")


def need_verb(verb: str) -> None:
    done = subprocess.run(["ros2", verb, "--help"], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"ros2 {verb} is not installed")


def launch(ros: Any, bag: Path, *arguments: str) -> Any:
    """The launch file with a looping bag, once the player plays."""
    started = ros.start(*LAUNCH, f"bag:={bag}", "loop:=true", "device:=cpu", *arguments)
    ros.wait_for(started, "ready;")
    ros.wait_for(started, "bag_play: playing")
    return started


@pytest.fixture
def running(ros: Any, drive_bag: Path) -> Iterator[Any]:
    """A running launch file, without RViz."""
    yield launch(ros, drive_bag, "rviz:=false", f"calibration_file:={drive_bag}/calibration.yaml")


def stamp_of_an_answer(ros: Any, topic: str = OUTPUT) -> str:
    """The stamp of the next answer."""
    # Without the type, the command fails where it has not found the node yet.
    stamp = ("--once", "--field", "header.stamp", topic, "sensor_msgs/msg/PointCloud2")
    text = ros.run("ros2", "topic", "echo", *stamp)
    assert int(yaml.safe_load(text.split("---")[0])["sec"]) > 0, text
    return str(text)


def change(ros: Any, transition: str, state: str) -> None:
    """Changes the node's state, again where the command's answer was lost."""
    commands = f"ros2 lifecycle set {NODE} {transition}; ros2 lifecycle get {NODE}"
    ros.see(state, "bash", "-c", commands)


def test_programs_and_launch_arguments_are_found(ros: Any) -> None:
    found = ros.run("ros2", "pkg", "executables", PACKAGE)
    assert {f"{PACKAGE} {name}" for name in SCRIPTS} <= set(found.splitlines())
    shown = ros.run(*LAUNCH, "--show-args")
    for name in ("bag", "rviz", "topics", "params_file", "use_sim_time", "namespace", "autostart"):
        assert f"'{name}':" in shown
    assert all(preset in shown for preset in PRESETS)


def test_a_bag_that_is_not_there_ends_the_launch(ros: Any) -> None:
    started = ros.start(*LAUNCH, "bag:=/nowhere/bag")
    assert started.wait(600) != 0
    assert "bag '/nowhere/bag' does not exist" in ros.log(started)


def test_a_checkpoint_that_is_not_there_ends_the_launch(ros: Any) -> None:
    started = ros.start(*LAUNCH, "rviz:=false", "checkpoint:=/nowhere/weights.safetensors")
    started.wait(600)
    log = ros.log(started)
    assert "/nowhere/weights.safetensors" in log and "Traceback" not in log


def test_a_launched_node_answers_and_ends_cleanly(ros: Any, running: Any) -> None:
    ros.see(NODE, "ros2", "node", "list")
    stamp_of_an_answer(ros)
    info = ros.see("Reliability", "ros2", "topic", "info", "-v", f"{NODE}/output/markers")
    assert "visualization_msgs/msg/MarkerArray" in info and "Reliability: RELIABLE" in info
    called = ros.run("ros2", "service", "call", f"{NODE}/reset", "std_srvs/srv/Trigger")
    assert "success=True" in called
    ros.stop(running)
    log = ros.log(running)
    assert log.count("process has finished cleanly") == 2, log[-4000:]  # node and player


def test_a_loop_has_no_pause_between_its_passes(ros: Any, running: Any) -> None:
    ros.wait_for(running, "bag_play: pass", count=4)
    assert "no point cloud" not in ros.log(running)


def test_parameters_are_described_and_refuse_what_is_fixed_or_wrong(ros: Any, running: Any) -> None:
    listed = ros.see("sync.tolerance_s", "ros2", "param", "list", NODE).split()
    assert {"grid_frame", "world_frame"} <= set(listed)
    ros.see("map", "ros2", "param", "get", NODE, "world_frame")
    description = "TF frame to which the voxel grid is fixed"
    ros.see(description, "ros2", "param", "describe", NODE, "grid_frame")
    ros.see_refusal("read-only", "ros2", "param", "set", NODE, "grid_frame", "base_link")
    ros.see("lidar_top", "ros2", "param", "get", NODE, "grid_frame")
    tolerance = (NODE, "sync.tolerance_s")
    ros.see("successful", "ros2", "param", "set", *tolerance, "0.03")
    ros.see_refusal("0.0..10.0", "ros2", "param", "set", *tolerance, "11")
    ros.see("0.03", "ros2", "param", "get", *tolerance)


def test_a_namespace_and_a_file_of_parameters(ros: Any, drive_bag: Path, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("/**:\n  ros__parameters:\n    sync:\n      frame_period_s: 1.0\n")
    calibration = f"calibration_file:={drive_bag}/calibration.yaml"
    options = ("rviz:=false", "namespace:=car", f"params_file:={path}", calibration)
    launch(ros, drive_bag, *options)
    ros.see(f"/car{NODE}", "ros2", "node", "list")
    ros.see("1.0", "ros2", "param", "get", f"/car{NODE}", "sync.frame_period_s")
    stamp_of_an_answer(ros, f"/car{OUTPUT}")


def test_mountings_and_motion_come_from_tf(ros: Any, drive_bag: Path, tmp_path: Path) -> None:
    need("tf2_msgs")
    path = tmp_path / "params.yaml"
    path.write_text("/**:\n  ros__parameters:\n    pose_source: tf\n    calibration_file: ''\n")
    # The file beside the bag would serve as well; without it, /tf_static has to.
    bag = shutil.copytree(drive_bag, tmp_path / "bag")
    (bag / "calibration.yaml").unlink()
    launch(ros, bag, "rviz:=false", f"params_file:={path}")
    # The node hears latched publishers and others by a subscription each.
    info = ros.see("Subscription count: 2", "ros2", "topic", "info", "-v", "/tf_static")
    assert info.count("Durability: TRANSIENT_LOCAL") == 2  # player and node
    stamp_of_an_answer(ros)


def test_a_managed_node_can_be_deactivated(ros: Any, running: Any) -> None:
    need_verb("lifecycle")
    ros.see(NODE, "ros2", "lifecycle", "nodes")
    ros.see("active [3]", "ros2", "lifecycle", "get", NODE)
    change(ros, "deactivate", "inactive [2]")
    change(ros, "activate", "active [3]")
    stamp_of_an_answer(ros)


def test_a_manager_configures_the_node_once_it_can(ros: Any, drive_bag: Path) -> None:
    need_verb("lifecycle")
    command = ["ros2", "run", PACKAGE, "occupancy_node", "--topics", "nuscenes", "--ros-args"]
    wrong = ["autostart:=false", "calibration_file:=/nowhere.yaml", "sync.sweeps:=0"]
    options = [word for value in wrong for word in ("-p", value)]
    node = ros.start(*command, *options, "-p", "device:=cpu")
    ros.wait_for(node, "unconfigured;")
    ros.see_refusal("failed", "ros2", "lifecycle", "set", NODE, "configure")
    ros.wait_for(node, "sync.sweeps must be an int in 1..100, got 0")
    assert "calibration_file /nowhere.yaml does not exist" in ros.log(node)
    calibration = f"{drive_bag}/calibration.yaml"
    for name, value in (("sync.sweeps", "10"), ("calibration_file", calibration)):
        ros.see("successful", "ros2", "param", "set", NODE, name, value)
    change(ros, "configure", "inactive [2]")
    change(ros, "activate", "active [3]")
    ros.wait_for(node, "ready;")
    change(ros, "deactivate", "inactive [2]")
    change(ros, "cleanup", "unconfigured [1]")
    change(ros, "shutdown", "finalized [4]")
    assert ros.stop(node) == 0 and "Traceback" not in ros.log(node)


def test_ros2_bag_plays_to_the_node_and_records_it(
    ros: Any, drive_bag: Path, tmp_path: Path
) -> None:
    need_verb("bag")
    options = ["--ros-args", "-p", "use_sim_time:=true", "-p", "input_qos:=reliable"]
    options += ["-p", f"calibration_file:={drive_bag}/calibration.yaml", "-p", "device:=cpu"]
    node = ros.start("ros2", "run", PACKAGE, "occupancy_node", "--topics", "nuscenes", *options)
    ros.wait_for(node, "ready;")
    recorded = tmp_path / "recorded"
    recorder = ros.start("ros2", "bag", "record", "-s", "mcap", "-o", recorded, OUTPUT)
    ros.wait_for(recorder, "Subscribed to topic")
    play = ("ros2", "bag", "play", drive_bag, "--clock", "40", "--rate", "0.2", "--delay", "4")
    ros.run(*play)
    ros.stop(recorder)
    ros.stop(node)
    with BagReader(recorded) as bag:
        answers = [bag.decode(message) for message in bag.messages([OUTPUT])]
    assert answers and all(answer.width > 0 for answer in answers)
    assert answers[0].header.frame_id == "lidar_top"


def test_bags_that_ros2_bag_converts_are_fine(ros: Any, drive_bag: Path, tmp_path: Path) -> None:
    need_verb("bag")
    options = tmp_path / "convert.yaml"
    for storage, compression in (("sqlite3", "none"), ("mcap", "file"), ("mcap", "message")):
        bag = tmp_path / f"{storage}_{compression}"
        output = {"uri": str(bag), "storage_id": storage, "all": True, "all_topics": True}
        # With a queue of bounded length, rosbag2 drops messages that it has no time to compress.
        output["compression_queue_size"] = 0
        if compression != "none":
            output |= {"compression_mode": compression, "compression_format": "zstd"}
        options.write_text(yaml.safe_dump({"output_bags": [output]}))
        ros.run("ros2", "bag", "convert", "-i", drive_bag, "-o", options)
        assert "0 errors, 0 warnings" in ros.run("ros2", "run", PACKAGE, "bag_check", bag)


@pytest.mark.parametrize("preset", PRESETS)
def test_rviz_loads_its_configuration(preset: str, ros: Any) -> None:
    """One plugin that is missing makes RViz drop the whole file."""
    if shutil.which("rviz2") is None or shutil.which("xvfb-run") is None:
        pytest.skip("rviz2 or xvfb-run is not installed")
    started = ros.start("xvfb-run", "-a", *LAUNCH, f"topics:={preset}", "device:=cpu")
    ros.see("/rviz", "ros2", "node", "list")
    for image in PRESETS[preset].images().values():
        info = ros.see("Node name: rviz", "ros2", "topic", "info", "-v", image)
        # Node and RViz expect the same type; otherwise it is a list of two.
        assert "Type: sensor_msgs/msg/" in info.splitlines()[0], info
    assert "Could not load display config" not in ros.log(started)
    ros.stop(started)
