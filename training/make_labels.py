"""Makes occupancy labels from raw drives: ``python -m training.make_labels D --out O``.

D is a nuScenes folder (boxes, and lidarseg where it is there) or a SemanticKITTI folder (a class
for every point). A run that was stopped continues: complete drives are not made again.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import tyro

from occ_core.files import check_target, write_atomically
from occ_core.labels.benchmarks import BENCHMARKS
from occ_core.voxel_grid import VoxelGrid
from training.engines.resumable import finish_drives
from training.engines.tasks import Engine
from training.labels.drive import LoadDrive
from training.labels.formats import WRITERS
from training.labels.kitti_drives import kitti_drives
from training.labels.labelling import label_drive
from training.labels.nuscenes_drives import nuscenes_drives

Layout = Literal["surroundocc", "occ3d", "openoccupancy", "semantic_kitti"]


@dataclass(frozen=True)
class LabelConfig:
    """Which drives get which labels."""

    data: Annotated[Path, tyro.conf.Positional]
    """nuScenes data root, or the folder of SemanticKITTI that holds ``sequences/``."""
    out: Path
    """Folder for the labels."""
    layouts: tuple[Layout, ...] = ()
    """Layouts of the labels, each with the grid of its benchmark: surroundocc (0.5 m, LiDAR frame),
    occ3d (0.4 m, ego frame), openoccupancy (0.2 m, LiDAR frame), semantic_kitti (0.2 m). By default
    surroundocc and occ3d for nuScenes, semantic_kitti for SemanticKITTI.
    """
    voxel_size: float | None = None
    """Edge of a voxel in metres; by default that of the layout's benchmark."""
    version: str | None = None
    """Folder of nuScenes' tables; by default the only one."""
    scenes: tuple[str, ...] = ()
    """Names of nuScenes scenes or numbers of SemanticKITTI sequences; by default all."""
    point_classes: Path | None = None
    """Folder of your own point classes for nuScenes: ``<LiDAR file name>.label``, a uint8 class (0
    none, 1 to 16) for each point. They take the place of lidarseg, and may label every sweep.
    """
    dense: bool = True
    """Whether surfaces between the LiDAR's rings and unseen sides of objects are filled in."""
    workers: int = 2
    """Number of processes, each of which labels one drive at a time."""
    engine: Engine = "local"
    """Where drives are labelled: in processes of this machine, or on a Ray cluster, a drive on each
    core. All its machines must see ``data`` and ``out`` at the same paths.
    """

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ValueError(f"LabelConfig.workers must be at least 1, got {self.workers}")
        if self.voxel_size is not None and not 0 < self.voxel_size < math.inf:
            raise ValueError(f"LabelConfig.voxel_size must be positive, got {self.voxel_size}")


def make_labels(config: LabelConfig) -> dict[str, dict[str, float]]:
    """Labels all drives that are still missing under ``config.out``.

    Returns:
        By layout, what ``finish_drives`` counts, and the ``points`` of the drives.

    Raises:
        FileNotFoundError: the data are missing.
        ValueError: they are malformed, do not go with a layout, or the folder holds labels made
            with other settings.
    """
    is_kitti = (config.data / "sequences").is_dir()
    layouts = config.layouts or (("semantic_kitti",) if is_kitti else ("surroundocc", "occ3d"))
    wrong = [layout for layout in layouts if (layout == "semantic_kitti") != is_kitti]
    if wrong:
        kind = "SemanticKITTI" if is_kitti else "nuScenes"
        raise ValueError(f"{config.data} is in {kind}'s layout, for which there are no {wrong}")
    grids = {}
    for layout in layouts:
        grid = BENCHMARKS[layout].grid
        grids[layout] = VoxelGrid(grid.range_m, config.voxel_size or grid.voxel_size_m)
    check_target(config.out, "folder")
    chosen = config.scenes or None
    drives: dict[str, LoadDrive] = (
        kitti_drives(config.data.resolve(), chosen)
        if is_kitti
        else nuscenes_drives(config.data.resolve(), config.version, chosen, config.point_classes)
    )
    _check_settings(config)
    counts: dict[str, dict[str, float]] = {}
    for layout, grid in grids.items():
        task = partial(_label, layout=layout, grid=grid, dense=config.dense)
        counts[layout] = finish_drives(
            config.out,
            layout,
            drives,
            task,
            config.workers,
            config.engine,
            preload="training.labels.labelling",
        )
    return counts


def _label(
    out: Path, load: LoadDrive, *, layout: Layout, grid: VoxelGrid, dense: bool
) -> dict[str, float]:
    started = time.process_time()
    drive = load()
    for labelled in label_drive(drive, grid, BENCHMARKS[layout].grid_frame, dense=dense):
        WRITERS[layout](out, drive, labelled)
    points = sum(len(sweep.points) for sweep in drive.sweeps)
    cpu_s = time.process_time() - started
    return {"keyframes": len(drive.keyframes), "points": points, "cpu_s": cpu_s}


def _check_settings(config: LabelConfig) -> None:
    """Saves the settings in the first run; a later run that finds labels must have the same."""
    settings = json.loads(json.dumps(dataclasses.asdict(config), default=_absolute))
    for name in ("out", "layouts", "scenes", "workers", "engine"):
        settings.pop(name)
    path = config.out / ".parts" / "settings.json"
    others = (each for each in config.out.rglob("*") if each != path and each.is_file())
    if path.is_file() and any(others):
        try:
            earlier = json.loads(path.read_bytes())
        except ValueError as error:
            raise ValueError(f"{path} is damaged ({error}); choose another folder") from error
        for name in ("data", "point_classes"):
            if earlier.get(name) is not None:  # earlier versions wrote it as it was given
                earlier[name] = _absolute(Path(earlier[name]))
        if earlier != settings:
            raise ValueError(
                f"{config.out} holds labels made with other settings: {earlier}, now {settings}; "
                "choose another folder"
            )
    write_atomically(path, json.dumps(settings, indent=2) + "\n")


def _absolute(path: Path) -> str:
    return str(path.resolve())


def main() -> None:
    """Runs the command line."""
    config = tyro.cli(LabelConfig, prog="training.make_labels", description=__doc__)
    try:
        counts = make_labels(config)
    except (OSError, RuntimeError, ValueError) as error:
        sys.exit(f"training.make_labels: {error}")
    for layout, each in counts.items():
        seconds = max(each["seconds"], 1e-9)
        print(
            f"{layout}: {each['keyframes']:.0f} keyframes of {each['drives']:.0f} drives in "
            f"{seconds:.1f} s: {each['keyframes'] / seconds:.2f} keyframes/s, "
            f"{each.get('points', 0.0) * 1e-6 / seconds:.2f} million points/s"
        )


if __name__ == "__main__":
    main()
