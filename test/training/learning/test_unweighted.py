import math
from dataclasses import replace

import pytest
import torch

from occ_core.build import build_model
from occ_core.config import TPVFormerConfig, debug
from training.learning.unweighted import take_out_class_weights


def test_the_logits_of_the_probabilities_remain():
    """Trained with weights 1 and 3 on a voxel that is of either class as often, the second gets
    three times the probability of the first; without the weights, the same.
    """
    logits = torch.zeros(2, requires_grad=True)
    optimiser = torch.optim.SGD([logits], lr=0.5)
    weights = torch.tensor([1.0, 3.0])
    for _ in range(300):
        optimiser.zero_grad()
        both = logits.expand(2, 2)
        torch.nn.functional.cross_entropy(both, torch.tensor([0, 1]), weights).backward()
        optimiser.step()
    gap = float(logits.detach()[1] - logits.detach()[0])
    assert gap == pytest.approx(math.log(3), abs=1e-3)

    torch.manual_seed(0)
    model = build_model(debug())
    every = torch.ones(17)
    every[2] = 3.0
    layers = (model.head.coarse, model.head.refine[-1])
    before = [layer.bias.detach().clone() for layer in layers]
    take_out_class_weights(model, every)
    for layer, was in zip(layers, before, strict=True):
        change = (layer.bias - was).detach()
        assert float(change[2]) == pytest.approx(-math.log(3), abs=1e-6)
        assert (change[torch.arange(17) != 2] == 0).all()


def test_a_model_with_another_head_is_refused():
    baseline = replace(
        debug(),
        lidar=False,
        cascade_ratio=1,
        tpvformer=TPVFormerConfig(
            channels=16, heads=2, layers=1, pillars=(2, 2, 2), samples=(2, 2, 2), levels=1
        ),
        image_encoder=replace(debug().image_encoder, stride=8),
    )
    with pytest.raises(ValueError, match="an OccupancyHead, which TPVFormer"):
        take_out_class_weights(build_model(baseline), torch.ones(17))
