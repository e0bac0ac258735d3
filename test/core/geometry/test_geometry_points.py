import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from occ_core.geometry.boxes import Box, points_in_box
from occ_core.geometry.points import accumulate_sweeps, project_points, transform_points
from occ_core.geometry.poses import pose_matrix, rotation_from_quaternion
from occ_core.ops.cpu.move_points import move_returns

QUARTER_TURN = [2**-0.5, 0, 0, 2**-0.5]  # about z: x -> y, y -> -x


def a_box(center=(0.0, 0.0, 0.0), wxyz=(1.0, 0.0, 0.0, 0.0)) -> Box:
    return Box(
        center=np.array(center),
        size_wlh=np.array([2.0, 4.0, 1.5]),
        rotation=rotation_from_quaternion(wxyz),
        velocity=np.zeros(3),
        category="vehicle.car",
        class_id=4,
        num_lidar_pts=0,
        instance_token="",
    )


def test_transform_keeps_further_columns():
    points = np.array([[1, 0, 0, 42, 7]], dtype=np.float32)
    moved = transform_points(pose_matrix([0, 0, 5], QUARTER_TURN), points)
    assert_allclose(moved, [[0, 1, 5, 42, 7]], atol=1e-6)
    assert moved.dtype == np.float32
    assert points[0, 0] == 1


@pytest.mark.parametrize("layout", ["C", "F"])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_transformed_points_keep_their_layout(layout, kind):
    points = np.random.default_rng(0).normal(0, 30, (500, 5)).astype(kind, order=layout)
    pose = pose_matrix([1, -2, 3], QUARTER_TURN)
    moved = transform_points(pose, points)
    rotation, shift = pose[:3, :3].astype(kind), pose[:3, 3].astype(kind)
    np.testing.assert_array_equal(moved[:, :3].T, rotation @ points[:, :3].T + shift[:, None])
    np.testing.assert_array_equal(moved[:, 3:], points[:, 3:])
    assert moved.dtype == kind and moved.strides == points.strides


def test_sweeps_are_joined_in_the_newest_frame():
    # The sensor drove 3 m along x in 0.1 s. A post 10 m ahead of it at first is then 7 m ahead.
    earlier = (np.array([[10, 0, 0, 5]], dtype=np.float32), np.eye(4), 1_000_000_000)
    later = (
        np.array([[7, 0, 0, 6]], dtype=np.float32),
        pose_matrix([3, 0, 0], [1, 0, 0, 0]),
        1_100_000_000,
    )
    assert_allclose(
        accumulate_sweeps([earlier, later]), [[7, 0, 0, 5, 0.1], [7, 0, 0, 6, 0]], rtol=1e-6
    )


def test_world_coordinates_of_kilometres_cost_no_precision():
    # In float32 a world coordinate of 100 km would be off by millimetres.
    start = pose_matrix([1e5, -2e5, 0], QUARTER_TURN)
    end = pose_matrix([1e5, -2e5 + 0.5, 0], QUARTER_TURN)
    # The body's x is the world's y: the post is 0.5 m nearer after the move.
    post = np.array([[10, 0, 0, 0]], dtype=np.float32)
    joined = accumulate_sweeps([(post, start, 0), (post, end, 100)])
    assert_allclose(joined[0, :3], [9.5, 0, 0], atol=2e-6)


def test_wrong_points_and_the_ego_vehicle_are_left_out():
    points = np.array(
        [
            [20, 1, 0, 1],
            [np.nan, 1, 0, 1],
            [1, np.inf, 0, 1],
            [5, 5, 0, np.nan],
            [0, 0, 0, 0],  # drop-out
            [0.5, 1.5, -0.9, 9],  # bonnet
            [-0.5, -1.0, -0.4, 9],  # roof
            [0, 0, 5, 1],  # a bridge above the roof
            [0, 3, -1.8, 1],  # road ahead of the bonnet
        ],
        dtype=np.float32,
    )
    assert_allclose(
        accumulate_sweeps([(points, np.eye(4), 7)])[:, :3], [[20, 1, 0], [0, 0, 5], [0, 3, -1.8]]
    )


def test_the_ego_vehicle_is_left_out_at_the_time_of_the_sweep():
    # The sensor drove 10 m along y: the road that is now under it was seen 10 m ahead before.
    before = np.array([[0, 10, -1.8, 1], [0, 1, -0.5, 1]], dtype=np.float32)
    now = np.array([[30, 0, 0, 2]], dtype=np.float32)
    joined = accumulate_sweeps(
        [(before, np.eye(4), 0), (now, pose_matrix([0, 10, 0], [1, 0, 0, 0]), 10)]
    )
    assert_allclose(joined[:, :3], [[0, 0, -1.8], [30, 0, 0]], atol=1e-6)


def test_sweeps_are_joined_in_the_grids_frame():
    # The grid lies 1 m above the sensor; the vehicle drove 10 m along y between the sweeps.
    before = np.array([[5, 20, 0, 1]], dtype=np.float32)
    now = np.array([[30, 0, 0, 2]], dtype=np.float32)
    sweeps = [(before, np.eye(4), 0), (now, pose_matrix([0, 10, 0], [1, 0, 0, 0]), 10)]
    joined = accumulate_sweeps(sweeps, grid_from_newest=pose_matrix([0, 0, -1], [1, 0, 0, 0]))
    assert_allclose(joined[:, :3], [[5, 10, -1], [30, 0, -1]], atol=1e-6)


def test_the_ego_vehicle_is_left_out_in_the_grids_frame():
    # The sensor's x points along the grid's y, and it is mounted 1 m further along the grid's x.
    grid_from_sensor = np.array(
        [[0.0, -1.0, 0.0, 1.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
    )
    # In the grid: (1 - y, x, z) = (0.5, 2, 0), on the vehicle; then (3, 0.5, 0), beside it.
    points = np.array([[2, 0.5, 0, 1], [0.5, -2, 0, 1]], dtype=np.float32)
    joined = accumulate_sweeps([(points, np.eye(4), 0)], grid_from_sensor)
    assert_allclose(joined[:, :3], [[3, 0.5, 0]], atol=1e-6)


def test_another_vehicle_has_another_box():
    on_ego, road, drop_out = [3, 0, 0, 1], [0, 0, -1, 1], [0, 0, 0, 1]
    points = np.array([on_ego, road, drop_out], dtype=np.float32)
    joined = accumulate_sweeps([(points, np.eye(4), 0)], ego_box_m=(2.0, -1.0, -1.0, 4.0, 1.0, 1.0))
    assert_allclose(joined[:, :3], [[0, 0, -1]])


def test_the_box_of_the_ego_vehicle_may_lie_in_the_sensor_s_frame():
    """The grid's x is the sensor's y, and its origin lies 10 m before the sensor's."""
    grid_from_sensor = pose_matrix([10, 0, 0], QUARTER_TURN)
    points = np.array([[3, 0, 0, 1], [0, 3, 0, 2]], dtype=np.float32)  # at (10, 3) and (7, 0)
    box = (2.0, -1.0, -1.0, 4.0, 1.0, 1.0)
    joined = accumulate_sweeps([(points, np.eye(4), 0)], grid_from_sensor, box, np.eye(4))
    assert_allclose(joined, [[7, 0, 0, 2, 0]], atol=1e-6)
    (of_grid,) = accumulate_sweeps(
        [(points, np.eye(4), 0)], grid_from_sensor, (6.0, *box[1:3], 8.0, *box[4:])
    )
    assert_allclose(of_grid, [10, 3, 0, 1, 0], atol=1e-6)


def test_sweeps_are_joined_by_what_is_left_of_them():
    """Twenty thousand points, and some of them once more: each is moved, or left out."""
    rng = np.random.default_rng(0)
    points = rng.uniform(-20, 20, (20_000, 5)).astype(np.float32)
    points[rng.random(20_000) < 0.01, :3] = 0
    points[rng.random(20_000) < 0.01, 1] = np.nan
    then = pose_matrix([1, 2, 0.5], [0.96, 0.0, 0.0, 0.28])
    joined = accumulate_sweeps([(points, then, 0), (points[:9_000], np.eye(4), 50_000_000)])
    expected = []
    for cloud, pose, age_s in ((points, then, 0.05), (points[:9_000], np.eye(4), 0.0)):
        x, y, z = cloud[:, :3].T
        on_ego = (abs(x) < 1) & (y > -1.7) & (y < 2.6) & (z > -2) & (z < 0.5)
        kept = cloud[np.isfinite(cloud[:, 1]) & cloud[:, :3].any(axis=1) & ~on_ego]
        moved = transform_points(pose, kept)[:, :3]
        expected.append(np.c_[moved, kept[:, 3], np.full(len(kept), age_s)])
    assert_allclose(joined, np.concatenate(expected), atol=1e-5)


def in_every_form(points: np.ndarray) -> list[np.ndarray]:
    """The points as files, messages and other programs hold them in memory."""
    frozen = points.copy()
    frozen.flags.writeable = False
    return [
        points,
        np.asfortranarray(points),
        np.repeat(points, 2, axis=0)[::2],
        points.astype(np.float64),
        np.hstack([points, np.ones((len(points), 2), np.float32)]),
        frozen,
        frozen.T.copy().T,
    ]


def test_points_in_any_form_are_joined_alike():
    """The loop is compiled once: a form of its own would stop the first frame that has it."""
    points = np.random.default_rng(0).uniform(-20, 20, (50, 4)).astype(np.float32)
    expected = accumulate_sweeps([(points, np.eye(4), 0)])
    for form in in_every_form(points):
        assert np.array_equal(accumulate_sweeps([(form, np.eye(4), 0)]), expected)
        nothing = accumulate_sweeps([(form[:0], np.eye(4), 0), (form[:1], np.eye(4), 0)])
        assert np.array_equal(nothing, accumulate_sweeps([(points[:1], np.eye(4), 0)]))
    assert len(move_returns.signatures) == 1


def test_points_keep_their_form_when_they_are_transformed():
    points = np.random.default_rng(0).normal(0, 9, (20, 5)).astype(np.float32)
    pose = pose_matrix([1, 2, 0.5], [0.96, 0.0, 0.0, 0.28])
    by_columns = transform_points(pose, np.asfortranarray(points))
    assert by_columns.flags.f_contiguous and transform_points(pose, points).flags.c_contiguous
    assert np.array_equal(by_columns, transform_points(pose, points))
    expected = points[:, :3].astype(float) @ pose[:3, :3].T + pose[:3, 3]
    assert_allclose(by_columns[:, :3], expected, atol=1e-5)
    assert transform_points(pose, points.astype(float)).dtype == np.float64
    assert transform_points(pose, points[:0]).shape == (0, 5)


def test_a_box_is_six_numbers():
    points = np.ones((3, 4), np.float32)
    with pytest.raises(ValueError, match=r"six numbers, two corners, got \[-1.0, -1.0, 1.0\]"):
        accumulate_sweeps([(points, np.eye(4), 0)], ego_box_m=(-1.0, -1.0, 1.0))


def test_no_ego_return_of_a_real_sweep_survives(real_data):
    from occ_core.datasets.nuscenes import NuScenes

    points = NuScenes(real_data).keyframes()[0].lidar.read()
    kept = accumulate_sweeps([(points, np.eye(4), 0)])
    # Nothing but the ego vehicle lies nearer than the first ring on the road, about 2.4 m away.
    distance = np.linalg.norm(kept[:, :2], axis=1)
    assert distance.min() > 2.4
    assert (np.linalg.norm(points[:, :2], axis=1) < 2.4).sum() == len(points) - len(kept)


def test_wrong_sweeps_are_refused():
    with pytest.raises(ValueError, match="at least one sweep"):
        accumulate_sweeps([])
    with pytest.raises(ValueError, match=r"\[N, >=4\].*got \[5, 3\]"):
        accumulate_sweeps([(np.zeros((5, 3), dtype=np.float32), np.eye(4), 0)])
    one = np.zeros((1, 4), dtype=np.float32)
    with pytest.raises(ValueError, match="must end with the newest"):
        accumulate_sweeps([(one, np.eye(4), 5), (one, np.eye(4), 4)])


def test_projection():
    # f = 100, centre (50, 40): (1, 2, 10) -> (50 + 100 * 0.1, 40 + 100 * 0.2)
    pixels, depth = project_points(
        np.array([[100, 0, 50], [0, 100, 40], [0, 0, 1]]), np.array([[1.0, 2, 10], [1, 2, -10]])
    )
    assert_allclose(pixels[0], [60, 60])
    assert np.isnan(pixels[1]).all()
    assert depth.tolist() == [10, -10]


def test_box_corners():
    # 4 m long along y after a quarter turn, 2 m wide along x, 1.5 m high.
    corners = a_box(center=(10.0, 20.0, 1.0), wxyz=QUARTER_TURN).corners()
    assert_allclose(corners.min(axis=0), [9, 18, 0.25])
    assert_allclose(corners.max(axis=0), [11, 22, 1.75])
    assert_allclose(corners[:4, 1], 22)  # the front comes first


def test_points_in_box():
    points = np.array([[1.9, 0, 0, 9], [0, 1.1, 0, 9], [0, 0, 0.74, 9], [0, 0, 0.76, 9]])
    assert points_in_box(points, a_box()).tolist() == [True, False, True, False]
    assert points_in_box(points, a_box(wxyz=QUARTER_TURN)).tolist() == [False, True, True, False]
    on_a_face = np.array([[0, 0, 0.75]])  # without a rotation nothing is rounded
    assert points_in_box(on_a_face, a_box()).all()


@given(st.integers(0, 2**32 - 1))
def test_a_box_holds_what_its_corners_span(seed):
    rng = np.random.default_rng(seed)
    box = a_box(center=rng.uniform(-50, 50, 3), wxyz=rng.normal(size=4))
    weights = rng.dirichlet(np.ones(8), size=20)
    assert points_in_box(box.center + 0.999 * (weights @ box.corners() - box.center), box).all()
    assert not points_in_box(box.center + 1.001 * (box.corners() - box.center), box).any()
