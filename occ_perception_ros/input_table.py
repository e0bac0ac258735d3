"""The inputs that node and offline run have in common, and what stores the messages of each.

No rclpy import: the messages may be rclpy's or those of rosbags.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from occ_perception_ros.assembler import FrameAssembler
from occ_perception_ros.calibration import is_rectified
from occ_perception_ros.frame_parts import FrameParts

InputKind = Literal[
    "image", "camera_info", "points", "context", "odometry", "moving_tf", "static_tf"
]


@dataclass(frozen=True, slots=True)
class Input:
    """One input."""

    kind: InputKind
    name: str
    """Name without ``~/input/``, or a topic's absolute name."""
    add: Callable[[Any], list[FrameParts]]
    """Stores a message and returns the frames that it completes."""
    camera: str = ""
    """Name of the camera that sends images."""


def input_table(
    assembler: FrameAssembler, pose_source: str, topic_of: Callable[[str], str]
) -> list[Input]:
    """All inputs of an assembler.

    Args:
        assembler: stores the messages.
        pose_source: source of the vehicle's motion, ``"odometry"`` or ``"tf"``.
        topic_of: gives the topic of an image input by the input's name, which may say that the
            images are rectified.
    """
    config = assembler.config
    inputs: list[Input] = []
    for camera in config.cameras:
        image = f"{camera}/image"
        rectified = is_rectified(topic_of(image), config.rectified_images)
        add_info = partial(assembler.add_camera_info, camera, rectified=rectified)
        inputs += [
            Input("image", image, partial(assembler.add_image, camera), camera),
            Input("camera_info", f"{camera}/camera_info", add_info),
        ]
    if config.lidar:
        inputs.append(Input("points", "points", assembler.add_points))
    inputs += [
        Input("context", name, partial(assembler.add_context, name))
        for name in ("weather", "region")
    ]
    if pose_source == "odometry":
        inputs.append(Input("odometry", "odometry", assembler.add_odometry))
    if pose_source == "tf" or not config.calibration_file:
        inputs.append(
            Input("static_tf", "/tf_static", partial(assembler.add_transforms, static=True))
        )
    if pose_source == "tf":
        inputs.append(Input("moving_tf", "/tf", partial(assembler.add_transforms, static=False)))
    return inputs
