"""SurroundOcc's occupancy labels: a ``.npy`` file per keyframe, a row per occupied voxel.

A row is (ix, iy, iz, label). In the files label 0 is noise and the voxels that are not listed are
empty; in memory noise is 255 (ignore) and empty is 0.
"""

from __future__ import annotations

import functools
import math
from pathlib import Path

import numpy as np

from occ_core.datasets.voxel_files import (
    check_ids,
    dense_labels,
    load_array,
    load_arrays,
    whole_numbers,
)
from occ_core.files import replacing
from occ_core.taxonomy import EMPTY, IGNORE, NOISE_LABEL, NUM_CLASSES
from occ_core.voxel_grid import VoxelGrid

LABEL_FOLDER = "nuscenes_occ"
"""Name of the folder of labels and masks."""


def label_path(root: Path | str, lidar_path: Path | str) -> Path:
    """The file of a keyframe's labels inside the data root, named after its LiDAR file."""
    return Path(root) / LABEL_FOLDER / "samples" / f"{Path(lidar_path).name}.npy"


def find_label(root: Path | str, lidar_path: Path | str) -> Path:
    """The file of a keyframe's labels, whether their folder lies in the data root or beside it, as
    SurroundOcc has it (``data/nuscenes_occ`` beside ``data/nuscenes``); it need not exist.
    """
    return label_path(beside_or_inside(Path(root), LABEL_FOLDER).parent, lidar_path)


def find_mask(root: Path | str, lidar_path: Path | str) -> Path:
    """The file of a keyframe's masks, beside its labels; it need not exist."""
    return mask_path(beside_or_inside(Path(root), LABEL_FOLDER).parent, lidar_path)


def beside_or_inside(root: Path, folder: str) -> Path:
    """``root/folder``, or the folder of that name beside ``root`` where only that one exists."""
    beside = root.absolute().parent / folder
    return beside if beside.is_dir() and not (root / folder).is_dir() else root / folder


def mask_path(root: Path | str, lidar_path: Path | str) -> Path:
    """The file of a keyframe's visibility masks, which only synthetic data have."""
    return Path(root) / LABEL_FOLDER / "masks" / f"{Path(lidar_path).name}.npz"


def read_labels(path: Path | str, grid: VoxelGrid) -> np.ndarray:
    """Class ids of all voxels, uint8 ``[X, Y, Z]``: 0 empty, 1..16 classes, 255 ignore.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: the file does not hold labels, or not for ``grid``.
    """
    rows = load_array(path, "extract SurroundOcc's samples_*.zip into nuscenes_occ/")
    if rows.ndim != 2 or rows.shape[1] != 4:
        raise ValueError(
            f"{path} must hold rows (ix, iy, iz, label), [N, 4], got {list(rows.shape)}"
        )
    rows = whole_numbers(path, rows, "indices and labels")
    check_ids(path, rows[:, 3], NUM_CLASSES)
    return dense_labels(path, rows[:, :3], rows[:, 3], grid.shape, "ix, iy, iz")


def write_labels(path: Path | str, labels: np.ndarray) -> None:
    """Writes labels in SurroundOcc's form: an int64 row for every voxel that is not empty.

    Args:
        path: a ``.npy`` file, as ``label_path`` names it.
        labels: uint8 ``[X, Y, Z]``: 0 empty, 1..16 classes, 255 ignore.

    Raises:
        ValueError: ``labels`` holds other class ids, or has another shape.
    """
    occupied = labels != EMPTY
    values = labels[occupied].astype(np.int64)
    unknown = np.unique(values[(values >= NUM_CLASSES) & (values != IGNORE)]).tolist()
    if labels.ndim != 3 or unknown:
        expected = f"[X, Y, Z] of class ids 0..{NUM_CLASSES - 1} or {IGNORE}"
        raise ValueError(
            f"labels must be {expected}, got {list(labels.shape)} with the unknown ids {unknown}"
        )
    values[values == IGNORE] = NOISE_LABEL
    with replacing(Path(path)) as file:
        np.save(file, np.concatenate([np.argwhere(occupied), values[:, None]], axis=1))


def read_masks(path: Path | str, grid: VoxelGrid) -> tuple[np.ndarray, np.ndarray]:
    """Two visibility masks: the voxels that a LiDAR ray reached, and those of a camera ray.

    Returns:
        ``(mask_lidar, mask_camera)``, bool ``[X, Y, Z]`` each.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: a mask is missing or has another shape than ``grid``.
    """
    names = ("mask_lidar", "mask_camera")
    masks = load_arrays(path, names, "only synthetic data have such masks")
    for name, mask in zip(names, masks, strict=True):
        if mask.shape != grid.shape:
            raise ValueError(
                f"{path} must hold {name} of shape {list(grid.shape)}, got {list(mask.shape)}"
            )
    return masks[0].astype(bool), masks[1].astype(bool)


def write_masks(
    path: Path | str, mask_lidar: np.ndarray, mask_camera: np.ndarray, sky: np.ndarray | None = None
) -> None:
    """Writes visibility masks, compressed, and the cameras' sky masks where they are known.

    Args:
        path: a ``.npz`` file, as ``mask_path`` names it.
        mask_lidar: bool ``[X, Y, Z]``; stored as uint8.
        mask_camera: likewise.
        sky: bool ``[camera, H, W]``, the cameras in nuScenes' order; stored as bits.
    """
    masks = {"mask_lidar": mask_lidar.astype(np.uint8), "mask_camera": mask_camera.astype(np.uint8)}
    if sky is not None:
        masks |= {"sky": np.packbits(sky), "sky_shape": np.array(sky.shape)}
    with replacing(Path(path)) as file:
        np.savez_compressed(file, **masks)  # type: ignore[arg-type]


def read_sky(path: Path | str) -> np.ndarray | None:
    """Sky masks that ``write_masks`` stored, bool ``[camera, H, W]``, or None without any.

    The cameras are in nuScenes' order; True marks the pixels that see the sky.
    """
    if not Path(path).is_file():
        return None
    with np.load(path, allow_pickle=False) as archive:
        if "sky" not in archive:
            return None
        shape = tuple(archive["sky_shape"].tolist())
        return np.unpackbits(archive["sky"], count=math.prod(shape)).reshape(shape).astype(bool)


def coarsen_labels(labels: np.ndarray, ratio: int, empty: int = EMPTY) -> np.ndarray:
    """Labels of a grid with voxels ``ratio`` times as large, uint8 ``[X, Y, Z]``.

    A coarse voxel takes the most frequent class of its occupied children, the smaller class id in
    a tie. Without occupied children it is ignored if one of them is, and empty otherwise.

    Args:
        labels: uint8 ``[ratio * X, ratio * Y, ratio * Z]``: class ids, 255 ignore.
        ratio: voxels per coarse voxel and axis.
        empty: id of the empty class.
    """
    if ratio == 1:
        return labels
    shape = tuple(cells // ratio for cells in labels.shape)
    ignored = labels == IGNORE
    coarse = np.where(_any_child(ignored, ratio), IGNORE, empty).astype(np.uint8).ravel()
    flat = np.flatnonzero((labels != empty) & ~ignored)
    values = labels.ravel()[flat].astype(np.int64)
    parents = np.ravel_multi_index(
        tuple(axis // ratio for axis in np.unravel_index(flat, labels.shape)), shape
    )
    has_votes = np.zeros(len(coarse), dtype=bool)
    has_votes[parents] = True
    voters = np.flatnonzero(has_votes)
    row = np.empty(len(coarse), dtype=np.int64)
    row[voters] = np.arange(len(voters))
    classes = int(values.max(initial=0)) + 1
    votes = np.bincount(row[parents] * classes + values, minlength=len(voters) * classes)
    coarse[voters] = votes.reshape(-1, classes).argmax(axis=1)
    return coarse.reshape(shape)


def _any_child(mask: np.ndarray, ratio: int) -> np.ndarray:
    """Whether any child of each coarse voxel is set; axis by axis, which is faster than at once."""
    for axis in range(3):
        children = np.moveaxis(mask, axis, 0)
        mask = np.moveaxis(
            functools.reduce(np.logical_or, (children[step::ratio] for step in range(ratio))),
            0,
            axis,
        )
    return mask
