from dataclasses import replace

import pytest
import torch

from occ_core.build import build_model
from training.learning.augment import AugmentConfig
from training.learning.config import TrainConfig
from training.learning.image_cells import (
    ImageBranch,
    ImageCells,
    StoredCells,
    image_cells,
    image_losses,
)
from training.learning.loader import load_clips, split_frames
from training.learning.objective import LossWeights, objective


@pytest.mark.parametrize("augment", [None, AugmentConfig()])
@pytest.mark.parametrize("backbone", [None, "efficientnet_lite0"])
def test_the_losses_are_those_of_the_whole_model(
    augment: AugmentConfig | None, backbone: str | None, smallest: TrainConfig
):
    """Values and gradients of the way over the backbone's maps, and of the objective."""
    torch.manual_seed(0)
    shape = replace(
        smallest.model,
        image_classes=True,
        image_encoder=replace(smallest.model.image_encoder, backbone=backbone),
    )
    config = replace(smallest, model=shape, augment=augment)
    training, _ = split_frames(config)
    (example,) = next(load_clips(training, config, 0))
    model, weights = build_model(shape).eval(), torch.rand(17) + 0.5
    branch = ImageBranch.of(model)
    losses = image_losses(branch, image_cells(branch.encoder, example, config), weights)
    whole = objective(
        model(example.frame),
        example.frame,
        example.labels,
        example.coarse_labels,
        weights,
        LossWeights(image_classes=0.5),
        shape,
    )
    assert losses.keys() == {"image_classes", "depth"}
    for name, loss in losses.items():
        assert loss > 0
        torch.testing.assert_close(loss, whole[name])
        gradients = (
            torch.autograd.grad(each, branch.taught, retain_graph=True, allow_unused=True)
            for each in (loss, whole[name])
        )
        for fast, slow in zip(*gradients, strict=True):
            assert (fast is None) == (slow is None)
            if fast is not None:
                torch.testing.assert_close(fast, slow)


@pytest.mark.parametrize("change", [{"camera": False}, {"image_classes": False}])
def test_a_branch_must_classify(change: dict[str, bool], smallest: TrainConfig):
    model = build_model(replace(replace(smallest.model, image_classes=True), **change))
    with pytest.raises(ValueError, match="does not classify image features"):
        ImageBranch.of(model)


def _cells(images: int, start: int) -> ImageCells:
    number = torch.arange(start, start + images).view(-1, 1, 1)
    return ImageCells(
        number.expand(-1, 2, 3),
        number.expand(-1, 2, 3) - 1,
        number.expand(-1, 3, 3).float(),
        (number[:, None].expand(-1, 4, 2, 3).float(), number[:, None].float()),
    )


def test_every_image_comes_once_before_any_comes_again():
    """7 images in 7 batches of 3: each of them three times, and in 14 images twice."""
    stored = StoredCells([_cells(3, 0), _cells(4, 3)])
    assert len(stored) == 7
    batches = list(stored.batches(3, 7, torch.Generator().manual_seed(0)))
    numbers = torch.cat([batch.classes[:, 0, 0] for batch in batches])
    assert [batch.classes.shape for batch in batches] == [(3, 2, 3)] * 7
    assert sorted(numbers[:7].tolist()) == sorted(numbers[7:14].tolist()) == list(range(7))
    assert numbers.bincount().tolist() == [3] * 7


def test_what_is_stored_stays_together():
    """Whole numbers below 256 are exact in bfloat16; without a point a depth bin is -1."""
    stored = StoredCells([_cells(5, 0)])
    (batch,) = stored.batches(5, 1, torch.Generator().manual_seed(0))
    number = batch.classes[:, 0, 0]
    assert torch.equal(batch.depth_bins[:, 1, 2], number - 1)
    assert torch.equal(batch.intrinsics[:, 2, 2], number.float())
    for stage in batch.stages:
        assert stage.dtype == torch.float32
        assert torch.equal(stage[:, -1, -1, -1], number.float())
