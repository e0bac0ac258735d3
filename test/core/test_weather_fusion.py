import math

import pytest
import torch

from occ_core.weather_fusion import HIDDEN, WeatherFusion

BOTH = torch.tensor([[True, True]])
WEATHERS = torch.zeros(3, 6)


def test_equation_2_by_hand():
    """A gate whose logits are the embedding itself, at most 32 wide: softmax(([2, 1] - [0, 0]) *
    alpha).
    """
    fusion = WeatherFusion(2)
    first, _, second = fusion.gate
    with torch.no_grad():
        first.weight.zero_(), first.bias.zero_(), second.weight.zero_()
        first.weight[0, 0] = first.weight[1, 1] = second.weight[0, 0] = second.weight[1, 1] = 1.0
    weather, none = torch.tensor([[2.0, 1.0]]), torch.zeros(2, 2)
    # softplus(log(e - 1)) = log(1 + e - 1) = 1
    assert fusion.weights(weather, none, BOTH)[0].tolist() == pytest.approx(
        [math.e / (1 + math.e), 1 / (1 + math.e)]
    )
    with torch.no_grad():
        fusion.sharpness.fill_(math.log(math.exp(3) - 1))  # alpha 3
    assert fusion.weights(weather, none, BOTH)[0, 0].item() == pytest.approx(1 / (1 + math.exp(-3)))
    weathers = torch.tensor(
        [[2.0, 1.0], [1.0, 1.0]]
    )  # softmax(([2, 1] - [1.5, 1]) * 3) = sigmoid(3 * 0.5)
    assert fusion.weights(weather, weathers, BOTH)[0, 0].item() == pytest.approx(
        1 / (1 + math.exp(-1.5))
    )
    assert first.out_features == HIDDEN == 32


def test_no_sensor_is_trusted_less_in_every_weather():
    """Weighted by their logits the weathers balance; where there is one weather alone, the volumes
    are left as they are.
    """
    fusion, image, lidar = WeatherFusion(6), torch.randn(1, 4, 3, 3, 2), torch.randn(1, 4, 3, 3, 2)
    weathers = torch.randn(5, 6)
    logits = fusion.weights(weathers, weathers, BOTH.expand(5, 2)).log()
    torch.testing.assert_close(
        (logits[:, 0] - logits[:, 1]).sum(), torch.tensor(0.0), atol=1e-5, rtol=0
    )
    fused = fusion(image, lidar, weathers[:1], weathers[:1], BOTH)
    assert fused.weights.tolist() == [[0.5, 0.5]]
    assert torch.equal(fused.image_volume, image) and torch.equal(fused.lidar_volume, lidar)


def test_volumes_are_scaled_each_sample_by_its_own_weights():
    fusion, image, lidar = WeatherFusion(6), torch.randn(2, 4, 3, 3, 2), torch.randn(2, 4, 3, 3, 2)
    fused = fusion(image, lidar, torch.randn(2, 6), WEATHERS, BOTH.expand(2, 2))
    assert not torch.equal(fused.weights[0], fused.weights[1])
    torch.testing.assert_close(fused.weights.sum(dim=1), torch.ones(2))
    for sample in range(2):
        camera, points = fused.weights[sample]
        torch.testing.assert_close(fused.image_volume[sample], image[sample] * camera * 2)
        torch.testing.assert_close(fused.lidar_volume[sample], lidar[sample] * points * 2)


@pytest.mark.parametrize(
    ("present", "expected"),
    [
        pytest.param([True, False], [1.0, 0.0], id="no_points"),
        pytest.param([False, True], [0.0, 1.0], id="no_camera"),
    ],
)
def test_what_is_absent_has_no_weight_and_no_gradient_is_nan(
    present: list[bool], expected: list[float]
):
    fusion, image, lidar = WeatherFusion(6), torch.randn(1, 4, 3, 3, 2), torch.randn(1, 4, 3, 3, 2)
    fused = fusion(image, lidar, torch.randn(1, 6), WEATHERS, torch.tensor([present]))
    assert fused.weights[0].tolist() == expected
    assert torch.equal(fused.image_volume, image * expected[0]) and torch.equal(
        fused.lidar_volume, lidar * expected[1]
    )
    fused.weights.square().sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in fusion.parameters())


def test_where_nothing_is_there_weights_are_as_if_all_were():
    fusion, weather, volume = WeatherFusion(6), torch.randn(1, 6), torch.zeros(1, 4, 2, 2, 2)
    neither, both = (
        fusion(volume, volume, weather, WEATHERS, present) for present in (~BOTH, BOTH)
    )
    assert torch.equal(neither.weights, both.weights)


def test_gradients_reach_gate_and_sharpness():
    fusion = WeatherFusion(6)
    fused = fusion(
        torch.randn(1, 4, 2, 2, 2), torch.randn(1, 4, 2, 2, 2), torch.randn(1, 6), WEATHERS, BOTH
    )
    (fused.image_volume.sum() + 2 * fused.lidar_volume.sum()).backward()
    assert all(
        parameter.grad is not None and parameter.grad.abs().sum() > 0
        for parameter in fusion.parameters()
    )
