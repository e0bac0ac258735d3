import pytest
import torch
import torch.nn.functional as F

from occ_core.config import OccupancyConfig
from occ_core.volume_encoder import Horizontal, Pointwise, Shrink, Vertical, VolumeEncoder


def test_pointwise_is_the_1x1x1_convolution():
    """In values and gradients, up to the rounding of sums over 3 channels and 240 voxels."""
    layer, volume = Pointwise(3, 5), torch.randn(2, 3, 4, 5, 6, requires_grad=True)
    actual, expected = layer(volume), F.conv3d(volume, layer.weight, layer.bias)
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)
    upstream = torch.randn_like(expected)
    inputs = [volume, layer.weight, layer.bias]
    for gradient, expected_gradient in zip(
        torch.autograd.grad(actual, inputs, upstream),
        torch.autograd.grad(expected, inputs, upstream),
        strict=True,
    ):
        torch.testing.assert_close(gradient, expected_gradient, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kind", [Horizontal, Vertical, Shrink])
def test_layers_on_slices_are_the_3d_convolutions(
    kind: type[torch.nn.Conv3d], stride: int, batch: int
):
    """In values, with and without gradients, and in the gradients: sums of up to 27 and of 480
    products of order 1.
    """
    generator = torch.Generator().manual_seed(0)
    layer = kind(3, 5, stride)
    volume = torch.randn(batch, 3, 4, 6, 8, generator=generator, requires_grad=True)
    slices = volume.permute(0, 1, 4, 2, 3)
    expected = F.conv3d(volume, layer.weight, None, layer.stride, layer.padding)
    actual = layer(slices).permute(0, 1, 3, 4, 2)
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(layer(slices).permute(0, 1, 3, 4, 2), expected)
    upstream = torch.randn(expected.shape, generator=generator)
    for gradient, expected_gradient in zip(
        torch.autograd.grad(actual, [volume, layer.weight], upstream),
        torch.autograd.grad(expected, [volume, layer.weight], upstream),
        strict=True,
    ):
        torch.testing.assert_close(gradient, expected_gradient, atol=1e-4, rtol=1e-4)


def test_the_order_of_the_axes_in_memory_changes_nothing():
    torch.manual_seed(0)
    encoder = VolumeEncoder(8, (1, 1), factorised=True).eval()
    volume = torch.randn(1, 8, 8, 12, 4)
    expected = encoder(volume)
    assert not volume.is_contiguous(memory_format=torch.channels_last_3d)
    for order in ((0, 2, 3, 4, 1), (0, 4, 2, 3, 1), (2, 0, 1, 4, 3)):
        laid = volume.permute(order).contiguous().permute([order.index(axis) for axis in range(5)])
        torch.testing.assert_close(encoder(laid), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("blocks", [(1, 1, 1), (0, 1, 2), (0, 1), (2,)])
@pytest.mark.parametrize("factorised", [True, False])
def test_the_volume_keeps_its_shape_and_every_weight_learns(
    blocks: tuple[int, ...], factorised: bool
):
    encoder = VolumeEncoder(8, blocks, factorised=factorised)
    result = encoder(torch.randn(2, 8, 8, 12, 4))
    assert result.shape == (2, 8, 8, 12, 4)
    result.square().sum().backward()
    for weight in encoder.parameters():
        assert weight.grad is not None and weight.grad.abs().sum() > 0


def test_coarse_levels_widen_the_receptive_field():
    """The last 3x3x3 convolution alone reaches 1 cell. With two coarser levels, the deepest of two
    blocks at a quarter of the resolution, a voxel is influenced from more than 11 cells away.
    """

    def reach(blocks: tuple[int, ...]) -> int:
        encoder = VolumeEncoder(8, blocks, factorised=True).eval()
        for module in list(encoder.modules()):  # a group norm would see the whole volume
            for name, child in module.named_children():
                if isinstance(child, torch.nn.GroupNorm):
                    setattr(module, name, torch.nn.Identity())
        volume = torch.ones(1, 8, 32, 4, 4, requires_grad=True)
        (gradient,) = torch.autograd.grad(encoder(volume)[0, :, 0].sum(), volume)
        influence = gradient[0].abs().sum(dim=(0, 2, 3))  # [X]
        return int((influence > 1e-6 * influence.max()).nonzero().max())

    assert reach((0,)) == 1
    assert reach((0, 1, 2)) > 11


@pytest.mark.parametrize("blocks", [(), (-1, 1), (1, 0)])
def test_levels_without_blocks_are_refused_but_for_the_first(blocks: tuple[int, ...]):
    with pytest.raises(ValueError, match="volume_blocks must be"):
        OccupancyConfig(volume_blocks=blocks)
