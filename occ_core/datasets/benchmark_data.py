"""From the name of a benchmark and a folder to labelled samples."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from occ_core.datasets.frames import NuScenesFrames
from occ_core.datasets.keyframe_labels import KEYFRAME_BENCHMARKS, KeyframeBenchmark
from occ_core.datasets.kitti_360 import Kitti360Occupancy
from occ_core.datasets.samples import OccupancyData, OccupancySample
from occ_core.datasets.semantic_kitti_voxels import SemanticKittiOccupancy
from occ_core.datasets.splits import split_scenes
from occ_core.labels.benchmarks import BENCHMARKS, OccupancyBenchmark

BenchmarkName = Literal["surroundocc", "occ3d", "openoccupancy", "semantic_kitti", "kitti360"]


class KeyframeOccupancy:
    """nuScenes keyframes with a benchmark's labels as samples, at the benchmark's resolution.

    Args:
        frames: the keyframes, on the benchmark's own grid.
        labels_only: whether the sensors stay unread.
    """

    def __init__(self, frames: NuScenesFrames, labels_only: bool = False) -> None:
        self.frames, self.labels_only = frames, labels_only

    @property
    def benchmark(self) -> OccupancyBenchmark:
        """What the labels mean and where they lie."""
        return self.frames.benchmark

    def __len__(self) -> int:
        return len(self.frames)

    def sample(self, index: int) -> OccupancySample:
        """One labelled keyframe; see ``OccupancyData``."""
        labels, masks = self.frames.truth(index)  # before the sensors, which take longer
        frame = None if self.labels_only else self.frames.frame(index)
        keyframe = self.frames.keyframes[index]
        return OccupancySample(keyframe.sample_token, keyframe.scene_name, frame, labels, masks)


def open_benchmark(
    name: BenchmarkName,
    root: Path | str,
    image_size: tuple[int, int] | None = None,
    split: str | None = None,
    version: str | None = None,
    sweeps: int = 9,
) -> OccupancyData:
    """The labelled samples of a folder, to be read one by one (see ``SampleStream``).

    Args:
        name: whose labels are read.
        root: nuScenes data root, or the folder that holds ``sequences/`` or ``data_2d_raw/``.
        image_size: ``(height, width)`` of the model's images; None reads labels alone.
        split: name of a split; None takes everything that the folder holds.
        version: folder of nuScenes tables; None takes the only ``v1.0-*`` folder.
        sweeps: how many LiDAR sweeps before a nuScenes keyframe are joined to it.

    Raises:
        FileNotFoundError: the folder is not one of this benchmark; the text says what is missing.
        ValueError: the benchmark or the split is unknown, or a table is malformed.
    """
    match name:
        case "semantic_kitti":
            return SemanticKittiOccupancy(root, image_size, split)
        case "kitti360":
            return Kitti360Occupancy(root, image_size, split)
        case "surroundocc" | "occ3d" | "openoccupancy":
            return _keyframes(name, Path(root), image_size, split, version, sweeps)
    raise ValueError(
        f"no benchmark {name!r}; there are {[*KEYFRAME_BENCHMARKS, 'semantic_kitti', 'kitti360']}"
    )


def _keyframes(
    name: KeyframeBenchmark,
    root: Path,
    image_size: tuple[int, int] | None,
    split: str | None,
    version: str | None,
    sweeps: int,
) -> KeyframeOccupancy:
    scenes = None if split is None else split_scenes(root, version, split)
    grid = BENCHMARKS[name].grid
    frames = NuScenesFrames(
        root, version, scenes, image_size or (32, 32), sweeps, grid, benchmark=name
    )
    return KeyframeOccupancy(frames, labels_only=image_size is None)
