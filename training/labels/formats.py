"""Writes labels in the layouts of public data sets. Every file appears at once, or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from occ_core.datasets.surroundocc import label_path, mask_path, write_masks
from occ_core.files import replacing
from training.labels.drive import LabelDrive, LabelledVoxels

OCC3D_FREE = 17
KITTI_OUTLIER = 1
"""SemanticKITTI's raw id of an occupied voxel of no class; readers ignore it."""


def write_surroundocc(out: Path, drive: LabelDrive, labelled: LabelledVoxels) -> None:
    """SurroundOcc's rows (ix, iy, iz, label), label 0 for a surface of no class, and the masks."""
    name = labelled.keyframe.name
    with replacing(label_path(out, name)) as file:
        np.save(file, np.column_stack([_index(labelled), labelled.classes.astype(np.int64)]))
    write_masks(mask_path(out, name), labelled.mask_lidar, labelled.mask_camera)


def write_occ3d(out: Path, drive: LabelDrive, labelled: LabelledVoxels) -> None:
    """Occ3D's dense arrays: 0 for a surface of no class, 17 for free."""
    semantics = np.full(labelled.grid.shape, OCC3D_FREE, np.uint8)
    semantics.ravel()[labelled.voxels] = labelled.classes
    path = out / "gts" / drive.name / labelled.keyframe.sample_token / "labels.npz"
    with replacing(path) as file:
        np.savez_compressed(
            file,
            semantics=semantics,
            mask_lidar=labelled.mask_lidar.astype(np.uint8),
            mask_camera=labelled.mask_camera.astype(np.uint8),
        )


def write_openoccupancy(out: Path, drive: LabelDrive, labelled: LabelledVoxels) -> None:
    """OpenOccupancy's rows (iz, iy, ix, label), label 0 for a surface of no class."""
    rows = np.column_stack([_index(labelled)[:, ::-1], labelled.classes]).astype(np.int16)
    folder = out / "nuScenes-Occupancy" / f"scene_{drive.token}" / "occupancy"
    with replacing(folder / f"{labelled.keyframe.lidar_token}.npy") as file:
        np.save(file, rows)


def write_semantic_kitti(out: Path, drive: LabelDrive, labelled: LabelledVoxels) -> None:
    """SemanticKITTI's raw ids, and bits that mark voxels that no ray has reached."""
    labels = np.zeros(labelled.grid.shape, np.uint16)
    labels.ravel()[labelled.voxels] = np.where(
        labelled.classes == 0, KITTI_OUTLIER, labelled.classes
    )
    folder = out / "sequences" / drive.name.split("/")[0] / "voxels"
    with replacing(folder / f"{labelled.keyframe.name}.label") as file:
        file.write(labels.tobytes())
    with replacing(folder / f"{labelled.keyframe.name}.invalid") as file:
        file.write(np.packbits(~labelled.mask_lidar).tobytes())


WRITERS = {
    "surroundocc": write_surroundocc,
    "occ3d": write_occ3d,
    "openoccupancy": write_openoccupancy,
    "semantic_kitti": write_semantic_kitti,
}
"""By name of the benchmark."""


def _index(labelled: LabelledVoxels) -> np.ndarray:
    """int64 [K, 3]."""
    return np.column_stack(np.unravel_index(labelled.voxels, labelled.grid.shape))
