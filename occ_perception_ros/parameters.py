"""ROS parameters from frozen dataclasses: declared, checked, read back, and changed at run time.

So a parameter file and Python code use the same tree of options, see ``parameter_fields``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, Literal, TypeVar, get_args, get_origin

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import ParameterException
from rclpy.node import Node
from rclpy.parameter import Parameter

from occ_perception_ros.parameter_fields import ParameterField, configuration, parameter_fields
from occ_perception_ros.ranges import ConfigError

ConfigT = TypeVar("ConfigT")

FOREIGN_PARAMETERS = ("qos_overrides.", "start_type_description_service")
"""Prefixes of parameters that rclpy declares itself, besides ``use_sim_time``."""


class ParameterError(ConfigError):
    """Parameters, or the files that they name, are not usable."""


class Parameters(Generic[ConfigT]):
    """A node's parameters, one for every field of a dataclass.

    A value that cannot be used is no error before ``read``: until then it can be replaced. Fields
    that are not dynamic are read-only while the parameters are locked, as they are at first.

    Args:
        node: the node whose parameters are declared.
        config_class: see ``parameter_fields``.
        on_change: called with the new configuration after a change of dynamic parameters, while
            the parameters are locked.
    """

    def __init__(
        self,
        node: Node,
        config_class: type[ConfigT],
        on_change: Callable[[ConfigT], None] = lambda config: None,
    ) -> None:
        self._node = node
        self._config_class = config_class
        self._on_change = on_change
        self._fields = {field.name: field for field in parameter_fields(config_class)}
        self._is_locked = True
        self._unusable: dict[str, str] = {}
        """Why a value of the start was not accepted; the parameter has its default instead."""
        for field in self._fields.values():
            self._declare(field)
        self._unknown = [
            f"parameter '{name}' does not exist"
            for name in node._parameter_overrides
            if name not in self._fields
            and name != "use_sim_time"
            and not name.startswith(FOREIGN_PARAMETERS)
        ]
        """Problems of names, which only another start can mend."""
        node.add_on_set_parameters_callback(self._on_set)

    def read(self) -> ConfigT:
        """The configuration that the parameters make.

        Raises:
            ParameterError: values have a wrong type, are out of range or contradict one another, or
                parameters do not exist.
        """
        config, problems = self.check()
        if problems:
            raise ParameterError(*problems)
        return config

    def check(self, changes: Mapping[str, Any] | None = None) -> tuple[ConfigT, list[str]]:
        """The configuration, usable or not, and all that is wrong with it and with the names.

        Args:
            changes: values by name that replace those of the parameters.
        """
        values, problems = {}, []
        for name, field in self._fields.items():
            if changes is not None and name in changes:
                values[name] = changes[name]
                continue
            try:
                if name in self._unusable:
                    raise ValueError(self._unusable[name])
                values[name] = field.converted(self._node.get_parameter(name).value)
            except ValueError as error:
                # The default stands in, so that the other values are still checked.
                values[name] = field.default
                problems.append(str(error))
        config, found = configuration(self._config_class, values)
        return config, problems + found + self._unknown

    def lock(self, locked: bool = True) -> None:
        """Makes the fields that are not dynamic read-only, or settable again."""
        self._is_locked = locked
        for name, field in self._fields.items():
            self._node.describe_parameter(name).read_only = locked and not field.is_dynamic

    def _declare(self, field: ParameterField) -> None:
        default = list(field.default) if isinstance(field.default, tuple) else field.default
        try:
            self._node.declare_parameter(field.name, default, _descriptor(field))
        except (ParameterException, TypeError):
            override = self._node._parameter_overrides.get(field.name)
            value = override.value if isinstance(override, Parameter) else default
            self._unusable[field.name] = f"{field.name} must be {field.expected}, got {value!r}"
            self._node.declare_parameter(
                field.name, default, _descriptor(field), ignore_override=True
            )

    def _on_set(self, parameters: Sequence[Parameter]) -> SetParametersResult:
        """Accepts or refuses all of a set, which rclpy then stores."""
        changes, problems = {}, []
        for parameter in parameters:
            field = self._fields.get(parameter.name)
            if field is None:
                continue
            try:
                if parameter.type_ == Parameter.Type.NOT_SET:
                    raise ValueError(f"{parameter.name} cannot be removed")
                changes[field.name] = field.converted(parameter.value)
            except ValueError as error:
                problems.append(str(error))
        if self._is_locked and changes and not problems:
            config, problems = self.check(changes)
            if not problems:
                self._on_change(config)
        if problems:
            return SetParametersResult(successful=False, reason="; ".join(problems))
        for name in changes:
            self._unusable.pop(name, None)
        return SetParametersResult(successful=True)


def declare(node: Node, config_class: type[ConfigT]) -> ConfigT:
    """Declares every field of a dataclass as a parameter and returns their values.

    Raises:
        ParameterError: values have a wrong type, are out of range or contradict one another, or
            parameters do not exist.
    """
    return Parameters(node, config_class).read()


def _descriptor(field: ParameterField) -> ParameterDescriptor:
    kind = field.kind
    # With dynamic typing `-p sync.timeout_s:=1` is accepted as 1.0, and a list of one as a value.
    dynamic_typing = kind is float or get_origin(kind) is tuple
    descriptor = ParameterDescriptor(
        description=field.text, read_only=not field.is_dynamic, dynamic_typing=dynamic_typing
    )
    if get_origin(kind) is Literal:
        descriptor.additional_constraints = f"one of {list(get_args(kind))}"
    if field.limits and kind is float:
        low, high = map(float, field.limits)
        descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
    if field.limits and kind is int:
        low, high = map(int, field.limits)
        descriptor.integer_range = [IntegerRange(from_value=low, to_value=high, step=1)]
    return descriptor
