from pathlib import Path

import numpy as np
import pytest

from occ_core.datasets.occ3d import occ3d_path, read_occ3d
from occ_core.datasets.openoccupancy import openoccupancy_path, read_openoccupancy
from occ_core.datasets.semantic_kitti_voxels import read_kitti_voxels
from occ_core.datasets.surroundocc import label_path, mask_path, read_labels, read_masks
from occ_core.labels.benchmarks import KITTI_GRID
from occ_core.voxel_grid import VoxelGrid
from training.labels import formats
from training.labels.drive import LabelDrive, LabelKeyframe, LabelledVoxels

GRID = VoxelGrid((0.0, 0.0, 0.0, 3.0, 2.0, 2.0), 1.0)


def labelled(grid: VoxelGrid = GRID, classes: tuple[int, ...] = (4, 0, 16)) -> LabelledVoxels:
    """Three voxels, (0, 0, 1), (1, 0, 0) and (2, 1, 1); all but the first voxel is observed."""
    index = np.array([[0, 0, 1], [1, 0, 0], [2, 1, 1]]).T
    mask = np.ones(grid.shape, bool)
    mask[0, 0, 0] = False
    seen = mask & (np.arange(grid.shape[0]) > 0)[:, None, None]
    keyframe = LabelKeyframe("lidar.bin", 0, np.eye(4), sample_token="s", lidar_token="l")
    voxels = np.ravel_multi_index(tuple(index), grid.shape)
    return LabelledVoxels(keyframe, grid, voxels, np.array(classes, np.int16), mask, seen)


def drive(name: str = "scene-1") -> LabelDrive:
    return LabelDrive(name, "t", sweeps=(), tracks=(), keyframes=())


def expected(empty: int, other: int) -> np.ndarray:
    labels = np.full(GRID.shape, empty)
    labels[0, 0, 1], labels[1, 0, 0], labels[2, 1, 1] = 4, other, 16
    return labels


def test_surroundocc(tmp_path: Path) -> None:
    made = labelled()
    formats.write_surroundocc(tmp_path, drive(), made)
    # class 0 is noise in the file, which is ignored (255) in memory
    assert (read_labels(label_path(tmp_path, "lidar.bin"), GRID) == expected(0, 255)).all()
    lidar, camera = read_masks(mask_path(tmp_path, "lidar.bin"), GRID)
    assert (lidar == made.mask_lidar).all() and (camera == made.mask_camera).all()


def test_occ3d(tmp_path: Path) -> None:
    made = labelled()
    formats.write_occ3d(tmp_path, drive(), made)
    labels, masks = read_occ3d(occ3d_path(tmp_path, "scene-1", "s"), GRID)
    assert (labels == expected(17, 0)).all()
    assert (masks["mask_lidar"] == made.mask_lidar).all()
    assert (masks["mask_camera"] == made.mask_camera).all()


def test_openoccupancy(tmp_path: Path) -> None:
    formats.write_openoccupancy(tmp_path, drive(), labelled())
    labels = read_openoccupancy(openoccupancy_path(tmp_path, "t", "l"), GRID)
    assert (labels == expected(0, 255)).all()


def test_semantic_kitti(tmp_path: Path) -> None:
    # raw ids: car, no class, vegetation
    made = labelled(KITTI_GRID, (10, 0, 70))
    formats.write_semantic_kitti(tmp_path, drive("00/000000"), made)
    labels = read_kitti_voxels(tmp_path / "sequences/00/voxels/lidar.bin.label").labels
    assert labels[0, 0, 0] == 255  # no ray has reached it
    assert [labels[0, 0, 1], labels[1, 0, 0], labels[2, 1, 1], labels[9, 9, 9]] == [1, 255, 15, 0]


def test_a_file_that_cannot_be_finished_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(file: object, *_: object, **__: object) -> None:
        file.write(b"half of it")  # type: ignore[attr-defined]
        raise OSError("no space left on device")

    monkeypatch.setattr(formats.np, "savez_compressed", fails)
    with pytest.raises(OSError, match="no space"):
        formats.write_occ3d(tmp_path, drive(), labelled())
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
