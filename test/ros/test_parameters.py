"""Parameters from dataclasses: every field is declared, all problems are in one error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import rclpy
import yaml
from rclpy.node import Node
from rclpy.parameter import Parameter

from occ_perception_ros.node_config import NodeConfig
from occ_perception_ros.parameter_fields import describe, parameter_fields
from occ_perception_ros.parameters import ParameterError, Parameters, declare


@contextmanager
def node_with(**overrides: object) -> Iterator[Node]:
    """A node that was given parameters; ``__`` in a name stands for a dot."""
    context = rclpy.Context()
    rclpy.init(context=context)
    given = [Parameter(name.replace("__", "."), value=value) for name, value in overrides.items()]
    node = Node("occupancy_node", context=context, parameter_overrides=given)
    try:
        yield node
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context)


def test_defaults_are_the_dataclasses() -> None:
    with node_with() as node:
        assert declare(node, NodeConfig) == NodeConfig()
        descriptor = node.describe_parameter("sync.tolerance_s")
        assert "Largest deviation" in descriptor.description
        assert (
            descriptor.floating_point_range[0].from_value,
            descriptor.floating_point_range[0].to_value,
        ) == (0.0, 10.0)
        assert node.describe_parameter("sync.sweeps").integer_range[0].from_value == 1


def test_values_reach_nested_dataclasses_and_whole_numbers_are_accepted_as_floats() -> None:
    with node_with(
        sync__frame_period_s=1,
        sync__min_cameras=3,
        sync__camera_offsets_s=[0.0],
        cameras=["a", "b", "c"],
        context__default_weather="rain",
    ) as node:
        config = declare(node, NodeConfig)
        assert config.sync.frame_period_s == 1.0 and config.sync.min_cameras == 3
        assert config.cameras == ("a", "b", "c") and config.context.default_weather == "rain"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (False, {"a": False, "b": False}),
        ([True], {"a": True, "b": True}),
        ([False, True], {"a": False, "b": True}),
    ],
)
def test_a_list_of_one_may_be_a_single_value(given: object, expected: dict[str, bool]) -> None:
    rig = {"cameras": ["a", "b"], "sync__camera_offsets_s": [0.0]}
    with node_with(**rig, compressed_images=given) as node:
        assert declare(node, NodeConfig).compressed_by_camera() == expected


@pytest.mark.parametrize("empty", [None, [], [""]])
def test_no_cameras_however_an_empty_list_arrives(empty: list[str] | None) -> None:
    with node_with(cameras=empty) as node:
        config = declare(node, NodeConfig)
        assert config.cameras == () and config.compressed_by_camera() == {}


def test_a_list_of_another_length_is_refused() -> None:
    with (
        node_with(cameras=["a", "b", "c"], compressed_images=[True, False]) as node,
        pytest.raises(ParameterError, match="compressed_images holds 2 values, but there are 3"),
    ):
        declare(node, NodeConfig)


def test_all_problems_are_listed_in_one_error() -> None:
    """Values by themselves, values that contradict one another, and names that do not exist."""
    wrong = {
        "sync__tolerance_s": -1.0,
        "sync__sweeps": 0,
        "sync__min_cameras": 9,
        "sync__camera_offsets_s": [float("nan")],
        "device": "tpu",
        "precision": "fp8",
        "cameras": ["a", "a"],
        "compressed_images": [True, False, True],
        "checkpoint": 3,
        "nonsense": 1,
        "context__default_weather": "hail",
        "context__max_age_s": float("nan"),
        "sync__timeout_s": "soon",
    }
    with node_with(**wrong) as node, pytest.raises(ParameterError) as caught:
        declare(node, NodeConfig)
    parts = (
        "sync.tolerance_s must be a float in 0.0..10.0, got -1.0",
        "sync.sweeps must be an int in 1..100, got 0",
        "sync.timeout_s must be a float in 0.0..10.0, got 'soon'",
        "sync.min_cameras is 9, but there are only 2 cameras",
        "sync.camera_offsets_s must hold offsets up to 10 s, got [nan]",
        "device must be auto, cpu, cuda or cuda:N, got 'tpu'",
        "precision must be one of ['auto', 'fp32', 'bf16'], got 'fp8'",
        "cameras must be distinct names, got ['a', 'a']",
        "compressed_images holds 3 values, but there are 2 cameras",
        "checkpoint must be a string, got 3",
        "parameter 'nonsense' does not exist",
        "context.default_weather must be one of",
        "context.max_age_s must be a float in 0.01..1000000000.0, got nan",
    )
    assert len(caught.value.problems) == len(parts) == len(wrong)
    for part in parts:
        assert sum(problem.startswith(part) for problem in caught.value.problems) == 1, part


def test_what_is_not_dynamic_is_read_only() -> None:
    dynamic = {field.name for field in parameter_fields(NodeConfig) if field.is_dynamic}
    assert {"sync.tolerance_s", "sync.min_cameras", "max_processing_ms"} <= dynamic
    assert not {"cameras", "checkpoint", "device", "sync.sweeps", "autostart"} & dynamic
    with node_with() as node:
        declare(node, NodeConfig)
        for name, _, _ in describe(NodeConfig):
            assert node.describe_parameter(name).read_only == (name not in dynamic), name
        result = node.set_parameters([Parameter("device", value="cuda")])[0]
        assert not result.successful and "read-only" in result.reason


def test_dynamic_parameters_change_together() -> None:
    changes: list[NodeConfig] = []
    with node_with() as node:
        parameters = Parameters(node, NodeConfig, changes.append)
        given = {"sync.tolerance_s": 0.02, "sync.min_cameras": 4, "context.default_weather": "rain"}
        together = [Parameter(name, value=value) for name, value in given.items()]
        assert node.set_parameters_atomically(together).successful
        # A whole number is a float as well.
        assert node.set_parameters([Parameter("vehicle_height_m", value=3)])[0].successful
        first, second = changes
        assert (first.sync.tolerance_s, first.sync.min_cameras) == (0.02, 4)
        assert first.context.default_weather == "rain" and first.vehicle_height_m == 2.5
        assert second.vehicle_height_m == 3.0 and second == parameters.read()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"sync.min_cameras": 7}, "sync.min_cameras is 7, but there are only 6 cameras"),
        ({"sync.min_cameras": 33}, "sync.min_cameras"),
        ({"sync.tolerance_s": 11}, "sync.tolerance_s must be a float in 0.0..10.0, got 11"),
        ({"sync.tolerance_s": float("nan")}, "sync.tolerance_s"),
        ({"sync.tolerance_s": "wide"}, "sync.tolerance_s must be a float in 0.0..10.0, got 'wide'"),
        ({"sync.tolerance_s": None}, "sync.tolerance_s cannot be removed"),
        ({"sync.camera_offsets_s": [0.1, 0.2]}, "sync.camera_offsets_s holds 2 offsets, but"),
        ({"ego_box_m": [1.0]}, "ego_box_m must be x_min"),
        ({"context.default_weather": "hail"}, "context.default_weather must be one of"),
        ({"cameras": ["a"]}, "read-only"),
    ],
)
def test_a_set_that_is_refused_says_why_and_changes_nothing(
    changes: dict[str, object], reason: str
) -> None:
    calls: list[NodeConfig] = []
    with node_with() as node:
        parameters = Parameters(node, NodeConfig, calls.append)
        # One that would be fine by itself shares the fate of the others.
        given = {"sync.timeout_s": 0.3, **changes}
        together = [Parameter(name, value=value) for name, value in given.items()]
        result = node.set_parameters_atomically(together)
        assert not result.successful and reason in result.reason
        assert calls == [] and parameters.read() == NodeConfig()


def test_unusable_values_can_be_replaced_one_by_one() -> None:
    calls: list[NodeConfig] = []
    wrong = {"sync__sweeps": 0, "device": "tpu", "cameras": ["a", "b"], "precision": "fp8"}
    with node_with(**wrong) as node:
        parameters = Parameters(node, NodeConfig, calls.append)
        parameters.lock(False)
        # 3 by themselves; six offsets do not fit two cameras
        assert len(parameters.check()[1]) == 4
        assert not node.set_parameters([Parameter("sync.sweeps", value=101)])[0].successful
        assert not node.set_parameters([Parameter("precision", value="fp4")])[0].successful
        right = {
            "sync.sweeps": 5,
            "device": "cpu",
            "precision": "fp32",
            "sync.camera_offsets_s": [0.0],
        }
        for left, (name, value) in zip((3, 2, 1, 0), right.items(), strict=True):
            assert node.set_parameters([Parameter(name, value=value)])[0].successful
            assert len(parameters.check()[1]) == left
        config = parameters.read()
        assert (config.sync.sweeps, config.device, config.cameras) == (5, "cpu", ("a", "b"))
        assert calls == []  # nothing ran
        parameters.lock()
        assert not node.set_parameters([Parameter("sync.sweeps", value=6)])[0].successful


def test_every_parameter_is_described() -> None:
    undescribed = [name for name, _, text in describe(NodeConfig) if len(text) < 10]
    assert undescribed == []


def test_the_parameter_file_holds_only_parameters_and_their_defaults(repository: Path) -> None:
    content = yaml.safe_load((repository / "config" / "occupancy_node.yaml").read_text())
    defaults = {name: default for name, default, _ in describe(NodeConfig)}
    for name, value in content["/**"]["ros__parameters"].items():
        nested = value if isinstance(value, dict) else {"": value}
        for last, given in nested.items():
            assert defaults[f"{name}.{last}".rstrip(".")] == given
