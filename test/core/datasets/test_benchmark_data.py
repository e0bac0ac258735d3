"""Every benchmark's reader on its official layout: exactly the arrays written come back."""

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from official_layouts import (
    DRIVE,
    KITTI_SHAPE,
    random_labels,
    write_kitti_360,
    write_kitti_scan,
    write_kitti_voxels,
    write_occ3d,
    write_openoccupancy,
    write_surroundocc,
)
from tiny_nuscenes import write_tiny_nuscenes

from occ_core.datasets.benchmark_data import (
    benchmark_of,
    check_images,
    drive_names,
    open_benchmark,
    open_frames,
)
from occ_core.datasets.samples import OccupancyData, OccupancySample, SampleStream
from occ_core.labels.benchmarks import BENCHMARKS

SIZE = (32, 64)
SCAN = np.array([[10.0, 2.0, -1.0, 0.5], [4.0, 0.0, 1.0, 1.0]], dtype=np.float32)
KITTI_CLASSES = 20


def equal(sample: OccupancySample, labels: np.ndarray) -> bool:
    """Whether every class id is the same."""
    return sample.labels.dtype == np.uint8 and np.array_equal(sample.labels, labels)


def samples(data: OccupancyData) -> list[OccupancySample]:
    return list(SampleStream(data))


@pytest.mark.parametrize("beside", [False, True])
def test_surroundocc_inside_the_data_root_and_beside_it(
    tiny_nuscenes: Path, tmp_path_factory: pytest.TempPathFactory, beside: bool
) -> None:
    root = tiny_nuscenes.rename(tmp_path_factory.mktemp("data") / "nuscenes")
    folder = (root.parent if beside else root) / "nuscenes_occ" / "samples"
    labels = [random_labels((200, 200, 16), 17, seed=seed) for seed in (0, 1)]
    for name, each in zip(("key0", "key3"), labels, strict=True):
        write_surroundocc(folder / f"{name}.pcd.bin.npy", each)
    found = samples(open_benchmark("surroundocc", root, SIZE))
    assert [sample.name for sample in found] == ["key0", "key3"]
    assert all(map(equal, found, labels)) and found[0].masks == {}
    assert found[0].frame is not None
    assert_allclose(found[0].frame.points[0][0, :3], [0, 20, -1])  # as in the LiDAR's file


def test_occ3d_lies_in_the_vehicles_frame(tiny_nuscenes: Path) -> None:
    labels = random_labels((200, 200, 16), 18, empty=17, ignored=False)
    rng = np.random.default_rng(0)
    lidar, camera = rng.random((2, 200, 200, 16)) < 0.5
    for token in ("key0", "key3"):
        path = tiny_nuscenes / "gts" / "scene-0061" / token / "labels.npz"
        write_occ3d(path, labels, lidar, camera)
    first, _ = samples(open_benchmark("occ3d", tiny_nuscenes, SIZE))
    assert equal(first, labels)
    assert np.array_equal(first.masks["mask_lidar"], lidar)
    assert np.array_equal(first.masks["mask_camera"], camera)
    frame = first.frame
    assert frame is not None
    # The LiDAR stands at (1, 0, 1.8) of the vehicle; its y is ahead. 20 m ahead of it and 1 m
    # below: x = 1 + 20, z = 1.8 - 1. The camera, at (1.5, 0, 1.5), took its image 1 m later.
    assert_allclose(frame.points[0][0, :3], [21, 0, 0.8], atol=1e-5)
    assert_allclose(frame.grid_from_camera[0, 1, :3, 3], [2.5, 0, 1.5], atol=1e-5)
    assert_allclose(frame.world_from_grid[0, :3, 3], [1000, 500, 0], atol=1e-9)


def test_openoccupancy_has_z_first(tiny_nuscenes: Path) -> None:
    labels = random_labels((512, 512, 40), 17)
    folder = tiny_nuscenes / "nuScenes-Occupancy" / "scene_scene" / "occupancy"
    for token in ("key0 LIDAR_TOP", "key3 LIDAR_TOP"):
        write_openoccupancy(folder / f"{token}.npy", labels)
    found = samples(open_benchmark("openoccupancy", tiny_nuscenes))
    assert all(equal(sample, labels) and sample.frame is None for sample in found)
    # The first voxel listed is that of the minimum corner: z, y, x, class.
    path = folder / "key0 LIDAR_TOP.npy"
    rows = np.load(path)
    assert rows[0].tolist() == [0, 0, 0, 1] and rows[-1, :3].tolist() == [39, 511, 511]
    with_velocities = np.insert(rows.astype(float), [3, 3, 3], 0.5, axis=1)
    np.save(path, with_velocities)
    assert equal(open_benchmark("openoccupancy", tiny_nuscenes).sample(0), labels)


@pytest.fixture
def kitti(tmp_path: Path) -> tuple[Path, np.ndarray, np.ndarray]:
    """Scans 0 to 5 of sequence 08, of which the fifth has labels; labels and occluded voxels."""
    labels = random_labels(KITTI_SHAPE, KITTI_CLASSES)
    occluded = np.random.default_rng(0).random(KITTI_SHAPE) < 0.5
    for number in range(6):
        folder = write_kitti_scan(tmp_path, number, SCAN)
    write_kitti_voxels(folder, 5, labels, occluded, SCAN)
    return tmp_path, labels, occluded


def test_semantic_kitti(kitti: tuple[Path, np.ndarray, np.ndarray]) -> None:
    root, labels, occluded = kitti
    (sample,) = samples(open_benchmark("semantic_kitti", root, SIZE))
    assert sample.name == "08/000005" and sample.drive == "08"
    assert equal(sample, labels) and np.array_equal(sample.masks["occluded"], occluded)
    frame = sample.frame
    assert frame is not None and frame.stamp_ns == (500_000_000,)
    # The scan in its own axes, after the four of the 0.45 s before, each 2 m behind the next.
    points = frame.points[0].numpy()
    assert len(points) == 5 * 2
    assert_allclose(points[-2], [10, 2, -1, 127.5, 0], atol=1e-5)
    assert_allclose(points[0], [10 - 4 * 2, 2, -1, 127.5, 0.4], atol=1e-5)


def test_hidden_labels_are_ignored(tmp_path: Path) -> None:
    """The test sequences come with voxelised scans alone."""
    folder = write_kitti_scan(tmp_path, 0, SCAN, sequence="11")
    (folder / "voxels" / "000000.bin").write_bytes(bytes(256 * 256 * 32 // 8))
    (sample,) = samples(open_benchmark("semantic_kitti", tmp_path, SIZE, split="test"))
    assert sample.name == "11/000000" and sample.frame is not None
    assert (sample.labels == 255).all() and sample.labels.shape == KITTI_SHAPE
    with pytest.raises(FileNotFoundError, match=r"voxels/\*.label; give the folder"):
        open_benchmark("semantic_kitti", tmp_path)


def test_splits_of_semantic_kitti(kitti: tuple[Path, np.ndarray, np.ndarray]) -> None:
    root, *_ = kitti
    assert len(open_benchmark("semantic_kitti", root, split="val")) == 1
    with pytest.raises(FileNotFoundError, match=r"of the split 'train', \['00', '01'"):
        open_benchmark("semantic_kitti", root, split="train")
    with pytest.raises(ValueError, match=r"no split 'dev'; it has \['test', 'train', 'val'\]"):
        open_benchmark("semantic_kitti", root, split="dev")


def test_chosen_sequences(kitti: tuple[Path, np.ndarray, np.ndarray]) -> None:
    root, labels, occluded = kitti
    folder = write_kitti_scan(root, 0, SCAN, sequence="00")
    write_kitti_voxels(folder, 0, labels, occluded, SCAN)
    assert drive_names("semantic_kitti", root) == ["00", "08"]
    assert drive_names("semantic_kitti", root, "val") == ["08"]
    (sample,) = samples(open_benchmark("semantic_kitti", root, drives=["00"]))
    assert sample.name == "00/000000"
    with pytest.raises(
        ValueError, match=r"frames of the sequences \['03'\]; it has .*\['00', '08'\]"
    ):
        open_benchmark("semantic_kitti", root, drives=["00", "03"])


def test_chosen_drives_of_kitti_360(tmp_path: Path) -> None:
    labels = random_labels(KITTI_SHAPE, 19)
    other = "2013_05_28_drive_0000_sync"
    for drive in (DRIVE, other):
        write_kitti_360(tmp_path, 5, labels, drive=drive)
    assert drive_names("kitti360", tmp_path) == [other, DRIVE]
    assert drive_names("kitti360", tmp_path, "val") == [DRIVE]
    frames = open_frames("kitti360", tmp_path, [other], SIZE, BENCHMARKS["kitti360"].grid)
    assert len(frames) == 1 and frames.name(0) == f"{other}/000005"
    assert frames.label_path(0).name == "000005_1_1.npy"
    (scan,) = frames.sweeps(0)
    assert scan.stamp_ns == 500_000_000
    with pytest.raises(ValueError, match="no labelled frames of the sequences"):
        open_frames("kitti360", tmp_path, ["drive"], SIZE, BENCHMARKS["kitti360"].grid)


def test_chosen_scenes_of_nuscenes(tiny_nuscenes: Path) -> None:
    assert drive_names("occ3d", tiny_nuscenes) == ["scene-0061"]
    assert drive_names("occ3d", tiny_nuscenes, "mini_train") == ["scene-0061"]
    chosen = open_benchmark("occ3d", tiny_nuscenes, split="train", drives=["scene-0061"])
    assert len(chosen) == 2
    with pytest.raises(ValueError, match=r"scenes \['scene-0001'\] are not among the 1 of split"):
        open_benchmark("occ3d", tiny_nuscenes, split="train", drives=["scene-0001"])
    with pytest.raises(ValueError, match="scene-0001"):
        open_benchmark("occ3d", tiny_nuscenes, drives=["scene-0001"])


def test_the_benchmark_of_a_label_set() -> None:
    assert benchmark_of("nuscenes") == "surroundocc" and benchmark_of("kitti360") == "kitti360"
    with pytest.raises(ValueError, match="no data set has labels of 'mine'"):
        benchmark_of("mine")


def test_without_an_image_size_there_are_labels_alone(
    kitti: tuple[Path, np.ndarray, np.ndarray],
) -> None:
    data = open_benchmark("semantic_kitti", kitti[0])
    assert data.sample(0).frame is None
    with pytest.raises(ValueError, match="08/000005 has no frame without an image size"):
        data.frame(0)  # type: ignore[attr-defined]


@pytest.mark.parametrize("prepared", [True, False])
def test_kitti_360_from_prepared_and_from_raw_labels(tmp_path: Path, prepared: bool) -> None:
    labels = [random_labels(KITTI_SHAPE, 19, seed=seed) for seed in (0, 1)]
    for number, each in zip((0, 5), labels, strict=True):
        folder = write_kitti_360(tmp_path, number, each, prepared)
    found = samples(open_benchmark("kitti360", tmp_path, SIZE, split="val"))
    assert [sample.name for sample in found] == [f"{DRIVE}/000000", f"{DRIVE}/000005"]
    assert all(map(equal, found, labels))
    frame = found[1].frame
    assert frame is not None and frame.stamp_ns == (500_000_000,)
    # The first occupied voxel is the corner's: (0, -25.6, -2) and half a voxel of 0.2 m.
    assert_allclose(frame.points[0][0], [0.1, -25.5, -1.9, 0, 0], atol=1e-5)
    # The camera looks along the world's z and was moved 5 m along it; the Velodyne sees the camera
    # at (0.80, 0.30, -0.18).
    camera = frame.world_from_grid[0].numpy() @ [0.8043914418, 0.2993489574, -0.1770225824, 1]
    assert_allclose(camera, [0, 0, 5, 1], atol=1e-6)
    (folder / "voxels" / "000000.bin").unlink()
    assert open_benchmark("kitti360", tmp_path).sample(0).frame is None  # labels alone


def test_packed_flags_of_kitti_360_are_told_by_their_size(tmp_path: Path) -> None:
    labels = random_labels(KITTI_SHAPE, 19)
    folder = write_kitti_360(tmp_path, 0, labels, prepared=False)
    path = folder / "voxels" / "000000.invalid"
    np.packbits(np.fromfile(path, np.uint8)).tofile(path)
    assert equal(open_benchmark("kitti360", tmp_path).sample(0), labels)


def test_a_damaged_sample_stops_the_run_or_is_counted(tmp_path: Path) -> None:
    labels = random_labels(KITTI_SHAPE, 19)
    for number in (0, 5):
        write_kitti_360(tmp_path, number, labels)
    path = tmp_path / "preprocess" / "labels" / DRIVE / "000000_1_1.npy"
    path.write_bytes(path.read_bytes()[:-100])
    data = open_benchmark("kitti360", tmp_path)
    assert len(data) == 2
    with pytest.raises(ValueError, match="000000_1_1.npy"):
        samples(data)
    stream = SampleStream(data, damaged="skip")
    with pytest.warns(UserWarning, match="sample 0 is left out: .*000000_1_1.npy"):
        (kept,) = stream
    assert equal(kept, labels) and len(stream.skipped) == 1
    path.with_name("000005_1_1.npy").write_bytes(b"")
    with pytest.warns(UserWarning), pytest.raises(ValueError, match="none of the 2 samples"):
        list(SampleStream(data, damaged="skip"))


@pytest.mark.parametrize("name", sorted(BENCHMARKS))
def test_an_empty_folder_is_an_error_that_says_what_to_get(name: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="take|extract|Metadata"):
        open_benchmark(name, tmp_path)  # type: ignore[arg-type]


def test_labels_that_are_missing_are_named_with_their_archive(tiny_nuscenes: Path) -> None:
    for name, words in (
        ("surroundocc", "key0.pcd.bin.npy is missing; extract SurroundOcc"),
        ("occ3d", "gts/scene-0061/key0/labels.npz is missing; extract Occ3D"),
        (
            "openoccupancy",
            "scene_scene/occupancy/key0 LIDAR_TOP.npy is missing; extract nuScenes-O",
        ),
    ):
        with pytest.raises(FileNotFoundError, match=words):
            open_benchmark(name, tiny_nuscenes).sample(0)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["semantic_kitti", "kitti360", "surroundocc"])
def test_data_without_a_single_image_are_refused(name: str, tmp_path: Path) -> None:
    """One image is enough, since missing ones mask their cameras."""
    if name == "semantic_kitti":
        folder = write_kitti_scan(tmp_path, 0, SCAN)
        empty = np.zeros(KITTI_SHAPE, np.uint8)
        write_kitti_voxels(folder, 0, empty, empty.astype(bool), SCAN)
    elif name == "kitti360":
        write_kitti_360(tmp_path, 0, np.zeros(KITTI_SHAPE, np.uint8))
    else:
        write_tiny_nuscenes(tmp_path)
    data = open_benchmark(name, tmp_path, SIZE)  # type: ignore[arg-type]
    *others, _ = images = [*tmp_path.rglob("*.png"), *tmp_path.rglob("*.jpg")]
    for path in others:
        path.unlink()
    check_images(data)
    images[-1].unlink()
    with pytest.raises(FileNotFoundError, match="or use a model without cameras"):
        check_images(data)
