import math

import pytest
import torch

from occ_core.weather_fusion import HIDDEN, NoWeatherFusion, WeatherFusion

BOTH = torch.tensor([[True, True]])
WEATHERS = torch.zeros(3, 6)


def volumes(batch: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(batch, 4, 3, 3, 2), torch.randn(batch, 4, 3, 3, 2)


def test_equation_2_by_hand():
    """The gate's logits are GELU of the embedding, which is x times the share Phi(x) of a normal
    distribution below x: softmax((GELU([2, 1]) - [0, 0]) * alpha), with Phi(2) = 0.97725 and
    Phi(1) = 0.84134.
    """
    fusion = WeatherFusion(2)
    first, _, second = fusion.gate
    with torch.no_grad():
        for parameter in (first.weight, first.bias, second.weight):
            parameter.zero_()
        first.weight[0, 0] = first.weight[1, 1] = second.weight[0, 0] = second.weight[1, 1] = 1.0
    weather, none = torch.tensor([[2.0, 1.0]]), torch.zeros(2, 2)
    apart = 2 * 0.97725 - 0.84134
    # alpha = softplus(log(e - 1)) = log(1 + e - 1) = 1
    assert fusion.weights(weather, none, BOTH)[0].tolist() == pytest.approx(
        [1 / (1 + math.exp(-apart)), 1 / (1 + math.exp(apart))], abs=1e-5
    )
    with torch.no_grad():
        fusion.sharpness.fill_(math.log(math.exp(3) - 1))  # alpha 3
    camera = fusion.weights(weather, none, BOTH)[0, 0].item()
    assert camera == pytest.approx(1 / (1 + math.exp(-3 * apart)), abs=1e-5)
    # the mean over all weathers is subtracted: the second logits cancel out, and of the first
    # remains (GELU(2) - GELU(1)) / 2
    weathers = torch.tensor([[2.0, 1.0], [1.0, 1.0]])
    camera = fusion.weights(weather, weathers, BOTH)[0, 0].item()
    assert camera == pytest.approx(1 / (1 + math.exp(-1.5 * apart)), abs=1e-5)
    assert first.out_features == HIDDEN == 32


def test_no_sensor_has_less_weight_in_every_weather():
    """The logits sum to zero over all weathers. Where there is one weather only, the volumes stay
    as they are.
    """
    fusion, (image, lidar), weathers = WeatherFusion(6), volumes(), torch.randn(5, 6)
    logits = fusion.weights(weathers, weathers, BOTH.expand(5, 2)).log()
    assert (logits[:, 0] - logits[:, 1]).sum().item() == pytest.approx(0.0, abs=1e-4)
    weighted = fusion(image, lidar, weathers[:1], weathers[:1], BOTH)
    assert weighted.weights.tolist() == [[0.5, 0.5]]
    assert torch.equal(weighted.image_volume, image)
    assert torch.equal(weighted.lidar_volume, lidar)


def test_each_sample_is_scaled_by_its_own_weights():
    fusion, (image, lidar) = WeatherFusion(6), volumes(batch=2)
    weighted = fusion(image, lidar, torch.randn(2, 6), WEATHERS, BOTH.expand(2, 2))
    assert (weighted.weights[0] - weighted.weights[1]).abs().max() > 1e-3
    torch.testing.assert_close(weighted.weights.sum(dim=1), torch.ones(2))
    for sample in range(2):
        camera, points = weighted.weights[sample]
        torch.testing.assert_close(weighted.image_volume[sample], image[sample] * camera * 2)
        torch.testing.assert_close(weighted.lidar_volume[sample], lidar[sample] * points * 2)


@pytest.mark.parametrize(
    ("has_data", "expected"),
    [
        pytest.param([True, False], [1.0, 0.0], id="no_points"),
        pytest.param([False, True], [0.0, 1.0], id="no_images"),
    ],
)
def test_a_sensor_without_data_has_no_weight_and_no_gradient_is_nan(
    has_data: list[bool], expected: list[float]
):
    fusion, (image, lidar) = WeatherFusion(6), volumes()
    weighted = fusion(image, lidar, torch.randn(1, 6), WEATHERS, torch.tensor([has_data]))
    assert weighted.weights[0].tolist() == expected
    assert torch.equal(weighted.image_volume, image * expected[0])
    assert torch.equal(weighted.lidar_volume, lidar * expected[1])
    weighted.weights.square().sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in fusion.parameters())


def test_without_any_data_weights_are_as_with_all():
    fusion, weather, volume = WeatherFusion(6), torch.randn(1, 6), torch.zeros(1, 4, 2, 2, 2)
    neither, both = (
        fusion(volume, volume, weather, WEATHERS, has_data) for has_data in (~BOTH, BOTH)
    )
    assert torch.equal(neither.weights, both.weights)


def test_gradients_reach_gate_and_sharpness():
    fusion = WeatherFusion(6)
    weighted = fusion(*volumes(), torch.randn(1, 6), WEATHERS, BOTH)
    (weighted.image_volume.sum() + 2 * weighted.lidar_volume.sum()).backward()
    for parameter in fusion.parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0


def test_a_gate_that_is_pushed_down_still_learns():
    """Weights that all weathers share may push every hidden unit below zero, where a ReLU would
    have no gradient for ever and the weights no influence of the weather.
    """
    fusion, weathers = WeatherFusion(6), torch.randn(5, 6)
    with torch.no_grad():
        fusion.gate[0].bias.fill_(-2.0)
        fusion.gate[0].weight.mul_(0.5)
    assert (fusion.gate[0](weathers) < 0).all()
    weights = fusion.weights(weathers, weathers, BOTH.expand(5, 2))
    assert weights[:, 0].std() > 1e-4
    weights[0, 0].backward()
    assert (fusion.gate[0].weight.grad.abs().sum(dim=1) > 0).all()


def test_switched_off_it_passes_the_volumes_on():
    image, lidar = volumes()
    weighted = NoWeatherFusion()(image, lidar, torch.randn(1, 6), WEATHERS, BOTH)
    assert weighted.image_volume is image and weighted.lidar_volume is lidar
    assert weighted.weights is None
