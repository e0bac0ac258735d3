"""Topic names of known kinds of nuScenes bags, as remappings of the node's private names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

CAMERAS = (
    "cam_front_left",
    "cam_front",
    "cam_front_right",
    "cam_back_left",
    "cam_back",
    "cam_back_right",
)
"""nuScenes' cameras, in the order of ``occ_core.datasets.nuscenes.NUSCENES_CAMERAS``."""


@dataclass(frozen=True, kw_only=True)
class TopicPreset:
    """Topics of the node's inputs in one kind of bag.

    In ``image`` and ``camera_info``, ``{camera}`` stands for the camera's name and ``{CAMERA}`` for
    the name in capitals.
    """

    description: str
    image: str
    camera_info: str
    points: str
    odometry: str
    weather: str = "/can/weather"
    region: str = "/can/region"
    parameters: Mapping[str, str | bool] = field(default_factory=dict)
    """Node parameters that differ from their defaults."""

    def images(self, cameras: Sequence[str] = CAMERAS) -> dict[str, str]:
        """Image topic of every camera."""
        return {camera: _named(self.image, camera) for camera in cameras}

    def remappings(self, cameras: Sequence[str] = CAMERAS) -> list[tuple[str, str]]:
        """Pairs of private name and topic."""
        pairs = []
        for camera, image in self.images(cameras).items():
            info = _named(self.camera_info, camera)
            pairs += [(f"~/input/{camera}/image", image), (f"~/input/{camera}/camera_info", info)]
        inputs = {
            "points": self.points,
            "odometry": self.odometry,
            "weather": self.weather,
            "region": self.region,
        }
        return pairs + [(f"~/input/{name}", topic) for name, topic in inputs.items()]


PRESETS: dict[str, TopicPreset] = {
    "nuscenes": TopicPreset(
        description="bags of nuscenes_to_bag, with the topic names of foxglove/nuscenes2mcap",
        image="/{camera}/image_rect_compressed",
        camera_info="/{camera}/camera_info",
        points="/lidar_top",
        odometry="/odom",
    ),
    "clynamen": TopicPreset(
        description="clynamen/nuscenes2bag and its ROS 2 forks: raw images, no camera_info "
        "(set calibration_file)",
        image="/{camera}/raw",
        camera_info="/{camera}/camera_info",
        points="/lidar_top",
        odometry="/odom",
        parameters={"compressed_images": False, "world_frame": "odom"},
    ),
    "watonomous": TopicPreset(
        description="WATonomous/nuscenes_to_ros2bag: names in capitals, malformed camera_info "
        "(set calibration_file)",
        image="/{CAMERA}/image_rect_compressed",
        camera_info="/{CAMERA}/camera_info",
        points="/LIDAR_TOP",
        odometry="/odom",
        parameters={"grid_frame": "LIDAR_TOP", "pose_source": "tf"},
    ),
    "dataset_bridge": TopicPreset(
        description="Owen-Liuyuxuan/ros2_dataset_bridge, live: raw images, malformed camera_info "
        "(set calibration_file)",
        image="/nuscenes/{CAMERA}/image",
        camera_info="/nuscenes/{CAMERA}/camera_info",
        points="/nuscenes/LIDAR_TOP/data",
        odometry="/odom",
        parameters={
            "compressed_images": False,
            "grid_frame": "LIDAR_TOP",
            "world_frame": "world",
            "pose_source": "tf",
        },
    ),
}

CUSTOM = TopicPreset(
    description="none of these: inputs have the node's own names until they are remapped",
    image="/occupancy_node/input/{camera}/image",
    camera_info="/occupancy_node/input/{camera}/camera_info",
    points="/occupancy_node/input/points",
    odometry="/occupancy_node/input/odometry",
    weather="/occupancy_node/input/weather",
    region="/occupancy_node/input/region",
)
"""Topics of a node without any remapping."""


def remapped(topic_of: Mapping[str, str], rules: Sequence[str]) -> dict[str, str]:
    """Topics by input, with rules of the form ``input:=topic``, as the node takes them.

    Args:
        topic_of: topic of each input, by its name without ``~/input/``.
        rules: an input may be named with or without ``~/input/``.

    Raises:
        ValueError: a rule has another form, its input does not exist, or two inputs have the same
            topic.
    """
    topics = dict(topic_of)
    for rule in rules:
        name, separator, topic = rule.partition(":=")
        name = name[name.find("input/") + len("input/") :] if "input/" in name else name
        if not separator or not topic or name not in topics:
            raise ValueError(
                f"remap '{rule}' must be INPUT:=TOPIC, with one of the inputs {', '.join(topics)}"
            )
        topics[name] = topic if topic.startswith("/") else f"/{topic}"
    for topic in topics.values():
        if len(inputs := [name for name, other in topics.items() if other == topic]) > 1:
            raise ValueError(f"topic '{topic}' is given to {' and '.join(inputs)}; remap one")
    return topics


def preset_arguments(name: str) -> list[str]:
    """``--ros-args`` of a preset, for a node that is started without a launch file.

    Raises:
        ValueError: the preset does not exist.
    """
    if name == "custom":
        return []
    if name not in PRESETS:
        raise ValueError(f"topics '{name}' is unknown; expected one of {[*PRESETS, 'custom']}")
    arguments = ["--ros-args"]
    for source, target in PRESETS[name].remappings():
        arguments += ["-r", f"{source}:={target}"]
    for parameter, value in PRESETS[name].parameters.items():
        text = str(value).lower() if isinstance(value, bool) else value
        arguments += ["-p", f"{parameter}:={text}"]
    return arguments


def _named(topic: str, camera: str) -> str:
    return topic.format(camera=camera, CAMERA=camera.upper())
