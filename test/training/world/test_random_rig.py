"""Rigs of other cars: what is drawn lies within what real sensors have, and repeats."""

from __future__ import annotations

import numpy as np
import pytest

from training.world.nuscenes.scene_options import SweepClock
from training.world.sensors.random_lidar import draw_lidar
from training.world.sensors.random_rig import draw_rig
from training.world.sensors.rig import CAMERAS, LIDAR, NUSCENES_RIG, LidarSpec, Rig

NUSCENES_POINTS_HZ = 32 * 1084 * 20  # beams x columns x sweeps a second


@pytest.fixture(scope="module")
def rigs() -> list[Rig]:
    return [draw_rig(np.random.default_rng(seed)) for seed in range(400)]


def is_familiar(lidar: LidarSpec) -> bool:
    return lidar.reports_lost


def test_the_same_seed_gives_the_same_rig(rigs: list[Rig]) -> None:
    assert draw_rig(np.random.default_rng(5)) == rigs[5] != rigs[6]


def test_half_of_the_lidars_are_about_that_of_nuscenes(rigs: list[Rig]) -> None:
    familiar = [rig.lidar for rig in rigs if is_familiar(rig.lidar)]
    # 400 tosses of a coin: 200 with a standard deviation of 10.
    assert 150 < len(familiar) < 250
    for lidar in familiar:
        assert (lidar.beams, lidar.columns, lidar.period_us) == (32, 1084, 50_000)
        assert lidar.yaw_deg == pytest.approx(-90.0, abs=3.0)
        assert lidar.position_m == pytest.approx(LIDAR.position_m, abs=0.25)


def test_other_lidars_are_of_all_kinds_and_within_bounds(rigs: list[Rig]) -> None:
    others = [rig.lidar for rig in rigs if not is_familiar(rig.lidar)]
    assert {lidar.beams for lidar in others} == {16, 32, 40, 64, 128}
    assert {lidar.period_us for lidar in others} == {50_000, 100_000}
    assert min(lidar.yaw_deg for lidar in others) < -120 < 120 < max(x.yaw_deg for x in others)
    for lidar in others:
        elevations = lidar.elevations_deg
        assert len(elevations) == lidar.beams and np.all(np.diff(elevations) > 0)
        assert -31 < elevations[0] < -14 and 1 < elevations[-1] < 23
        assert 0.1 <= 360 / lidar.columns <= 0.36
        assert 1.0 <= lidar.position_m[2] <= 2.5
        assert 0.01 <= lidar.range_noise_m <= 0.04 and 70 <= lidar.max_range_m <= 200
        assert SweepClock(lidar.period_us).per_keyframe in (5, 10)


def test_files_are_not_much_larger_than_those_of_nuscenes(rigs: list[Rig]) -> None:
    rates = [rig.lidar.beams * rig.lidar.columns / (rig.lidar.period_us * 1e-6) for rig in rigs]
    assert max(rates) <= 2 * NUSCENES_POINTS_HZ and np.mean(rates) < 1.5 * NUSCENES_POINTS_HZ


def test_cameras_keep_their_channels_and_look_about_their_way(rigs: list[Rig]) -> None:
    for rig in rigs:
        assert [c.channel for c in rig.cameras] == [c.channel for c in CAMERAS]
        for camera, usual in zip(rig.cameras, CAMERAS, strict=True):
            assert abs(camera.yaw_deg - usual.yaw_deg) < 10.01
            assert abs(camera.pitch_deg) < 6 and abs(camera.roll_deg) < 3
            lens_deg = 2 * np.degrees(np.arctan(800 / camera.focal_px))
            assert 44.9 < lens_deg < 110.1 and 1.0 < camera.position_m[2] < 2.3
            assert -rig.lidar.period_us <= camera.delay_us <= 0
        if not rig.follows_beam:
            assert len({camera.delay_us for camera in rig.cameras}) == 1


def test_a_camera_that_follows_the_beam_fires_when_it_passes(rigs: list[Rig]) -> None:
    rig = next(rig for rig in rigs if rig.follows_beam and not is_familiar(rig.lidar))
    lidar, camera = rig.lidar, rig.cameras[1]
    # The column that is fired at the exposure looks where the camera does, in the car's frame.
    fired = lidar.columns + camera.delay_us * 1e-6 / (lidar.period_us * 1e-6) * lidar.columns
    beam = lidar.directions()[round(fired) % lidar.columns, lidar.beams // 2]
    ahead = lidar.ego_from_lidar[:3, :3] @ beam
    bearing_deg = np.degrees(np.arctan2(ahead[1], ahead[0]))
    assert (bearing_deg - camera.yaw_deg + 180) % 360 - 180 == pytest.approx(0.0, abs=1.0)


def test_roll_leans_a_camera_to_its_right(rigs: list[Rig]) -> None:
    camera = max((c for rig in rigs for c in rig.cameras), key=lambda c: c.roll_deg)
    # The image's x axis (right) then points below the horizon.
    right, ahead = camera.ego_from_camera[:3, 0], camera.ego_from_camera[:3, 2]
    assert camera.roll_deg > 0 and right[2] < 0
    assert abs(right @ ahead) < 1e-9


def test_the_seam_of_a_revolution_lies_in_the_back_left_camera_of_nuscenes() -> None:
    assert NUSCENES_RIG.seam_camera == "CAM_BACK_LEFT"  # 97 degrees to the left; it looks to 110


def test_a_fan_needs_an_elevation_for_each_beam() -> None:
    with pytest.raises(ValueError, match="16 beams have 2 elevations"):
        LidarSpec(beams=16, fan_deg=(-1.0, 1.0))


def test_losses_and_intensities_differ_between_lidars() -> None:
    first, second = (draw_lidar(np.random.default_rng(seed)) for seed in (1, 2))
    assert first.response != second.response and first.losses != second.losses


def test_sweeps_of_10_hz_begin_with_their_drive() -> None:
    slow, fast = SweepClock(100_000), SweepClock(50_000)
    # Keyframes are at the same times; sweep 0 at 10 Hz would begin 50 ms before the drive.
    assert [fast.end_s(fast.keyframe_sweep(k)) for k in (0, 3)] == pytest.approx([0.55, 2.05])
    assert [slow.end_s(slow.keyframe_sweep(k)) for k in (0, 3)] == pytest.approx([0.55, 2.05])
    assert (fast.first_sweep, slow.first_sweep) == (0, 1)
    assert slow.end_s(slow.first_sweep) - 0.1 >= 0
    with pytest.raises(ValueError, match="must divide the 500000 us .* got 30000"):
        SweepClock(30_000)
