from dataclasses import replace

import pytest
import torch

from occ_core.build import build_model
from occ_core.losses.image_classes import image_class_loss, image_class_targets
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


def test_image_classes_need_a_model_that_has_them(smallest: TrainConfig):
    with pytest.raises(ValueError, match="image_classes is 0.5, but the model does not"):
        replace(smallest, losses=LossWeights(image_classes=0.5))
