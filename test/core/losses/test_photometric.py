import pytest
import torch

from occ_core.losses.photometric import photometric_loss

EVERYWHERE = torch.ones(1, 16, 20, dtype=torch.bool)


def flat(value: float) -> torch.Tensor:
    return torch.full((1, 3, 16, 20), value)


def test_equal_images_cost_nothing():
    image = torch.rand(1, 3, 16, 20, generator=torch.Generator().manual_seed(0))
    assert photometric_loss(image, image, EVERYWHERE) == pytest.approx(0, abs=1e-6)


def test_flat_images_by_hand():
    # L1: 0.4. Without variances SSIM is (2 * 0.2 * 0.6 + c) / (0.04 + 0.36 + c), c = 0.01^2: 0.2401
    # / 0.4001.
    loss = photometric_loss(flat(0.2), flat(0.6), EVERYWHERE, ssim_weight=0.2)
    assert loss == pytest.approx(0.8 * 0.4 + 0.2 * (1 - 0.2401 / 0.4001), abs=3e-5)
    assert photometric_loss(flat(0.2), flat(0.6), EVERYWHERE, ssim_weight=0.0) == pytest.approx(
        0.4, abs=1e-6
    )


def test_pixels_that_are_not_valid_count_for_nothing():
    rendered, valid = flat(0.5).requires_grad_(), EVERYWHERE.clone()
    valid[:, :, 8:] = False
    images = flat(0.5)
    images[..., 14:] = (
        0.9  # six columns from the nearest that counts: beyond the window's half of 5
    )
    loss = photometric_loss(rendered, images, valid)
    assert loss.item() == pytest.approx(0, abs=1e-6)
    nothing = photometric_loss(rendered, images, torch.zeros_like(valid))
    nothing.backward()
    assert nothing.item() == 0 and not rendered.grad.any()


def test_images_smaller_than_the_window_are_refused():
    with pytest.raises(ValueError, match=r"at least 11x11 pixels, got \[10, 20\]"):
        photometric_loss(
            torch.zeros(1, 3, 10, 20),
            torch.zeros(1, 3, 10, 20),
            torch.ones(1, 10, 20, dtype=torch.bool),
        )
