"""Occ3D-nuScenes' occupancy labels: an archive per keyframe, in the vehicle's frame.

``gts/<scene name>/<sample token>/labels.npz`` holds ``semantics`` and the masks of the voxels that
the LiDAR and the cameras observed, ``[X, Y, Z]`` each (Tian et al., "Occ3D", NeurIPS 2023).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from occ_core.datasets.surroundocc import beside_or_inside
from occ_core.datasets.voxel_files import check_ids, load_arrays, whole_numbers
from occ_core.labels.sets import OCC3D
from occ_core.voxel_grid import VoxelGrid

FOLDER = "gts"
"""Name of the folder of scenes."""
MASKS = ("mask_lidar", "mask_camera")
"""Names of the masks in a file."""


def occ3d_path(root: Path | str, scene_name: str, sample_token: str) -> Path:
    """The file of a keyframe's labels; its folder lies in the data root or beside it."""
    return beside_or_inside(Path(root), FOLDER) / scene_name / sample_token / "labels.npz"


def read_occ3d(path: Path | str, grid: VoxelGrid) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Class ids and masks of all voxels of one keyframe.

    Returns:
        Class ids, uint8 ``[X, Y, Z]``: 0 others, 1..16 the classes of nuScenes, 17 free. By name,
        ``mask_lidar`` and ``mask_camera``, bool ``[X, Y, Z]``: the voxels that were observed.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: an array is missing, has another shape than ``grid``, or holds other values or
            the ids of another label set.
    """
    remedy = f"extract Occ3D-nuScenes' {FOLDER}.tar.gz into the data root"
    names = ("semantics", *MASKS)
    arrays = dict(zip(names, load_arrays(path, names, remedy), strict=True))
    for name, values in arrays.items():
        if values.shape != grid.shape or values.dtype.kind not in "biuf":
            raise ValueError(
                f"{path} must hold numbers {name} of shape {list(grid.shape)}, got {values.dtype} "
                f"{list(values.shape)}; it was made for another grid"
            )
        arrays[name] = whole_numbers(path, values, name)
    check_ids(path, arrays["semantics"], len(OCC3D.names))
    _check_free(path, arrays["semantics"])
    for name in MASKS:
        if arrays[name].min() < 0 or arrays[name].max() > 1:
            found = np.unique(arrays[name])[:5].tolist()
            raise ValueError(f"{path}: {name} must be 0 or 1, got {found}; extract it again")
    masks = {name: arrays[name].astype(bool) for name in MASKS}
    return arrays["semantics"].astype(np.uint8, copy=False), masks


def _check_free(path: Path | str, ids: np.ndarray) -> None:
    """Refuses ids whose empty class is 0, as SurroundOcc's is: most voxels of a scene are free."""
    if (ids == OCC3D.empty).any():
        return
    ids_present, counts = np.unique(ids, return_counts=True)
    if ids_present[counts.argmax()] == 0:
        raise ValueError(
            f"{path}: no voxel of semantics is {OCC3D.empty}, free, and most are 0, "
            f"{OCC3D.names[0]!r}; these look like the ids of another label set, such as "
            f"SurroundOcc's: write {OCC3D.empty} where a voxel is empty"
        )
