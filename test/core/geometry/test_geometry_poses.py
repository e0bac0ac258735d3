import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from occ_core.geometry.poses import (
    invert_pose,
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


@pytest.mark.parametrize("wrong", [[0, 0, 0, 0], [1, 0, 0], [np.nan, 0, 0, 1]])
def test_a_wrong_quaternion_is_refused(wrong):
    with pytest.raises(ValueError, match="finite non-zero quaternion"):
        rotation_from_quaternion(wrong)
