"""What a grid's numbers mean, published once for all frames. No rclpy and no torch import."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from math import isfinite, prod
from typing import Any

import dacite

MAX_VOXELS = 1 << 30
"""A larger grid is refused rather than allocated."""
MAX_CLASSES = 255
"""The label 255 stands for unknown."""


@dataclass(frozen=True, kw_only=True)
class GridInfo:
    """Geometry, classes and origin of the grids of one model.

    Raises:
        ValueError: a field is out of range, or contradicts another one.
    """

    frame_id: str
    """TF frame of the grid."""
    min_m: tuple[float, float, float]
    """The grid's minimum corner; voxel (i, j, k) begins at min_m + voxel_size_m * (i, j, k)."""
    voxel_size_m: float
    """Edge length of a voxel."""
    shape: tuple[int, int, int]
    """Number of voxels along x, y, z."""
    label_set: str
    """Name of the set of classes."""
    class_names: tuple[str, ...]
    """Names of the classes by label."""
    colours: tuple[tuple[int, int, int], ...]
    """Red, green and blue in 0..255 of each class."""
    empty: int
    """The label of free space."""
    checkpoint: str
    """File name and SHA-256 of the model's weights; empty where it has no file."""

    def __post_init__(self) -> None:
        if not (isfinite(self.voxel_size_m) and self.voxel_size_m > 0):
            raise ValueError(f"voxel_size_m must be positive, got {self.voxel_size_m}")
        if not all(isfinite(low) for low in self.min_m):
            raise ValueError(f"min_m must be finite, got {self.min_m}")
        if min(self.shape) < 1 or prod(self.shape) > MAX_VOXELS:
            raise ValueError(
                f"shape must be three positive numbers and at most {MAX_VOXELS} voxels, got "
                f"{self.shape}"
            )
        count = len(self.class_names)
        if not 1 <= count <= MAX_CLASSES or len(self.colours) != count:
            raise ValueError(
                f"there must be 1 to {MAX_CLASSES} class_names with a colour each, got {count} "
                f"names and {len(self.colours)} colours"
            )
        if not 0 <= self.empty < count:
            raise ValueError(f"empty must be one of {count} labels, got {self.empty}")

    def to_json(self) -> str:
        """The same as JSON, the text of ``~/output/grid_info``."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> GridInfo:
        """The inverse of ``to_json``.

        Raises:
            ValueError: the text is no JSON, lacks a key or has an unknown one, or a value has a
                wrong type or is out of range.
        """
        try:
            values: Any = json.loads(text)
        except RecursionError as error:
            raise ValueError("grid_info is nested too deeply") from error
        if not isinstance(values, dict):
            raise ValueError(f"grid_info must be a JSON object, got {type(values).__name__}")
        config = dacite.Config(cast=[tuple], strict=True, type_hooks={float: _number})
        try:
            return dacite.from_dict(cls, values, config)
        except (dacite.DaciteError, TypeError) as error:
            raise ValueError(f"grid_info is not usable: {error}") from error


def _number(value: Any) -> Any:
    """JSON has no difference between 1 and 1.0."""
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
