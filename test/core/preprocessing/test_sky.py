import cv2
import numpy as np
import pytest

from occ_core.preprocessing.sky import sky_masks

SIZE = (120, 200)
INTRINSICS = np.array([[100.0, 0, 99.5], [0, 100.0, 59.5], [0, 0, 1]])
LEVEL = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 1.5], [0, 0, 0, 1]])
"""World from a camera that looks along y, its image upright: the horizon is row 59.5."""


def street(sky=(150, 180, 215), facade=(150, 110, 90), seed=0) -> tuple[np.ndarray, np.ndarray]:
    """A facade with windows from column 120 on, and a road, under a sky; and the sky's pixels."""
    rng = np.random.default_rng(seed)
    image = np.empty((*SIZE, 3), np.uint8)
    image[:] = sky
    image[60:] = (80, 80, 80)
    image[20:60, 120:] = facade
    image[24:60:8, 124::8] = image[25:60:8, 125::8] = (40, 50, 60)
    image[40:60, :60] = (50, 90, 40)  # trees
    truth = np.zeros(SIZE, bool)
    truth[:59] = True
    truth[20:60, 120:] = truth[40:60, :60] = False
    return np.clip(image + rng.normal(0, 3, image.shape), 0, 255).astype(np.uint8), truth


def rates(found: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    return (found & truth).sum() / truth.sum(), (found & ~truth).sum() / (~truth).sum()


@pytest.mark.parametrize("sky", [(150, 180, 215), (185, 185, 188)], ids=["blue", "overcast"])
def test_sky_is_found(sky):
    image, truth = street(sky)
    recall, false_positive = rates(sky_masks([image], [INTRINSICS], [LEVEL])[0], truth)
    assert recall > 0.9
    assert false_positive < 0.02


def test_a_cloud_is_sky_too():
    image, truth = street()
    cv2.ellipse(image, (70, 20), (40, 10), 0, 0, 360, (225, 228, 235), -1)
    image = cv2.GaussianBlur(image, (0, 0), 0.8)
    recall, _ = rates(sky_masks([image], [INTRINSICS], [LEVEL])[0], truth)
    assert recall > 0.85


def test_nothing_below_the_horizon_is_sky():
    image, _ = street()
    image[60:] = image[:60]  # a mirror of water
    assert not sky_masks([image], [INTRINSICS], [LEVEL])[0][60:].any()


def test_a_camera_that_looks_down_sees_none():
    down = LEVEL.copy()
    down[:3, :3] = np.array([[1.0, 0, 0], [0, -1, 0], [0, 0, -1]])
    image, _ = street()
    assert not sky_masks([image], [INTRINSICS], [down])[0].any()


def test_images_help_each_other():
    # Alone, an image of nothing but sky has nothing to differ from; beside a street it is sky.
    image, _ = street()
    only_sky = np.ascontiguousarray(np.broadcast_to(image[:1, :1], image.shape))
    looking_up = LEVEL.copy()
    looking_up[:3, :3] = np.array(
        [[1.0, 0, 0], [0, 0.5, 3**0.5 / 2], [0, -(3**0.5) / 2, 0.5]]
    )  # by 30 degrees up
    street_mask, sky_mask = sky_masks([image, only_sky], [INTRINSICS] * 2, [LEVEL, looking_up])
    assert sky_mask[:60].mean() > 0.95
    assert street_mask[:20].mean() > 0.9


def test_what_the_lidar_meets_is_no_sky():
    # A wall as smooth and pale as the sky, in a dark frame: only the LiDAR knows.
    # It sees up to row 42: 100 * tan(asin(0.17)) = 17.
    image, _ = street()
    image[40:59, :60] = image[
        :19, :60
    ]  # no trees: the sky too reaches down to where a LiDAR would see
    image[22:59, 62:120] = (40, 40, 40)
    image[30:59, 70:112] = image[:29, 70:112]
    rows, columns = np.meshgrid(np.arange(42, 59, 2.0), np.arange(70, 112, 1.0), indexing="ij")
    hits = np.stack([columns.ravel(), rows.ravel()], axis=1)
    without = sky_masks([image], [INTRINSICS], [LEVEL])[0]
    knowing = sky_masks([image], [INTRINSICS], [LEVEL], [hits])[0]
    assert without[33:56, 73:109].mean() > 0.8
    assert not knowing[30:59, 70:112].any()
    assert (knowing == without)[:20].all()


def test_each_image_needs_its_camera():
    image, _ = street()
    with pytest.raises(ValueError, match="got 1 images, 2 intrinsics"):
        sky_masks([image], [INTRINSICS] * 2, [LEVEL])


def test_no_images_have_no_masks():
    assert sky_masks([], [], [], []) == []
