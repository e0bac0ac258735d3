import math

import pytest
import torch

from occ_core.losses.daga import daga_loss, intensity


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def column(*norms: float) -> torch.Tensor:
    """One column of voxels of two channels, (0.6, 0.8) times the norms."""
    return (torch.tensor([0.6, 0.8])[:, None] * torch.tensor(norms)).view(1, 2, 1, 1, -1)


def test_intensity_is_the_sigmoid_of_the_norm():
    assert intensity(column(0.0, 2.0)).flatten().tolist() == pytest.approx([0.5, sigmoid(2)])


def test_eq_6_by_hand():
    """Two layers. Image (2, 0), LiDAR (0, 1): intensities (a, 1/2) and (1/2, b), with a = s(2), b =
    s(1).

    Aligned: ((a - 1/2)^2 W(0) + (1/2 - b)^2 W(1)) / 2 with W = 1, 1 / (1 + 1/2). Along z the image
    falls by a - 1/2, the LiDAR rises by b - 1/2: the gradients differ by (a - 1/2) + (b - 1/2).
    """
    a, b = sigmoid(2) - 0.5, sigmoid(1) - 0.5
    expected = (a**2 + b**2 / 1.5) / 2 + 0.1 * (a + b)
    assert daga_loss(column(2.0, 0.0), column(0.0, 1.0)).item() == pytest.approx(expected)


def test_beta_weighs_the_layers():
    """Equal errors in two layers, of equal sign: no sharpness. W(1) is 1 / (1 + 3/2)."""
    error = (sigmoid(2) - 0.5) ** 2
    loss = daga_loss(column(2.0, 2.0), column(0.0, 0.0), beta=3.0)
    assert loss.item() == pytest.approx(error * (1 + 1 / 2.5) / 2)


def test_the_image_learns_from_the_lidar_alone():
    image, lidar = column(2.0, 1.0).requires_grad_(), column(1.0, 3.0).requires_grad_()
    daga_loss(image, lidar).backward()
    assert lidar.grad is None
    towards = -(image.grad * image.detach()).sum(dim=1).flatten()
    assert towards[0] < 0 < towards[1]  # fainter below, stronger above


def test_empty_volumes_agree_and_have_a_gradient():
    image = torch.zeros(1, 2, 3, 3, 4, requires_grad=True)
    loss = daga_loss(image, torch.zeros(1, 2, 3, 3, 4))
    loss.backward()
    assert loss.item() == 0 and torch.isfinite(image.grad).all()


def test_one_layer_has_no_sharpness():
    assert daga_loss(column(2.0), column(0.0)).item() == pytest.approx((sigmoid(2) - 0.5) ** 2)
