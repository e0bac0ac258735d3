import torch
from torch import nn

from occ_core.image_encoder import ImageEncoder, ImageEncoderConfig


def test_folded_it_gives_the_same_map():
    """Statistics as after a training: means and variances that are not 0 and 1."""
    torch.manual_seed(0)
    encoder = ImageEncoder(
        ImageEncoderConfig(depths=(1, 1, 1, 1), widths=(8, 16, 32, 64), out_channels=16)
    ).eval()
    for norm in encoder.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.normal_(), norm.running_var.uniform_(0.5, 2.0)
            nn.init.uniform_(norm.weight, 0.5, 2.0), nn.init.normal_(norm.bias)
    images = torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8)
    with torch.inference_mode():
        expected = encoder(images)
        encoder.fold()
        torch.testing.assert_close(encoder(images), expected, atol=1e-4, rtol=1e-4)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in encoder.modules())
