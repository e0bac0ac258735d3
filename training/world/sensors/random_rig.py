"""Sensors of other cars: drawn at random among kinds that are on real ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from training.world.sensors.camera_look import draw_look
from training.world.sensors.random_lidar import draw_lidar
from training.world.sensors.rig import CAMERAS, FULL_SIZE, CameraSpec, LidarSpec, Rig

_NUSCENES_CAMERAS = 0.5
"""Fraction of the cars that have about the cameras of nuScenes, at about their places."""
_LENS_DEG = (45.0, 110.0)
"""Horizontal fields of view."""


def draw_rig(rng: np.random.Generator) -> Rig:
    """A car with six cameras and a LiDAR of its own; half of the LiDARs are about nuScenes'."""
    lidar = draw_lidar(rng)
    like_nuscenes = bool(rng.random() < _NUSCENES_CAMERAS)
    cameras = _familiar_cameras(rng) if like_nuscenes else _other_cameras(rng)
    follows_beam = like_nuscenes or bool(rng.random() < 0.4)
    at_once_us = -int(rng.integers(0, lidar.period_us))
    delays = [_beam_delay_us(camera, lidar) if follows_beam else at_once_us for camera in cameras]
    cameras = [
        replace(camera, delay_us=delay, look=draw_look(rng))
        for camera, delay in zip(cameras, delays, strict=True)
    ]
    return Rig(tuple(cameras), lidar, follows_beam)


def _familiar_cameras(rng: np.random.Generator) -> list[CameraSpec]:
    return [
        replace(
            camera,
            position_m=_moved(camera.position_m, rng.normal(0.0, 0.05, 3)),
            yaw_deg=camera.yaw_deg + float(rng.normal(0.0, 1.0)),
            pitch_deg=camera.pitch_deg + float(rng.normal(0.0, 0.7)),
            roll_deg=float(rng.normal(0.0, 0.5)),
            focal_px=camera.focal_px * float(rng.uniform(0.97, 1.03)),
        )
        for camera in CAMERAS
    ]


def _other_cameras(rng: np.random.Generator) -> list[CameraSpec]:
    """All of one height and mostly one lens, as a maker mounts them."""
    height_m, shared_deg = rng.uniform(1.2, 2.1), rng.uniform(*_LENS_DEG)
    width = FULL_SIZE[1]
    cameras = []
    for camera in CAMERAS:
        lens_deg = shared_deg if rng.random() < 0.6 else rng.uniform(*_LENS_DEG)
        x, y, _ = camera.position_m
        position = x * rng.uniform(0.7, 1.3), y * rng.uniform(0.5, 1.8), height_m
        cameras.append(
            replace(
                camera,
                position_m=_moved(position, rng.normal(0.0, 0.05, 3)),
                yaw_deg=camera.yaw_deg + float(rng.uniform(-10.0, 10.0)),
                pitch_deg=float(rng.uniform(-5.0, 5.0)),
                roll_deg=float(rng.uniform(-2.0, 2.0)),
                focal_px=float(width / 2 / np.tan(np.radians(lens_deg / 2))),
                centre_px=(
                    width / 2 + float(rng.normal(0.0, 20.0)),
                    FULL_SIZE[0] / 2 + float(rng.normal(0.0, 25.0)),
                ),
            )
        )
    return cameras


def _moved(position: tuple[float, ...], by_m: np.ndarray) -> tuple[float, float, float]:
    x, y, z = (round(float(c + step), 3) for c, step in zip(position, by_m, strict=True))
    return x, y, z


def _beam_delay_us(camera: CameraSpec, lidar: LidarSpec) -> int:
    """Time at which the beam passes the direction of the camera, before the end of the sweep."""
    # The y axis of the LiDAR looks yaw + 90 degrees to the left; azimuths count clockwise from it.
    azimuth_deg = lidar.yaw_deg + 90.0 - camera.yaw_deg
    turn = (azimuth_deg - lidar.first_azimuth_deg) % 360.0 / 360.0
    return -round((1.0 - turn) * lidar.period_us)
