from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.learning.augment_lidar import LidarAugmentConfig, SweepPose, vary_lidar

NOTHING = LidarAugmentConfig(**{each.name: 0.0 for each in fields(LidarAugmentConfig)})
AGES_S = (0.2, 0.1, 0.0)
BEAMS_DEG = np.arange(-30.0, 2.0)  # 32 beams, a degree apart
COLUMNS = 72


def moved_back(metres: float) -> np.ndarray:
    pose = np.eye(4)
    pose[1, 3] = -metres
    return pose


# 20 m/s along y: 4 m and 2 m behind
SWEEPS = tuple(SweepPose(age_s, moved_back(20 * age_s)) for age_s in AGES_S)


def sweep(age_s: float) -> np.ndarray:
    """Points on a sphere of 20 m around the sensor, [32 * 72, 5], 5 degrees of azimuth apart."""
    elevation, azimuth = np.meshgrid(
        np.deg2rad(BEAMS_DEG), 2 * np.pi / COLUMNS * (np.arange(COLUMNS) + 0.5), indexing="ij"
    )
    x, y = (20 * np.cos(elevation) * turn(azimuth) for turn in (np.cos, np.sin))
    rows = np.stack([x, y, 20 * np.sin(elevation), 128 + 0 * x, age_s + 0 * x], axis=-1)
    rows[..., 1] -= 20 * age_s
    return rows.reshape(-1, 5).astype(np.float32)


POINTS = torch.from_numpy(np.concatenate([sweep(age_s) for age_s in AGES_S]))


def vary(seed: int, points: torch.Tensor = POINTS, **probabilities: float) -> torch.Tensor:
    config = replace(NOTHING, **probabilities)
    return vary_lidar(points, SWEEPS, config, np.random.default_rng(seed))


def beams(points: torch.Tensor, age_s: float) -> np.ndarray:
    """How many points each beam has in a sweep, [32], its origin being known."""
    x, y, z = points[(points[:, 4] - age_s).abs() < 1e-3, :3].double().numpy().T
    elevation_deg = np.rad2deg(np.arctan2(z, np.hypot(x, y + 20 * age_s)))
    beam = np.round(elevation_deg - BEAMS_DEG[0]).astype(int)
    return np.bincount(beam, minlength=len(BEAMS_DEG))


def test_nothing_is_changed_when_all_is_off():
    assert torch.equal(vary(0), POINTS)


def test_the_newest_sweeps_are_kept():
    """One, two or three sweeps of 32 x 72 points."""
    kept = [vary(seed, newest_sweeps=1.0) for seed in range(30)]
    assert {len(points) for points in kept} == {2304, 4608, 6912}
    for points in kept:
        assert torch.equal(points, POINTS[-len(points) :])


@pytest.mark.parametrize("seed", range(20))
def test_a_beam_is_kept_or_dropped_as_a_whole_in_every_sweep(seed: int):
    """A border of bands that falls on a beam, at a whole degree, splits it by rounding errors."""
    varied = vary(seed, beams=1.0)
    counts = np.stack([beams(varied, age_s) for age_s in AGES_S])
    whole = np.isin(counts, (0, COLUMNS)).mean()
    assert whole > 0.9
    assert 0.1 < (counts > 0).mean() < 0.9


@pytest.mark.parametrize("seed", range(20))
def test_sectors_are_blocked_for_the_sensor_at_its_own_place(seed: int):
    """A direction of the sensor is blocked in all beams and sweeps, or in none of them."""
    varied = vary(seed, sectors=1.0)
    blocked = []
    for age_s in AGES_S:
        x, y = varied[(varied[:, 4] - age_s).abs() < 1e-3, :2].double().numpy().T
        azimuth = np.arctan2(y + 20 * age_s, x) % (2 * np.pi)
        column = np.floor(azimuth * COLUMNS / (2 * np.pi)).astype(int)
        blocked.append(np.bincount(column, minlength=COLUMNS))
    counts = np.stack(blocked)
    # a border may fall on a column; one to three sectors have six borders at most
    assert np.isin(counts, (0, 32)).all(axis=0).sum() >= COLUMNS - 6
    # 20 degrees are at least 3 whole columns of 5 degrees
    assert (counts == 0).all(axis=0).sum() >= 3


def test_a_range_is_cut_around_each_sensor():
    """The sphere of 20 m is either wholly within the range of 15 to 60 m or wholly beyond it."""
    assert {len(vary(seed, range_cut=1.0)) for seed in range(60)} == {0, len(POINTS)}
    near = torch.tensor([[0.0, 10.0, 0.0, 1.0, 0.0]])
    assert all(len(vary(seed, near, range_cut=1.0)) == 1 for seed in range(20))


def test_points_are_thinned():
    """Between 20 % and all of 6912 points; 40 seeds spread over the range."""
    fractions = [len(vary(seed, thin=1.0)) / len(POINTS) for seed in range(40)]
    assert 0.17 < min(fractions) < 0.4 and 0.8 < max(fractions) <= 1


def test_noise_is_at_most_a_few_centimetres():
    """The largest of 20736 coordinates' errors lies between 0 and 12 cm."""
    errors = [(vary(seed, noise=1.0) - POINTS)[:, :3].abs().max().item() for seed in range(20)]
    assert 0 <= min(errors) < 0.04 and 0.08 < max(errors) <= 0.1201
    assert torch.equal(vary(0, noise=1.0)[:, 3:], POINTS[:, 3:])


def test_each_beam_of_a_badly_calibrated_sensor_errs_by_its_own_distance():
    """The newest sweep is a sphere of 20 m around the origin: all points of a band of elevation
    move along their rays by one distance, normal with at most 4 cm; a border may split a beam.
    """
    newest = POINTS[-2304:]
    spreads = []
    for seed in range(20):
        moved = vary(seed, newest, beam_errors=1.0)
        assert torch.equal(moved[:, 3:], newest[:, 3:])
        error_m = (moved[:, :3].norm(dim=1) - 20).view(len(BEAMS_DEG), COLUMNS)
        # the direction stays
        torch.testing.assert_close(
            moved[:, :3] / moved[:, :3].norm(dim=1, keepdim=True),
            newest[:, :3] / 20,
            atol=1e-5,
            rtol=0,
        )
        within = (error_m - error_m[:, :1]).abs().amax(dim=1)
        assert (within < 1e-4).float().mean() > 0.9
        spreads.append(float(error_m[:, 0].std()))
    assert min(spreads) < 0.015 and 0.02 < max(spreads) < 0.08
    assert torch.equal(newest, POINTS[-2304:])  # the frame itself is as it was


def test_errors_of_beams_are_as_small_in_earlier_sweeps():
    """A point 1 m from where an earlier sweep's sensor was, and 4 m from the origin, moves by its
    beam's error: normal, with at most 4 cm.
    """
    point = torch.tensor([[1.0, -4.0, 0.0, 9.0, 0.2]])
    moves = [
        (vary(seed, point, beam_errors=1.0) - point)[:, :3].norm().item() for seed in range(200)
    ]
    assert 0.005 < float(np.sqrt(np.mean(np.square(moves)))) < 0.04 and max(moves) < 0.16


def test_earlier_sweeps_drift_in_proportion_to_their_age():
    """A wrong velocity and turn rate: twice the age is twice the displacement."""
    points = POINTS.repeat(2, 1)[: len(POINTS)].clone()
    points[:, :3] = torch.tensor([10.0, 5.0, 1.0])
    for seed in range(10):
        moved = (vary(seed, points, drift=1.0) - points)[:, :3]
        old, middle, newest = moved.view(3, -1, 3)[:, 0]
        assert not newest.any() and middle.norm() > 0
        torch.testing.assert_close(old, 2 * middle, rtol=1e-3, atol=1e-5)
        # 0.2 s x (0.3 m/s, and 11 m x 1 degree/s = 0.2 m/s): 0.07 m, far below 5 sigma
        assert old.norm() < 0.5


@pytest.mark.parametrize("seed", range(20))
def test_a_response_keeps_the_order_of_intensities(seed: int):
    points = torch.zeros(256, 5)
    points[:, 3] = torch.arange(256.0)
    response = vary(seed, points, response=1.0)[:, 3]
    assert (response.diff() >= 0).all() and response[0] == 0 and 0 < response.max() <= 255


@pytest.mark.parametrize("seed", range(20))
def test_intensities_fall_with_a_power_of_the_range_beyond_a_distance(seed: int):
    range_m = torch.tensor([1.0, 3.0, 30.0, 60.0, 60.0])
    points = torch.zeros(5, 5)
    points[:, 0] = range_m * 0.6
    points[:, 1] = range_m * -0.8
    points[:, 3] = torch.tensor([10.0, 10, 10, 10, 20])
    near, at_3_m, at_30_m, at_60_m, brighter = vary(seed, points, falloff=1.0)[:, 3].tolist()
    assert near == at_3_m == 10  # it begins at 3 m or later
    assert brighter == pytest.approx(2 * at_60_m, rel=1e-5)
    # I = 10 (r / from)^-power; from 30 to 60 m it changes by 2^-power
    power = np.log2(at_30_m / at_60_m)
    assert -0.5 <= power <= 2
    from_m = 30 * (at_30_m / 10) ** (1 / power)
    assert 3 * 0.99 <= from_m <= 25 * 1.01


def test_intensities_that_grow_with_the_range_end_at_the_scale():
    points = torch.tensor([[200.0, 0, 0, 250, 0]])  # grown by (200 / 25)^0.5 or so in some frames
    found = [vary(seed, points, falloff=1.0)[0, 3].item() for seed in range(40)]
    assert max(found) == 255 and min(found) < 250


def test_wrong_scales_divide_or_saturate():
    points = torch.tensor([[0.0, 0, 0, 51.0, 0], [0, 0, 0, 0.0, 0]])
    found = {tuple(vary(seed, points, wrong_scale=1.0)[:, 3].tolist()) for seed in range(20)}
    # 51 / 255 = 0.2, and 51 x 255 is cut off at 255
    assert sorted(found) == [(pytest.approx(0.2), 0.0), (255.0, 0.0)]


@given(
    count=st.integers(0, 60),
    spread_m=st.sampled_from([0.0, 1.0, 200.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_cloud_with_any_sweeps_gives_a_cloud(count: int, spread_m: float, seed: int):
    """Ages that no pose belongs to, points at the sensor, no points at all."""
    rng = np.random.default_rng(seed)
    points = torch.from_numpy(rng.normal(0, spread_m, (count, 5)).astype(np.float32))
    points[:, 3] = points[:, 3].abs() * 10
    points[:, 4] = torch.from_numpy(rng.choice([0.0, 0.1, 0.3], count).astype(np.float32))
    before = points.clone()
    everything = LidarAugmentConfig(**{each.name: 1.0 for each in fields(LidarAugmentConfig)})
    one, other = (
        vary_lidar(points, SWEEPS[:2], everything, np.random.default_rng(seed)) for _ in range(2)
    )
    assert one.shape[1] == 5 and len(one) <= count and torch.equal(one, other)
    assert torch.isfinite(one).all() and torch.equal(points, before)
    assert ((one[:, 3] >= 0) & (one[:, 3] <= 255)).all()


def test_a_probability_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"LidarAugmentConfig.beams must be in \[0, 1\], got -1"):
        LidarAugmentConfig(beams=-1)
