"""The JSON schema of the parameter file: it is that of the code, and agrees with the node on every
single value.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from occ_perception_ros.node_config import NodeConfig
from occ_perception_ros.parameter_fields import ParameterField, parameter_fields
from occ_perception_ros.schema import parameter_schema

FIELDS = parameter_fields(NodeConfig)
VALIDATOR = Draft202012Validator(parameter_schema())
NUMBERS = st.one_of(st.integers(-(10**6), 10**6), st.floats(allow_nan=False, width=32))
SCALARS = st.one_of(st.booleans(), NUMBERS, st.sampled_from(["auto", "tf", "reliable", "x"]))


def problems(parameters: Any, node: str = "/**") -> list[str]:
    """What the schema says against a parameter file."""
    content = {node: {"ros__parameters": parameters}}
    return [error.message for error in VALIDATOR.iter_errors(content)]


def test_the_committed_schema_is_the_codes(repository: Path) -> None:
    committed = json.loads((repository / "config" / "occupancy_node.schema.json").read_text())
    assert committed == json.loads(json.dumps(parameter_schema())), (
        "run `python -m occ_perception_ros.schema > config/occupancy_node.schema.json`"
    )
    Draft202012Validator.check_schema(committed)


def test_the_packages_parameter_files_are_valid(repository: Path) -> None:
    files = sorted((repository / "config").glob("*.yaml"))
    assert repository / "config" / "occupancy_node.yaml" in files
    for file in files:
        content = yaml.safe_load(file.read_text())
        assert [error.message for error in VALIDATOR.iter_errors(content)] == [], file.name


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"sync": {"tolerance": 0.1}}, "'tolerance' was unexpected"),
        ({"synk": {"tolerance_s": 0.1}}, "'synk' does not match"),
        ({"sync.tolerance_s": -0.1}, "-0.1 is less than the minimum of 0.0"),
        ({"sync": {"sweeps": 2.5}}, "2.5 is not of type 'integer'"),
        ({"pose_source": "gps"}, "'gps' is not one of ['odometry', 'tf']"),
        ({"cameras": [1]}, "[1] is not valid under any of the given schemas"),
    ],
)
def test_what_is_wrong_is_named(parameters: Any, expected: str) -> None:
    for node in ("/**", "occupancy_node", "/robot_1/occupancy_node"):
        (problem,) = problems(parameters, node)
        assert expected in problem
    assert problems(parameters, "/another_node") == []


def test_both_ways_of_writing_and_foreign_parameters_are_accepted() -> None:
    assert problems({"sync": {"tolerance_s": 0.1}, "context.max_age_s": 5}) == []
    assert problems({"use_sim_time": True, "qos_overrides./lidar.subscription.depth": 5}) == []
    assert problems({"cameras": [""], "compressed_images": True}) == []


def is_accepted(field: ParameterField, value: Any) -> bool:
    try:
        field.converted(value)
    except ValueError:
        return False
    return True


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.sampled_from(FIELDS), st.one_of(SCALARS, st.lists(SCALARS, max_size=3)))
def test_schema_and_node_agree_on_single_values(field: ParameterField, value: Any) -> None:
    """But for 1.0, which JSON schema calls an integer."""
    if field.kind is int and isinstance(value, float) and value.is_integer():
        return
    assert (problems({field.name: value}) == []) == is_accepted(field, value), (field, value)
