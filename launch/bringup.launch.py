"""The node and, on request, a bag player and RViz.

``ros2 launch occ_perception_ros bringup.launch.py bag:=/path/to/bag`` plays a bag, runs the node
and opens RViz with a configuration.
"""

import os
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    ExecuteProcess,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
)
from launch.event_handlers import OnProcessExit, OnProcessIO
from launch.events import Shutdown
from launch.events.process import ProcessExited, ProcessIO
from launch.logging import launch_config
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.substitutions import ExecutableInPackage

from occ_perception_ros.launch_parameters import given_parameters
from occ_perception_ros.rviz_config import rviz_config, rviz_remappings, world_frame
from occ_perception_ros.topics import PRESETS, TopicPreset

PACKAGE = "occ_perception_ros"
TRUE_FALSE = ["true", "false"]
MIDDLEWARE_PROFILE = "FASTDDS_DEFAULT_PROFILES_FILE"
PLAYER_DELAY_S = 4
"""Time for the node to discover the player's topics: messages before that are lost, and sets wait
for cameras whose first images were lost."""


def arguments() -> list[DeclareLaunchArgument]:
    """All launch arguments."""
    presets = "; ".join(f"{name}: {preset.description}" for name, preset in PRESETS.items())
    return [
        DeclareLaunchArgument(
            "bag",
            default_value="",
            description="Bag to play; empty: live sensors, or a player that you start yourself",
        ),
        DeclareLaunchArgument(
            "rate", default_value="1.0", description="Speed of the bag relative to the recording"
        ),
        DeclareLaunchArgument(
            "loop", default_value="false", choices=TRUE_FALSE, description="Repeat the bag"
        ),
        DeclareLaunchArgument(
            "rviz",
            default_value="true",
            choices=TRUE_FALSE,
            description="Open RViz with the package's configuration",
        ),
        DeclareLaunchArgument(
            "checkpoint",
            default_value="",
            description="Model weights (.safetensors); empty: params_file, or the package's model",
        ),
        DeclareLaunchArgument(
            "device",
            default_value="",
            description="auto, cpu, cuda or cuda:N; empty: as in params_file",
        ),
        DeclareLaunchArgument(
            "calibration_file",
            default_value="",
            description="Sensor mountings (YAML); empty: as in params_file, or /tf_static",
        ),
        DeclareLaunchArgument(
            "params_file",
            default_value="",
            description="Node parameters (YAML); they override config/occupancy_node.yaml",
        ),
        DeclareLaunchArgument(
            "use_sim_time",
            default_value="auto",
            choices=["auto", *TRUE_FALSE],
            description="Whether node and RViz use /clock; auto: only if a bag is played",
        ),
        DeclareLaunchArgument(
            "topics",
            default_value="nuscenes",
            choices=[*PRESETS, "custom"],
            description=f"Names of the inputs. {presets}; custom: none, remap ~/input/... yourself",
        ),
        *_rig_arguments(),
        *_tuning_arguments(),
        DeclareLaunchArgument("namespace", default_value="", description="Namespace of the node"),
    ]


def _rig_arguments() -> list[DeclareLaunchArgument]:
    return [
        DeclareLaunchArgument(
            "cameras",
            default_value="",
            description="Names of the cameras, with commas between; none: a rig with LiDAR alone; "
            "empty: as in params_file",
        ),
        DeclareLaunchArgument(
            "lidar",
            default_value="",
            choices=["", *TRUE_FALSE],
            description="Whether there is a LiDAR; empty: as in params_file",
        ),
    ]


def _tuning_arguments() -> list[DeclareLaunchArgument]:
    return [
        DeclareLaunchArgument(
            "frame_period_s",
            default_value="",
            description="sync.frame_period_s, period of the answers; empty: as in params_file",
        ),
        DeclareLaunchArgument(
            "min_cameras",
            default_value="",
            description="sync.min_cameras, least number of images; empty: as in params_file",
        ),
        DeclareLaunchArgument(
            "camera_offsets_s",
            default_value="",
            description="sync.camera_offsets_s, with commas between; empty: as in params_file",
        ),
        DeclareLaunchArgument(
            "tolerance_s",
            default_value="",
            description="sync.tolerance_s, deviation from the offsets; empty: as in params_file",
        ),
        DeclareLaunchArgument(
            "pose_source",
            default_value="",
            choices=["", "odometry", "tf"],
            description="Source of the vehicle's motion; empty: as in params_file",
        ),
        DeclareLaunchArgument(
            "autostart",
            default_value="",
            choices=["", *TRUE_FALSE],
            description="Whether the node configures and activates itself; false: a lifecycle "
            "manager does; empty: as in params_file, or true",
        ),
    ]


def bringup(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """The actions for the values of the launch arguments.

    Raises:
        FileNotFoundError: the bag does not exist.
        ValueError: a number is none.
    """

    def value(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    share = get_package_share_directory(PACKAGE)
    bag = value("bag")
    if bag and not os.path.exists(bag):
        raise FileNotFoundError(
            f"bag '{bag}' does not exist; nuscenes_to_bag makes bags of nuScenes scenes"
        )
    sim_time = value("use_sim_time") == "true" or (value("use_sim_time") == "auto" and bool(bag))
    preset = PRESETS.get(value("topics"))
    # Later entries override earlier ones; the command line overrides params_file.
    parameters: list = [os.path.join(share, "config", "occupancy_node.yaml")]
    if preset is not None:
        parameters.append(dict(preset.parameters))
    if bag and value("topics") == "nuscenes":
        # As nuscenes_to_bag recorded it; best effort would lose images.
        parameters.append({"input_qos": "reliable"})
    if value("params_file"):
        parameters.append(value("params_file"))
    node = Node(
        package=PACKAGE,
        executable="occupancy_node",
        namespace=value("namespace"),
        output="screen",
        parameters=[*parameters, {**given_parameters(value), "use_sim_time": sim_time}],
        remappings=preset.remappings() if preset is not None else [],
    )
    # Nothing else is useful without the node, and its error message should be the last line.
    shutdown = EmitEvent(event=Shutdown(reason="the node ended"))
    on_exit = OnProcessExit(target_action=node, on_exit=[shutdown])
    actions: list[LaunchDescriptionEntity] = [node, RegisterEventHandler(on_exit)]
    if bag:
        actions.append(_play_when_ready(node, bag, value("rate"), value("loop") == "true"))
        if MIDDLEWARE_PROFILE not in os.environ:
            # Shared memory of node and player that holds more than one sweep.
            profile = os.path.join(share, "config", "fastdds.xml")
            actions.insert(0, SetEnvironmentVariable(MIDDLEWARE_PROFILE, profile))
    if value("rviz") == "true":
        params_file = Path(value("params_file")) if value("params_file") else None
        frame = world_frame(preset, params_file)
        actions.append(_rviz(share, sim_time, preset, frame, value("namespace")))
    return actions


def _play_when_ready(node: Node, bag: str, rate: str, loop: bool) -> RegisterEventHandler:
    """Starts the player when the node is ready, since loading the weights takes seconds.

    The package's own player waits once; `ros2 bag play` would repeat its delay before every loop.
    """
    command = [ExecutableInPackage(package=PACKAGE, executable="bag_play"), bag, "--clock", "40"]
    command += ["--delay-s", str(PLAYER_DELAY_S), "--rate", rate, *(["--loop"] if loop else [])]

    def on_exit(event: ProcessExited, _: LaunchContext) -> list[LaunchDescriptionEntity]:
        failed = event.returncode != 0
        return [EmitEvent(event=Shutdown(reason="the player failed"))] if failed else []

    waiting = [ExecuteProcess(cmd=command, output="screen", on_exit=on_exit)]

    def on_output(event: ProcessIO) -> list[LaunchDescriptionEntity] | None:
        return [waiting.pop()] if waiting and b"ready;" in event.text else None

    return RegisterEventHandler(
        OnProcessIO(target_action=node, on_stdout=on_output, on_stderr=on_output)
    )


def _rviz(
    share: str, sim_time: bool, preset: TopicPreset | None, frame: str, namespace: str
) -> Node:
    """RViz with a configuration for this graph, which is written beside the logs of the launch."""
    text = Path(share, "rviz", "occupancy.rviz").read_text(encoding="utf-8")
    path = Path(launch_config.log_dir, "occupancy.rviz")
    path.write_text(rviz_config(text, preset, frame, namespace), encoding="utf-8")
    return Node(
        package="rviz2",
        executable="rviz2",
        arguments=["-d", str(path)],
        parameters=[{"use_sim_time": sim_time}],
        remappings=rviz_remappings(preset),
        output="log",
    )


def generate_launch_description() -> LaunchDescription:
    """The entry point for ``ros2 launch``."""
    return LaunchDescription([*arguments(), OpaqueFunction(function=bringup)])
