from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from occ_core.datasets.surroundocc import (
    coarsen_labels,
    label_path,
    mask_path,
    read_labels,
    read_masks,
    write_labels,
    write_masks,
)
from occ_core.voxel_grid import VoxelGrid

GRID = VoxelGrid((0.0, 0.0, 0.0, 2.0, 3.0, 1.0), 0.5)  # 4 x 6 x 2


def test_paths_are_named_after_the_lidar_file():
    assert label_path("data", "samples/LIDAR_TOP/a.pcd.bin") == Path(
        "data/nuscenes_occ/samples/a.pcd.bin.npy"
    )
    assert mask_path("data", "samples/LIDAR_TOP/a.pcd.bin") == Path(
        "data/nuscenes_occ/masks/a.pcd.bin.npz"
    )


def test_noise_is_ignored_and_the_unlisted_is_empty(tmp_path):
    car, noise = [0, 0, 0, 4], [3, 5, 1, 0]
    np.save(tmp_path / "a.npy", np.array([car, noise]))
    labels = read_labels(tmp_path / "a.npy", GRID)
    assert labels.dtype == np.uint8 and labels.shape == (4, 6, 2)
    assert labels[0, 0, 0] == 4 and labels[3, 5, 1] == 255
    assert (labels == 0).sum() == 4 * 6 * 2 - 2


def test_written_rows(tmp_path):
    labels = np.zeros(GRID.shape, dtype=np.uint8)
    labels[1, 2, 0], labels[3, 5, 1] = 16, 255
    write_labels(tmp_path / "new" / "a.npy", labels)
    rows = np.load(tmp_path / "new" / "a.npy")
    assert rows.dtype == np.int64 and rows.tolist() == [[1, 2, 0, 16], [3, 5, 1, 0]]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(hnp.arrays(np.uint8, GRID.shape, elements=st.sampled_from([0, 1, 4, 16, 255])))
def test_round_trip(tmp_path, labels):
    write_labels(tmp_path / "a.npy", labels)
    assert (read_labels(tmp_path / "a.npy", GRID) == labels).all()


def test_wrong_files_are_refused(tmp_path):
    path = tmp_path / "a.npy"
    with pytest.raises(FileNotFoundError, match="a.npy is missing"):
        read_labels(path, GRID)
    path.write_bytes(b"nonsense")
    with pytest.raises(ValueError, match="is not a .npy file"):
        read_labels(path, GRID)
    np.save(path, np.zeros((3, 5)))
    with pytest.raises(ValueError, match=r"rows \(ix, iy, iz, label\), \[N, 4\], got \[3, 5\]"):
        read_labels(path, GRID)
    np.save(path, np.array([[4, 0, 0, 1]]))
    with pytest.raises(ValueError, match="made for another grid"):
        read_labels(path, GRID)
    np.save(path, np.array([[0, 0, 0, 17]]))
    with pytest.raises(ValueError, match=r"labels \[17\], expected 0 to 16"):
        read_labels(path, GRID)


def test_unknown_ids_are_not_written(tmp_path):
    with pytest.raises(ValueError, match=r"unknown ids \[18\]"):
        write_labels(tmp_path / "a.npy", np.full(GRID.shape, 18, dtype=np.uint8))


def test_masks_round_trip(tmp_path):
    lidar = np.random.default_rng(0).random(GRID.shape) < 0.5
    write_masks(tmp_path / "new" / "m.npz", lidar, ~lidar)
    read_lidar, read_camera = read_masks(tmp_path / "new" / "m.npz", GRID)
    assert read_lidar.dtype == bool
    assert (read_lidar == lidar).all() and (read_camera == ~lidar).all()
    with pytest.raises(ValueError, match=r"mask_lidar of shape \[2, 3, 1\], got \[4, 6, 2\]"):
        read_masks(tmp_path / "new" / "m.npz", GRID.coarser(2))


def test_coarse_labels():
    labels = np.zeros((4, 2, 2), dtype=np.uint8)
    # First block: 3 of car, 2 of vegetation, ignored and empty ones: car. Second block: one ignored
    # voxel among empty ones: ignored.
    labels[0, 0, 0] = labels[0, 0, 1] = labels[1, 1, 1] = 4
    labels[1, 0, 0] = labels[0, 1, 0] = 16
    labels[1, 1, 0] = 255
    labels[2, 0, 0] = 255
    assert coarsen_labels(labels, 2).tolist() == [[[4]], [[255]]]
    labels[2, 0, 0] = 0
    assert coarsen_labels(labels, 2)[1, 0, 0] == 0
    labels[2, 0, 0], labels[3, 1, 1] = 16, 1  # a tie: the smaller id
    assert coarsen_labels(labels, 2)[1, 0, 0] == 1
    assert (coarsen_labels(labels, 1) == labels).all()


@pytest.mark.parametrize(("ratio", "empty"), [(2, 0), (3, 5)])
def test_coarse_labels_voxel_by_voxel(ratio: int, empty: int):
    """Random labels with voxels of every kind, against the rule written out."""
    rng = np.random.default_rng(0)
    labels = rng.choice([0, 1, 5, 255, empty], (12, 12, 12), p=[0.02, 0.02, 0.02, 0.02, 0.92])
    labels = labels.astype(np.uint8)
    expected = np.empty(tuple(cells // ratio for cells in labels.shape), dtype=np.uint8)
    for x, y, z in np.ndindex(*expected.shape):
        corner = np.array([x, y, z]) * ratio
        children = labels[tuple(slice(low, low + ratio) for low in corner)].ravel()
        votes = np.bincount(children[(children != empty) & (children != 255)])
        if votes.any():
            expected[x, y, z] = votes.argmax()
        else:
            expected[x, y, z] = 255 if (children == 255).any() else empty
    assert {0, 255, empty} <= set(expected.ravel().tolist())
    assert np.array_equal(coarsen_labels(labels, ratio, empty), expected)
