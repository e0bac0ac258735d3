"""A drive of the hard world on disk: other sensors, the same layout."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from occ_core.datasets.nuscenes import NuScenes
from training.world.box_world import box_drive
from training.world.nuscenes import tables
from training.world.nuscenes.labels import DriveLabels
from training.world.nuscenes.masks import PosedSweep, lidar_mask
from training.world.nuscenes.scene_options import SceneOptions
from training.world.nuscenes.writer import SceneWriter
from training.world.sensors.raycast import RayCaster
from training.world.sensors.rig import LIDAR
from training.world.style import HARD

OPTIONS = SceneOptions(keyframes=2, image_size=(36, 64))


def writer_of(root: Path, rig: int, weather: str = "rain at night") -> SceneWriter:
    drive = dataclasses.replace(box_drive(weather, duration_s=OPTIONS.end_s), style=HARD)
    return SceneWriter(root, drive, 7, 0, dataclasses.replace(OPTIONS, rig=rig))


def test_scenes_of_one_town_share_their_sensors(tmp_path: Path) -> None:
    clear, rain, other = (
        writer_of(tmp_path, rig, weather).rig
        for rig, weather in ((3, "clear"), (3, "rain"), (4, "rain"))
    )
    assert clear == rain != other


@pytest.fixture(scope="module")
def slow_drive(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SceneWriter]:
    """A scene whose LiDAR turns at 10 Hz and reports no lost beams."""
    root = tmp_path_factory.mktemp("hard")
    writer = next(
        writer
        for writer in (writer_of(root, rig) for rig in range(40))
        if writer.rig.lidar.period_us == 100_000 and writer.rig.lidar.beams <= 64
    )
    tables.write_json(root / "part.json", writer.write())
    tables.assemble(root, OPTIONS.version, [root / "part.json"])
    return root, writer


def test_ten_hertz_give_five_sweeps_a_keyframe(slow_drive: tuple[Path, SceneWriter]) -> None:
    root, _ = slow_drive
    nuscenes = NuScenes(root)
    sweeps = nuscenes.lidar_sweeps("scene-box")
    assert len(sweeps) == 5 + 5 and {*np.diff([s.stamp_ns for s in sweeps])} == {100_000_000}
    first, second = nuscenes.keyframes()
    assert second.stamp_ns - first.stamp_ns == 500_000_000
    assert (len(first.sweeps), len(second.sweeps)) == (4, 9)


def test_calibration_points_and_labels_are_of_the_drawn_rig(
    slow_drive: tuple[Path, SceneWriter],
) -> None:
    root, writer = slow_drive
    keyframe = NuScenes(root).keyframes()[0]
    rig = writer.rig
    assert keyframe.lidar.ego_from_lidar == pytest.approx(rig.lidar.ego_from_lidar, abs=1e-6)
    for camera in rig.cameras:
        view = keyframe.cameras[camera.channel]
        assert view.ego_from_camera == pytest.approx(camera.ego_from_camera, abs=1e-6)
        assert view.intrinsics == pytest.approx(camera.intrinsics((36, 64)))
        assert view.stamp_ns - keyframe.stamp_ns == camera.delay_us * 1000
    points, classes = keyframe.lidar.read(), keyframe.read_lidarseg()
    assert len(points) == len(classes) < rig.lidar.beams * rig.lidar.columns
    assert (np.linalg.norm(points[:, :3], axis=1) > 0.1).all()
    assert points[:, 3].min() >= 0 and points[:, 3].max() <= 255
    assert points[:, 4].max() < rig.lidar.beams


def test_the_same_hard_drive_gives_the_same_bytes(
    slow_drive: tuple[Path, SceneWriter], tmp_path: Path
) -> None:
    root, writer = slow_drive
    writer_of(tmp_path, writer.options.rig).write()
    for path in sorted((tmp_path / "samples").rglob("*.*")):
        assert path.read_bytes() == (root / path.relative_to(tmp_path)).read_bytes(), path.name


def test_labels_turn_with_the_lidar() -> None:
    caster, rng = RayCaster(box_drive(speed_mps=0.0)), np.random.default_rng
    usual = DriveLabels(caster, (0.0, 1.0), rng(0)).at(0.0)
    turned = dataclasses.replace(LIDAR, yaw_deg=0.0)
    rows = DriveLabels(caster, (0.0, 1.0), rng(0), lidar=turned).at(0.0)
    # x_turned = y_usual and y_turned = -x_usual, so the index runs backwards: 199 - ix. A sample
    # on the face of a voxel may fall to either side.
    expected = {(y, 199 - x, z, label) for x, y, z, label in usual.tolist()}
    found = {tuple(row) for row in rows.tolist()}
    assert len(expected & found) > 0.99 * len(expected)


def test_labels_reach_as_far_up_and_down_as_those_of_nuscenes() -> None:
    """A LiDAR of 16 beams does not see the road before it; it is there all the same."""
    caster, rng = RayCaster(box_drive(speed_mps=0.0)), np.random.default_rng
    narrow = dataclasses.replace(
        LIDAR, beams=16, fan_deg=tuple(np.linspace(-15.0, 10.67, 16).tolist())
    )
    usual = DriveLabels(caster, (0.0, 1.0), rng(0)).at(0.0)
    assert np.array_equal(DriveLabels(caster, (0.0, 1.0), rng(0), lidar=narrow).at(0.0), usual)


def test_the_lidar_mask_of_an_uneven_fan_is_that_of_an_even_one_with_its_elevations() -> None:
    even = dataclasses.replace(LIDAR, fan_deg=tuple(LIDAR.elevations_deg.tolist()), step_deg=0.0)
    is_return = np.ones(LIDAR.columns * LIDAR.beams, bool)
    points = (LIDAR.directions() * 12.3).reshape(-1, 3).astype(np.float32)
    sweep = PosedSweep(points, is_return, np.eye(4), np.zeros(3))
    grid = DriveLabels(RayCaster(box_drive()), (0.0, 0.1), np.random.default_rng(0)).grid
    usual, listed = (lidar_mask([sweep], grid, lidar) for lidar in (LIDAR, even))
    # A centre halfway between two beams may go to either.
    assert (usual != listed).sum() <= 20 and usual.sum() > 10_000
