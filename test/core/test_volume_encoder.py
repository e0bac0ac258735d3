import pytest
import torch
import torch.nn.functional as F

from occ_core.config import OccupancyConfig
from occ_core.volume_encoder import Pointwise, VolumeEncoder


def test_pointwise_is_the_1x1x1_convolution():
    torch.manual_seed(0)
    layer, volume = Pointwise(3, 5), torch.randn(2, 3, 4, 5, 6, requires_grad=True)
    ours, theirs = layer(volume), F.conv3d(volume, layer.weight, layer.bias)
    torch.testing.assert_close(ours, theirs)
    weights = torch.randn_like(ours)
    for a, b in zip(
        torch.autograd.grad((ours * weights).sum(), [volume, layer.weight]),
        torch.autograd.grad((theirs * weights).sum(), [volume, layer.weight]),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("blocks", [(1, 1, 1), (0, 1, 2), (0, 1), (2,)])
@pytest.mark.parametrize("factorised", [True, False])
def test_the_volume_keeps_its_shape_and_every_weight_learns(
    blocks: tuple[int, ...], factorised: bool
):
    torch.manual_seed(0)
    encoder = VolumeEncoder(8, blocks, factorised=factorised)
    result = encoder(torch.randn(2, 8, 8, 12, 4))
    assert result.shape == (2, 8, 8, 12, 4)
    result.square().sum().backward()
    assert all(
        weight.grad is not None and weight.grad.abs().sum() > 0 for weight in encoder.parameters()
    )


def test_what_is_far_away_is_seen_through_the_coarse_levels():
    """Two halvings, of two blocks the last: a change reaches 1 + 2 * (1 + 4) cells and more, one
    level alone 2.
    """
    torch.manual_seed(0)

    def reach(blocks: tuple[int, ...]) -> int:
        encoder = VolumeEncoder(8, blocks, factorised=True).eval()
        volume = torch.zeros(1, 8, 32, 4, 4, requires_grad=True)
        encoder.out[0][-1] = torch.nn.Identity()  # a group norm sees everything
        for module in encoder.modules():
            for name, child in module.named_children():
                if isinstance(child, torch.nn.GroupNorm):
                    setattr(module, name, torch.nn.Identity())
        (gradient,) = torch.autograd.grad(encoder(volume + 1.0)[0, :, 0].sum(), volume)
        return int(gradient[0].abs().sum(dim=(0, 2, 3)).nonzero().max())

    assert reach((0,)) == 1  # the last 3x3x3 alone
    assert reach((0, 1, 2)) > 11


@pytest.mark.parametrize("blocks", [(), (-1, 1), (1, 0)])
def test_levels_without_blocks_are_refused_but_for_the_first(blocks: tuple[int, ...]):
    with pytest.raises(ValueError, match="volume_blocks must be"):
        OccupancyConfig(volume_blocks=blocks)
