import pytest
import torch

from occ_core.backbones.image_context import ImageBlock, ImageContext, ImageContextConfig

SMALL = ImageContextConfig(channels=8, blocks=1, coarser_blocks=1)


def test_a_block_is_a_relu_at_first():
    level = torch.randn(2, 8, 5, 7)
    assert torch.equal(ImageBlock(8)(level), level.relu())


@pytest.mark.parametrize("size", [(4, 6), (5, 7), (1, 1)])
def test_odd_sizes_are_kept(size: tuple[int, int]):
    assert ImageContext(SMALL)(torch.randn(2, 8, *size)).shape == (2, 8, *size)


def test_without_images_there_are_no_maps():
    assert ImageContext(SMALL)(torch.zeros(0, 8, 4, 6)).shape == (0, 8, 4, 6)


@pytest.mark.parametrize(("coarser_blocks", "reach"), [(0, 4), (1, 9)])
def test_how_far_a_cell_sees(coarser_blocks: int, reach: int):
    """Through the convolutions alone; the norms see the whole map.

    Two blocks are four 3x3 convolutions: cell 20 sees 16 to 24. These lie in the coarse cells 8 to
    12, whose block sees 6 to 14; coarse cell i is made of the cells 2i - 1 to 2i + 1: 11 to 29.
    """
    torch.manual_seed(0)
    config = ImageContextConfig(channels=8, blocks=2, coarser_blocks=coarser_blocks)
    context = ImageContext(config)
    for module in context.modules():
        if isinstance(module, torch.nn.GroupNorm):
            module.weight.data.fill_(1.0)
            module.forward = lambda x: x  # type: ignore[method-assign]
    level = torch.rand(1, 8, 1, 41, requires_grad=True)
    context(level)[0, :, 0, 20].sum().backward()
    assert level.grad is not None
    seen = level.grad[0].abs().sum(dim=(0, 1)).nonzero()[:, 0]
    assert (int(seen.min()), int(seen.max())) == (20 - reach, 20 + reach)


@pytest.mark.parametrize("channels", [0, 12])
def test_channels_must_fit_the_norm(channels: int):
    with pytest.raises(ValueError, match=f"multiple of 8 .*got {channels}"):
        ImageContextConfig(channels=channels)


def test_blocks_must_not_be_negative():
    with pytest.raises(ValueError, match="must not be negative, got 3 and -1"):
        ImageContextConfig(coarser_blocks=-1)
