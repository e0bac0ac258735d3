"""Occupancy labels and visibility masks of the generated world, with answers worked out by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from occ_core.taxonomy import CLASS_ID
from occ_core.voxel_grid import SURROUNDOCC_GRID
from training.world.box_world import box, box_drive, plane, pose_at
from training.world.nuscenes.labels import DriveLabels, sample_surface, vote
from training.world.nuscenes.masks import PosedDepthImage, PosedSweep, camera_mask, lidar_mask
from training.world.scene import Drive
from training.world.sensors.raycast import RayCaster
from training.world.sensors.rig import LIDAR
from training.world.things.meshes import CATEGORY_ID

ROAD, CAR, WALL = CLASS_ID["driveable_surface"], CLASS_ID["car"], CLASS_ID["manmade"]


def labels_of(drive: Drive, time_s: float = 0.0) -> np.ndarray:
    return DriveLabels(RayCaster(drive), (0.0, 1.0), np.random.default_rng(0)).at(time_s)


def car_drive() -> Drive:
    """The ego vehicle stands; the faces of the other car lie inside voxels.

    In the ego frame they are at x 10.04 and 13.84, y 3.1 and 4.9, z 0 and 1.5.
    """
    car = box((-1.9, -0.9, 0.0), (1.9, 0.9, 1.5), "vehicle.car", "paint")
    actor = dataclasses.replace(
        box_drive().actors[0],
        mesh=car,
        size_wlh=(1.8, 3.8, 1.5),
        world_from_actor=lambda time_s: pose_at(11.94, 4.0),
    )
    return dataclasses.replace(box_drive(speed_mps=0.0), actors=(actor,))


def test_surface_samples_lie_evenly_on_the_surface() -> None:
    points, triangle = sample_surface(
        plane(5.0, "flat.sidewalk", "paving"), 0.2, np.random.default_rng(0)
    )
    # 100 square metres / 0.2^2; each of the two triangles may round up or down.
    assert len(points) == pytest.approx(2500, abs=2)
    assert np.all(points[:, 2] == 0) and np.abs(points).max() <= 5.0
    per_square_metre = np.histogram2d(
        points[:, 0], points[:, 1], bins=10, range=[[-5, 5], [-5, 5]]
    )[0]
    assert per_square_metre.min() >= 18 and per_square_metre.max() <= 33  # 25 on average
    assert set(triangle.tolist()) == {0, 1}


def test_a_box_fills_exactly_its_voxels() -> None:
    rows = labels_of(car_drive())
    assert rows.dtype == np.int64 and rows.shape[1] == 4
    car = {tuple(row[:3]) for row in rows.tolist() if row[3] == CAR}
    # LiDAR frame: x = -y_ego, y = x_ego - 0.94, z = z_ego - 1.84, so x -4.9..-3.1, y 9.1..12.9,
    # z -1.84..-0.34. Voxel indices (x + 50) / 0.5: 90.2..93.8; (y + 50) / 0.5: 118.2..125.8;
    # (z + 5) / 0.5: 6.32..9.32. So the car is the shell of a block of 4 x 8 x 4 voxels.
    shell = {
        (x, y, z)
        for x in range(90, 94)
        for y in range(118, 126)
        for z in range(6, 10)
        if x in (90, 93) or y in (118, 125) or z in (6, 9)
    }
    assert len(shell) == 4 * 8 * 4 - 2 * 6 * 2
    assert car == shell


def test_ground_lies_in_one_layer_and_no_voxel_is_listed_twice() -> None:
    rows = labels_of(box_drive(speed_mps=0.0))
    # z = 0 is -1.84 in the LiDAR frame: (5 - 1.84) / 0.5 = 6.32, layer 6.
    assert set(rows[rows[:, 3] == ROAD, 2].tolist()) == {6}
    assert len(np.unique(rows[:, :3], axis=0)) == len(rows)


def test_what_the_lidar_never_sees_is_not_labelled() -> None:
    rows = labels_of(box_drive(speed_mps=0.0))
    # The front of the wall is at x 40, so y = 39.06 in the LiDAR frame and index 178; its back at
    # 40.06, index 180, is hidden.
    wall = rows[(rows[:, 3] == WALL) & (np.abs(rows[:, 0] - 100) < 40)]
    assert 178 in wall[:, 1] and wall[:, 1].max() < 180
    # So are the road behind it and the road around the car (the lowest beam meets the ground 3.1 m
    # away).
    assert not ((rows[:, 3] == ROAD) & (rows[:, 1] > 182) & (np.abs(rows[:, 0] - 100) < 20)).any()
    assert not ((np.abs(rows[:, 0] - 99.5) < 4) & (np.abs(rows[:, 1] - 99.5) < 4)).any()


def test_static_labels_move_with_the_car() -> None:
    drive = box_drive(speed_mps=1.0)
    labels = DriveLabels(RayCaster(drive), (0.0, 1.0), np.random.default_rng(0))
    early, late = (rows[rows[:, 3] == WALL] for rows in (labels.at(0.0), labels.at(1.0)))
    # The car drives 1 m towards the wall: two voxels along y.
    assert early[:, 1].min() - late[:, 1].min() == 2


def test_an_object_wins_a_near_tie_against_the_ground_and_noise_stays_0() -> None:
    points = np.array([[0.1, 0.1, 0.1]] * 5 + [[1.1, 0.1, 0.1]] * 5, np.float32)
    pedestrian = CLASS_ID["pedestrian"]
    # A pedestrian's points count twice: 2 x 2 against 3 of the road, 1 x 2 against 4 of noise.
    labels = np.array([ROAD] * 3 + [pedestrian] * 2 + [0] * 4 + [pedestrian])
    assert vote(points, labels, SURROUNDOCC_GRID).tolist() == [
        [100, 100, 10, pedestrian],
        [102, 100, 10, 0],
    ]


def test_labels_repeat_with_their_seed() -> None:
    assert np.array_equal(labels_of(box_drive(), 0.5), labels_of(box_drive(), 0.5))


def one_ring(range_m: float) -> PosedSweep:
    """A sweep of a standing LiDAR: ring 24 returns from ``range_m``, no other beam returns."""
    is_return = np.zeros((LIDAR.columns, LIDAR.beams), bool)
    is_return[:, 24] = True
    points = np.where(is_return[..., None], LIDAR.directions() * range_m, 0.0).astype(np.float32)
    return PosedSweep(points.reshape(-1, 3), is_return.reshape(-1), np.eye(4), np.zeros(3))


def test_lidar_mask_contains_the_voxels_that_beams_cross_and_hit() -> None:
    mask = lidar_mask([one_ring(10.2)], SURROUNDOCC_GRID)
    # Ring 24 looks -30.67 + 24 * 4/3 = 1.33 degrees up and rises to 0.24 m, inside layer 10 (0 to
    # 0.5 m). Along +y it is the beam nearest to the centres (0.25 m up) from 7.2 m on, where they
    # are 2 degrees up, and it ends at 10.2 m, index 120.
    assert mask[100, 115:121, 10].all()
    assert not mask[100, 122:].any()
    assert not mask[:, :, :10].any() and not mask[:, :, 11:].any()


def test_lidar_mask_ignores_beams_without_return() -> None:
    sweep = one_ring(10.2)
    lost = dataclasses.replace(sweep, is_return=np.zeros_like(sweep.is_return))
    assert lidar_mask([lost], SURROUNDOCC_GRID).sum() == 0


def test_camera_mask_ends_at_the_first_surface() -> None:
    # A camera at the grid's origin looks along +x, 90 degrees wide and high, at a wall 20 m away.
    intrinsics = np.array([[50.0, 0, 49.5], [0, 50.0, 49.5], [0, 0, 1]])
    grid_from_camera = np.eye(4)
    grid_from_camera[:3, :3] = [[0, 0, 1], [-1, 0, 0], [0, -1, 0]]
    view = PosedDepthImage(np.full((100, 100), 20.0, np.float32), intrinsics, grid_from_camera)
    mask = camera_mask([view], SURROUNDOCC_GRID)
    assert mask[102:140, 100, 10].all()
    assert mask[140, 100, 10]  # centre 20.25 m away: within half a voxel's diagonal of the wall
    assert not mask[141:, 100, 10].any()  # 20.75 m
    assert not mask[:100].any()  # behind the camera
    assert not mask[110, 112:].any()  # centre at x 5.25, y 6.25: beyond 45 degrees


def test_lidarseg_categories_map_to_classes() -> None:
    rows = labels_of(dataclasses.replace(car_drive(), static=plane(60.0, "static.other", "metal")))
    assert set(rows[:, 3].tolist()) == {0, CAR}  # static.other has no class: noise, 0 in the file
    assert CATEGORY_ID["static.other"] == 29
