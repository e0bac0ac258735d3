import numpy as np

from occ_core.preprocessing.velocity import point_velocities, voxel_speed
from occ_core.voxel_grid import VoxelGrid


def box(x: float, y: float) -> np.ndarray:
    """The front and the side of a car-like box whose corner nearest the sensor is (x, y): points
    every 0.25 m.
    """
    along, height = np.arange(0, 4, 0.25), np.arange(-1.0, 0.6, 0.25)
    side = [(x + a, y, z) for a in along for z in height]
    front = [(x, y + a, z) for a in along[:7] for z in height]
    return np.array(side + front)


def sweeps(now: list[np.ndarray], then: list[np.ndarray], gap_s: float = 0.2) -> np.ndarray:
    """Two sweeps over flat ground 1.8 m under the sensor."""
    x, y = np.meshgrid(np.arange(-20, 20, 0.7), np.arange(-20, 20, 0.7))
    ground = np.stack([x.ravel(), y.ravel(), np.full(x.size, -1.8)], axis=1)
    rows = []
    for things, age_s in ((then, gap_s), (now, 0.0)):
        points = np.concatenate([ground, *things])
        rows.append(
            np.concatenate(
                [points, np.full((len(points), 1), 9), np.full((len(points), 1), age_s)], axis=1
            )
        )
    return np.concatenate(rows).astype(np.float32)


def test_what_moves_is_found_with_its_velocity():
    # One box was at x = 5 and is at x = 6 after 0.2 s: 5 m/s along x. The other stands.
    points = sweeps(now=[box(6, 4), box(-8, -6)], then=[box(5, 4), box(-8, -6)])
    positions, velocities = point_velocities(points)
    assert len(positions) == len(box(0, 0))
    assert positions[:, 1].min() > 3
    np.testing.assert_allclose(
        velocities, np.broadcast_to([5.0, 0, 0], velocities.shape), atol=0.05
    )


def test_the_gap_is_that_of_the_sweeps():
    points = sweeps(now=[box(6, 4)], then=[box(5, 4)], gap_s=0.25)  # 1 m in 0.25 s
    _, velocities = point_velocities(points)
    np.testing.assert_allclose(velocities[:, 0], 4.0, atol=0.05)


def test_what_appears_is_not_called_moving():
    positions, _ = point_velocities(sweeps(now=[box(6, 4), box(-8, -6)], then=[box(-8, -6)]))
    assert len(positions) == 0


def test_too_little_to_compare_is_no_error():
    assert len(point_velocities(np.zeros((0, 5), np.float32))[0]) == 0
    one_sweep = sweeps(now=[box(6, 4)], then=[])
    assert len(point_velocities(one_sweep[one_sweep[:, 4] == 0])[0]) == 0
    assert len(point_velocities(sweeps(now=[], then=[]))[0]) == 0


def test_a_voxel_is_as_fast_as_its_fastest_point():
    # Both points lie in voxel (1, 0, 0), at 3 m/s and sqrt(9 + 16) = 5 m/s; the third lies outside.
    positions = np.array([[1.2, 0.5, 0.5], [1.8, 0.1, 0.9], [9, 0, 0]], np.float32)
    velocities = np.array([[3, 0, 0], [3, 4, 0], [7, 0, 0]], np.float32)
    speed = voxel_speed(positions, velocities, VoxelGrid((0.0, 0.0, 0.0, 2.0, 2.0, 1.0), 1.0))
    assert speed.tolist() == [[[0], [0]], [[5], [0]]]
