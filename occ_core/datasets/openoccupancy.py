"""nuScenes-OpenOccupancy's labels: a ``.npy`` file per keyframe, a row per occupied voxel.

``nuScenes-Occupancy/scene_<scene token>/occupancy/<LiDAR token>.npy`` holds rows (iz, iy, ix,
label) in the LiDAR's frame, where 0 is noise (Wang et al., "OpenOccupancy", ICCV 2023). Files with
the velocities of voxels have them between the indices and the label.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from occ_core.datasets.surroundocc import beside_or_inside
from occ_core.datasets.voxel_files import check_ids, dense_labels, load_array, whole_numbers
from occ_core.labels.sets import OPENOCCUPANCY
from occ_core.voxel_grid import VoxelGrid

FOLDER = "nuScenes-Occupancy"
"""Name of the folder of scenes."""


def openoccupancy_path(root: Path | str, scene_token: str, lidar_token: str) -> Path:
    """The file of a keyframe's labels; its folder lies in the data root or beside it."""
    scenes = beside_or_inside(Path(root), FOLDER)
    return scenes / f"scene_{scene_token}" / "occupancy" / f"{lidar_token}.npy"


def read_openoccupancy(path: Path | str, grid: VoxelGrid) -> np.ndarray:
    """Class ids of all voxels, uint8 ``[X, Y, Z]``: 0 empty, 1..16 classes, 255 noise.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: the file does not hold labels, or not for ``grid``.
    """
    remedy = f"extract nuScenes-Occupancy-v0.1 as {FOLDER}/ into the data root"
    rows = load_array(path, remedy)
    if rows.ndim != 2 or rows.shape[1] not in (4, 7):
        raise ValueError(
            f"{path} must hold rows (iz, iy, ix, label), [N, 4], or with velocities [N, 7], got "
            f"{list(rows.shape)}"
        )
    index = whole_numbers(path, rows[:, 2::-1], "indices")
    ids = whole_numbers(path, rows[:, -1], "labels")
    check_ids(path, ids, len(OPENOCCUPANCY.names))
    return dense_labels(path, index, ids, grid.shape, "iz, iy, ix")
