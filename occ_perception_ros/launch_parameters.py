"""Which parameters of the node the launch arguments set. Needs neither ROS nor torch."""

from __future__ import annotations

from collections.abc import Callable


def _floats(text: str) -> list[float]:
    return [float(part) for part in text.strip("[] ").split(",")]


_NUMBERS: dict[str, Callable[[str], object]] = {
    "frame_period_s": float,
    "tolerance_s": float,
    "min_cameras": int,
    "camera_offsets_s": _floats,
}
"""Launch arguments for parameters of ``sync``."""


def given_parameters(value: Callable[[str], str]) -> dict[str, object]:
    """The node's parameters that the launch arguments give; an empty argument gives none.

    Args:
        value: the text of the launch argument of that name.

    Raises:
        ValueError: a number is none; the text names the argument.
    """
    names = ("checkpoint", "device", "calibration_file", "pose_source")
    given: dict[str, object] = {name: value(name) for name in names if value(name)}
    for name in ("lidar", "autostart"):
        if value(name):
            given[name] = value(name) == "true"
    for name, convert in _NUMBERS.items():
        if value(name):
            try:
                given[f"sync.{name}"] = convert(value(name))
            except ValueError as error:
                raise ValueError(f"launch argument {name} is no number: {error}") from error
    if value("cameras"):
        cameras = value("cameras") if value("cameras") != "none" else ""
        given["cameras"] = [name.strip() for name in cameras.split(",")]
    return given
