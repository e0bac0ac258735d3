"""Topic names of known kinds of nuScenes bags, as remappings of the node's private names."""

from __future__ import annotations

from collections.abc import Mapping
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

    def images(self) -> dict[str, str]:
        """Image topic of every camera."""
        return {camera: _named(self.image, camera) for camera in CAMERAS}

    def remappings(self) -> list[tuple[str, str]]:
        """Pairs of private name and topic."""
        pairs = []
        for camera, image in self.images().items():
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
