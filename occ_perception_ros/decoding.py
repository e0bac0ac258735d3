"""Dense arrays of what the node publishes and ``occ_offline`` writes, for programs that use it.

No rclpy and no torch import: messages may come from rclpy or from a bag.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from occ_perception_ros.clouds import named_records
from occ_perception_ros.grid_info import GridInfo

UNKNOWN_LABEL = 255
"""Label of voxels of which nothing is known."""
UNSEEN, CROSSED = 0, 2
"""The marks of ``occ_core.ops.line_of_sight``, whose import would bring torch."""
_FIELDS = {
    "x": "<f4",
    "y": "<f4",
    "z": "<f4",
    "label": "u1",
    "observed": "u1",
    "probability": "<f4",
}


@dataclass(frozen=True, slots=True)
class DenseVoxels:
    """Occupied, free and unknown space of one frame."""

    info: GridInfo
    stamp_ns: int
    """Stamp of the LiDAR sweep."""
    labels: np.ndarray
    """uint8 [X, Y, Z]: a class of ``info``, or 255 where the voxel is unknown."""
    probability: np.ndarray
    """float32 [X, Y, Z]: probability of the label; 0 where the voxel is unknown."""
    observed: np.ndarray
    """bool [X, Y, Z]: whether a sensor saw the voxel; the model also fills space that none saw."""

    @property
    def unknown(self) -> np.ndarray:
        """bool [X, Y, Z]: neither free nor occupied."""
        return self.labels == UNKNOWN_LABEL

    @property
    def free(self) -> np.ndarray:
        """bool [X, Y, Z]: empty, and a sensor looked through it."""
        return self.labels == self.info.empty

    @property
    def occupied(self) -> np.ndarray:
        """bool [X, Y, Z]."""
        return ~(self.unknown | self.free)

    @classmethod
    def from_cloud(cls, message: Any, info: GridInfo) -> DenseVoxels:
        """The voxels of a message of ``~/output/voxels``.

        Args:
            message: a sensor_msgs/PointCloud2.
            info: of ``~/output/grid_info``.

        Raises:
            ValueError: the cloud has another layout or frame than the node's, or does not fit
                ``info``.
        """
        if message.header.frame_id != info.frame_id:
            raise ValueError(
                f"the cloud is in '{message.header.frame_id}', but grid_info describes a grid in "
                f"'{info.frame_id}'; take both from the same node"
            )
        records = named_records(message, _FIELDS)
        centres = np.stack([records[name] for name in "xyz"], axis=-1).astype(np.float64)
        with np.errstate(invalid="ignore"):
            index = np.rint((centres - info.min_m) / info.voxel_size_m - 0.5)
        inside = ((index >= 0) & (index < info.shape)).all(axis=-1)
        if not inside.all():
            raise ValueError(
                f"{np.count_nonzero(~inside)} points lie outside the grid of grid_info, the first "
                f"at {centres[~inside][0].tolist()} m; take both from the same node"
            )
        labels = np.full(info.shape, UNKNOWN_LABEL, np.uint8)
        probability = np.zeros(info.shape, np.float32)
        observed = np.zeros(info.shape, bool)
        at = tuple(index.astype(np.int64).T)
        labels[at], probability[at] = records["label"], records["probability"]
        observed[at] = records["observed"] != 0
        _check_labels(records["label"], info)
        stamp = message.header.stamp
        return cls(info, stamp.sec * 1_000_000_000 + stamp.nanosec, labels, probability, observed)

    @classmethod
    def from_file(cls, path: Path) -> DenseVoxels:
        """The voxels of a file ``<stamp_ns>.npz`` of ``occ_offline``.

        Raises:
            OSError: it cannot be read.
            ValueError: it is no such file.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                info = GridInfo.from_json(str(file["grid_info"]))
                labels, seen = file["labels"], file["seen"]
                probability, stamp_ns = file["probability"], int(file["stamp_ns"])
        except (KeyError, BadZipFile, EOFError, ValueError) as error:
            raise ValueError(f"{path} is not a result of occ_offline: {error}") from error
        for name, array in (("labels", labels), ("seen", seen), ("probability", probability)):
            if array.shape != info.shape:
                raise ValueError(f"{path}: {name} must be of shape {info.shape}, got {array.shape}")
        _check_labels(labels, info)
        known = (labels != info.empty) | (seen == CROSSED)
        return cls(
            info,
            stamp_ns,
            np.where(known, labels, UNKNOWN_LABEL).astype(np.uint8),
            np.where(known, probability, 0).astype(np.float32),
            known & (seen != UNSEEN),
        )


def _check_labels(labels: np.ndarray, info: GridInfo) -> None:
    if labels.size and labels.max() >= len(info.class_names):
        raise ValueError(
            f"the label {labels.max()} is none of the {len(info.class_names)} classes of grid_info"
        )
