"""Predictions as files, in the layouts in which the benchmarks take submissions.

Occ3D's server takes ``<sample token>.npz`` with the ids as its only array, SemanticKITTI's
``sequences/NN/predictions/NNNNNN.label`` with raw ids. The others have no server: KITTI-360 in
SSCBench gets SemanticKITTI's form, SurroundOcc and OpenOccupancy ``<sample token>.npy`` with the
rows of their own labels.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from occ_core.datasets.voxel_files import load_array, load_arrays, load_values, whole_numbers
from occ_core.files import replacing
from occ_core.labels.benchmarks import OccupancyBenchmark
from occ_core.labels.raw_ids import KITTI_360_RAW, SEMANTIC_KITTI_RAW

_RAW = {"semantic_kitti": SEMANTIC_KITTI_RAW, "kitti360": KITTI_360_RAW}
_NPZ_KEYS = ("arr_0", "pred")
"""What the ids are called: by Occ3D's server, and by SparseOcc's scripts."""
_REMEDY = "every scored sample needs a prediction"


class PredictionFiles:
    """One file per sample in a folder.

    Args:
        folder: made when the first prediction is written.
        benchmark: decides the layout, and whose class ids are written.
    """

    def __init__(self, folder: Path, benchmark: OccupancyBenchmark) -> None:
        self.folder, self.benchmark = folder, benchmark

    def path(self, name: str) -> Path:
        """The file of a sample.

        Args:
            name: as ``OccupancySample.name``.
        """
        match self.benchmark.name:
            case "occ3d":
                return self.folder / f"{name}.npz"
            case "semantic_kitti":
                sequence, scan = name.split("/")
                return self.folder / "sequences" / sequence / "predictions" / f"{scan}.label"
            case "kitti360":
                sequence, scan = name.split("/")
                return self.folder / sequence / "predictions" / f"{scan}.label"
            case _:
                return self.folder / f"{name}.npy"

    def write(self, name: str, ids: np.ndarray) -> Path:
        """Writes a prediction and returns its file; a reader never finds a part of it.

        Args:
            name: as ``OccupancySample.name``.
            ids: class ids of the benchmark's label set, ``[X, Y, Z]``.

        Raises:
            ValueError: the shape is not that of the benchmark's grid, or an id is not that of a
                class.
        """
        self._check(name, ids)
        path = self.path(name)
        with replacing(path) as file:
            match self.benchmark.name:
                case "occ3d":
                    np.savez_compressed(file, ids.astype(np.uint8))
                case "semantic_kitti" | "kitti360":
                    file.write(_RAW[self.benchmark.name].to_raw(ids).astype("<u2").tobytes())
                case _:
                    np.save(file, self._rows(ids))
        return path

    def read(self, name: str) -> np.ndarray:
        """A prediction as class ids of the benchmark's label set, uint8 ``[X, Y, Z]``.

        Args:
            name: as ``OccupancySample.name``.

        Raises:
            FileNotFoundError: the sample has no prediction.
            ValueError: the file holds something else; the text names it.
        """
        path, shape = self.path(name), self.benchmark.grid.shape
        match self.benchmark.name:
            case "occ3d":
                ids = _read_npz(path)
            case "semantic_kitti" | "kitti360":
                raw = load_values(path, np.uint16, math.prod(shape), _REMEDY)
                try:
                    ids = _RAW[self.benchmark.name].to_ids(raw).reshape(shape)
                except ValueError as error:
                    raise ValueError(f"{path}: {error}") from error
            case _:
                ids = self._from_rows(path)
        self._check(path, ids)
        return ids.astype(np.uint8)

    def _rows(self, ids: np.ndarray) -> np.ndarray:
        """int64 ``[N, 4]``: index and id of every voxel that is not empty."""
        index = np.argwhere(ids != self.benchmark.labels.empty)
        values = ids[tuple(index.T)].astype(np.int64)
        return np.concatenate([self._ordered(index), values[:, None]], axis=1)

    def _from_rows(self, path: Path) -> np.ndarray:
        rows = load_array(path, _REMEDY)
        if rows.ndim != 2 or rows.shape[1] != 4:
            raise ValueError(f"{path} must hold rows of an index and an id, got {list(rows.shape)}")
        rows = whole_numbers(path, rows, "indices and ids")
        index, shape = self._ordered(rows[:, :3]), self.benchmark.grid.shape
        if len(rows) and (index.min() < 0 or (index.max(axis=0) >= shape).any()):
            raise ValueError(
                f"{path} has voxel indices up to {index.max(axis=0).tolist()} along x, y, z, "
                f"outside the grid of shape {list(shape)}"
            )
        ids = np.full(shape, self.benchmark.labels.empty, dtype=np.int64)
        ids[tuple(index.T)] = rows[:, 3]
        return ids

    def _ordered(self, index: np.ndarray) -> np.ndarray:
        """Columns x, y, z in the order of the files, or back: OpenOccupancy's is z, y, x."""
        return index[:, ::-1] if self.benchmark.name == "openoccupancy" else index

    def _check(self, what: Path | str, ids: np.ndarray) -> None:
        labels, shape = self.benchmark.labels, self.benchmark.grid.shape
        if ids.shape != shape:
            raise ValueError(
                f"{what}: a prediction for {labels.name} has shape {list(shape)}, got "
                f"{list(ids.shape)}"
            )
        if ids.dtype.kind not in "iu" or ids.min() < 0 or ids.max() >= len(labels.names):
            raise ValueError(
                f"{what}: a prediction for {labels.name} holds integers from 0 to "
                f"{len(labels.names) - 1}, got {ids.dtype} from {ids.min()} to {ids.max()}"
            )


def _read_npz(path: Path) -> np.ndarray:
    """The ids of a ``.npz`` file under either of their names."""
    try:
        return load_arrays(path, _NPZ_KEYS[:1], _REMEDY)[0]
    except ValueError as error:
        try:
            return load_arrays(path, _NPZ_KEYS[1:], _REMEDY)[0]
        except ValueError:
            raise error from None
