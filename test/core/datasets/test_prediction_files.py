"""Prediction files: what is written is read back, in the layout that each benchmark takes."""

from pathlib import Path

import numpy as np
import pytest

from occ_core.datasets.prediction_files import PredictionFiles
from occ_core.labels.benchmarks import BENCHMARKS

NAMES = {
    "surroundocc": ("token", "token.npy"),
    "openoccupancy": ("token", "token.npy"),
    "occ3d": ("token", "token.npz"),
    "semantic_kitti": ("08/000005", "sequences/08/predictions/000005.label"),
    "kitti360": (
        "2013_05_28_drive_0009_sync/000005",
        "2013_05_28_drive_0009_sync/predictions/000005.label",
    ),
}


def files(folder: Path, benchmark: str) -> PredictionFiles:
    return PredictionFiles(folder, BENCHMARKS[benchmark])


def prediction(benchmark: str) -> np.ndarray:
    """Ids of all classes in one corner, the rest empty."""
    labels, shape = BENCHMARKS[benchmark].labels, BENCHMARKS[benchmark].grid.shape
    ids = np.full(shape, labels.empty, dtype=np.uint8)
    random = np.random.default_rng(0)
    ids[:20, :30, :10] = random.integers(0, len(labels.names), (20, 30, 10))
    return ids


@pytest.mark.parametrize("benchmark", NAMES)
def test_predictions_come_back(tmp_path: Path, benchmark: str):
    name, relative = NAMES[benchmark]
    stored, ids = files(tmp_path / "new", benchmark), prediction(benchmark)
    assert stored.write(name, ids) == tmp_path / "new" / relative
    found = stored.read(name)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, ids)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [stored.path(name)]


def test_occ3d_s_server_and_sparseocc_s_scripts_find_their_arrays(tmp_path: Path):
    stored, ids = files(tmp_path, "occ3d"), prediction("occ3d")
    with np.load(stored.write("token", ids)) as archive:
        assert archive.files == ["arr_0"] and archive["arr_0"].dtype == np.uint8
        np.testing.assert_array_equal(archive["arr_0"], ids)
    np.savez_compressed(tmp_path / "other.npz", pred=ids)
    np.testing.assert_array_equal(stored.read("other"), ids)
    np.savez_compressed(tmp_path / "third.npz", labels=ids)
    with pytest.raises(ValueError, match=r"third.npz lacks \['arr_0'\]; it holds \['labels'\]"):
        stored.read("third")


def test_semantic_kitti_s_files_hold_raw_ids_in_the_order_of_its_voxels(tmp_path: Path):
    """Voxel (0, 0, 1) is the second value, (0, 1, 0) the 33rd, (1, 0, 0) the 8193rd: 256 * 32 + 1.
    Car is 10, road 40, traffic sign 81.
    """
    ids = np.zeros((256, 256, 32), dtype=np.uint8)
    ids[0, 0, 1], ids[0, 1, 0], ids[1, 0, 0] = 1, 9, 19
    raw = np.fromfile(files(tmp_path, "semantic_kitti").write("08/000000", ids), dtype="<u2")
    assert raw.size == 256 * 256 * 32 and np.flatnonzero(raw).tolist() == [1, 32, 8192]
    assert raw[[1, 32, 8192]].tolist() == [10, 40, 81]


def test_openoccupancy_s_rows_begin_with_z(tmp_path: Path):
    ids = np.zeros((512, 512, 40), dtype=np.uint8)
    ids[500, 2, 39] = 4
    rows = np.load(files(tmp_path, "openoccupancy").write("token", ids))
    assert rows.tolist() == [[39, 2, 500, 4]]


def test_bad_predictions_are_refused_and_leave_nothing_behind(tmp_path: Path):
    stored = files(tmp_path, "occ3d")
    ids = prediction("occ3d")
    with pytest.raises(ValueError, match=r"shape \[200, 200, 16\], got \[200, 200\]"):
        stored.write("token", ids[..., 0])
    with pytest.raises(ValueError, match=r"integers from 0 to 17, got uint8 from 0 to 255"):
        stored.write("token", np.where(ids == 17, 255, ids).astype(np.uint8))
    with pytest.raises(ValueError, match=r"integers from 0 to 17, got float32"):
        stored.write("token", ids.astype(np.float32))
    assert not list(tmp_path.iterdir())


def test_bad_files_are_refused_by_name(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"token.npz is missing"):
        files(tmp_path, "occ3d").read("token")
    label = tmp_path / "sequences" / "08" / "predictions" / "000000.label"
    label.parent.mkdir(parents=True)
    label.write_bytes(b"\0" * 100)
    with pytest.raises(ValueError, match=r"000000.label holds 100 bytes, expected 4194304"):
        files(tmp_path, "semantic_kitti").read("08/000000")
    np.full(256 * 256 * 32, 52, dtype="<u2").tofile(label)  # ignored in a truth: no prediction
    with pytest.raises(ValueError, match=r"000000.label: .* from 0 to 19, got uint8 from 255"):
        files(tmp_path, "semantic_kitti").read("08/000000")
    np.save(tmp_path / "token.npy", np.array([[0, 0, 16, 4]]))
    with pytest.raises(ValueError, match=r"token.npy has voxel indices up to \[0, 0, 16\]"):
        files(tmp_path, "surroundocc").read("token")
