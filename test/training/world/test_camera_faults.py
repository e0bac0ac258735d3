"""What weather, lenses and electronics do to pictures."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from training.world.box_world import box_drive, pose_at
from training.world.scene import Drive
from training.world.sensors.camera import LitScene, RgbdImage, render
from training.world.sensors.camera_look import CameraLook, draw_look
from training.world.sensors.exposure import metered_exposure, saturate, set_colours, sharpen
from training.world.sensors.lens import blur, scatter_lights, wet
from training.world.sensors.lights import LampSet
from training.world.sensors.optics import develop, encode_jpeg
from training.world.sensors.raycast import RayCaster
from training.world.sensors.rig import CAMERAS
from training.world.sensors.sky import Sky
from training.world.weather import Weather, harsh_settings, weather_settings

SIZE = (90, 160)
FRONT = next(camera for camera in CAMERAS if camera.channel == "CAM_FRONT")


def image_of(drive: Drive, weather: Weather, look: CameraLook | None = None) -> RgbdImage:
    camera = dataclasses.replace(FRONT, look=look or CameraLook())
    caster = RayCaster(drive)
    pose = drive.world_from_ego(0.0) @ camera.ego_from_camera
    actors = caster.actors_at(0.0, near_m=pose[:3, 3])
    lamps = LampSet(drive, drive.world_from_ego(0.0), actors.world_from_actor)
    scene = LitScene(caster, actors, lamps, Sky(weather, np.random.default_rng(1)), weather)
    return render(scene, camera, SIZE, pose, np.random.default_rng(3))


def harsh(name: str, seed: int = 0) -> Weather:
    return harsh_settings(name, np.random.default_rng(seed))


def oncoming() -> Drive:
    """A car 25 m ahead that drives towards the ego vehicle, so that its headlights dazzle."""
    facing = pose_at(25.0, 2.0)
    facing[:2, :2] = -np.eye(2)
    car = dataclasses.replace(
        box_drive().actors[0], attribute="vehicle.moving", world_from_actor=lambda time_s: facing
    )
    return dataclasses.replace(box_drive(speed_mps=0.0), actors=(car,))


def test_harsh_nights_are_darker_than_mild_ones() -> None:
    drive = box_drive("night", speed_mps=0.0)
    mild = image_of(drive, weather_settings("night"))
    sky = np.isinf(mild.depth_m)
    for seed in range(4):
        dark = image_of(drive, harsh("night", seed))
        # 0.018 against at most 0.008, which the tone curve of 1 / 2.2 makes 0.69.
        assert dark.rgb[sky].mean() < 0.8 * mild.rgb[sky].mean()


def test_headlights_that_face_the_camera_are_blown_out_with_a_halo() -> None:
    drive = oncoming()
    night = harsh("night")
    without = dataclasses.replace(night, lamp_glare=0.0)
    glaring, plain = image_of(drive, night).rgb, image_of(drive, without).rgb
    brighter = glaring.astype(int) - plain
    row, column = np.unravel_index(brighter.sum(axis=2).argmax(), SIZE)
    # The lamp at (23, 2, 0.65): 21.3 m ahead, 2 m to the left, 0.86 m below the camera.
    intrinsics = FRONT.intrinsics(SIZE)
    expected = intrinsics[0, 2] - intrinsics[0, 0] * 2.0 / 21.3
    assert column == pytest.approx(expected, abs=2.0)
    assert glaring[row, column].min() > 225
    assert (brighter.sum(axis=2) > 30).sum() > 12


def test_a_lamp_behind_a_wall_does_not_dazzle() -> None:
    drive = oncoming()
    far = pose_at(60.0, 0.0)
    far[:2, :2] = -np.eye(2)
    hidden = dataclasses.replace(drive.actors[0], world_from_actor=lambda time_s: far)
    image = image_of(dataclasses.replace(drive, actors=(hidden,)), harsh("night")).rgb
    empty = image_of(dataclasses.replace(drive, actors=()), harsh("night")).rgb
    assert np.abs(image.astype(int) - empty).max() <= 3


def test_skies_of_harsh_clear_weather_differ() -> None:
    covers = {round(harsh("clear", seed).cloud_cover, 3) for seed in range(30)}
    suns = [harsh("clear", seed).sun for seed in range(30)]
    assert len(covers) > 10 and min(suns) == 0.0 and max(suns) > 1.0
    assert any(harsh("clear", seed).sun_height_deg[1] < 20 for seed in range(30))
    with pytest.raises(ValueError, match="'snow'"):
        harsh("snow")


def test_metering_brings_a_picture_to_its_grey_within_its_limits() -> None:
    look = CameraLook(metered_grey=0.4, max_gain=4.0)
    light = np.full((20, 30, 3), 0.2, np.float32)
    # (1 - exp(-1.15 x))^(1/2.2) = 0.4: 1 - 0.4^2.2 = 0.8668, x = -ln(0.8668) / 1.15 = 0.1243.
    assert metered_exposure(light, 1.0, look, is_dark=False) * 0.2 == pytest.approx(0.1243, 1e-3)
    assert metered_exposure(light / 100, 1.0, look, is_dark=False) == 4.0
    assert metered_exposure(light * 100, 1.0, look, is_dark=False) == 0.25
    assert metered_exposure(light, 0.7, CameraLook(), is_dark=False) == 0.7


def test_colours() -> None:
    light = np.array([[[0.2, 0.1, 0.05]]], np.float32)
    assert set_colours(light, 1.0, CameraLook()) is light
    warm = set_colours(light, 1.0, CameraLook(white_balance=(1.1, 1.0, 0.9)))
    assert warm[0, 0] == pytest.approx([0.22, 0.1, 0.045])
    # Contrast 2 about 0.25: the mean 0.1167 falls to 0.1167^2 / 0.25; ratios of colours stay.
    deep = set_colours(light, 1.0, CameraLook(contrast=2.0))
    assert deep.mean() == pytest.approx((0.35 / 3) ** 2 / 0.25, rel=1e-5)
    assert deep[0, 0, 0] / deep[0, 0, 2] == pytest.approx(4.0, rel=1e-5)
    grey = saturate(light, CameraLook(saturation=0.0))
    assert np.ptp(grey) == pytest.approx(0.0, abs=1e-7)


def test_sharpening_steepens_edges_and_blur_softens_them() -> None:
    edge = np.zeros((16, 32, 3), np.float32)
    edge[:, 16:] = 0.5
    steepest = np.abs(np.diff(edge[8, :, 0])).max()
    assert np.ptp(sharpen(edge, CameraLook(sharpening=0.8))) > np.ptp(edge)
    depth = np.full((16, 32), 5.0)
    soft = blur(edge, depth, CameraLook(blur_px=60.0), 0.0, 30.0)
    assert np.abs(np.diff(soft[8, :, 0])).max() < 0.5 * steepest
    # 2 m to the side at 10 m with a focal length of 30 px: 6 pixels.
    moving = blur(edge, depth, CameraLook(), 2.0, 30.0)
    assert np.count_nonzero((moving[8, :, 0] > 0.01) & (moving[8, :, 0] < 0.49)) in (5, 6)
    assert np.array_equal(blur(edge, depth, CameraLook(), 0.0, 30.0), edge)


def test_bright_lights_scatter_and_others_do_not() -> None:
    dim = np.full((64, 96, 3), 0.5, np.float32)
    assert scatter_lights(dim, 1.0) is dim
    dim[30:34, 40:44] = 50.0
    scattered = scatter_lights(dim, 1.0)
    assert scattered[32, 50].min() > 0.51 and scattered[5, 90].max() < 0.6


def test_water_blurs_parts_of_a_picture() -> None:
    rng = np.random.default_rng(0)
    picture = rng.random((90, 160, 3)).astype(np.float32)
    smeared = wet(picture, 16, rng)
    assert smeared.shape == picture.shape and smeared.min() >= 0 and smeared.max() <= 1
    assert smeared.std() < 0.97 * picture.std()


def test_looks_vary_and_show_in_the_picture() -> None:
    drive, weather = box_drive(speed_mps=0.0), harsh("clear")
    looks = [draw_look(np.random.default_rng(seed)) for seed in range(6)]
    means = [image_of(drive, weather, look).rgb.mean() for look in looks]
    assert len(set(looks)) == 6 and np.ptp(means) > 10
    light = np.random.default_rng(0).random((64, 64, 3)).astype(np.float32)
    image = develop(light, 1.0, weather, np.random.default_rng(1), CameraLook())
    assert len(encode_jpeg(image, 60)) < 0.7 * len(encode_jpeg(image, 95))
