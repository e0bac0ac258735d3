"""Cameras and LiDAR of the generated world against a hand-made drive whose geometry is known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from training.world.box_world import CAR_WLH_M, WALL_X_M, box_drive, pose_at
from training.world.scene import Drive
from training.world.sensors.camera import LitScene, RgbdImage, render
from training.world.sensors.lidar import EGO_CATEGORY, SimulatedSweep, actors_during_sweep, scan
from training.world.sensors.lights import LampSet
from training.world.sensors.optics import encode_jpeg
from training.world.sensors.raycast import RayCaster
from training.world.sensors.rig import CAMERAS, LIDAR
from training.world.sensors.sky import Sky
from training.world.things.meshes import CATEGORY_ID
from training.world.weather import weather_settings

SIZE = (180, 320)  # a fifth of 900 x 1600
FRONT = next(camera for camera in CAMERAS if camera.channel == "CAM_FRONT")


def image_of(drive: Drive, time_s: float = 0.0, seed: int = 3) -> RgbdImage:
    weather = weather_settings(drive.weather)
    caster = RayCaster(drive)
    pose = drive.world_from_ego(time_s) @ FRONT.ego_from_camera
    sky = Sky(weather, np.random.default_rng(1))
    actors = caster.actors_at(time_s, near_m=pose[:3, 3])
    lamps = LampSet(drive, drive.world_from_ego(time_s), actors.world_from_actor)
    scene = LitScene(caster, actors, lamps, sky, weather)
    return render(scene, FRONT, SIZE, pose, np.random.default_rng(seed))


def sweep_of(drive: Drive, end_s: float = 0.5, seed: int = 3) -> SimulatedSweep:
    caster = RayCaster(drive)
    actors = actors_during_sweep(caster, drive.world_from_ego, end_s)
    return scan(
        caster,
        drive.world_from_ego,
        end_s,
        actors,
        weather_settings(drive.weather),
        np.random.default_rng(seed),
    )


def test_intrinsics_scale_about_pixel_corners() -> None:
    # Scale 1/2: the coordinate 816 becomes (816 + 0.5) / 2 - 0.5 = 407.75, and 491 becomes 245.25.
    # 450 - 350 = 100 rows are cropped at the top.
    assert FRONT.intrinsics((350, 800)) == pytest.approx(
        np.array([[633, 0, 407.75], [0, 633, 245.25 - 100], [0, 0, 1.0]])
    )


def test_front_camera_looks_ahead_and_slightly_down() -> None:
    # Optical axis (third column) in the ego frame at pitch 0.3 degrees: (cos, 0, -sin).
    pitch = np.radians(0.3)
    assert FRONT.ego_from_camera[:3, 2] == pytest.approx([np.cos(pitch), 0.0, -np.sin(pitch)])


def test_the_upper_edge_of_the_wall_lands_at_its_pixel() -> None:
    drive = box_drive()
    depth = image_of(drive).depth_m
    # A point on the wall's upper edge, (40, -12, 12), seen from the camera at (1.7, 0, 1.51):
    ahead, up, pitch = WALL_X_M - 1.7, 12.0 - 1.51, np.radians(0.3)
    z = ahead * np.cos(pitch) - up * np.sin(pitch)
    y = -(ahead * np.sin(pitch) + up * np.cos(pitch))
    intrinsics = FRONT.intrinsics(SIZE)
    row = intrinsics[1, 1] * y / z + intrinsics[1, 2]
    column = round(intrinsics[0, 0] * 12.0 / z + intrinsics[0, 2])
    assert 0 < row < SIZE[0] and 0 < column < SIZE[1]
    assert np.isinf(depth[int(np.floor(row)), column])
    assert depth[int(np.floor(row)) + 1, column] == pytest.approx(z, abs=0.05)


def test_the_edge_of_the_box_lands_at_its_pixel() -> None:
    depth = image_of(box_drive()).depth_m
    # The right face of the box runs from x 10 to x 14 at y 3, so from 8.3 to 12.3 m ahead of the
    # camera. The row lies just below the horizon.
    intrinsics = FRONT.intrinsics(SIZE)
    near, far = (intrinsics[0, 2] - intrinsics[0, 0] * 3.0 / ahead for ahead in (8.3, 12.3))
    row = depth[round(intrinsics[1, 2]) + 5]
    assert row[int(near) - 1] == pytest.approx(8.3, abs=0.1)
    assert row[int(near) + 2] == pytest.approx(8.5, abs=0.2)
    assert row[int(far) - 1] == pytest.approx(12.2, abs=0.3)
    assert row[int(far) + 2] > 20.0


def test_lidar_range_to_the_wall_is_exact_within_its_noise_while_driving() -> None:
    sweep = sweep_of(box_drive(speed_mps=10.0), end_s=0.5)
    wall = sweep.points[sweep.category == CATEGORY_ID["static.manmade"]]
    # At the end of the sweep the LiDAR is at x = 10 * 0.5 + 0.94, and its y axis points ahead: the
    # face stands 34.06 m away.
    straight = wall[np.hypot(wall[:, 0], wall[:, 2]) < 0.2 * wall[:, 1]]
    error = straight[:, 1] - (WALL_X_M - 10.0 * 0.5 - 0.94)
    assert len(straight) > 500
    assert abs(error.mean()) < 0.003
    assert error.std() == pytest.approx(LIDAR.range_noise_m, rel=0.2)


def test_rows_are_in_firing_order_and_rings_have_their_elevations() -> None:
    sweep = sweep_of(box_drive(speed_mps=0.0))
    assert sweep.points.shape == (LIDAR.columns * LIDAR.beams, 5)
    assert sweep.points[:64, 4].tolist() == [*range(32), *range(32)]
    hit = sweep.points[sweep.is_return].astype(np.float64)
    elevation = np.degrees(np.arcsin(hit[:, 2] / np.linalg.norm(hit[:, :3], axis=1)))
    # Ring r looks -30.67 + r * 4/3 degrees up: ring 31 at 10.66.
    assert elevation == pytest.approx(-30.67 + hit[:, 4] * 4 / 3, abs=1e-3)
    assert (
        np.all(hit[:, 3] == np.round(hit[:, 3])) and hit[:, 3].min() >= 0 and hit[:, 3].max() <= 255
    )


def test_beams_without_return_lie_at_the_sensor_and_are_noise() -> None:
    sweep = sweep_of(box_drive(speed_mps=0.0))
    lost = ~sweep.is_return & (sweep.category != EGO_CATEGORY)
    assert np.abs(sweep.points[lost, :3]).max() < 1e-5
    assert np.all(sweep.category[lost] == CATEGORY_ID["noise"])
    # Above the horizon there is only the wall, ahead; behind the car, ring 31 points to the sky.
    ring = sweep.points[:, 4]
    forward = np.repeat(np.cos(np.radians(LIDAR.azimuths_deg)), LIDAR.beams)
    assert lost[(ring == 31) & (forward < 0)].all()


def test_own_roof_is_labelled_ego() -> None:
    sweep = sweep_of(box_drive(speed_mps=0.0))
    points = sweep.points[sweep.category == EGO_CATEGORY]
    assert 1500 < len(points) < 6000
    assert points[:, 2] == pytest.approx(-0.36, abs=0.06)


def test_a_moving_car_is_measured_where_the_beam_passes_it() -> None:
    speed = 20.0
    car = dataclasses.replace(
        box_drive().actors[0], world_from_actor=lambda time_s: pose_at(20.0 + speed * time_s, 0.0)
    )
    sweep = sweep_of(dataclasses.replace(box_drive(speed_mps=0.0), actors=(car,)), end_s=0.5)
    rear = sweep.points[sweep.category == CATEGORY_ID["vehicle.car"]]
    rear = rear[rear[:, 2] < -0.5]
    # The beam points ahead 97/360 of a revolution after the start, 36.5 ms before the end, when the
    # car is 0.73 m short of its place at the end. Its rear is then 20 + 20 * 0.5 - 2 (half its
    # length) - 0.94 (LiDAR) - 0.73 m ahead.
    assert np.median(rear[:, 1]) == pytest.approx(
        20 + speed * 0.5 - CAR_WLH_M[1] / 2 - 0.94 - speed * 0.05 * (1 - 97 / 360), abs=0.03
    )


def test_rain_removes_returns_shortens_the_range_and_scatters_beams() -> None:
    dry = sweep_of(box_drive("clear", speed_mps=0.0))
    wet = sweep_of(box_drive("rain", speed_mps=0.0))
    road = CATEGORY_ID["flat.driveable_surface"]
    assert wet.is_return.sum() < 0.9 * dry.is_return.sum()
    assert (wet.category == road).sum() < 0.8 * (dry.category == road).sum()
    noise = CATEGORY_ID["noise"]
    assert not (dry.is_return & (dry.category == noise)).any()
    scattered = wet.points[wet.is_return & (wet.category == noise)]
    assert len(scattered) > 100 and np.median(np.linalg.norm(scattered[:, :3], axis=1)) < 6.0


def test_night_is_dark_except_in_the_headlights() -> None:
    day, night = image_of(box_drive("clear")), image_of(box_drive("night"))
    near = (night.depth_m > 5.0) & (night.depth_m < 12.0)
    far = (night.depth_m > 25.0) & (night.depth_m < 37.0)
    near[:, :100] = near[:, 220:] = False  # the headlights point ahead
    assert night.rgb.mean() < 0.6 * day.rgb.mean()
    assert night.rgb[near].mean() > 1.5 * night.rgb[far].mean()
    assert day.rgb[near].mean() == pytest.approx(day.rgb[far].mean(), rel=0.3)


def test_images_and_jpegs_repeat_with_the_seed_and_differ_without() -> None:
    first, again, other = (image_of(box_drive("rain"), seed=seed).rgb for seed in (3, 3, 4))
    assert encode_jpeg(first) == encode_jpeg(again)
    assert not np.array_equal(first, other)


def test_unknown_weather_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'snow'.*clear, rain, night, rain at night"):
        weather_settings("snow")


def test_wide_images_agree_with_pixel_by_pixel_casting() -> None:
    drive = box_drive(speed_mps=0.0)
    caster, size = RayCaster(drive), (450, 800)
    pose = drive.world_from_ego(0.0) @ FRONT.ego_from_camera
    actors = caster.actors_at(0.0, near_m=pose[:3, 3])
    row, column = np.mgrid[0 : size[0], 0 : size[1]]
    pixels = np.stack([column, row, np.ones_like(row)], axis=-1).reshape(-1, 3)
    rays = pixels @ np.linalg.inv(FRONT.intrinsics(size)).T @ pose[:3, :3].T
    rays = (rays / np.linalg.norm(rays, axis=1, keepdims=True)).astype(np.float32)
    fast = caster.cast_image(pose[:3, 3], rays, size, actors)
    exact = caster.cast(pose[:3, 3], rays, actors)
    assert set(exact.actor.tolist()) == {-1, 0} and np.isinf(exact.range_m).any()
    # Rounding may put a ray that meets an edge on either side of it: 1 pixel in 10,000.
    same = (fast.material == exact.material) & (fast.actor == exact.actor)
    assert np.count_nonzero(~same) <= len(same) // 10_000
    np.testing.assert_allclose(fast.range_m[same], exact.range_m[same], rtol=1e-3)
