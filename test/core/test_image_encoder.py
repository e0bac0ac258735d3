from dataclasses import replace

import pytest
import torch
from torch import nn

from occ_core.backbones.image_context import ImageContextConfig
from occ_core.image_encoder import ImageEncoder, ImageEncoderConfig, ImagePyramid, NoImageEncoder


@pytest.mark.parametrize("backbone", [None, "efficientnet_lite0"])
def test_a_folded_encoder_gives_the_same_map(backbone: str | None):
    """The batch norms have means and variances other than 0 and 1, as after a training."""
    torch.manual_seed(0)
    encoder = ImageEncoder(
        ImageEncoderConfig(
            backbone=backbone, depths=(1, 1, 1, 1), widths=(8, 16, 32, 64), out_channels=16
        )
    ).eval()
    for norm in encoder.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.normal_(std=0.1)
            norm.running_var.uniform_(0.5, 2.0)
            nn.init.uniform_(norm.weight, 0.5, 2.0)
            nn.init.normal_(norm.bias, std=0.1)
    images = torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8)
    with torch.inference_mode():
        expected = encoder(images)
        encoder.fold()
        torch.testing.assert_close(encoder(images), expected, atol=1e-4, rtol=1e-4)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in encoder.modules())


SMALL = ImageEncoderConfig(depths=(1, 1, 1, 1), widths=(16, 16, 32, 64), out_channels=16, stride=8)


@pytest.mark.parametrize("images", [0, 2])
def test_a_pyramid_halves_the_resolution_from_level_to_level(images: int):
    """64 x 96 pixels at strides 8, 16, 32 and, by pooling, 64."""
    levels = ImagePyramid(SMALL, 4).levels(torch.zeros(images, 3, 64, 96, dtype=torch.uint8))
    shapes = [tuple(level.shape) for level in levels]
    assert shapes == [
        (images, 16, 8, 12),
        (images, 16, 4, 6),
        (images, 16, 2, 3),
        (images, 16, 1, 2),
    ]


def test_a_pyramid_needs_stride_8_and_a_level():
    with pytest.raises(ValueError, match="stride 8 and at least one level, got 8 and 0"):
        ImagePyramid(SMALL, 0)


def test_context_widens_the_levels_but_not_the_map():
    """Levels of 24 channels at strides 8, 16, 32, and a map of 16; folded, it is the same."""
    torch.manual_seed(0)
    context = ImageContextConfig(channels=24, blocks=1, coarser_blocks=1)
    encoder = ImageEncoder(replace(SMALL, context=context)).eval()
    images = torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8)
    with torch.inference_mode():
        levels = encoder.pyramid(encoder.backbone.stages(images))
        expected = encoder(images)
        encoder.fold()
        torch.testing.assert_close(encoder(images), expected, atol=1e-4, rtol=1e-4)
    assert [level.shape[1] for level in levels] == [24, 24, 24]
    assert expected.shape == (2, 16, 8, 12)


def test_without_cameras_features_have_no_channels():
    encoder = NoImageEncoder()
    encoder.fold()
    assert encoder(torch.zeros(3, 3, 64, 96, dtype=torch.uint8)).shape == (3, 0, 1, 1)
