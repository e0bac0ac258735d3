"""The probe on features that hold the class, and on features that do not."""

import pytest
import torch

from training.scoring.point_classifier import probe


def points(informative: bool) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """2000 points of classes 1 to 4: features, classes, ranges, and which are held out."""
    generator = torch.Generator().manual_seed(0)
    classes = torch.randint(1, 5, (2000,), generator=generator)
    features = 0.1 * torch.randn(2000, 4, generator=generator)
    if informative:
        features[torch.arange(2000), classes - 1] += 5.0
    range_m = 40 * torch.rand(2000, generator=generator)
    return features, classes, range_m, torch.arange(2000) >= 1500


def test_features_that_hold_the_class_give_it() -> None:
    scores = probe(*points(informative=True), seed=0, name="test")
    assert scores["miou"] > 0.95 and scores["accuracy"] > 0.95
    assert scores["miou_beyond_20m"] > 0.95 and scores["miou_trained_on"] > 0.95
    assert set(scores["per_class"]) >= {"barrier", "bicycle", "bus", "car"}


def test_noise_gives_no_more_than_chance() -> None:
    # four classes, equally frequent: by chance a quarter is right
    assert probe(*points(informative=False), seed=0, name="test")["accuracy"] < 0.4


def test_the_seed_decides_everything_and_torch_is_left_alone() -> None:
    before = torch.random.get_rng_state()
    first, again = (probe(*points(informative=False), seed=3, name="test") for _ in range(2))
    assert str(first) == str(again)  # NaN of absent classes included
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("held_out", [torch.ones, torch.zeros])
def test_points_are_needed_on_both_sides(held_out) -> None:
    features, classes, range_m, _ = points(informative=True)
    with pytest.raises(ValueError, match="needs points to train on and points held out"):
        probe(features, classes, range_m, held_out(2000, dtype=torch.bool), seed=0, name="test")
