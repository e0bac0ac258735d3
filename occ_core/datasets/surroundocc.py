"""SurroundOcc's occupancy labels: one ``.npy`` a keyframe with the rows (ix, iy, iz, label) of its
occupied voxels.

In the files label 0 is noise and voxels that are not listed are empty; here they become 255
(ignore) and 0.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from occ_core.taxonomy import EMPTY, IGNORE, NOISE_LABEL, NUM_CLASSES
from occ_core.voxel_grid import VoxelGrid


def label_path(root: Path | str, lidar_path: Path | str) -> Path:
    """Where the labels of a keyframe lie: named after its LiDAR file."""
    return Path(root) / "nuscenes_occ" / "samples" / f"{Path(lidar_path).name}.npy"


def mask_path(root: Path | str, lidar_path: Path | str) -> Path:
    """Where the visibility masks of a keyframe lie (SurroundOcc has none; synthetic data do)."""
    return Path(root) / "nuscenes_occ" / "masks" / f"{Path(lidar_path).name}.npz"


def read_labels(path: Path | str, grid: VoxelGrid) -> np.ndarray:
    """Class ids of all voxels, uint8 ``[X, Y, Z]``: 0 empty, 1..16, 255 ignore.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is no label file, or was not made for ``grid``.
    """
    try:
        rows = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{path} is missing; extract SurroundOcc's samples_*.zip into nuscenes_occ/"
        ) from None
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path} is no .npy file ({error}); extract it again") from error
    if rows.ndim != 2 or rows.shape[1] != 4:
        raise ValueError(
            f"{path} must hold rows (ix, iy, iz, label), [N, 4], got {list(rows.shape)}"
        )
    rows = rows.astype(np.int64, copy=False)
    index, values = rows[:, :3], rows[:, 3]
    if len(rows) and (index.min() < 0 or (index.max(axis=0) >= grid.shape).any()):
        raise ValueError(
            f"{path} has voxel indices from {index.min(axis=0).tolist()} to "
            f"{index.max(axis=0).tolist()}, outside the grid of "
            f"shape {list(grid.shape)}; it was made for another grid"
        )
    if len(rows) and (values.min() < 0 or values.max() >= NUM_CLASSES):
        raise ValueError(
            f"{path} has labels from {values.min()} to {values.max()}, expected 0 (noise) to "
            f"{NUM_CLASSES - 1}"
        )
    labels = np.full(grid.shape, EMPTY, dtype=np.uint8)
    labels[tuple(index.T)] = np.where(values == NOISE_LABEL, IGNORE, values)
    return labels


def write_labels(path: Path | str, labels: np.ndarray) -> None:
    """Writes uint8 ``[X, Y, Z]`` (0 empty, 1..16, 255 ignore) as SurroundOcc does: int64 rows of
    the voxels that are not empty.

    Raises:
        ValueError: other class ids.
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
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.concatenate([np.argwhere(occupied), values[:, None]], axis=1))


def read_masks(path: Path | str, grid: VoxelGrid) -> tuple[np.ndarray, np.ndarray]:
    """``(mask_lidar, mask_camera)``, bool ``[X, Y, Z]`` each: the voxels that a LiDAR ray or a
    camera ray reached.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a mask is absent or of another shape.
    """
    with np.load(path, allow_pickle=False) as archive:
        masks = []
        for name in ("mask_lidar", "mask_camera"):
            if name not in archive or archive[name].shape != grid.shape:
                shape = list(archive[name].shape) if name in archive else "nothing"
                raise ValueError(
                    f"{path} must hold {name} of shape {list(grid.shape)}, got {shape}"
                )
            masks.append(archive[name].astype(bool))
    return masks[0], masks[1]


def write_masks(
    path: Path | str, mask_lidar: np.ndarray, mask_camera: np.ndarray, sky: np.ndarray | None = None
) -> None:
    """Writes two visibility masks ``[X, Y, Z]`` as uint8, compressed; ``sky [camera, H, W]`` where
    it is known, as bits.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    masks = {"mask_lidar": mask_lidar.astype(np.uint8), "mask_camera": mask_camera.astype(np.uint8)}
    if sky is not None:
        masks |= {"sky": np.packbits(sky), "sky_shape": np.array(sky.shape)}
    np.savez_compressed(path, **masks)  # type: ignore[arg-type]


def read_sky(path: Path | str) -> np.ndarray | None:
    """Which pixels see the sky, bool ``[camera, H, W]`` with the cameras in nuScenes' order; None
    where nobody knows.
    """
    if not Path(path).is_file():
        return None
    with np.load(path, allow_pickle=False) as archive:
        if "sky" not in archive:
            return None
        shape = tuple(archive["sky_shape"].tolist())
        return np.unpackbits(archive["sky"], count=math.prod(shape)).reshape(shape).astype(bool)


def coarsen_labels(labels: np.ndarray, ratio: int) -> np.ndarray:
    """Labels of the grid ``ratio`` times as coarse: the most frequent class of a voxel's occupied
    children, uint8 ``[X, Y, Z]``.

    A voxel without occupied children is ignored where a child is, and empty otherwise; ties go to
    the smaller class id.
    """
    if ratio == 1:
        return labels
    shape = tuple(cells // ratio for cells in labels.shape)
    flat = np.flatnonzero(labels != EMPTY)
    values = labels.ravel()[flat].astype(np.int64)
    parents = np.ravel_multi_index(
        tuple(axis // ratio for axis in np.unravel_index(flat, labels.shape)), shape
    )
    coarse = np.full(math.prod(shape), EMPTY, dtype=np.uint8)
    coarse[parents[values == IGNORE]] = IGNORE
    known = values != IGNORE
    voters, rows = np.unique(parents[known], return_inverse=True)
    votes = np.bincount(rows * NUM_CLASSES + values[known], minlength=len(voters) * NUM_CLASSES)
    coarse[voters] = votes.reshape(-1, NUM_CLASSES).argmax(axis=1)
    return coarse.reshape(shape)
