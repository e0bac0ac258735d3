from dataclasses import fields, replace

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from occ_core.geometry.points import project_points
from occ_core.types import DriveContext, Frame
from training.learning.augment_images import ImageAugmentConfig, vary_images

NOTHING = ImageAugmentConfig(**{each.name: 0.0 for each in fields(ImageAugmentConfig)})
HEIGHT, WIDTH, CAMERAS = 48, 80, 3


def make_frame(mask: tuple[bool, ...] = (True, True, True)) -> Frame:
    """Images in which red grows with the column and green with the row, three levels a pixel, and
    points in front of the cameras.
    """
    image = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
    image[..., 0] = 3 * np.arange(WIDTH)
    image[..., 1] = 3 * np.arange(HEIGHT)[:, None]
    generator = torch.Generator().manual_seed(0)
    low, size = torch.tensor([-4.0, 4.0, -2.0]), torch.tensor([8.0, 8.0, 4.0])
    points = low + size * torch.rand(200, 3, generator=generator)
    matrix = torch.tensor([[60.0, 0.0, 39.5], [0.0, 60.0, 23.5], [0.0, 0.0, 1.0]])
    pose = torch.tensor([[1.0, 0, 0, 0.5], [0, 0, 1, 0], [0, -1, 0, 0.2], [0, 0, 0, 1]])
    return Frame(
        images=torch.from_numpy(image).permute(2, 0, 1).repeat(1, CAMERAS, 1, 1, 1),
        camera_mask=torch.tensor([mask]),
        intrinsics=matrix.repeat(1, CAMERAS, 1, 1),
        grid_from_camera=pose.repeat(1, CAMERAS, 1, 1),
        points=(torch.cat([points, torch.zeros(200, 2)], dim=1),),
        world_from_grid=torch.eye(4, dtype=torch.float64)[None],
        stamp_ns=(0,),
        context=(DriveContext(),),
    )


def pixels(frame: Frame, camera: int) -> np.ndarray:
    """Columns and rows of the points in an image, [N, 2]."""
    camera_from_grid = torch.linalg.inv(frame.grid_from_camera[0, camera])
    points = frame.points[0][:, :3] @ camera_from_grid[:3, :3].T + camera_from_grid[:3, 3]
    return project_points(frame.intrinsics[0, camera].numpy(), points.numpy())[0]


def colours(frame: Frame, camera: int, at: np.ndarray) -> np.ndarray:
    """Red and green at pixels, interpolated, [N, 2]."""
    image = frame.images[0, camera, :2].permute(1, 2, 0).numpy().astype(np.float32)
    column, row = at.astype(np.float32).T
    return cv2.remap(image, column[:, None], row[:, None], cv2.INTER_LINEAR)[:, 0]


def well_inside(at: np.ndarray, margin: float) -> np.ndarray:
    """Which pixels are at least ``margin`` away from the edge."""
    return ((at > margin) & (at < np.array([WIDTH, HEIGHT]) - 1 - margin)).all(axis=1)


@given(seed=st.integers(0, 2**32 - 1))
def test_points_are_projected_to_the_colours_that_they_had(seed: int):
    """Three levels a pixel: an error of half a pixel would be 1.5 levels. Rounding makes half a
    level in the image, half a level in the factor of interpolation (1/32 pixel: 0.1 levels).
    """
    frame = make_frame()
    config = replace(NOTHING, flip=0.5, zoom=1.0)
    varied = vary_images(frame, config, np.random.default_rng(seed))
    for camera in range(CAMERAS):
        before, after = pixels(frame, camera), pixels(varied, camera)
        # the window's edge is a mixture with black
        shown = well_inside(before, 1.5) & well_inside(after, 1.5)
        assert shown.sum() > 20
        error = np.abs(
            colours(frame, camera, before)[shown] - colours(varied, camera, after)[shown]
        )
        assert error.max() < 1.0


def test_a_flip_alone_is_exact():
    frame = make_frame()
    varied = vary_images(frame, replace(NOTHING, flip=1.0), np.random.default_rng(0))
    assert torch.equal(varied.images, frame.images.flip(4))
    # column u of 80 becomes 79 - u
    expected = np.array([79.0, 0.0]) + np.array([-1.0, 1.0]) * pixels(frame, 0)
    np.testing.assert_allclose(pixels(varied, 0), expected, atol=1e-3)
    assert torch.det(varied.grid_from_camera[0, 0, :3, :3]) < 0


def test_zoom_stays_within_its_limits():
    """Focal lengths of 60 x 0.8 to 60 x 1.4, equal along both axes, and no shear."""
    frame, focal = make_frame(), []
    for seed in range(30):
        varied = vary_images(frame, replace(NOTHING, zoom=1.0), np.random.default_rng(seed))
        matrices = varied.intrinsics[0]
        assert torch.equal(matrices[:, 0, 0], matrices[:, 1, 1]) and not matrices[:, 0, 1].any()
        focal += matrices[:, 0, 0].tolist()
    assert 47.9 < min(focal) < 55 and 75 < max(focal) < 84.1


def test_nothing_is_changed_when_all_is_off():
    frame = make_frame()
    varied = vary_images(frame, NOTHING, np.random.default_rng(0))
    for name in ("images", "camera_mask", "intrinsics", "grid_from_camera"):
        assert torch.equal(getattr(varied, name), getattr(frame, name))


def test_every_number_of_cameras_is_left_equally_often():
    """300 frames of 3 cameras: 100 each of one, two and three, +- 4 sigma of 8.2."""
    counts = [0] * 4
    for seed in range(300):
        config = replace(NOTHING, fewer_cameras=1.0)
        varied = vary_images(make_frame(), config, np.random.default_rng(seed))
        counts[int(varied.camera_mask.sum())] += 1
    assert counts[0] == 0 and all(67 <= count <= 133 for count in counts[1:])


def test_missing_cameras_stay_missing_and_untouched():
    frame = make_frame((False, True, False))
    everything = ImageAugmentConfig(**{each.name: 1.0 for each in fields(ImageAugmentConfig)})
    varied = vary_images(frame, everything, np.random.default_rng(0))
    assert varied.camera_mask.tolist() == [[False, True, False]]
    for camera, changed in enumerate((False, True, False)):
        assert torch.equal(varied.images[0, camera], frame.images[0, camera]) != changed
    blind = vary_images(make_frame((False,) * 3), everything, np.random.default_rng(0))
    assert not blind.camera_mask.any()


def test_the_given_frame_is_untouched():
    frame, before = make_frame(), make_frame()
    everything = ImageAugmentConfig(**{each.name: 1.0 for each in fields(ImageAugmentConfig)})
    vary_images(frame, everything, np.random.default_rng(0))
    for name in ("images", "camera_mask", "intrinsics", "grid_from_camera"):
        assert torch.equal(getattr(frame, name), getattr(before, name))


def test_a_probability_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"ImageAugmentConfig.zoom must be in \[0, 1\], got 1.4"):
        ImageAugmentConfig(zoom=1.4)
