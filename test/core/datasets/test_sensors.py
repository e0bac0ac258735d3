"""Frames from the sensors of one instant."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from occ_core.datasets.sensors import CameraSample, frame_from_sensors
from occ_core.types import DriveContext

SIZE = (16, 32)
INTRINSICS = np.array([[40.0, 0, 31.5], [0, 40, 15.5], [0, 0, 1]])


def camera(grey: int, size: tuple[int, int] = SIZE) -> CameraSample:
    """A sample of an image of one grey level."""
    image = np.full((*size, 3), grey, dtype=np.uint8)
    return CameraSample(image, INTRINSICS, np.diag([1.0, 2, 2, 1]))


def sensors(**changes) -> dict:
    """Two cameras and one point."""
    return {
        "cameras": [camera(50), camera(60)],
        "points": np.array([[1, 2, 3, 4, 0]], dtype=np.float32),
        "world_from_grid": np.eye(4),
        "stamp_ns": 5,
        "context": DriveContext("rain", "boston-seaport"),
        "image_size": SIZE,
    } | changes


def test_a_frame_from_sensors():
    frame = frame_from_sensors(**sensors())
    assert frame.images.shape == (1, 2, 3, *SIZE) and frame.images.dtype == torch.uint8
    assert frame.images[0, :, 0, 0, 0].tolist() == [50, 60]
    assert frame.camera_mask.tolist() == [[True, True]]
    assert_allclose(frame.intrinsics[0, 1], INTRINSICS)
    assert_allclose(frame.grid_from_camera[0, 1], np.diag([1.0, 2, 2, 1]))
    for tensor in (frame.intrinsics, frame.grid_from_camera, frame.points[0]):
        assert tensor.dtype == torch.float32
    assert frame.world_from_grid.dtype == torch.float64
    assert (frame.stamp_ns, frame.context) == ((5,), (DriveContext("rain", "boston-seaport"),))


def test_a_fitted_sample():
    image = np.full((32, 64, 3), 50, dtype=np.uint8)
    sample = CameraSample.fitted(image, INTRINSICS, np.eye(4), SIZE)
    assert sample.image.shape == (*SIZE, 3) and (sample.image == 50).all()
    # Half the size: c = (31.5 + 0.5) / 2 - 0.5 and (15.5 + 0.5) / 2 - 0.5.
    assert_allclose(sample.intrinsics, [[20, 0, 15.5], [0, 20, 7.5], [0, 0, 1]])


def test_a_missing_camera_is_masked():
    frame = frame_from_sensors(**sensors(cameras=[camera(50), None]))
    assert frame.camera_mask.tolist() == [[True, False]]
    assert (frame.images[0, 1] == 0).all()
    assert (frame.intrinsics[0, 1] == torch.eye(3)).all()
    assert (frame.grid_from_camera[0, 1] == torch.eye(4)).all()
    assert (frame.images[0, 0] == 50).all()


def test_all_cameras_missing_and_no_points():
    no_points = np.zeros((0, 5), dtype=np.float32)
    frame = frame_from_sensors(**sensors(cameras=[None, None], points=no_points))
    assert frame.camera_mask.tolist() == [[False, False]]
    assert frame.points[0].shape == (0, 5)


def test_a_rig_without_cameras():
    frame = frame_from_sensors(**sensors(cameras=[]))
    assert frame.images.shape == (1, 0, 3, *SIZE) and frame.camera_mask.dtype == torch.bool


def test_a_frame_does_not_share_the_sensors_memory():
    inputs = sensors()
    frame = frame_from_sensors(**inputs)
    inputs["cameras"][1].image[:] = 0
    inputs["world_from_grid"][:] = 0
    assert (frame.images[0, 1] == 60).all() and frame.world_from_grid[0, 0, 0] == 1


def test_wrong_sensors_are_refused():
    with pytest.raises(ValueError, match=r"camera 1 .*size \[16, 32\], got \[32, 64\]; .*fitted"):
        frame_from_sensors(**sensors(cameras=[None, camera(50, (32, 64))]))
    with pytest.raises(ValueError, match=r"points must be \[M, 5\].*got \[3, 4\]"):
        frame_from_sensors(**sensors(points=np.zeros((3, 4), dtype=np.float32)))
