"""Files of voxels that are not what they should be are refused by name, never read as garbage."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from occ_core.datasets.kitti_360 import read_flags
from occ_core.datasets.occ3d import read_occ3d
from occ_core.datasets.openoccupancy import read_openoccupancy
from occ_core.datasets.surroundocc import read_labels
from occ_core.datasets.voxel_files import (
    check_ids,
    dense_labels,
    load_array,
    load_arrays,
    load_bits,
    load_values,
    whole_numbers,
)
from occ_core.voxel_grid import VoxelGrid

GRID = VoxelGrid((0.0, 0.0, 0.0, 2.0, 3.0, 1.0), 0.5)  # 4 x 6 x 2
same_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
@same_folder
@given(data=st.data())
def test_damaged_archives_are_read_whole_or_refused(
    tmp_path: Path, name: str, data: st.DataObject
) -> None:
    """Cut anywhere, or with one byte changed: an error that names the file, or the same array."""
    path = tmp_path / name
    values = np.arange(48, dtype=np.uint8).reshape(GRID.shape)
    (np.savez_compressed if name == "a.npz" else np.save)(path, values)
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        del content[place:]
    else:
        content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    try:
        if name == "a.npz":
            (found,) = load_arrays(path, ("arr_0",), "get it")
        else:
            found = load_array(path, "get it")
    except ValueError as error:
        assert name in str(error)
    else:
        assert isinstance(found, np.ndarray)
        # A changed byte of a .npy file's header or values may give another array of numbers.
        assert name == "a.npy" or np.array_equal(found, values)


def test_objects_are_not_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="a.npy is not a .npy file"):
        load_array(tmp_path / "a.npy", "get it")
    np.save(tmp_path / "a.npy", np.array(["text"]))
    with pytest.raises(ValueError, match="a.npy must hold one array of numbers"):
        load_array(tmp_path / "a.npy", "get it")


def test_one_kind_of_archive_in_place_of_the_other(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros(3))
    (tmp_path / "a.npy").rename(tmp_path / "a.npz")
    with pytest.raises(ValueError, match="a.npz is not a .npz file"):
        load_arrays(tmp_path / "a.npz", ("x",), "get it")
    np.savez(tmp_path / "b.npz", x=np.zeros(3))
    (tmp_path / "b.npz").rename(tmp_path / "b.npy")
    with pytest.raises(ValueError, match="b.npy must hold one array"):
        load_array(tmp_path / "b.npy", "get it")


@same_folder
@given(bits=st.lists(st.booleans(), min_size=48, max_size=48))
def test_bits_come_back_the_highest_first(tmp_path: Path, bits: list[bool]) -> None:
    # The first voxel is worth 128, the eighth 1.
    weights = [128, 64, 32, 16, 8, 4, 2, 1]
    packed = bytes(
        sum(weight for weight, bit in zip(weights, bits[start : start + 8], strict=True) if bit)
        for start in range(0, 48, 8)
    )
    (tmp_path / "a.bin").write_bytes(packed)
    assert load_bits(tmp_path / "a.bin", GRID.shape, "get it").ravel().tolist() == bits


def test_files_of_another_size_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.label"
    with pytest.raises(FileNotFoundError, match="a.label is missing; get it"):
        load_values(path, np.uint16, 48, "get it")
    path.write_bytes(bytes(95))
    with pytest.raises(ValueError, match=r"holds 95 bytes, expected 96 \(48 values of uint16\)"):
        load_values(path, np.uint16, 48, "get it")
    with pytest.raises(ValueError, match=r"holds 95 bytes, expected 6 "):
        load_bits(path, GRID.shape, "get it")


def test_flags_of_kitti_360_are_zero_or_one(tmp_path: Path) -> None:
    flags = np.zeros((256, 256, 32), np.uint8)
    flags[3, 4, 5] = 2
    flags.tofile(tmp_path / "a.invalid")
    with pytest.raises(ValueError, match="a.invalid must hold the bytes 0 and 1, got 2"):
        read_flags(tmp_path / "a.invalid")


def test_numbers_that_are_not_whole(tmp_path: Path) -> None:
    assert whole_numbers("a", np.array([1.0, 2.0]), "labels").tolist() == [1, 2]
    for wrong in (0.5, np.nan, np.inf):
        with pytest.raises(ValueError, match="a.npy: labels must be whole numbers below .*, got"):
            whole_numbers("a.npy", np.array([1.0, wrong]), "labels")


def test_class_ids() -> None:
    check_ids("a", np.array([], dtype=np.int64), 3)
    check_ids("a", np.array([0, 2, 255]), 3, extra=(255,))
    with pytest.raises(ValueError, match=r"a has the labels \[-1, 3\], expected 0 to 2 or 255"):
        check_ids("a", np.array([3, -1, 255]), 3, extra=(255,))


def test_indices_outside_the_grid() -> None:
    index, ids = np.array([[3, 5, 1], [0, 0, 0]]), np.array([4, 0])
    labels = dense_labels("a", index, ids, GRID.shape, "ix, iy, iz")
    assert labels[3, 5, 1] == 4 and labels[0, 0, 0] == 255 and (labels == 0).sum() == 46
    with pytest.raises(ValueError, match="its columns lie in the reverse order"):
        dense_labels("a", index[:, ::-1], ids, GRID.shape, "ix, iy, iz")
    with pytest.raises(ValueError, match=r"reach from \[0, 0, -1\] .* it was made for another"):
        dense_labels("a", index - [0, 0, 1], ids, GRID.shape, "ix, iy, iz")


@pytest.mark.parametrize("rows", [np.zeros((3, 5)), np.zeros(4), np.zeros((2, 4, 1))])
def test_rows_of_other_columns(tmp_path: Path, rows: np.ndarray) -> None:
    path = tmp_path / "a.npy"
    np.save(path, rows)
    with pytest.raises(ValueError, match=r"must hold rows \(iz, iy, ix, label\)"):
        read_openoccupancy(path, GRID)
    with pytest.raises(ValueError, match=r"must hold rows \(ix, iy, iz, label\)"):
        read_labels(path, GRID)


def test_an_empty_list_is_an_empty_grid(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((0, 4), dtype=np.int64))
    assert not read_openoccupancy(tmp_path / "a.npy", GRID).any()


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("semantics", np.full(GRID.shape, 18), r"has the labels \[18\], expected 0 to 17"),
        (
            "semantics",
            np.full(GRID.shape, 0.5),
            "semantics must be whole numbers below .*, got 0.5",
        ),
        ("semantics", np.zeros((6, 4, 2)), r"semantics of shape \[4, 6, 2\], got float64 \[6, 4"),
        ("semantics", np.zeros(GRID.shape), "no voxel of semantics is 17, free, and most are 0"),
        ("semantics", np.full(GRID.shape, "a"), "must hold numbers semantics"),
        ("mask_camera", np.full(GRID.shape, 255), r"mask_camera must be 0 or 1, got \[255\]"),
        ("mask_lidar", np.zeros(48), r"mask_lidar of shape \[4, 6, 2\], got float64 \[48\]"),
    ],
)
def test_occ3d_refuses_other_values(
    tmp_path: Path, name: str, values: np.ndarray, words: str
) -> None:
    good = dict.fromkeys(("semantics", "mask_lidar", "mask_camera"), np.ones(GRID.shape))
    path = tmp_path / "labels.npz"
    np.savez(path, **good)
    labels, masks = read_occ3d(path, GRID)
    assert labels.dtype == np.uint8 and (labels == 1).all() and masks["mask_camera"].all()
    np.savez(path, **(good | {name: values}))
    with pytest.raises(ValueError, match=words) as raised:
        read_occ3d(path, GRID)
    assert "labels.npz" in str(raised.value)
