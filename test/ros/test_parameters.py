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

from occ_perception_ros.parameters import NodeConfig, ParameterError, declare, describe


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
        assert descriptor.read_only and "Largest deviation" in descriptor.description
        assert (
            descriptor.floating_point_range[0].from_value,
            descriptor.floating_point_range[0].to_value,
        ) == (0.0, 10.0)
        assert node.describe_parameter("sync.sweeps").integer_range[0].from_value == 1


def test_values_reach_nested_dataclasses_and_whole_numbers_are_accepted_as_floats() -> None:
    with node_with(
        sync__frame_period_s=1,
        sync__min_cameras=3,
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
    with node_with(cameras=["a", "b"], compressed_images=given) as node:
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
    wrong = {
        "sync__tolerance_s": -1.0,
        "sync__sweeps": 0,
        "device": "tpu",
        "precision": "fp8",
        "cameras": ["a", "a"],
        "checkpoint": 3,
        "nonsense": 1,
        "context__default_weather": "hail",
        "sync__timeout_s": "soon",
    }
    with node_with(**wrong) as node, pytest.raises(ParameterError) as caught:
        declare(node, NodeConfig)
    for part in (
        "sync.tolerance_s must be a float in 0.0..10.0, got -1.0",
        "sync.sweeps must be an int in 1..100, got 0",
        "sync.timeout_s must be a float in 0.0..10.0, got 'soon'",
        "device must be auto, cpu, cuda or cuda:N, got 'tpu'",
        "precision must be one of ['auto', 'fp32', 'bf16'], got 'fp8'",
        "cameras must be distinct names, got ['a', 'a']",
        "checkpoint must be a string, got 3",
        "parameter 'nonsense' does not exist",
        "context.default_weather must be one of",
    ):
        assert part in str(caught.value)


def test_parameters_cannot_be_changed_while_the_node_runs() -> None:
    with node_with() as node:
        declare(node, NodeConfig)
        result = node.set_parameters([Parameter("device", value="cuda")])[0]
        assert not result.successful and "read-only" in result.reason


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
