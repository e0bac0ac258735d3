"""From the name of a benchmark and a folder to labelled frames: samples to score on, drives to
train on.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from occ_core.datasets.frames import NuScenesFrames
from occ_core.datasets.keyframe_labels import VoxelTruth
from occ_core.datasets.kitti_360 import Kitti360Occupancy
from occ_core.datasets.kitti_sequence import check_image_folders
from occ_core.datasets.nuscenes import NuScenes
from occ_core.datasets.samples import Damaged, LabelledFrames, OccupancyData, OccupancySample
from occ_core.datasets.semantic_kitti_voxels import SemanticKittiOccupancy
from occ_core.datasets.splits import split_scenes
from occ_core.labels.benchmarks import BENCHMARKS, OccupancyBenchmark
from occ_core.taxonomy import IGNORE
from occ_core.voxel_grid import VoxelGrid

BenchmarkName = Literal["surroundocc", "occ3d", "openoccupancy", "semantic_kitti", "kitti360"]
BENCHMARK_NAMES: tuple[BenchmarkName, ...] = get_args(BenchmarkName)

SWEEP_PERIOD_S = 0.05
"""nuScenes' LiDAR turns 20 times a second; as many of its sweeps make a history in seconds."""


def benchmark_of(label_set: str) -> BenchmarkName:
    """The benchmark whose files hold a label set's ids: the one of that name, or SurroundOcc for
    the library's own classes.

    Raises:
        ValueError: no benchmark has labels of this set.
    """
    if label_set == "nuscenes":
        return "surroundocc"
    for name in BENCHMARK_NAMES:
        if name == label_set:
            return name
    raise ValueError(
        f"no data set has labels of {label_set!r}; there are those of {', '.join(BENCHMARK_NAMES)}"
    )


class KeyframeOccupancy:
    """nuScenes keyframes with a benchmark's labels as samples, at the benchmark's resolution.

    Args:
        frames: the keyframes, on the benchmark's own grid.
        labels_only: whether the sensors stay unread.
        hidden: whether the labels are those of a test split that nobody has: all voxels are 255.
    """

    def __init__(
        self, frames: NuScenesFrames, labels_only: bool = False, hidden: bool = False
    ) -> None:
        self.frames, self.labels_only, self.hidden = frames, labels_only, hidden

    @property
    def benchmark(self) -> OccupancyBenchmark:
        """What the labels mean and where they lie."""
        return self.frames.benchmark

    def __len__(self) -> int:
        return len(self.frames)

    def sample(self, index: int) -> OccupancySample:
        """One labelled keyframe; see ``OccupancyData``."""
        # before the sensors, which take longer
        labels, masks = self._unknown() if self.hidden else self.frames.truth(index)
        frame = None if self.labels_only else self.frames.frame(index)
        return OccupancySample(
            self.frames.name(index), self.frames.drive(index), frame, labels, masks
        )

    def _unknown(self) -> VoxelTruth:
        return VoxelTruth(np.full(self.benchmark.grid.shape, IGNORE, dtype=np.uint8), {})


def open_benchmark(
    name: BenchmarkName,
    root: Path | str,
    image_size: tuple[int, int] | None = None,
    split: str | None = None,
    version: str | None = None,
    sweeps: int = 9,
    drives: Sequence[str] | None = None,
    may_be_hidden: bool = False,
) -> OccupancyData:
    """The labelled samples of a folder, to be read one by one (see ``SampleStream``).

    Args:
        name: whose labels are read.
        root: nuScenes data root, or the folder that holds ``sequences/`` or ``data_2d_raw/``.
        image_size: ``(height, width)`` of the model's images; None reads labels alone.
        split: name of a split; None takes everything that the folder holds.
        version: folder of nuScenes tables; None takes the only ``v1.0-*`` folder.
        sweeps: how many sweeps before a nuScenes keyframe are joined to it, of which there are 20 a
            second; of another LiDAR, the scans of the same time.
        drives: names of scenes or sequences; None takes all, or all of the split.
        may_be_hidden: whether nuScenes keyframes none of which has labels are samples too, with
            255 everywhere, as those of SemanticKITTI's test split always are.

    Raises:
        FileNotFoundError: the folder is not one of this benchmark; the text says what is missing.
        ValueError: the benchmark, the split or a drive is unknown, or a table is malformed.
    """
    history_s = sweeps * SWEEP_PERIOD_S
    match name:
        case "semantic_kitti":
            return SemanticKittiOccupancy(root, image_size, split, history_s, drives)
        case "kitti360":
            return Kitti360Occupancy(root, image_size, split, drives)
        case "surroundocc" | "occ3d" | "openoccupancy":
            scenes = chosen_scenes(root, version, split, drives)
            grid = BENCHMARKS[name].grid
            frames = NuScenesFrames(
                root, version, scenes, image_size or (32, 32), sweeps, grid, name
            )
            hidden = may_be_hidden and not any(
                frames.label_path(index).is_file() for index in range(len(frames))
            )
            return KeyframeOccupancy(frames, image_size is None, hidden)
    raise ValueError(f"no benchmark {name!r}; there are {list(BENCHMARK_NAMES)}")


def open_frames(
    name: BenchmarkName,
    root: Path | str,
    drives: Sequence[str],
    image_size: tuple[int, int],
    grid: VoxelGrid,
    version: str | None = None,
    sweeps: int = 9,
    damaged: Damaged = "stop",
) -> LabelledFrames:
    """The frames of drives with their labels on a model's grid.

    Args:
        name: whose labels are read.
        root: as for ``open_benchmark``.
        drives: names of scenes or sequences, as ``drive_names`` gives them.
        image_size: ``(height, width)`` of the model's images.
        grid: the benchmark's grid, or a coarser one over the same range.
        version: as for ``open_benchmark``.
        sweeps: likewise.
        damaged: see ``LabelledFrames``.

    Raises:
        FileNotFoundError, ValueError: as for ``open_benchmark``, or there are no labels for
            ``grid``.
    """
    match name:
        case "semantic_kitti":
            history_s = sweeps * SWEEP_PERIOD_S
            return SemanticKittiOccupancy(root, image_size, None, history_s, drives, grid, damaged)
        case "kitti360":
            return Kitti360Occupancy(root, image_size, None, drives, grid, damaged)
        case _:
            return NuScenesFrames(root, version, drives, image_size, sweeps, grid, name, damaged)


def check_images(data: OccupancyData | LabelledFrames) -> None:
    """Refuses data in which a model with cameras would see nothing: a KITTI sequence without any
    image, or nuScenes scenes whose tables name images of which none is there.

    Args:
        data: what ``open_benchmark`` or ``open_frames`` returned.

    Raises:
        FileNotFoundError: there are no images.
    """
    frames = data.frames if isinstance(data, KeyframeOccupancy) else data
    if isinstance(frames, SemanticKittiOccupancy):
        folders = (frames.root / "sequences" / drive / "image_2" for drive in frames.drives())
        check_image_folders(folders)
    elif isinstance(frames, Kitti360Occupancy):
        drives = (frames.root / "data_2d_raw" / drive for drive in frames.drives())
        check_image_folders(drive / "image_00" / "data_rect" for drive in drives)
    elif isinstance(frames, NuScenesFrames):
        paths = [
            camera.path for keyframe in frames.keyframes for camera in keyframe.cameras.values()
        ]
        if paths and not any(path.is_file() for path in paths):
            raise FileNotFoundError(
                f"{frames.root} holds none of the {len(paths)} images that its tables name, such "
                f"as {paths[0]}; extract the archives that hold samples/, or use a model without "
                "cameras"
            )


def drive_names(
    name: BenchmarkName, root: Path | str, split: str | None = None, version: str | None = None
) -> list[str]:
    """The scenes or sequences of a folder, or those of a split that it holds.

    Raises:
        FileNotFoundError, ValueError: as for ``open_benchmark``.
    """
    match name:
        case "semantic_kitti":
            return SemanticKittiOccupancy(root, None, split).drives()
        case "kitti360":
            return Kitti360Occupancy(root, None, split).drives()
        case _:
            return chosen_scenes(root, version, split, None) or [
                scene["name"] for scene in NuScenes(root, version).scenes
            ]


def chosen_scenes(
    root: Path | str, version: str | None, split: str | None, drives: Sequence[str] | None
) -> list[str] | None:
    """The nuScenes scenes of a split that are among ``drives``; None: all of the folder.

    Raises:
        FileNotFoundError, ValueError: see ``split_scenes``; or a drive is not in the split.
    """
    if split is None:
        return None if drives is None else list(drives)
    scenes = split_scenes(root, version, split)
    outside = sorted(set(drives or ()) - set(scenes))
    if outside:
        raise ValueError(f"the scenes {outside} are not among the {len(scenes)} of split {split!r}")
    return [scene for scene in scenes if drives is None or scene in drives]
