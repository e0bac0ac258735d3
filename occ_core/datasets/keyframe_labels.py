"""The benchmarks that label nuScenes keyframes: where their files lie, and reading them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np

from occ_core.datasets.nuscenes import Keyframe
from occ_core.datasets.occ3d import occ3d_path, read_occ3d
from occ_core.datasets.openoccupancy import openoccupancy_path, read_openoccupancy
from occ_core.datasets.surroundocc import find_label, find_mask, read_labels, read_masks
from occ_core.labels.benchmarks import BENCHMARKS

KeyframeBenchmark = Literal["surroundocc", "occ3d", "openoccupancy"]
KEYFRAME_BENCHMARKS: tuple[KeyframeBenchmark, ...] = get_args(KeyframeBenchmark)


def keyframe_benchmark(label_set: str) -> KeyframeBenchmark:
    """The benchmark whose files hold a label set's ids on nuScenes keyframes: the one of that name,
    or SurroundOcc for the library's own classes.

    Raises:
        ValueError: nuScenes keyframes have no labels of this set.
    """
    for name in KEYFRAME_BENCHMARKS:
        if label_set in (name, "nuscenes"):
            return name
    raise ValueError(
        f"nuScenes keyframes have no labels of {label_set!r}; there are those of "
        f"{', '.join(KEYFRAME_BENCHMARKS)}"
    )


class VoxelTruth(NamedTuple):
    """What a benchmark's files say about the voxels of one instant."""

    labels: np.ndarray
    """uint8 ``[X, Y, Z]``: ids of the benchmark's label set, 255 ignored."""
    masks: dict[str, np.ndarray]
    """By the name in the files, bool ``[X, Y, Z]``; empty where the benchmark has none."""


def keyframe_label_path(benchmark: KeyframeBenchmark, root: Path, keyframe: Keyframe) -> Path:
    """The file of a keyframe's labels, whether it exists or not.

    Args:
        benchmark: name of the benchmark.
        root: nuScenes data root; the labels lie inside it or beside it.
        keyframe: the labelled instant.
    """
    match benchmark:
        case "surroundocc":
            return find_label(root, keyframe.lidar.path)
        case "occ3d":
            return occ3d_path(root, keyframe.scene_name, keyframe.sample_token)
        case "openoccupancy":
            return openoccupancy_path(root, keyframe.scene_token, keyframe.lidar.token)


def read_keyframe_truth(benchmark: KeyframeBenchmark, root: Path, keyframe: Keyframe) -> VoxelTruth:
    """Labels and masks of a keyframe at the benchmark's own resolution.

    Raises:
        FileNotFoundError: the file of the labels is missing.
        ValueError: a file does not hold what the benchmark defines; the text names the file.
    """
    if benchmark == "occ3d":
        path = keyframe_label_path(benchmark, root, keyframe)
        return VoxelTruth(*read_occ3d(path, BENCHMARKS[benchmark].grid))
    labels = read_keyframe_labels(benchmark, root, keyframe)
    masks = find_mask(root, keyframe.lidar.path)
    if benchmark == "openoccupancy" or not masks.is_file():
        return VoxelTruth(labels, {})
    mask_lidar, mask_camera = read_masks(masks, BENCHMARKS[benchmark].grid)
    return VoxelTruth(labels, {"mask_lidar": mask_lidar, "mask_camera": mask_camera})


def read_keyframe_labels(
    benchmark: KeyframeBenchmark, root: Path, keyframe: Keyframe
) -> np.ndarray:
    """Labels of a keyframe, uint8 ``[X, Y, Z]``, without masks that lie in a file of their own.

    Raises:
        FileNotFoundError, ValueError: see ``read_keyframe_truth``.
    """
    path = keyframe_label_path(benchmark, root, keyframe)
    grid = BENCHMARKS[benchmark].grid
    match benchmark:
        case "surroundocc":
            return read_labels(path, grid)
        case "occ3d":
            return read_occ3d(path, grid)[0]
        case "openoccupancy":
            return read_openoccupancy(path, grid)
