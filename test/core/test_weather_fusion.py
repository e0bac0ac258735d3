import math

import pytest
import torch

from occ_core.weather_fusion import HIDDEN, WeatherFusion

BOTH = torch.tensor([[True, True]])


def test_equation_2_by_hand():
    """A gate whose logits are the embedding itself, at most 32 wide: softmax([2, 1] * alpha)."""
    fusion = WeatherFusion(2)
    first, _, second = fusion.gate
    with torch.no_grad():
        first.weight.zero_(), first.bias.zero_(), second.weight.zero_(), second.bias.zero_()
        first.weight[0, 0] = first.weight[1, 1] = second.weight[0, 0] = second.weight[1, 1] = 1.0
    weather = torch.tensor([[2.0, 1.0]])
    # softplus(log(e - 1)) = log(1 + e - 1) = 1
    assert fusion.weights(weather, BOTH)[0].tolist() == pytest.approx([math.e / (1 + math.e), 1 / (1 + math.e)])
    with torch.no_grad():
        fusion.sharpness.fill_(math.log(math.exp(3) - 1))  # alpha 3
    assert fusion.weights(weather, BOTH)[0, 0].item() == pytest.approx(1 / (1 + math.exp(-3)))
    assert first.out_features == HIDDEN == 32


def test_volumes_are_scaled_each_sample_by_its_own_weights():
    fusion, image, lidar = WeatherFusion(6), torch.randn(2, 4, 3, 3, 2), torch.randn(2, 4, 3, 3, 2)
    fused = fusion(image, lidar, torch.randn(2, 6), BOTH.expand(2, 2))
    assert not torch.equal(fused.weights[0], fused.weights[1])
    torch.testing.assert_close(fused.weights.sum(dim=1), torch.ones(2))
    for sample in range(2):
        camera, points = fused.weights[sample]
        torch.testing.assert_close(fused.image_volume[sample], image[sample] * camera)
        torch.testing.assert_close(fused.lidar_volume[sample], lidar[sample] * points)


@pytest.mark.parametrize(
    ("present", "expected"),
    [
        pytest.param([True, False], [1.0, 0.0], id="no_points"),
        pytest.param([False, True], [0.0, 1.0], id="no_camera"),
    ],
)
def test_what_is_absent_has_no_weight_and_no_gradient_is_nan(present: list[bool], expected: list[float]):
    fusion = WeatherFusion(6)
    weights = fusion.weights(torch.randn(1, 6), torch.tensor([present]))
    assert weights[0].tolist() == expected
    weights.square().sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in fusion.parameters())


def test_where_nothing_is_there_weights_are_as_if_all_were():
    fusion, weather = WeatherFusion(6), torch.randn(1, 6)
    assert torch.equal(fusion.weights(weather, ~BOTH), fusion.weights(weather, BOTH))


def test_gradients_reach_gate_and_sharpness():
    fusion = WeatherFusion(6)
    fused = fusion(torch.randn(1, 4, 2, 2, 2), torch.randn(1, 4, 2, 2, 2), torch.randn(1, 6), BOTH)
    (fused.image_volume.sum() + 2 * fused.lidar_volume.sum()).backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in fusion.parameters())
