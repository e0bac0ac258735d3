"""What the launch arguments mean to the node."""

from __future__ import annotations

import pytest

from occ_perception_ros.launch_parameters import given_parameters
from occ_perception_ros.node_config import NodeConfig
from occ_perception_ros.parameter_fields import parameter_fields

TEXTS = {
    "checkpoint": "/weights.safetensors",
    "device": "cpu",
    "calibration_file": "/calibration.yaml",
    "cameras": "front, rear",
    "lidar": "false",
    "frame_period_s": "1",
    "tolerance_s": "0.02",
    "min_cameras": "2",
    "camera_offsets_s": "[0, -0.04]",
    "pose_source": "tf",
    "autostart": "false",
}


def given(**texts: str) -> dict[str, object]:
    return given_parameters(lambda name: texts.get(name, ""))


def test_every_argument_gives_a_parameter_that_the_node_accepts() -> None:
    assert given() == {}
    found = given(**TEXTS)
    assert len(found) == len(TEXTS)
    fields = {field.name: field for field in parameter_fields(NodeConfig)}
    values = {name: fields[name].converted(value) for name, value in found.items()}
    assert values["cameras"] == ("front", "rear") and values["lidar"] is False
    assert values["sync.camera_offsets_s"] == (0.0, -0.04)
    assert values["sync.frame_period_s"] == 1.0 and values["autostart"] is False


def test_no_cameras_and_one_offset() -> None:
    assert given(cameras="none") == {"cameras": [""]}
    assert given(camera_offsets_s="-0.04") == {"sync.camera_offsets_s": [-0.04]}


@pytest.mark.parametrize("name", ["frame_period_s", "min_cameras", "camera_offsets_s"])
def test_what_is_no_number_is_named(name: str) -> None:
    with pytest.raises(ValueError, match=f"launch argument {name} is no number: .*'soon'"):
        given(**{name: "soon"})
