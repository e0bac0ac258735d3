"""The JSON schema of the node's parameter file, for editors and checks: it knows names, types and
ranges. What contradicts another value, the node finds when it is configured.

``python -m occ_perception_ros.schema > config/occupancy_node.schema.json`` renews the file.
"""

from __future__ import annotations

import json
from typing import Any, Literal, get_args, get_origin

from occ_perception_ros.node_config import NodeConfig
from occ_perception_ros.parameter_fields import ParameterField, parameter_fields

_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string"}
_FOREIGN = {
    "use_sim_time": {"type": "boolean", "description": "Whether the node's clock is /clock."},
    "start_type_description_service": {"type": "boolean"},
    "qos_overrides": {"type": "object"},
}
"""Parameters that rclpy declares itself."""


def parameter_schema() -> dict[str, Any]:
    """The schema of a YAML file of ROS parameters, in which other nodes may stand as well.

    A nested name may be written in both of ROS' ways: ``sync: {timeout_s: 0.1}`` or
    ``sync.timeout_s: 0.1``.
    """
    properties: dict[str, Any] = dict(_FOREIGN)
    for field in parameter_fields(NodeConfig):
        properties[field.name] = described = _described(field)
        group, _, name = field.name.rpartition(".")
        if group:
            nested = properties.setdefault(group, _object({}))
            nested["properties"][name] = described
    parameters = _object(properties)
    parameters["patternProperties"] = {r"^qos_overrides\.": {}}
    node = {"type": "object", "properties": {"ros__parameters": parameters}}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Parameters of occupancy_node",
        "type": "object",
        # All nodes, or the one of this name in any namespace.
        "patternProperties": {r"^(/\*\*|(.*/)?occupancy_node)$": node},
    }


def main() -> None:
    """Prints the schema."""
    print(json.dumps(parameter_schema(), indent=2))


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _described(field: ParameterField) -> dict[str, Any]:
    kind, default = field.kind, field.default
    schema: dict[str, Any] = {"description": field.text}
    if get_origin(kind) is Literal:
        schema["enum"] = list(get_args(kind))
    elif get_origin(kind) is tuple:
        entry = {"type": _TYPES[get_args(kind)[0]]}
        # A list of one may be a single value; a file has [""] for a list that is empty.
        lists = {"type": "array", "items": {"anyOf": [entry, {"const": ""}]}}
        schema["anyOf"] = [entry, lists]
        default = list(default)
    else:
        schema["type"] = _TYPES[kind]
    if field.limits is not None:
        schema["minimum"], schema["maximum"] = field.limits
    return {**schema, "default": default}


if __name__ == "__main__":
    main()
