"""What LiDARs lose and invent, against a hand-made drive whose geometry is known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from training.world.box_world import CAR_WLH_M, box, box_drive, plane, pose_at
from training.world.scene import Actor, Drive, Mesh
from training.world.sensors.lidar import SimulatedSweep, actors_during_sweep, scan
from training.world.sensors.lidar_losses import dimming
from training.world.sensors.lidar_traits import IntensityResponse, LidarLosses
from training.world.sensors.raycast import Hits, RayCaster
from training.world.sensors.rig import LIDAR, LidarSpec
from training.world.things.materials import MATERIAL_ID
from training.world.things.meshes import CATEGORY_ID, join
from training.world.weather import Weather, harsh_settings, weather_settings

CLEAR = weather_settings("clear")
CAR, ROAD = CATEGORY_ID["vehicle.car"], CATEGORY_ID["flat.driveable_surface"]


def sweep_of(drive: Drive, lidar: LidarSpec, weather: Weather = CLEAR) -> SimulatedSweep:
    caster = RayCaster(drive)
    actors = actors_during_sweep(caster, drive.world_from_ego, 0.5, lidar)
    rng = np.random.default_rng(3)
    return scan(caster, drive.world_from_ego, 0.5, actors, weather, rng, lidar)


def with_losses(**losses: float) -> LidarSpec:
    return dataclasses.replace(LIDAR, losses=LidarLosses(**losses))


def car_of(material: str, tint: float = 1.0, speed_mps: float = 0.0, left_m: float = 0.0) -> Drive:
    """The box drive with a car of this material, 10 m ahead of the standing ego vehicle."""
    width, length, height = CAR_WLH_M
    low, high = (-length / 2, -width / 2, 0.0), (length / 2, width / 2, height)
    mesh = box(low, high, "vehicle.car", material)
    mesh = dataclasses.replace(mesh, tint=mesh.tint * np.float32(tint))
    actor = dataclasses.replace(
        box_drive().actors[0],
        attribute="vehicle.moving" if speed_mps else "vehicle.parked",
        mesh=mesh,
        world_from_actor=lambda time_s: pose_at(12.0 + speed_mps * (time_s - 0.5), left_m),
    )
    return dataclasses.replace(box_drive(speed_mps=0.0), actors=(actor,))


def on_car(drive: Drive, lidar: LidarSpec) -> int:
    sweep = sweep_of(drive, lidar)
    return int((sweep.is_return & (sweep.category == CAR)).sum())


def test_no_losses_by_default_draw_no_random_numbers() -> None:
    plain, zero = sweep_of(box_drive(), LIDAR), sweep_of(box_drive(), with_losses())
    assert np.array_equal(plain.points, zero.points)


def test_black_cars_lose_beams_and_white_ones_do_not() -> None:
    lidar = with_losses(dark_paint=1.0)
    usual = on_car(car_of("paint", 0.0), LIDAR)
    assert on_car(car_of("paint", 1.0), lidar) == pytest.approx(usual, rel=0.05)
    # 40 % of the beams are lost head-on, and more elsewhere.
    assert on_car(car_of("paint", 0.0), lidar) < 0.75 * usual


def test_a_mirror_loses_beams_away_from_its_normal() -> None:
    def on_chrome(left_m: float) -> float:
        drive = car_of("chrome", left_m=left_m)
        return on_car(drive, with_losses(mirrors=1.0)) / on_car(drive, LIDAR)

    # Straight ahead all beams meet the rear at 0 to 10 degrees; from the right, the side at 70.
    assert on_chrome(0.0) > 0.95 and on_chrome(4.0) < 0.8
    assert on_car(car_of("barrier_plastic"), with_losses(mirrors=1.0)) == pytest.approx(
        on_car(car_of("barrier_plastic"), LIDAR), rel=0.02
    )


def test_grazing_beams_are_lost_far_away_first() -> None:
    def on_road(lidar: LidarSpec) -> tuple[int, int]:
        sweep = sweep_of(box_drive(speed_mps=0.0), lidar)
        road = sweep.points[sweep.is_return & (sweep.category == ROAD)]
        distance = np.hypot(road[:, 0], road[:, 1])
        return int((distance < 8).sum()), int((distance > 20).sum())

    near, far = on_road(LIDAR)
    fewer_near, fewer_far = on_road(with_losses(grazing=1.0))
    assert fewer_near > 0.9 * near and fewer_far < 0.8 * far


def test_glossy_and_dark_paint_is_faint() -> None:
    def intensity(tint: float, gloss: float) -> float:
        sweep = sweep_of(car_of("paint", tint), with_losses(gloss=gloss))
        return float(sweep.points[sweep.is_return & (sweep.category == CAR), 3].mean())

    assert intensity(1.0, 0.0) == pytest.approx(intensity(0.1, 0.0), rel=0.05)
    assert intensity(0.1, 1.0) < 0.3 * intensity(1.0, 1.0)


def test_retroreflectors_grow_by_returns_that_are_noise() -> None:
    def noise_near(lidar: LidarSpec) -> int:
        sweep = sweep_of(car_of("retro_white"), lidar)
        found = sweep.is_return & (sweep.category == 0)
        return int((np.linalg.norm(sweep.points[found, :3], axis=1) < 13.0).sum())

    assert noise_near(LIDAR) == 0
    assert noise_near(with_losses(bloom=1.0)) > 10


def test_ghosts_lie_behind_their_mirror() -> None:
    # A wall of polished metal on the left, y = 4 to 5, mirrors the car on the right, y = -6.
    wall = box((0.0, 4.0, 0.0), (30.0, 5.0, 4.0), "static.manmade", "chrome")
    car = dataclasses.replace(
        box_drive().actors[0], world_from_actor=lambda time_s: pose_at(12.0, -6.0)
    )
    drive = dataclasses.replace(box_drive(speed_mps=0.0), static=wall, actors=(car,))
    sweep = sweep_of(drive, with_losses(mirrors=1.0, ghosts=1.0))
    ghosts = sweep.points[sweep.is_return & (sweep.category == 0)]
    # In the LiDAR frame x points right: behind the mirror is x < -4. The car's mirror image has
    # its near side at y = 4 + (4 + 5) = 13 m to the left.
    assert len(ghosts) > 20 and (ghosts[:, 0] < -4.0).all()
    assert np.abs(ghosts[:, 0] + 13.0).min() < 0.2


def test_beams_end_in_the_grass_above_the_ground() -> None:
    ground = plane(75.0, "flat.terrain", "tall_grass")
    drive = dataclasses.replace(box_drive(speed_mps=0.0), static=ground, actors=())

    def heights_m(pile: float) -> np.ndarray:
        lidar = dataclasses.replace(with_losses(pile=pile), range_noise_m=0.0)
        sweep = sweep_of(drive, lidar)
        points = sweep.points[sweep.is_return, :3]
        # beyond 6 m the cap of 1.5 m along the beam would cut off the highest blades
        near = np.hypot(points[:, 0], points[:, 1]) < 6.0
        return points[near, 2] + LIDAR.position_m[2]

    assert np.abs(heights_m(0.0)).max() < 1e-3
    short, tall = heights_m(0.5), heights_m(1.0)
    # Exponential heights: mean and deviation are 0.04 m x pile; 1000s of points, so within 10 %.
    assert tall.mean() == pytest.approx(0.04, rel=0.1) and tall.std() == pytest.approx(
        0.04, rel=0.1
    )
    assert short.mean() == pytest.approx(0.02, rel=0.1)
    bare = sweep_of(box_drive(), with_losses(pile=2.0))
    assert np.array_equal(bare.points, sweep_of(box_drive(), LIDAR).points)  # asphalt has no pile


def test_beams_beside_a_thin_post_return_neither_from_behind_the_wall_nor_from_the_wall() -> None:
    """A post of one column before a wall at 12 m: what is moved lies between the two, and the wall
    alone, which most beams meet aslant, has no edges.
    """
    wall = box((12.0, -30.0, 0.0), (13.0, 30.0, 12.0), "static.manmade", "plaster")
    post = box((9.9, -0.02, 0.0), (9.94, 0.02, 6.0), "static.manmade", "plaster")
    lidar = dataclasses.replace(with_losses(edges=1.0), range_noise_m=0.0)
    alone = dataclasses.replace(box_drive(speed_mps=0.0), static=wall, actors=())
    smooth = sweep_of(alone, lidar)
    noise = smooth.points[smooth.is_return & (smooth.category == 0)]
    assert len(noise) < 0.02 * smooth.is_return.sum()  # the wall's own ends
    assert (np.abs(noise[:, 0]) > 20.0).all()
    posted = sweep_of(dataclasses.replace(alone, static=join([wall, post])), lidar)
    moved = posted.points[posted.is_return & (posted.category == 0)]
    moved = moved[np.abs(moved[:, 0]) < 1.0]
    # y points ahead of the LiDAR, which stands 0.94 m ahead of the axle: 8.96 to 11.06 m
    assert len(moved) > 20
    assert moved[:, 1].min() > 8.9 and moved[:, 1].max() < 11.1


def test_beams_at_an_edge_return_from_between_the_object_and_what_is_behind() -> None:
    """A thin panel, 9 m ahead of the LiDAR, 2 m before a wall."""
    wall = box((12.0, -30.0, 0.0), (13.0, 30.0, 12.0), "static.manmade", "plaster")
    panel = box((9.9, -1.0, 0.0), (10.0, 1.0, 4.0), "static.manmade", "plaster")
    drive = dataclasses.replace(box_drive(speed_mps=0.0), static=join([wall, panel]), actors=())
    plain, blurred = sweep_of(drive, LIDAR), sweep_of(drive, with_losses(edges=1.0))
    before, after = (np.linalg.norm(sweep.points[:, :3], axis=1) for sweep in (plain, blurred))
    assert not (plain.is_return & (plain.category == 0)).any()
    moved = np.flatnonzero(blurred.is_return & (blurred.category == 0))
    assert len(moved) > 10
    around = np.stack([np.roll(before, step * LIDAR.beams)[moved] for step in (-1, 0, 1)])
    around[around == 0] = np.nan  # a beam without return
    assert (after[moved] > np.nanmin(around, axis=0) - 1e-3).all()
    assert (after[moved] < np.nanmax(around, axis=0) + 1e-3).all()
    middle = np.abs(after[moved] - around).min(axis=0, where=~np.isnan(around), initial=9.0)
    assert (middle > 0.3).sum() > 10


def wet_drive(speed_mps: float) -> tuple[SimulatedSweep, Weather]:
    weather = dataclasses.replace(
        harsh_settings("rain", np.random.default_rng(0)), backscatter=0.0, puddle_losses=0.0
    )
    return sweep_of(car_of("barrier_plastic", speed_mps=speed_mps), LIDAR, weather), weather


def test_spray_stands_behind_moving_cars_only() -> None:
    moving, _ = wet_drive(15.0)
    standing, _ = wet_drive(0.0)
    spray = moving.points[moving.is_return & (moving.category == 0)]
    assert not (standing.is_return & (standing.category == 0)).any()
    # The rear of the car is at 12 - 2 (half its length) - 0.94 (LiDAR) = 9.06 m ahead, and the
    # plume reaches 2 + 0.6 x 15 = 11 m back from there.
    assert len(spray) > 20
    assert spray[:, 1].max() < 9.2 and np.abs(spray[:, 0]).max() < 1.3


def test_heavy_rain_shortens_the_view_and_puddles_swallow_beams() -> None:
    weather = harsh_settings("rain", np.random.default_rng(0))
    assert weather.extinction_per_m == pytest.approx(0.03, rel=0.2)
    assert weather.backscatter == pytest.approx(0.05, rel=0.2)
    drive = box_drive(speed_mps=0.0)
    dry, wet = sweep_of(drive, LIDAR), sweep_of(drive, LIDAR, weather)
    deep = sweep_of(drive, LIDAR, dataclasses.replace(weather, puddle_losses=0.0))
    on_road = [int((s.is_return & (s.category == ROAD)).sum()) for s in (dry, deep, wet)]
    assert on_road[1] < 0.8 * on_road[0] and on_road[2] < 0.97 * on_road[1]
    scattered = wet.is_return & (wet.category == 0)
    # 5 % of the beams, less those on the roof or behind a nearer surface.
    assert 0.025 < scattered.mean() < 0.06


def test_intensity_follows_gain_gamma_falloff_and_ceiling() -> None:
    strength, near, far = np.array([51.0]), np.array([5.0]), np.array([20.0])
    assert IntensityResponse().intensity(strength, far) == 51.0
    assert IntensityResponse(gain=2.0).intensity(strength, near) == 102.0
    # 255 x (51 / 255)^0.5 = 255 x 0.4472
    assert IntensityResponse(gamma=0.5).intensity(strength, near) == pytest.approx(114.04, abs=0.01)
    # Half the strength at 20 m: (5 / 20)^0.5.
    assert IntensityResponse(falloff=0.5).intensity(strength, far) == pytest.approx(25.5)
    assert IntensityResponse(gain=9.0, ceiling=120.0).intensity(strength, near) == 120.0
    assert IntensityResponse(floor=50.0).intensity(strength, near) == 1.0
    assert IntensityResponse(floor=60.0).intensity(strength, near) == 0.0


def test_paint_sends_light_back_only_where_it_is_met_head_on() -> None:
    """White paint of gloss 1, whose clear coat mirrors 0.95 of what comes at a right angle to the
    normal: at 60 degrees 1 - 0.95 x (1 - 0.5^4) = 0.109.
    """
    paint, wall = (MATERIAL_ID[name] for name in ("paint", "plaster"))
    hits = Hits(
        range_m=np.full(3, 10.0),
        normal=np.zeros((3, 3)),
        material=np.array([paint, paint, wall]),
        category=np.array([CAR, CAR, CAR]),
        tint=np.ones((3, 3), np.float32),
        reflectance=np.ones(3, np.float32),
        actor=np.zeros(3, np.int32),
    )
    factors = dimming(hits, np.array([1.0, 0.5, 0.5]), LidarLosses(gloss=1.0))
    np.testing.assert_allclose(factors, [1.0, 0.109375, 1.0])


def test_plants_are_brighter_in_the_infrared() -> None:
    def intensity(material: str, infrared: float) -> float:
        ground = plane(75.0, "flat.terrain", material)
        drive = dataclasses.replace(box_drive(speed_mps=0.0), static=ground, actors=())
        response = dataclasses.replace(LIDAR.response, infrared=infrared)
        sweep = sweep_of(drive, dataclasses.replace(LIDAR, response=response))
        on_ground = sweep.is_return & (sweep.category == CATEGORY_ID["flat.terrain"])
        return float(sweep.points[on_ground, 3].mean())

    # 255 x 0.13 x (0.35 + 0.65 cosine) is far below the ceiling; intensities are whole numbers
    assert intensity("grass", 2.0) == pytest.approx(2.0 * intensity("grass", 1.0), rel=0.05)
    assert intensity("soil", 2.0) == intensity("soil", 1.0)


def test_the_roof_turns_with_the_car_and_not_with_the_lidar() -> None:
    turned = dataclasses.replace(LIDAR, yaw_deg=0.0)
    sweep = sweep_of(box_drive(speed_mps=0.0), turned)
    roof = sweep.points[sweep.category == 31]
    # x now points ahead: the roof reaches 0.68 m ahead, 0.90 m back, 0.52 m to the sides.
    assert -0.95 < roof[:, 0].min() < -0.7 and 0.5 < roof[:, 0].max() < 0.73
    assert np.abs(roof[:, 1]).max() < 0.57


def test_meshes_scale_reflectivity() -> None:
    def mean_intensity(factor: float) -> float:
        drive = car_of("barrier_plastic")
        mesh: Mesh = drive.actors[0].mesh
        dark = dataclasses.replace(mesh, reflectance=mesh.reflectance * np.float32(factor))
        actor: Actor = dataclasses.replace(drive.actors[0], mesh=dark)
        sweep = sweep_of(dataclasses.replace(drive, actors=(actor,)), LIDAR)
        return float(sweep.points[sweep.is_return & (sweep.category == CAR), 3].mean())

    assert mean_intensity(0.5) == pytest.approx(0.5 * mean_intensity(1.0), rel=0.1)
