"""The fields of a configuration as parameters: names, types, ranges, descriptions.

A configuration is a frozen dataclass with a default for every field. The fields of a nested one
get its name as a prefix (``sync.timeout_s``). A field may have ``metadata={"range": (low, high),
"dynamic": True}``; dynamic ones may change while the node runs. A method ``problems()`` returns
what is wrong with the values, one text each. No rclpy import.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

Limits = tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class ParameterField:
    """One parameter."""

    name: str
    """Full name, with the prefix."""
    kind: Any
    """Type of the value: bool, int, float, str, a Literal of strings, or a tuple of one type."""
    default: Any
    text: str
    """What it means."""
    limits: Limits
    """Smallest and largest allowed value; None: any."""
    is_dynamic: bool
    """Whether it may change while the node runs."""

    @property
    def expected(self) -> str:
        """The allowed values, in words."""
        if get_origin(self.kind) is Literal:
            return f"one of {list(get_args(self.kind))}"
        if get_origin(self.kind) is tuple:
            return f"a list of {get_args(self.kind)[0].__name__}"
        text = {int: "an int", float: "a float", bool: "a bool", str: "a string"}[self.kind]
        return text + (f" in {self.limits[0]}..{self.limits[1]}" if self.limits else "")

    def converted(self, value: Any) -> Any:
        """A value in the type of the field; whole numbers are accepted as floats.

        Raises:
            ValueError: it has another type, or is out of range.
        """
        try:
            result = _converted(value, self.kind)
            if self.limits is None or self.limits[0] <= result <= self.limits[1]:
                return result
        except TypeError:
            pass
        raise ValueError(f"{self.name} must be {self.expected}, got {value!r}")


def parameter_fields(config_class: Any, prefix: str = "") -> list[ParameterField]:
    """All parameters of a configuration, in the order of the fields."""
    found = []
    docs, hints = _field_docs(config_class), get_type_hints(config_class)
    for spec in fields(config_class):
        kind, name = hints[spec.name], f"{prefix}{spec.name}"
        if is_dataclass(kind):
            found += parameter_fields(kind, f"{name}.")
            continue
        limits, is_dynamic = spec.metadata.get("range"), spec.metadata.get("dynamic", False)
        text = docs.get(spec.name, "")
        found.append(ParameterField(name, kind, spec.default, text, limits, is_dynamic))
    return found


def describe(config_class: Any) -> list[tuple[str, Any, str]]:
    """Name, default and description of every parameter, in the order of the fields."""
    return [(field.name, field.default, field.text) for field in parameter_fields(config_class)]


def configuration(
    config_class: Any, values: Mapping[str, Any], prefix: str = ""
) -> tuple[Any, list[str]]:
    """The configuration of these values by full name, and all that is wrong with it.

    The problems of its parts and those between them come together: nothing is raised in between.
    """
    config, problems = object.__new__(config_class), []  # without __post_init__, which raises
    for spec in fields(config_class):
        kind, name = get_type_hints(config_class)[spec.name], f"{prefix}{spec.name}"
        if is_dataclass(kind):
            value, found = configuration(kind, values, f"{name}.")
            problems += found
        else:
            value = values[name]
        object.__setattr__(config, spec.name, value)
    return config, [*problems, *(prefix + problem for problem in config.problems())]


def _converted(value: Any, kind: Any) -> Any:
    """The value in this type.

    Raises:
        TypeError: the value does not have it.
    """
    origin = get_origin(kind)
    if origin is Literal:
        if value not in get_args(kind):
            raise TypeError
        return value
    if origin is tuple:
        values = value if isinstance(value, (list, tuple, array)) else [value]
        # rcl makes None of an empty list; a parameter file has [""] where it needs a type.
        if value is None or list(values) == [""]:
            return ()
        return tuple(_converted(entry, get_args(kind)[0]) for entry in values)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise TypeError
    return value


def _field_docs(config_class: Any) -> dict[str, str]:
    """The strings under the fields of a dataclass and of its bases.

    Python does not keep them, so that they are read from the source file.
    """
    docs: dict[str, str] = {}
    for owner in reversed(config_class.__mro__[:-1]):
        body = ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0]
        assert isinstance(body, ast.ClassDef)
        for statement, following in zip(body.body, body.body[1:], strict=False):
            if (
                isinstance(statement, ast.AnnAssign)
                and isinstance(statement.target, ast.Name)
                and isinstance(following, ast.Expr)
                and isinstance(following.value, ast.Constant)
            ):
                docs[statement.target.id] = " ".join(str(following.value.value).split())
    return docs
