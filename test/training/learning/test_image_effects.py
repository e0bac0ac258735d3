from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.learning import image_effects

EFFECTS = (
    image_effects.lens_drops,
    image_effects.motion_blur,
    image_effects.blur,
    image_effects.sensor_noise,
    image_effects.tone,
    image_effects.white_balance,
    image_effects.saturation,
    image_effects.grey,
    image_effects.jpeg,
    image_effects.erase,
)
Effect = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("effect", EFFECTS)
@given(height=st.integers(1, 24), width=st.integers(1, 24), seed=st.integers(0, 2**32 - 1))
def test_any_image_keeps_its_size_and_seed(effect: Effect, height: int, width: int, seed: int):
    image = picture(height, width)
    changed, again = (effect(image, np.random.default_rng(seed)) for _ in range(2))
    assert changed.shape == image.shape and changed.dtype == np.uint8
    assert np.array_equal(changed, again) and np.array_equal(image, picture(height, width))


@pytest.mark.parametrize("effect", EFFECTS)
def test_every_effect_changes_an_image(effect: Effect):
    image = picture(32, 48)
    assert not np.array_equal(effect(image, np.random.default_rng(1)), image)


def test_grey_has_no_colour():
    changed = image_effects.grey(picture(8, 8), np.random.default_rng(0))
    assert np.array_equal(changed[..., 0], changed[..., 1])
    assert np.array_equal(changed[..., 0], changed[..., 2])


def test_white_balance_keeps_black_and_every_channel_apart():
    image = np.zeros((1, 2, 3), dtype=np.uint8)
    image[0, 1, 1] = 100
    changed = image_effects.white_balance(image, np.random.default_rng(0))
    assert changed[0, 0].tolist() == [0, 0, 0] and changed[0, 1, [0, 2]].tolist() == [0, 0]
    assert 79 <= changed[0, 1, 1] <= 126  # 100 x 0.8 and 100 x 1.25, rounded


@pytest.mark.parametrize("effect", [image_effects.blur, image_effects.motion_blur])
def test_blur_keeps_the_mean_and_lowers_the_contrast(effect: Effect):
    image = picture(64, 64)
    changed = effect(image, np.random.default_rng(2))
    assert changed.std() < image.std() and abs(changed.mean() - image.mean()) < 3


def test_erased_is_at_most_a_third_of_each_side_three_times():
    image = np.full((60, 90, 3), 7, dtype=np.uint8)
    for seed in range(20):
        changed = image_effects.erase(image, np.random.default_rng(seed))
        # 3 rectangles of at most 19 x 29 pixels: 0.33 x 60 and 0.33 x 90, rounded down
        assert 1 <= (changed != 7).any(axis=2).sum() <= 3 * 19 * 29


def test_shot_noise_grows_with_the_light():
    dark, bright = np.full((64, 64, 3), 30, np.uint8), np.full((64, 64, 3), 200, np.uint8)
    spreads = np.array(
        [
            [image_effects.sensor_noise(each, np.random.default_rng(seed)).std() for seed in (1, 2)]
            for each in (dark, bright)
        ]
    )
    assert (spreads[1] > spreads[0]).all()


def test_drops_blur_only_a_part_of_the_image():
    image = picture(128, 352)
    untouched = (image_effects.lens_drops(image, np.random.default_rng(0)) == image).mean()
    assert 0.3 < untouched < 1
