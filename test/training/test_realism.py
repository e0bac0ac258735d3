"""Realism: statistics of hand-made sweeps and pictures, and the table of generated drives."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from occ_core.taxonomy import CLASS_ID
from training.realism import RealismConfig, measure_realism
from training.realism_parts.comparison import compare
from training.realism_parts.image_statistics import IMAGE_QUANTITIES, image_samples
from training.realism_parts.lidar_statistics import LIDAR_QUANTITIES, lidar_samples
from training.realism_parts.recordings import nuscenes_drives, pooled
from training.results.realism_table import as_markdown, realism_table


def ring(elevation_deg: float, range_m: float, count: int = 1440) -> np.ndarray:
    """Returns float64 [count, 4] of one beam all around, with intensity 8."""
    azimuth = np.linspace(0, 2 * np.pi, count, endpoint=False) + 1e-3
    elevation = np.radians(elevation_deg)
    flat = np.cos(elevation) * range_m
    z = np.full(count, np.sin(elevation) * range_m)
    return np.column_stack([flat * np.cos(azimuth), flat * np.sin(azimuth), z, np.full(count, 8.0)])


def test_a_ring_has_its_range_elevation_and_height() -> None:
    # 9.75 degrees down at 10 m: z = -1.693, which is the ground itself.
    samples = lidar_samples(ring(-9.75, 10.0))
    assert samples["range_m"] == pytest.approx(10.0)
    assert samples["elevation_deg"] == pytest.approx(-9.75)
    assert np.abs(samples["height_m"]).max() <= 0.06
    assert set(samples["intensity"]) == {8.0} == set(samples["intensity_ground"])
    assert "intensity_above" not in samples
    assert samples["no_return"] == pytest.approx(0.0)


def test_directions_without_return_are_counted_in_scanned_rows() -> None:
    points = ring(-9.75, 10.0)
    assert lidar_samples(points[:720])["no_return"] == pytest.approx(0.5, abs=0.01)
    # A return at the sensor is none.
    points[:720, :3] = 0.0
    assert lidar_samples(points)["no_return"] == pytest.approx(0.5, abs=0.01)
    assert lidar_samples(points[:0]) == {}


def test_intensity_by_class_is_in_octaves() -> None:
    points = np.concatenate([ring(-10.0, 10.0), ring(-8.0, 12.0), ring(2.0, 20.0)])
    road, trees = CLASS_ID["driveable_surface"], CLASS_ID["vegetation"]
    classes = np.repeat([road, road, trees], 1440)
    points[classes == trees, 3] = 32.0
    samples = lidar_samples(points, classes)
    # log2(32 / 8) = 2
    assert samples["road_intensity"] == 0.0 and samples["vegetation_intensity"] == 2.0
    assert samples["intensity_spread"] == 0.0 and "car_intensity" not in samples


def test_shares_are_of_the_points_with_a_class() -> None:
    """Of 4 rings one has no class; of the others one is road, one car, and one of another class."""
    points = np.concatenate([ring(-10.0, range_m) for range_m in (8.0, 9.0, 10.0, 11.0)])
    numbers = [0, CLASS_ID["driveable_surface"], CLASS_ID["car"], CLASS_ID["truck"]]
    samples = lidar_samples(points, np.repeat(numbers, 1440))
    for name in ("road_share", "car_share", "other_share"):
        assert samples[name] == pytest.approx(1 / 3)
    assert samples["terrain_share"] == 0.0
    assert "road_share" not in lidar_samples(points, np.zeros(len(points), int))


def test_roughness_is_the_deviation_from_the_plane_of_a_patch() -> None:
    """Level ground and a wall that is turned by 0.3 rad, each with normal errors of 1 and 3 cm away
    from its plane. A patch of about 50 points has the deviation within some 10 %; so has the mean.
    """
    rng = np.random.default_rng(0)
    ground = np.column_stack(
        [rng.uniform(3, 11, 5000), rng.uniform(-4, 4, 5000), rng.normal(-1.2, 0.01, 5000)]
    )
    along, away = rng.uniform(0, 8, 3000), rng.normal(0, 0.03, 3000)
    x, y = (
        3 + along * np.cos(0.3) - away * np.sin(0.3),
        5 + along * np.sin(0.3) + away * np.cos(0.3),
    )
    wall = np.column_stack([x, y, rng.uniform(0, 3, 3000)])
    beam = np.column_stack([np.linspace(3, 5, 200), np.full(200, -8.0), np.full(200, 1.0)])
    points = np.concatenate([ground, wall, beam])
    points = np.column_stack([points, np.full(len(points), 9.0)])
    names = ["terrain"] * 5000 + ["manmade"] * 3000 + ["car"] * 200
    samples = lidar_samples(points, np.array([CLASS_ID[name] for name in names]))
    assert samples["terrain_roughness"].mean() == pytest.approx(1.0, rel=0.1)
    assert samples["manmade_roughness"].mean() == pytest.approx(3.0, rel=0.15)
    assert "car_roughness" not in samples  # the points of one beam span no plane
    assert "road_roughness" not in samples


def test_pictures_of_one_colour_and_of_noise() -> None:
    grey = image_samples(np.full((99, 176, 3), 119, np.uint8))
    # sRGB 119 is L = 50.
    assert grey["brightness"] == pytest.approx(50.0, abs=0.5)
    assert grey["contrast"] == pytest.approx(0.0, abs=0.05)
    assert grey["chroma"] == pytest.approx(0.0, abs=0.1)
    noise = image_samples(np.random.default_rng(0).integers(0, 255, (198, 352, 3), np.uint8))
    assert noise["gradient"] > 10 and noise["fine_detail"] > 10
    assert image_samples(np.zeros((99, 176, 3), np.uint8))["dark"] == 1.0
    assert set(grey) == set(IMAGE_QUANTITIES)


def test_distances_are_in_standard_deviations_of_the_real_samples() -> None:
    # The real samples 0 and 2 have the standard deviation 1; 5 and 7 lie 5 away.
    real = {"a": [{"range_m": np.array([0.0, 2.0])}]}
    worlds = {"w": [{"range_m": np.array([5.0, 7.0])}, {"range_m": np.array([1.0, 3.0])}]}
    compared = compare(real, worlds)
    # On average 5, 7, 1, 3 lie 3 away; the second drive 1.
    assert compared["distance"] == {"w": {"range_m": 3.0}}
    assert compared["nearest"] == {"w": {"range_m": 1.0}}
    assert compared["means"] == {"a": {"range_m": 1.0}, "w": {"range_m": 4.0}}


def test_samples_are_pooled_by_quantity() -> None:
    merged = pooled([{"a": np.array([1.0])}, {"a": np.array([2.0]), "b": np.array([3.0])}])
    assert merged["a"].tolist() == [1.0, 2.0] and merged["b"].tolist() == [3.0]


def kitti(root: Path) -> None:
    """A SemanticKITTI folder with one scan: a ring of road, and the car that it stands on."""
    folder = root / "sequences" / "00"
    for name in ("velodyne", "labels", "image_2"):
        (folder / name).mkdir(parents=True)
    points = ring(-10.0, 10.0).astype(np.float32)
    points[0, :3] = 1.5, 0.0, -0.5  # a return of the recording car, which frames leave out
    points[:, 3] = 0.3
    points.tofile(folder / "velodyne" / "000000.bin")
    np.full(len(points), 40, np.uint32).tofile(folder / "labels" / "000000.label")
    cv2.imwrite(str(folder / "image_2" / "000000.png"), np.full((60, 200, 3), 90, np.uint8))
    rows = "700 0 100 0 0 700 30 0 0 0 1 0"
    (folder / "calib.txt").write_text(f"P2: {rows}\nTr: 0 -1 0 0 0 0 -1 0 1 0 0 0\n")
    (folder / "poses.txt").write_text("1 0 0 0 0 1 0 0 0 0 1 0\n")
    (folder / "times.txt").write_text("0.0\n")


def test_generated_drives_are_compared_with_all_real_sets(box_town: Path, tmp_path: Path) -> None:
    real = tmp_path / "real"
    kitti(real / "kitti")
    (real / "nuscenes").symlink_to(box_town)
    (real / "README.md").write_text("About.\n")
    result = measure_realism(RealismConfig((box_town,), real))
    name = box_town.name
    assert set(result["means"]) == {"kitti", "nuscenes", name}
    assert 0 < result["distance"][name]["range_m"] < 10
    # The same drives are among the real ones, so that the nearest is 0 there.
    assert result["nearest"][name]["brightness"] < result["distance"][name]["brightness"]
    (tmp_path / "realism.json").write_text(json.dumps(result))
    table = realism_table(tmp_path)
    assert table == as_markdown(result) and name in table
    assert len(table.splitlines()) == 2 + len(LIDAR_QUANTITIES) + len(IMAGE_QUANTITIES) + 2


def test_folders_without_data_are_refused(box_town: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no folder in nuScenes or SemanticKITTI layout"):
        measure_realism(RealismConfig((box_town,), tmp_path))
    with pytest.raises(ValueError, match="share a name"):
        measure_realism(RealismConfig((box_town, box_town), tmp_path))


def test_a_folder_without_lidarseg_needs_no_numbered_categories(box_town: Path, tmp_path: Path):
    """nuScenes' own tables number no category; nuScenes-lidarseg's do."""
    root = tmp_path / "copy"
    shutil.copytree(box_town, root)
    tables = root / "v1.0-town"
    (tables / "lidarseg.json").unlink()
    categories = json.loads((tables / "category.json").read_text())
    text = json.dumps([{**category, "index": 0} for category in categories])
    (tables / "category.json").write_text(text)
    drives = nuscenes_drives(root)
    assert len(drives) == 3 and not any("road_intensity" in samples for samples in drives)
