import pytest
import torch

from occ_core.baselines.mconet import GatedFusion, MConetConfig, WeightedPyramid


@torch.no_grad()
def test_each_voxel_is_a_weighted_mean_of_both_sensors():
    """With convolutions that do nothing, voxels of 1 and 3: a gate of one half gives 2, a gate that
    is open the camera's, a closed one the LiDAR's.
    """
    fusion = GatedFusion(8, kernel=1)
    fusion.image, fusion.lidar = torch.nn.Identity(), torch.nn.Identity()
    image, lidar = torch.full((1, 8, 2, 2, 2), 1.0), torch.full((1, 8, 2, 2, 2), 3.0)
    for logit, expected in ((0.0, 2.0), (50.0, 1.0), (-50.0, 3.0)):
        constant = torch.full((1, 1, 2, 2, 2), logit)
        fusion.gate = _Constant(torch.sigmoid(constant))
        torch.testing.assert_close(
            fusion(image, lidar).volume, torch.full((1, 8, 2, 2, 2), expected)
        )


class _Constant(torch.nn.Module):
    def __init__(self, value: torch.Tensor) -> None:
        super().__init__()
        self.value = value

    def forward(self, volume: torch.Tensor) -> torch.Tensor:
        return self.value


@torch.no_grad()
def test_the_gate_is_computed_from_both_volumes():
    fusion = GatedFusion(8, kernel=3)
    image, lidar = torch.randn(2, 1, 8, 4, 4, 2).unbind()

    def gate(image: torch.Tensor, lidar: torch.Tensor) -> torch.Tensor:
        return fusion.gate(torch.cat([fusion.image(image), fusion.lidar(lidar)], dim=1))

    weight = gate(image, lidar)
    assert weight.shape == (1, 1, 4, 4, 2) and ((weight > 0) & (weight < 1)).all()
    for other in (gate(torch.randn_like(image), lidar), gate(image, torch.randn_like(lidar))):
        assert (other - weight).abs().max() > 1e-3


def test_shape_and_gradient_of_a_pyramid_of_odd_sides():
    """5 x 7 x 3 voxels, extended to 6 x 8 x 4 and halved, then 3 x 4 x 2, extended to 4 x 4 x 4."""
    pyramid = WeightedPyramid(8, (1, 2, 1))
    volume = torch.randn(2, 8, 5, 7, 3, requires_grad=True)
    result = pyramid(volume)
    assert result.shape == volume.shape
    result.square().sum().backward()
    assert [name for name, each in pyramid.named_parameters() if not each.grad.any()] == []


@torch.no_grad()
def test_bfloat16_gives_nearly_the_same():
    """Two layers of voxels, which must not be halved to one: see ``halvable``."""
    pyramid = WeightedPyramid(8, (1, 1))
    volume = torch.randn(1, 8, 10, 10, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = pyramid(volume)
    # values are around 1; a cell that is not computed holds whatever was in memory
    assert (rounded.float() - pyramid(volume)).abs().mean() < 0.1


@torch.no_grad()
def test_levels_are_added_by_weights():
    """Levels of 2, 4 and 6 everywhere with weights of softmax(0, ln 2, 0) = (1, 2, 1) / 4: 4."""
    pyramid = WeightedPyramid(8, (1, 1, 1))
    for value, level in zip((2.0, 4.0, 6.0), range(3), strict=True):
        size = 8 // 2**level
        pyramid.out[level] = _Constant(torch.full((1, 8, size, size, size), value))
    pyramid.weights.weight.zero_()
    pyramid.weights.bias.copy_(torch.tensor([1.0, 2.0, 1.0]).log())
    found = pyramid(torch.randn(1, 8, 8, 8, 8))
    torch.testing.assert_close(found, torch.full((1, 8, 8, 8, 8), 4.0))


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match="kernel must be odd, got 4"):
        MConetConfig(kernel=4)
    with pytest.raises(ValueError, match="blocks must be at least 1 per level"):
        MConetConfig(blocks=(1, 0))
