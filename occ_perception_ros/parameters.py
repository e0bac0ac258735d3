"""ROS parameters from frozen dataclasses: declared, checked and read back in one walk.

So a parameter file and Python code use the same tree of options.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from array import array
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import ParameterException
from rclpy.node import Node
from rclpy.parameter import Parameter

from occ_perception_ros.assembler import AssemblerConfig

ConfigT = TypeVar("ConfigT")
Limits = tuple[float, float] | None

_OWN_PARAMETERS = ("qos_overrides.", "start_type_description_service")
"""Prefixes of parameters that rclpy declares itself."""


class ParameterError(ValueError):
    """Parameters are not usable; the text lists every problem."""


@dataclass(frozen=True, kw_only=True)
class NodeConfig(AssemblerConfig):
    """All parameters of the node."""

    checkpoint: str = ""
    """Model weights, a .safetensors file with a .json file of the same name; empty: the small model
    of the package."""
    device: str = "auto"
    """Device of the model: auto (CUDA if available), cpu, cuda or cuda:N."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Arithmetic of the model; auto: bfloat16 if the device supports it natively."""
    compressed_images: tuple[bool, ...] = (True,)
    """Whether images are sensor_msgs/CompressedImage (JPEG, PNG) instead of sensor_msgs/Image: one
    value per camera, or a single one for all."""
    input_qos: Literal["sensor_data", "reliable"] = "sensor_data"
    """Reliability of the subscriptions; sensor_data (best effort) is compatible with every
    publisher, reliable loses no message of a bag."""
    pose_source: Literal["odometry", "tf"] = "odometry"
    """Source of the vehicle's motion: ~/input/odometry, or /tf (needs tf2_msgs)."""
    vehicle_height_m: float = field(default=2.5, metadata={"range": (0.0, 10.0)})
    """Obstacles higher than this above the road do not block the 2D map."""
    max_processing_ms: float = field(default=500.0, metadata={"range": (1.0, 60_000.0)})
    """Processing time of a frame above which the diagnostics warn."""
    max_delays: int = field(default=20, metadata={"range": (1, 100_000)})
    """Number of such frames in a row after which the diagnostics show an error."""
    max_clock_offset_s: float = field(default=0.5, metadata={"range": (0.01, 3600.0)})
    """Difference of a sensor's stamps from the LiDAR's, as they arrive, above which the diagnostics
    warn of its clock."""
    max_failures: int = field(default=10, metadata={"range": (1, 1000)})
    """Number of failed frames in a row after which the node ends."""

    def __post_init__(self) -> None:
        problems = []
        try:
            super().__post_init__()
        except ValueError as error:
            problems.append(str(error))
        if self.device not in ("auto", "cpu", "cuda") and not (
            self.device.startswith("cuda:") and self.device[5:].isdigit()
        ):
            problems.append(f"device must be auto, cpu, cuda or cuda:N, got '{self.device}'")
        if len(self.compressed_images) not in (1, len(self.cameras)):
            problems.append(
                f"compressed_images holds {len(self.compressed_images)} values, but there are "
                f"{len(self.cameras)} cameras; give one for all, or one per camera"
            )
        if problems:
            raise ValueError("; ".join(problems))

    def compressed_by_camera(self) -> dict[str, bool]:
        """Whether each camera's images are compressed, by name."""
        values = self.compressed_images
        if len(values) == 1:
            values *= len(self.cameras)
        return dict(zip(self.cameras, values, strict=True))


def declare(node: Node, config_class: type[ConfigT]) -> ConfigT:
    """Declares every field of a dataclass as a read-only parameter and returns their values.

    The fields of a nested dataclass get its name as a prefix (``sync.timeout_s``).

    Args:
        node: the node whose parameters are declared.
        config_class: a dataclass with a default for every field.

    Raises:
        ParameterError: values have a wrong type or are out of range, or parameters do not exist.
    """
    problems: list[str] = []
    config: ConfigT = _declare(node, config_class, "", problems)
    known = {"use_sim_time", *(name for name, _, _ in describe(config_class))}
    for name in node._parameter_overrides:
        if name not in known and not name.startswith(_OWN_PARAMETERS):
            problems.append(f"parameter '{name}' does not exist")
    if problems:
        raise ParameterError("; ".join(problems))
    return config


def describe(config_class: Any) -> list[tuple[str, Any, str]]:
    """Name, default and description of every parameter, in the order of the fields."""
    rows = []
    docs, hints = _field_docs(config_class), get_type_hints(config_class)
    for spec in fields(config_class):
        if is_dataclass(hints[spec.name]):
            rows += [
                (f"{spec.name}.{name}", default, text)
                for name, default, text in describe(hints[spec.name])
            ]
        else:
            rows.append((spec.name, spec.default, docs.get(spec.name, "")))
    return rows


def _declare(node: Node, config_class: Any, prefix: str, problems: list[str]) -> Any:
    docs, hints = _field_docs(config_class), get_type_hints(config_class)
    values: dict[str, Any] = {}
    for spec in fields(config_class):
        kind, name = hints[spec.name], f"{prefix}{spec.name}"
        if is_dataclass(kind):
            nested = _declare(node, kind, f"{name}.", problems)
            if nested is not None:
                values[spec.name] = nested
            continue
        limits: Limits = spec.metadata.get("range")
        default = list(spec.default) if isinstance(spec.default, tuple) else spec.default
        descriptor = _descriptor(docs.get(spec.name, ""), kind, limits)
        try:
            values[spec.name] = _convert(
                node.declare_parameter(name, default, descriptor).value, kind
            )
        except (ParameterException, TypeError):
            # The field keeps its default, so that the other fields are still checked.
            override = node._parameter_overrides.get(name)
            value = override.value if isinstance(override, Parameter) else default
            problems.append(f"{name} must be {_expected(kind, limits)}, got {value!r}")
    try:
        return config_class(**values)
    except ValueError as error:
        problems += [f"{prefix}{problem}" for problem in str(error).split("; ")]
        return None


def _convert(value: Any, kind: Any) -> Any:
    """A parameter's value in the type of its field; whole numbers are accepted as floats.

    Raises:
        TypeError: the value does not have this type.
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
        return tuple(_convert(entry, get_args(kind)[0]) for entry in values)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise TypeError
    return value


def _expected(kind: Any, limits: Limits) -> str:
    if get_origin(kind) is Literal:
        return f"one of {list(get_args(kind))}"
    if get_origin(kind) is tuple:
        return f"a list of {get_args(kind)[0].__name__}"
    text = {int: "an int", float: "a float", bool: "a bool", str: "a string"}[kind]
    return text + (f" in {limits[0]}..{limits[1]}" if limits else "")


def _descriptor(text: str, kind: Any, limits: Limits) -> ParameterDescriptor:
    # With dynamic typing `-p sync.timeout_s:=1` is accepted as 1.0, and a list of one as a value.
    dynamic = kind is float or get_origin(kind) is tuple
    descriptor = ParameterDescriptor(description=text, read_only=True, dynamic_typing=dynamic)
    if get_origin(kind) is Literal:
        descriptor.additional_constraints = _expected(kind, None)
    if limits and kind is float:
        low, high = map(float, limits)
        descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
    if limits and kind is int:
        low, high = map(int, limits)
        descriptor.integer_range = [IntegerRange(from_value=low, to_value=high, step=1)]
    return descriptor


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
