"""From the published voxels, and from the files of ``occ_offline``, back to dense arrays."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import PointCloud2

from occ_core.labels.label_set import LabelSet
from occ_core.labels.sets import NUSCENES, OCC3D
from occ_core.ops import line_of_sight
from occ_core.types import Occupancy
from occ_core.voxel_grid import VoxelGrid
from occ_perception_ros import decoding
from occ_perception_ros.decoding import DenseVoxels
from occ_perception_ros.grid_info import GridInfo
from occ_perception_ros.observation import grid_info
from occ_perception_ros.offline import write_result
from occ_perception_ros.outputs import cloud_message, known_voxels

STAMP = 1_532_402_927_647_951_000


@dataclass(frozen=True)
class Drawn:
    """What an answer is made of, on any grid, also far from the origin."""

    shape: tuple[int, int, int]
    low: tuple[int, int, int]
    """The grid's minimum corner in voxels."""
    size_m: float
    label_set: LabelSet
    empty_share: float
    seed: int

    def answer(self) -> tuple[Occupancy, np.ndarray]:
        """The answer and what the sensors saw."""
        x, y, z = (start * self.size_m for start in self.low)
        width, depth, height = (cells * self.size_m for cells in self.shape)
        generator = np.random.default_rng(self.seed)
        labels = generator.integers(0, len(self.label_set.names), self.shape).astype(np.uint8)
        labels[generator.random(self.shape) < self.empty_share] = self.label_set.empty
        occupancy = Occupancy(
            torch.from_numpy(labels)[None],
            torch.from_numpy(generator.random(self.shape, np.float32))[None],
            VoxelGrid((x, y, z, x + width, y + depth, z + height), self.size_m),
            stamp_ns=(STAMP,),
            frame_id="lidar",
            label_set=self.label_set,
        )
        return occupancy, generator.integers(0, 3, self.shape).astype(np.uint8)


answers = st.builds(
    Drawn,
    shape=st.tuples(*[st.integers(1, 9)] * 3),
    low=st.tuples(*[st.integers(-500, 500)] * 3),
    size_m=st.sampled_from([0.1, 0.2, 0.4, 0.5, 1.0]),
    label_set=st.sampled_from([NUSCENES, OCC3D]),
    empty_share=st.sampled_from([0.0, 0.5, 1.0]),
    seed=st.integers(0, 2**32 - 1),
)


def cloud(occupancy: Occupancy, seen: np.ndarray) -> Any:
    labels, probability = occupancy.labels[0].numpy(), occupancy.probability[0].numpy()
    records = known_voxels(labels, probability, seen, occupancy.grid, occupancy.label_set)
    message = cloud_message(records, STAMP, "lidar_top")
    return deserialize_message(serialize_message(message), PointCloud2)


@given(drawn=answers)
def test_the_cloud_and_back_is_what_was_known(drawn: Drawn) -> None:
    occupancy, seen = drawn.answer()
    info = GridInfo.from_json(grid_info(occupancy, "lidar_top").to_json())
    dense = DenseVoxels.from_cloud(cloud(occupancy, seen), info)
    labels, empty = occupancy.labels[0].numpy(), occupancy.label_set.empty
    known = (labels != empty) | (seen == line_of_sight.CROSSED)
    assert dense.stamp_ns == STAMP
    np.testing.assert_array_equal(dense.unknown, ~known)
    np.testing.assert_array_equal(dense.labels[known], labels[known])
    np.testing.assert_array_equal(dense.free, known & (labels == empty))
    np.testing.assert_array_equal(dense.occupied, labels != empty)
    probability = occupancy.probability[0].numpy()
    np.testing.assert_array_equal(dense.probability, np.where(known, probability, 0))
    np.testing.assert_array_equal(dense.observed, known & (seen != line_of_sight.UNSEEN))


@given(drawn=answers)
def test_a_file_of_occ_offline_has_the_same(
    drawn: Drawn, tmp_path_factory: pytest.TempPathFactory
) -> None:
    occupancy, seen = drawn.answer()
    info = grid_info(occupancy, "lidar_top")
    path = write_result(tmp_path_factory.mktemp("out"), occupancy, seen, info)
    by_file = DenseVoxels.from_file(path)
    by_cloud = DenseVoxels.from_cloud(cloud(occupancy, seen), info)
    assert (by_file.info, by_file.stamp_ns) == (info, STAMP)
    for name in ("labels", "probability", "observed"):
        np.testing.assert_array_equal(getattr(by_file, name), getattr(by_cloud, name))


def small() -> tuple[Any, GridInfo]:
    """One free and one occupied voxel of 2 x 1 x 1."""
    occupancy = Occupancy(
        torch.tensor([[[[0]], [[4]]]], dtype=torch.uint8),
        torch.tensor([[[[0.5]], [[0.75]]]]),
        VoxelGrid((0.0, 0.0, 0.0, 2.0, 1.0, 1.0), 1.0),
        stamp_ns=(STAMP,),
        frame_id="lidar",
    )
    message = cloud(occupancy, np.full((2, 1, 1), line_of_sight.CROSSED, np.uint8))
    return message, grid_info(occupancy, "lidar_top")


def changed(**changes: object) -> GridInfo:
    _, info = small()
    return GridInfo(**{**{name: getattr(info, name) for name in vars(info)}, **changes})


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"frame_id": "base_link"},
            "in 'lidar_top', but grid_info describes a grid in 'base_link'",
        ),
        ({"shape": (1, 1, 1)}, r"1 points lie outside the grid of grid_info, the first at \[1.5,"),
        ({"class_names": ("empty",), "colours": ((0, 0, 0),)}, "the label 4 is none of the 1"),
    ],
)
def test_a_cloud_of_another_grid_is_refused(changes: dict[str, Any], reason: str) -> None:
    message, _ = small()
    with pytest.raises(ValueError, match=reason):
        DenseVoxels.from_cloud(message, changed(**changes))


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("is_bigendian", True, "big-endian"),
        ("width", 3, "row_step 40 is less than 3 points of 20 bytes"),
        ("height", 2, "truncated: 40 bytes, but 2 rows"),
        ("point_step", 16, "end at byte 20, beyond point_step 16"),
        ("fields", [], "no field 'x'"),
    ],
)
def test_a_cloud_of_another_layout_is_refused(name: str, value: object, reason: str) -> None:
    message, info = small()
    setattr(message, name, value)
    with pytest.raises(ValueError, match=reason):
        DenseVoxels.from_cloud(message, info)


def test_positions_that_are_not_finite_are_refused() -> None:
    message, info = small()
    message.data[0:4] = type(message.data)("B", np.float32(np.nan).tobytes())
    with pytest.raises(ValueError, match="1 points lie outside"):
        DenseVoxels.from_cloud(message, info)


def test_other_files_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", labels=np.zeros((2, 2, 2)))
    (tmp_path / "text.npz").write_text("no archive")
    for name in ("other", "text"):
        with pytest.raises(ValueError, match=f"{name}.npz is not a result of occ_offline"):
            DenseVoxels.from_file(tmp_path / f"{name}.npz")


def test_the_marks_are_the_operators() -> None:
    assert (decoding.UNSEEN, decoding.CROSSED) == (line_of_sight.UNSEEN, line_of_sight.CROSSED)


def test_a_program_that_decodes_needs_neither_torch_nor_rclpy() -> None:
    program = "import sys, occ_perception_ros.decoding; print({'torch', 'rclpy'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr
