"""The RViz configuration for the topics and the frames of a running graph.

RViz takes only names that stand in its file, and a camera's type of message from its topic's name.
So the launch file writes a copy of ``rviz/occupancy.rviz`` for what it starts.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from occ_perception_ros.topics import TopicPreset
from occ_perception_ros.yaml_files import read_yaml

NODE = "occupancy_node"
DEFAULT_WORLD_FRAME = "map"


def rviz_config(text: str, preset: TopicPreset | None, world_frame: str, namespace: str) -> str:
    """The configuration with other topics and another fixed frame.

    Args:
        text: the package's configuration.
        preset: topics of the sensors; None leaves them as they are.
        world_frame: TF frame in which everything is shown.
        namespace: the node's namespace; empty: none.
    """
    config = yaml.safe_load(text)
    manager = config["Visualization Manager"]
    manager["Global Options"]["Fixed Frame"] = world_frame
    renamed = _topics(preset)
    prefix = f"/{namespace.strip('/')}" if namespace.strip("/") else ""
    for topic in _topic_properties(manager["Displays"]):
        name = topic["Value"]
        topic["Value"] = prefix + name if name.startswith(f"/{NODE}/") else renamed.get(name, name)
    # One line for each value: the state of the window is a long word.
    return yaml.safe_dump(config, sort_keys=False, width=10_000)


def rviz_remappings(preset: TopicPreset | None) -> list[tuple[str, str]]:
    """Remappings for compressed images, whose topics RViz takes only with a certain last part."""
    if preset is None or not _are_compressed(preset):
        return []
    return [(_shown(camera), topic) for camera, topic in preset.images().items()]


def world_frame(preset: TopicPreset | None, params_file: Path | None) -> str:
    """The node's parameter ``world_frame`` for a preset and a file of parameters, which wins.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not YAML.
    """
    frame = preset.parameters.get("world_frame", DEFAULT_WORLD_FRAME) if preset else ""
    found = [frame or DEFAULT_WORLD_FRAME]
    if params_file is not None:
        content = read_yaml(params_file)
        found += [
            parameters["world_frame"]
            for parameters in _node_parameters(content)
            if "world_frame" in parameters
        ]
    return str(found[-1])


def _topics(preset: TopicPreset | None) -> dict[str, str]:
    """Names in the package's configuration, and those of the preset."""
    if preset is None:
        return {}
    topics = {"/lidar_top": preset.points}
    if not _are_compressed(preset):
        topics |= {_shown(camera): topic for camera, topic in preset.images().items()}
    return topics


def _are_compressed(preset: TopicPreset) -> bool:
    return bool(preset.parameters.get("compressed_images", True))


def _shown(camera: str) -> str:
    """A camera's topic in the package's configuration."""
    return f"/{camera}/image/compressed"


def _topic_properties(displays: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for display in displays:
        for name in ("Topic", "Update Topic"):
            if name in display:
                yield display[name]


def _node_parameters(content: Any, name: str = "") -> Iterator[dict[str, Any]]:
    """The sections of a file of parameters that may be this node's, in their order."""
    if not isinstance(content, dict):
        return
    for key, value in content.items():
        if key != "ros__parameters":
            yield from _node_parameters(value, str(key))
        elif isinstance(value, dict) and name.rpartition("/")[2] in (NODE, "*", "**"):
            yield value
