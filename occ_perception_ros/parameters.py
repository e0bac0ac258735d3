"""ROS parameters from the same frozen dataclasses that the code takes: declared, checked and read
back in one walk.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import ParameterException
from rclpy.node import Node
from rclpy.parameter import Parameter

from occ_perception_ros.frames import AssemblerConfig

ConfigT = TypeVar("ConfigT")


class ParameterError(ValueError):
    """Parameters that cannot be used; the text lists every one."""


@dataclass(frozen=True, kw_only=True)
class NodeConfig(AssemblerConfig):
    """All parameters of the node."""

    checkpoint: str = ""
    """Model weights, a .safetensors file with its .json beside it; empty: the small model that
    comes with the package.
    """
    device: str = "auto"
    """Where the model runs: auto (CUDA where there is one), cpu, cuda or cuda:N."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Arithmetic of the model; auto: bfloat16 where the processor has it."""
    compressed_images: bool = True
    """Images come as sensor_msgs/CompressedImage (JPEG); false: as sensor_msgs/Image."""
    input_qos: Literal["sensor_data", "reliable"] = "sensor_data"
    """Reliability asked of the inputs; sensor_data (best effort) fits every publisher, reliable
    loses nothing of a bag.
    """
    pose_source: Literal["odometry", "tf"] = "odometry"
    """Where the vehicle's motion comes from: ~/input/odometry, or /tf (needs tf2_msgs)."""
    vehicle_height_m: float = field(default=2.5, metadata={"range": (0.0, 10.0)})
    """What hangs higher above the road than this does not block the 2D map."""
    max_processing_ms: float = field(default=500.0, metadata={"range": (1.0, 60_000.0)})
    """Diagnostics warn of frames that take longer."""
    max_failures: int = field(default=10, metadata={"range": (1, 1000)})
    """So many frames in a row that fail end the node."""

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
        if problems:
            raise ValueError("; ".join(problems))


def declare(node: Node, config_class: type[ConfigT]) -> ConfigT:
    """Declares every field of the dataclass as a parameter, and returns the dataclass of the values
    given to the node.

    Fields of dataclass type become a prefix (``sync.timeout_s``). All parameters are read-only:
    what they set up is fixed at the start.

    Raises:
        ParameterError: values out of range or of a wrong type, parameters that do not exist; all of
            them in one text.
    """
    problems: list[str] = []
    config: ConfigT = _declare(node, config_class, "", problems)
    known = {"use_sim_time", *(name for name, _, _ in describe(config_class))}
    for name in node._parameter_overrides:
        if name not in known and not name.startswith(
            ("qos_overrides.", "start_type_description_service")
        ):
            problems.append(f"parameter '{name}' does not exist")
    if problems:
        raise ParameterError("; ".join(problems))
    return config


def describe(config_class: Any) -> list[tuple[str, Any, str]]:
    """``(name, default, description)`` of every parameter, in order."""
    rows = []
    documents, hints = _field_documents(config_class), get_type_hints(config_class)
    for spec in fields(config_class):
        if is_dataclass(hints[spec.name]):
            rows += [
                (f"{spec.name}.{name}", default, text)
                for name, default, text in describe(hints[spec.name])
            ]
        else:
            rows.append((spec.name, spec.default, documents.get(spec.name, "")))
    return rows


def _declare(node: Node, config_class: Any, prefix: str, problems: list[str]) -> Any:
    documents, hints = _field_documents(config_class), get_type_hints(config_class)
    values: dict[
        str, Any
    ] = {}  # what cannot be used keeps its default, so that the rest is still checked
    for spec in fields(config_class):
        kind, name = hints[spec.name], f"{prefix}{spec.name}"
        if is_dataclass(kind):
            nested = _declare(node, kind, f"{name}.", problems)
            if nested is not None:
                values[spec.name] = nested
            continue
        descriptor = _descriptor(documents.get(spec.name, ""), kind, spec.metadata.get("range"))
        default = list(spec.default) if isinstance(spec.default, tuple) else spec.default
        try:
            given = node.declare_parameter(name, default, descriptor).value
            values[spec.name] = _convert(given, kind)
        except (ParameterException, TypeError, ValueError) as error:
            if isinstance(error, ParameterException):
                override = node._parameter_overrides.get(name)
                shown = override.value if isinstance(override, Parameter) else default
                problems.append(
                    f"{name}: {shown!r} is no {_expected(kind, spec.metadata.get('range'))}"
                )
            else:
                problems.append(f"{name}: {error}")
    try:
        return config_class(**values)
    except ValueError as error:
        problems += [f"{prefix}{problem}" for problem in str(error).split("; ")]
        return None


def _convert(value: Any, kind: Any) -> Any:
    """The dataclass's type from the parameter's; whole numbers serve as floats."""
    origin = get_origin(kind)
    if origin is Literal:
        if value not in get_args(kind):
            raise ValueError(f"'{value}' is none of {list(get_args(kind))}")
        return value
    if origin is tuple:
        item = get_args(kind)[0]
        return tuple(_convert(entry, item) for entry in value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise TypeError(f"{value!r} is no {_expected(kind, None)}")
    return value


def _expected(kind: Any, limits: tuple[float, float] | None) -> str:
    if get_origin(kind) is tuple:
        text = f"list of {get_args(kind)[0].__name__}"
    else:
        text = getattr(kind, "__name__", str(kind))
    return text + (f" in {limits[0]}..{limits[1]}" if limits else "")


def _descriptor(text: str, kind: Any, limits: tuple[float, float] | None) -> ParameterDescriptor:
    # A float is declared with dynamic type, so that `-p sync.timeout_s:=1` is taken for 1.0.
    floating = kind is float or (get_origin(kind) is tuple and get_args(kind)[0] is float)
    descriptor = ParameterDescriptor(description=text, read_only=True, dynamic_typing=floating)
    if get_origin(kind) is Literal:
        descriptor.additional_constraints = f"one of {list(get_args(kind))}"
    if limits and kind is float:
        descriptor.floating_point_range = [
            FloatingPointRange(from_value=float(limits[0]), to_value=float(limits[1]))
        ]
    if limits and kind is int:
        descriptor.integer_range = [
            IntegerRange(from_value=int(limits[0]), to_value=int(limits[1]), step=1)
        ]
    return descriptor


def _field_documents(config_class: Any) -> dict[str, str]:
    """The string under each field of a dataclass and of its bases."""
    documents: dict[str, str] = {}
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
                documents[statement.target.id] = " ".join(str(following.value.value).split())
    return documents
