"""LiDARs of other cars: beams, mount, range, intensity and losses, drawn at random."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from training.world.sensors.lidar_traits import IntensityResponse, LidarLosses, OwnRoof
from training.world.sensors.rig import LIDAR, LidarSpec

_LIKE_NUSCENES = 0.5
"""Fraction of the cars whose LiDAR is about that of nuScenes."""
_SHARE_OF_BEAMS = (0.0, 0.3, 0.9, 1.0)
_FANS: tuple[tuple[tuple[float, ...], tuple[float, ...], tuple[int, ...]], ...] = (
    ((0.0, 1.0), (-15.0, 15.0), (16,)),
    ((0.0, 1.0), (-30.67, 10.67), (32,)),
    ((0.0, 1.0), (-16.0, 15.0), (32,)),
    ((0.0, 1.0), (-22.5, 22.5), (64, 128)),
    ((0.0, 0.5, 1.0), (-24.9, -8.6, 2.0), (64,)),
    (_SHARE_OF_BEAMS, (-25.0, -6.0, 2.0, 15.0), (32, 40, 64, 128)),
)
"""Knots of a fan: shares of the beams, their elevations in degrees, and possible numbers of beams.

Most beams of the last kind look at the horizon.
"""
_COLUMN_DEG = (0.1, 0.35)
_MAX_SWEEP_RATIO = 2.0
"""Most points in a second, relative to nuScenes' LiDAR."""


def draw_lidar(rng: np.random.Generator) -> LidarSpec:
    """A LiDAR with its mount, response and losses."""
    if rng.random() < _LIKE_NUSCENES:
        x, y, z = LIDAR.position_m
        lidar = replace(
            LIDAR,
            position_m=(x + _about_0(rng, 0.03), y + _about_0(rng, 0.01), z + _about_0(rng, 0.04)),
            yaw_deg=LIDAR.yaw_deg + _about_0(rng, 0.5),
            range_noise_m=float(rng.uniform(0.015, 0.03)),
        )
    else:
        lidar = _other_lidar(rng)
    return replace(lidar, response=_response(rng), losses=_losses(rng))


def _other_lidar(rng: np.random.Generator) -> LidarSpec:
    shares, knots_deg, numbers = _FANS[rng.integers(len(_FANS))]
    beams = int(rng.choice(numbers))
    fan = np.interp(np.linspace(0.0, 1.0, beams), shares, knots_deg)
    # 128 beams at 20 Hz would be four times the points of nuScenes.
    period_us = 50_000 if beams <= 64 and rng.random() < 0.4 else 100_000
    max_range_m = float(rng.uniform(70.0, 200.0))
    yaw_deg = float(rng.choice([-90.0, 0.0, rng.uniform(-180.0, 180.0)], p=[0.2, 0.4, 0.4]))
    return replace(
        LIDAR,
        position_m=(
            round(float(rng.uniform(-0.3, 1.6)), 3),
            _about_0(rng, 0.05),
            round(float(rng.uniform(1.0, 2.5)), 3),
        ),
        yaw_deg=yaw_deg,
        beams=beams,
        fan_deg=tuple(fan.tolist()),
        step_deg=0.0,
        lowest_deg=float(fan[0]),
        columns=_columns(rng, beams, period_us),
        period_us=period_us,
        first_azimuth_deg=float(rng.uniform(-180.0, 180.0)),
        max_range_m=max_range_m,
        range_noise_m=float(rng.uniform(0.01, 0.04)),
        # A sensor that reaches farther sees fainter returns.
        detection_limit=LIDAR.detection_limit * float((LIDAR.max_range_m / max_range_m) ** 2),
        dropout=float(rng.uniform(0.0, 0.04)),
        reports_lost=False,
        roof=_roof(rng),
    )


def _columns(rng: np.random.Generator, beams: int, period_us: int) -> int:
    """Firings in a revolution, within ``_COLUMN_DEG`` and the limit of points."""
    per_second = LIDAR.beams * LIDAR.columns / LIDAR.period_us
    most = int(_MAX_SWEEP_RATIO * per_second * period_us / beams)
    return min(int(360.0 / rng.uniform(*_COLUMN_DEG)), most)


def _roof(rng: np.random.Generator) -> OwnRoof:
    half_m = float(rng.uniform(0.2, 0.55))
    return OwnRoof(
        z_m=float(rng.uniform(-0.5, -0.15)),
        right_m=(-half_m, half_m),
        forward_m=(-float(rng.uniform(0.3, 0.8)), float(rng.uniform(0.3, 0.8))),
        returns=float(rng.uniform(0.3, 0.9)),
    )


def _response(rng: np.random.Generator) -> IntensityResponse:
    return IntensityResponse(
        gain=float(np.exp(rng.uniform(np.log(0.6), np.log(3.0)))),
        gamma=float(rng.uniform(0.5, 1.2)),
        falloff=float(rng.uniform(0.3, 1.2)) if rng.random() < 0.4 else 0.0,
        speckle=float(rng.uniform(0.15, 0.6)),
        ceiling=float(rng.choice([255.0, 255.0, 200.0, 120.0])),
        floor=float(rng.uniform(0.0, 6.0)) if rng.random() < 0.6 else 0.0,
        infrared=float(rng.uniform(1.5, 2.6)),
    )


def _losses(rng: np.random.Generator) -> LidarLosses:
    return LidarLosses(
        dark_paint=float(rng.uniform(0.3, 0.95)),
        gloss=float(rng.uniform(0.6, 1.0)),
        mirrors=float(rng.uniform(0.4, 1.0)),
        grazing=float(rng.uniform(0.1, 0.7)),
        bloom=float(rng.uniform(0.2, 0.9)) if rng.random() < 0.5 else 0.0,
        ghosts=float(rng.uniform(0.01, 0.06)),
        pile=float(rng.uniform(0.2, 2.5)),
        edges=float(rng.uniform(0.0, 0.3)),
    )


def _about_0(rng: np.random.Generator, sigma: float) -> float:
    return round(float(rng.normal(0.0, sigma)), 3)
