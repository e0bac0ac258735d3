"""LiDAR of other sensors: fewer beams, sweeps and points, blocked sectors, another range, wrong ego
motion, intensities of another scale or that fall with the range.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from occ_core.geometry.poses import invert_pose
from training.learning.probabilities import check_probabilities

MAX_SECTORS = 3
SECTOR_DEG = (20.0, 180.0)
"""Widths of a blocked sector."""
KEPT_BEAMS = (2, 4)
"""One band of elevation in two to four is kept."""
BAND_DEG = (0.2, 1.5)
"""Widths of a band of elevation; sensors' beams are 0.1 to 2 degrees apart."""
RANGE_M = (15.0, 60.0)
"""Ranges beyond which a weak sensor has no returns."""
KEPT_POINTS = 0.2
"""Smallest fraction of points that thinning keeps."""
MAX_NOISE_M = 0.12
MAX_BEAM_ERROR_M = 0.04
"""Largest standard deviation of the errors in range of the beams of a badly calibrated sensor."""
DRIFT_MPS = (0.3, 0.3, 0.1)
"""Standard deviations of the error of the ego velocity, along x, y, z."""
DRIFT_DEG_S = 1.0
"""Standard deviation of the error of the turn rate."""
FALLOFF_FROM_M = (3.0, 25.0)
"""Ranges up to which a sensor's intensities do not depend on the range."""
FALLOFF_POWER = (-0.5, 2.0)
"""Powers of the range by which intensities fall beyond; the received light falls by 2, and a sensor
that corrects too much has a negative one.
"""
GAIN_SIGMA = 0.5
"""Standard deviation of the logarithm of the gain."""
MAX_GAMMA = 2.0
BITS = (5, 8)
"""Numbers of bits that an intensity may have."""

_SAME_AGE_S = 1e-4


class SweepPose(NamedTuple):
    """From where a sweep was measured."""

    age_s: float
    """Age of its points in the frame."""
    grid_from_sensor: Float[np.ndarray, "4 4"]


@dataclass(frozen=True, kw_only=True)
class LidarAugmentConfig:
    """How often a frame's LiDAR is that of another sensor; every field is a probability per frame.

    A whole LiDAR or a whole intensity is dropped by ``AugmentConfig``.
    """

    newest_sweeps: float = 0.3
    """Only a random number of the newest sweeps is kept, at least one."""
    sectors: float = 0.2
    """One to three sectors of azimuth of 20 to 180 degrees are blocked."""
    beams: float = 0.3
    """Every second to fourth band of elevation is kept."""
    range_cut: float = 0.15
    """Nothing returns from beyond a range of 15 to 60 m."""
    thin: float = 0.3
    """Points are dropped at random, up to 80 % of them."""
    noise: float = 0.5
    """Every coordinate has an error, of up to 12 cm."""
    beam_errors: float = 0.3
    """Every band of elevation measures too far or too short, as do badly calibrated beams."""
    drift: float = 0.3
    """The ego motion between the sweeps is slightly wrong, so that earlier sweeps drift away from
    the newest.
    """
    falloff: float = 0.5
    """Intensities fall with the range, or grow, from a range of 3 to 25 m on."""
    response: float = 0.5
    """Intensities have another gain, gamma and number of bits."""
    wrong_scale: float = 0.1
    """Intensities are in 0..1 instead of 0..255, or beyond the scale and cut off."""

    def __post_init__(self) -> None:
        check_probabilities(self)


def vary_lidar(
    points: Float[Tensor, "_ 5"],
    sweeps: Sequence[SweepPose],
    config: LidarAugmentConfig,
    rng: np.random.Generator,
) -> Float[Tensor, "_ 5"]:
    """The points as another sensor might have measured them; those of the newest sweep move by no
    more than noise and the beams' errors.

    Args:
        points: as in ``Frame.points``.
        sweeps: their poses. A sweep that is not among them counts as measured from the origin.
    """
    cloud = points.numpy()
    if rng.random() < config.newest_sweeps:
        ages = np.unique(cloud[_sweep_starts(cloud), 4])
        if len(ages):
            cloud = cloud[cloud[:, 4] <= ages[rng.integers(len(ages))]]
    sectors, beams, range_cut, thin = rng.random(4) < (
        config.sectors,
        config.beams,
        config.range_cut,
        config.thin,
    )
    kept = np.ones(len(cloud), dtype=bool)
    beam_errors = rng.random() < config.beam_errors
    if sectors or beams or range_cut or beam_errors:
        measured = _in_sensor_frames(cloud, sweeps)
        if sectors:
            kept &= _outside_sectors(measured, rng)
        if beams:
            kept &= _on_kept_beams(measured, rng)
        if range_cut:
            kept &= _nearer_than(rng.uniform(*RANGE_M), measured)
    if thin:
        kept &= rng.random(len(cloud), dtype=np.float32) < rng.uniform(KEPT_POINTS, 1.0)
    chosen = np.flatnonzero(kept)  # faster than by the mask
    cloud = cloud[chosen]
    if beam_errors:
        errors_m = _beam_errors_m(measured[chosen], rng)
        # from the origin, where the newest sweep was measured, also for the earlier ones
        range_m = np.maximum(np.linalg.norm(cloud[:, :3], axis=1), np.float32(1))
        cloud[:, :3] *= 1 + (errors_m / range_m)[:, None]
    if rng.random() < config.drift:
        cloud[:, :3] += _drift_m(cloud, rng)
    if rng.random() < config.noise:
        # uniform, since normal numbers take five times as long
        uniform = 2 * rng.random((len(cloud), 3), dtype=np.float32) - 1
        cloud[:, :3] += np.float32(rng.uniform(0, MAX_NOISE_M)) * uniform
    if rng.random() < config.falloff:
        cloud[:, 3] = _fall_off(cloud, rng)
    if rng.random() < config.response:
        cloud[:, 3] = _respond(cloud[:, 3], rng)
    if rng.random() < config.wrong_scale:
        cloud[:, 3] = np.minimum(cloud[:, 3] * rng.choice([1 / 255, 255]), 255)
    return torch.from_numpy(cloud)


def _sweep_starts(cloud: np.ndarray) -> np.ndarray:
    """Indices of the points where another sweep begins."""
    return np.flatnonzero(np.diff(cloud[:, 4], prepend=np.float32(np.nan)) != 0)


def _in_sensor_frames(cloud: np.ndarray, sweeps: Sequence[SweepPose]) -> np.ndarray:
    """Positions float32 ``[N, 3]``, each in the frame of the sensor when it measured the point."""
    parts = [torch.empty(0, 3)]
    for part in np.split(cloud, _sweep_starts(cloud)[1:]):
        position = torch.from_numpy(part[:, :3])
        for age_s, grid_from_sensor in sweeps:
            if len(part) and abs(part[0, 4] - age_s) < _SAME_AGE_S:
                sensor_from_grid = torch.from_numpy(invert_pose(grid_from_sensor)).float()
                rotation, translation = sensor_from_grid[:3, :3], sensor_from_grid[:3, 3]
                # numpy's product of matrices would occupy all cores
                position = (position @ rotation.T).add_(translation)
                break
        parts.append(position)
    return torch.cat(parts).numpy()


def _outside_sectors(measured: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    x, y = measured[:, 0], measured[:, 1]
    outside = np.ones(len(measured), dtype=bool)
    for _ in range(rng.integers(1, MAX_SECTORS + 1)):
        start = rng.uniform(0, 2 * np.pi)
        end = start + np.deg2rad(rng.uniform(*SECTOR_DEG))
        # Left of the ray at its start, right of the ray at its end; holds up to 180 degrees.
        past_start = y * np.float32(np.cos(start)) >= x * np.float32(np.sin(start))
        outside &= ~(past_start & (y * np.float32(np.cos(end)) <= x * np.float32(np.sin(end))))
    return outside


def _on_kept_beams(measured: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A beam has one elevation, so that bands of elevation hold whole beams."""
    elevation_deg = _elevation_deg(measured)
    width_deg, every = rng.uniform(*BAND_DEG), rng.integers(*KEPT_BEAMS, endpoint=True)
    bands = np.floor(elevation_deg / np.float32(width_deg) + np.float32(rng.uniform(0, every)))
    kept: np.ndarray = bands.astype(np.int32) % every == 0
    return kept


def _elevation_deg(measured: np.ndarray) -> np.ndarray:
    x, y, z = measured.T
    elevation_deg: np.ndarray = np.rad2deg(np.arctan2(z, np.hypot(x, y)))
    return elevation_deg


def _beam_errors_m(measured: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Errors in range float32 ``[N]``, the same for all points of a band of elevation."""
    elevation_deg = _elevation_deg(measured)
    bands = np.floor((elevation_deg + 90) / np.float32(rng.uniform(*BAND_DEG))).astype(np.int32)
    sigma_m = rng.uniform(0, MAX_BEAM_ERROR_M)
    errors_m = rng.normal(0, sigma_m, bands.max(initial=0) + 1).astype(np.float32)
    of_points: np.ndarray = errors_m[bands]
    return of_points


def _nearer_than(range_m: float, measured: np.ndarray) -> np.ndarray:
    x, y, z = measured.T
    nearer: np.ndarray = x * x + y * y + z * z < np.float32(range_m**2)
    return nearer


def _drift_m(cloud: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Displacements float32 ``[N, 3]`` by a wrong velocity and turn rate, in proportion to age."""
    velocity = rng.normal(0, DRIFT_MPS).astype(np.float32)
    turn_rate = np.float32(np.deg2rad(rng.normal(0, DRIFT_DEG_S)))
    x, y = cloud[:, 0], cloud[:, 1]
    # the angle is so small that its sine is the angle
    turning = np.stack([-y, x, np.zeros_like(x)], axis=1) * turn_rate
    drift: np.ndarray = cloud[:, 4:] * (velocity + turning)
    return drift


def _fall_off(cloud: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Intensities float32 ``[N]`` of a sensor that corrects them for the range in another way."""
    from_m = np.float32(rng.uniform(*FALLOFF_FROM_M))
    power = np.float32(rng.uniform(*FALLOFF_POWER))
    # from the origin, where the newest sweep was measured, also for the earlier ones
    range_m = np.linalg.norm(cloud[:, :3], axis=1)
    factor = (np.maximum(range_m, from_m) / from_m) ** -power
    intensity: np.ndarray = np.minimum(cloud[:, 3] * factor, 255)
    return intensity


def _respond(intensity: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    gain = np.float32(np.exp(rng.normal(0, GAIN_SIGMA)))
    gamma = np.float32(MAX_GAMMA ** rng.uniform(-1, 1))
    steps = np.float32(2 ** rng.integers(*BITS, endpoint=True) - 1)
    measured = np.minimum(np.clip(intensity / 255, 0, 1) ** gamma * gain, 1)
    response: np.ndarray = np.round(measured * steps) / steps * 255
    return response
