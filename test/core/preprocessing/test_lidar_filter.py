import numpy as np
import pytest

from occ_core.preprocessing.lidar_filter import LidarFilterConfig, surface_points
from occ_core.types import DriveContext

CLEAR, RAIN = DriveContext("clear"), DriveContext("rain at night")


def wall(distance_m: float, intensity: float = 40.0) -> np.ndarray:
    """What 32 beams, 1.33 degrees apart, see of a wall across the way within 20 degrees: a column
    each third of a degree.
    """
    azimuth, elevation = np.meshgrid(
        np.radians(np.arange(-20, 20, 1 / 3)), np.radians(np.arange(-10, 10, 1.33))
    )
    rays = np.stack(
        [np.ones_like(azimuth), np.tan(azimuth), np.tan(elevation) / np.cos(azimuth)], axis=-1
    ).reshape(-1, 3)
    return np.concatenate([distance_m * rays, np.full((len(rays), 1), intensity)], axis=1).astype(
        np.float32
    )


@pytest.mark.parametrize("distance_m", [4.0, 15.0, 90.0])
def test_a_wall_stays_however_far(distance_m):
    points = wall(distance_m)
    assert surface_points(points, CLEAR).all()
    assert surface_points(wall(distance_m, intensity=2), RAIN).all()


def test_a_point_in_the_air_goes():
    points = np.concatenate([wall(20), [[6, 0.5, 0.3, 30]]]).astype(np.float32)
    keep = surface_points(points, CLEAR)
    assert keep[:-1].all()
    assert not keep[-1]


def test_pairs_of_weak_returns_go_in_rain_alone():
    # Two drops side by side: each has one neighbour, enough in dry weather, too few of weak returns
    # in rain.
    drops = [[6, 0.50, 0.3, 3], [6, 0.55, 0.3, 3]]
    strong = [[8, -2.0, 0.3, 30], [8, -2.05, 0.3, 30]]
    points = np.array(drops + strong, dtype=np.float32)
    assert surface_points(points, CLEAR).tolist() == [True, True, True, True]
    assert surface_points(points, RAIN).tolist() == [False, False, True, True]


def test_the_ego_vehicle_and_no_returns_go():
    roof, nowhere, broken = [[0.2, 0.1, -0.3, 50]], [[0, 0, 0, 5]], [[np.nan, 1, 1, 5]]
    points = np.concatenate([roof, nowhere, broken, wall(20)]).astype(np.float32)
    keep = surface_points(points, CLEAR)
    assert keep[:3].tolist() == [False, False, False]
    assert keep[3:].all()


def test_an_empty_sweep_is_fine():
    assert surface_points(np.zeros((0, 4), np.float32), RAIN).shape == (0,)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"\[N, >=4\].*got \[7, 3\]"):
        surface_points(np.zeros((7, 3), np.float32), CLEAR)
    with pytest.raises(ValueError, match="radius > 0"):
        LidarFilterConfig(radius=0.0)
