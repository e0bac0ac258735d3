import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from occ_core.geometry.poses import (
    interpolate_pose,
    invert_pose,
    is_rigid,
    pose_matrix,
    quaternion_from_rotation,
    rotation_from_quaternion,
)

coordinate = st.floats(-1e4, 1e4)
quaternion = st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: np.linalg.norm(q) > 0.1)


def test_quarter_turn_about_z():
    # x -> y, y -> -x
    rotation = rotation_from_quaternion([2**-0.5, 0, 0, 2**-0.5])
    assert_allclose(rotation, [[0, -1, 0], [1, 0, 0], [0, 0, 1]], atol=1e-12)


def test_pose_moves_a_point():
    # (1, 0, 0) turned to (0, 1, 0), then moved by (10, 20, 30)
    world_from_body = pose_matrix([10, 20, 30], [2**-0.5, 0, 0, 2**-0.5])
    assert_allclose(world_from_body @ [1, 0, 0, 1], [10, 21, 30, 1], atol=1e-12)
    assert world_from_body.dtype == np.float64


@given(quaternion)
def test_quaternion_round_trip(wxyz):
    rotation = rotation_from_quaternion(wxyz)
    assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1.0)
    back = quaternion_from_rotation(rotation)
    assert back[0] >= 0
    assert_allclose(rotation_from_quaternion(back), rotation, atol=1e-9)


@given(quaternion, st.tuples(coordinate, coordinate, coordinate))
def test_inverse_undoes_the_pose(wxyz, translation):
    a_from_b = pose_matrix(translation, wxyz)
    assert_allclose(invert_pose(a_from_b) @ a_from_b, np.eye(4), atol=1e-8)
    assert_allclose(invert_pose(invert_pose(a_from_b)), a_from_b, atol=1e-8)


def test_half_way_between_two_poses():
    # From 0 to 90 degrees about z, and from x = 0 to x = 2 m: 45 degrees at 1 m.
    start, end = np.eye(4), pose_matrix([2, 0, 0], [2**-0.5, 0, 0, 2**-0.5])
    half = interpolate_pose(start, end, 0.5)
    s = 2**-0.5
    expected = [[s, -s, 0, 1], [s, s, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    assert_allclose(half, expected, atol=1e-12)


def test_the_ends_and_equal_poses_are_interpolated_too():
    start, end = pose_matrix([1, 2, 3], [1, 2, 3, 4]), pose_matrix([4, 5, 6], [4, 3, 2, -1])
    assert_allclose(interpolate_pose(start, end, 0.0), start, atol=1e-12)
    assert_allclose(interpolate_pose(start, end, 1.0), end, atol=1e-12)
    assert_allclose(interpolate_pose(start, start, 0.3), start, atol=1e-12)


def test_an_orientation_turns_the_shorter_way_round():
    # From 170 to 190 degrees about z, whose quaternions lie on opposite sides: 180 at half.
    start, end = (
        pose_matrix([0, 0, 0], [np.cos(angle / 2), 0, 0, np.sin(angle / 2)])
        for angle in np.radians([170.0, 190.0])
    )
    half = interpolate_pose(start, end, 0.5)
    assert_allclose(half, np.diag([-1.0, -1, 1, 1]), atol=1e-12)


@pytest.mark.parametrize("wrong", [[0, 0, 0, 0], [1, 0, 0], [np.nan, 0, 0, 1]])
def test_a_wrong_quaternion_is_refused(wrong):
    with pytest.raises(ValueError, match="finite non-zero quaternion"):
        rotation_from_quaternion(wrong)


def test_rigid_transforms_are_told_from_other_matrices():
    turned = pose_matrix([1, 2, 3], [2**-0.5, 0, 0, 2**-0.5])
    rounded = turned + np.pad(np.full((3, 3), 1e-3), ((0, 1), (0, 1)))  # as files of three digits
    mirrored = np.diag([1.0, 1.0, -1.0, 1.0])
    larger = np.diag([1.1, 1.1, 1.1, 1.0])  # 1.1 * 1.1 = 1.21
    last_row = np.eye(4)
    last_row[3, 0] = 1.0
    poses = np.stack([np.eye(4), turned, rounded, np.zeros((4, 4)), mirrored, larger, last_row])
    assert is_rigid(poses).tolist() == [True, True, True, False, False, False, False]
    assert is_rigid(turned)
