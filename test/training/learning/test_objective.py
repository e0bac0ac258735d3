from dataclasses import replace

import pytest
import torch

from occ_core.build import build_model
from occ_core.datasets.surroundocc import coarsen_labels
from occ_core.interface import Prediction
from occ_core.labels.label_set import LabelSet
from occ_core.labels.sets import NUSCENES
from occ_core.losses.image_classes import image_class_loss, image_class_targets
from occ_core.types import HeadOutput
from training.learning.config import TrainConfig
from training.learning.loader import load_clips, split_frames
from training.learning.objective import LossWeights, objective


@pytest.mark.parametrize("camera", [True, False])
def test_image_classes_are_part_of_the_total(camera: bool, smallest: TrainConfig):
    """0.5 times the cross entropy of the cells; a model without cameras is trained by the same
    weights and has no such term.
    """
    torch.manual_seed(0)
    config = replace(smallest, model=replace(smallest.model, image_classes=True, camera=camera))
    training, _ = split_frames(config)
    (example,) = next(load_clips(training, config, 0))
    prediction = build_model(config.model)(example.frame)
    weights = torch.ones(17)
    with_it, without = (
        objective(
            prediction,
            example.frame,
            example.labels,
            example.coarse_labels,
            weights,
            LossWeights(image_classes=weight),
            config.model,
        )
        for weight in (0.5, None)
    )
    if not camera:
        assert with_it.keys() == without.keys()
        return
    assert prediction.image_logits is not None and prediction.cameras is not None
    target = image_class_targets(
        example.labels, config.model.grid, prediction.cameras, config.model.image_encoder.stride
    )
    assert (target != 255).any()
    expected = image_class_loss(prediction.image_logits, target, weights)
    torch.testing.assert_close(with_it["image_classes"], expected)
    torch.testing.assert_close(with_it["total"], without["total"] + 0.5 * expected)


def test_the_objective_follows_the_empty_class(smallest: TrainConfig):
    """Every loss is the same where id l of one set is l - 1 of the other, whose last one is empty;
    a second volume at half the resolution takes part as well.
    """
    shape, generator = smallest.model, torch.Generator().manual_seed(0)
    x, y, z = shape.grid.shape
    labels = torch.randint(0, 17, (1, x, y, z), generator=generator, dtype=torch.uint8)
    labels[torch.rand(labels.shape, generator=generator) < 0.9] = 0
    labels[:, 0] = 255
    coarse = torch.randn(1, 17, *shape.coarse_grid.shape, generator=generator)
    other = torch.randn(1, 17, *shape.coarse_grid.shape, generator=generator)
    children = torch.tensor([[0, 4, 5, 1], [0, 5, 5, 1], [0, 6, 7, 0]])
    fine = torch.randn(3, 17, generator=generator)
    weights = torch.rand(17, generator=generator)
    last = LabelSet((*NUSCENES.occupied_names, "empty"), empty=16)
    (example,) = next(load_clips(split_frames(smallest)[0], smallest, 0))

    def losses(labels: torch.Tensor, label_set: LabelSet, by: int) -> dict[str, torch.Tensor]:
        ratio, empty = shape.cascade_ratio, label_set.empty
        coarsened = torch.from_numpy(coarsen_labels(labels[0].numpy(), ratio, empty))[None]
        head = HeadOutput(coarse.roll(by, 1), fine.roll(by, 1), children)
        prediction = Prediction(head, coarse, coarser=(other.roll(by, 1),))
        config = replace(shape, labels=label_set)
        return objective(
            prediction, example.frame, labels, coarsened, weights.roll(by), LossWeights(), config
        )

    renamed = torch.where(labels == 255, 255, (labels.int() - 1).remainder(17)).to(torch.uint8)
    expected, found = losses(labels, NUSCENES, 0), losses(renamed, last, -1)
    assert "cross_entropy_2" in found and found["coarse_cross_entropy"] > 0
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, msg=name)


def test_image_classes_need_a_model_that_has_them(smallest: TrainConfig):
    with pytest.raises(ValueError, match="image_classes is 0.5, but the model does not"):
        replace(smallest, losses=LossWeights(image_classes=0.5))
