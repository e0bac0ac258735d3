"""The node, and on request a bag that plays and RViz.

``ros2 launch occ_perception_ros bringup.launch.py bag:=/path/to/bag`` plays, infers and opens a
configured RViz.
"""

import os

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
from launch.events.process import ProcessIO
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from occ_perception_ros.topics import PRESETS, TopicPreset

PACKAGE = "occ_perception_ros"
TRUE_FALSE = ["true", "false"]
MIDDLEWARE_PROFILE = "FASTDDS_DEFAULT_PROFILES_FILE"


def arguments() -> list[DeclareLaunchArgument]:
    presets = "; ".join(f"{name}: {preset.description}" for name, preset in PRESETS.items())
    return [
        DeclareLaunchArgument(
            "bag",
            default_value="",
            description="Bag to play; empty: live sensors, or a player of your own",
        ),
        DeclareLaunchArgument(
            "rate", default_value="1.0", description="Speed at which the bag is played"
        ),
        DeclareLaunchArgument(
            "loop",
            default_value="false",
            choices=TRUE_FALSE,
            description="Play the bag again and again",
        ),
        DeclareLaunchArgument(
            "rviz", default_value="true", choices=TRUE_FALSE, description="Open RViz, configured"
        ),
        DeclareLaunchArgument(
            "checkpoint",
            default_value="",
            description="Weights (.safetensors); empty: params_file's, or the shipped",
        ),
        DeclareLaunchArgument(
            "device",
            default_value="",
            description="auto, cpu, cuda or cuda:N; empty: params_file's",
        ),
        DeclareLaunchArgument(
            "calibration_file",
            default_value="",
            description="Mountings (YAML); empty: params_file's, or /tf_static",
        ),
        DeclareLaunchArgument(
            "params_file",
            default_value="",
            description="Node parameters as YAML, over config/occupancy_node.yaml",
        ),
        DeclareLaunchArgument(
            "use_sim_time",
            default_value="auto",
            choices=["auto", *TRUE_FALSE],
            description="Time from /clock, for the node and RViz; auto: when a bag is played",
        ),
        DeclareLaunchArgument(
            "topics",
            default_value="nuscenes",
            choices=[*PRESETS, "custom"],
            description=f"Names of the inputs. {presets}; custom: none, remap ~/input/... yourself",
        ),
        DeclareLaunchArgument("namespace", default_value="", description="Namespace of the node"),
    ]


def bringup(context: LaunchContext) -> list[LaunchDescriptionEntity]:
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
    # Later entries win: package defaults < preset < such a bag is played < params_file < command
    # line.
    parameters: list = [os.path.join(share, "config", "occupancy_node.yaml")]
    if preset is not None:
        parameters.append(dict(preset.parameters))
    if bag and value("topics") == "nuscenes":
        parameters.append(
            {"input_qos": "reliable"}
        )  # as nuscenes_to_bag recorded it; best effort would lose images
    if value("params_file"):
        parameters.append(value("params_file"))
    given = {
        name: value(name) for name in ("checkpoint", "device", "calibration_file") if value(name)
    }
    parameters.append({**given, "use_sim_time": sim_time})
    node = Node(
        package=PACKAGE,
        executable="occupancy_node",
        namespace=value("namespace"),
        output="screen",
        parameters=parameters,
        remappings=preset.remappings() if preset is not None else [],
    )
    # Without the node nothing else is of use, and its one line of reason should be the last.
    actions: list[LaunchDescriptionEntity] = [
        node,
        RegisterEventHandler(
            OnProcessExit(
                target_action=node, on_exit=[EmitEvent(event=Shutdown(reason="the node ended"))]
            )
        ),
    ]
    if bag:
        # The delay lets the node find the player's topics: what is played before is lost, and a
        # camera that is late holds
        # the first seconds back.
        play = [
            "ros2",
            "bag",
            "play",
            bag,
            "--clock",
            "40",
            "--delay",
            "4",
            "--rate",
            value("rate"),
        ]
        player = ExecuteProcess(
            cmd=play + (["--loop"] if value("loop") == "true" else []), output="screen"
        )
        actions.append(_after_line(node, b"ready;", player))
        if (
            MIDDLEWARE_PROFILE not in os.environ
        ):  # node and player share memory that holds more than one sweep
            actions.insert(
                0,
                SetEnvironmentVariable(
                    MIDDLEWARE_PROFILE, os.path.join(share, "config", "fastdds.xml")
                ),
            )
    if value("rviz") == "true":
        actions.append(
            Node(
                package="rviz2",
                executable="rviz2",
                arguments=["-d", os.path.join(share, "rviz", "occupancy.rviz")],
                parameters=[{"use_sim_time": sim_time}],
                remappings=_rviz_remappings(preset, value("namespace").strip("/")),
                output="log",
            )
        )
    return actions


def _after_line(process: Node, words: bytes, action: ExecuteProcess) -> RegisterEventHandler:
    """Starts ``action`` when the process has logged ``words``: weights take seconds to load, and a
    bag that plays meanwhile loses its beginning."""
    waiting = [action]

    def on_output(event: ProcessIO) -> list[LaunchDescriptionEntity] | None:
        return [waiting.pop()] if waiting and words in event.text else None

    return RegisterEventHandler(
        OnProcessIO(target_action=process, on_stdout=on_output, on_stderr=on_output)
    )


def _rviz_remappings(preset: TopicPreset | None, namespace: str) -> list[tuple[str, str]]:
    """From the names in occupancy.rviz to those of this graph."""
    outputs = [f"/occupancy_node/output/{name}" for name in ("markers", "occupancy_grid")]
    pairs = [(name, f"/{namespace}{name}") for name in outputs] if namespace else []
    if preset is not None:
        pairs.append(("/lidar_top", preset.points))
        # RViz takes the transport from a topic's last part, which nuScenes' names for JPEG topics
        # do not have.
        pairs += [
            (f"/{camera}/image/compressed", topic) for camera, topic in preset.images().items()
        ]
    return pairs


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([*arguments(), OpaqueFunction(function=bringup)])
