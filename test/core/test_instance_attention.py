import math

import pytest
import torch

from occ_core.instance_attention import InstanceAttention, NoInstanceAttention


def test_equation_1_by_hand():
    """Two channels, two prompts, one voxel; every number is worked out here."""
    attention = InstanceAttention(2, 2)
    for layer in (attention.query, attention.key, attention.value):
        torch.nn.init.eye_(layer.weight)
    torch.nn.init.zeros_(attention.gate.weight)
    torch.nn.init.zeros_(attention.gate.bias)  # sigmoid(0) = 1/2
    volume = torch.tensor([3.0, 1.0]).view(1, 2, 1, 1, 1)
    prompts = torch.tensor([[[1.0, 0.0], [0.0, 2.0]]])
    # Layer norm: mean 2, variance 1 -> [1, -1]. Scores over sqrt(2): [1, -2] / 1.414.
    first, second = math.exp(1 / math.sqrt(2)), math.exp(-2 / math.sqrt(2))
    share = first / (first + second)
    size = math.sqrt((9 + 1) / 2)  # root mean square of the voxel
    expected = [3 + share * 1.0 / 2 * size, 1 + (1 - share) * 2.0 / 2 * size]
    result = attention(volume, prompts, torch.tensor([[True, True]]))
    assert result.flatten().tolist() == pytest.approx(expected, abs=1e-4)
    # With the second prompt masked, all attention is on the first: [3 + size / 2, 1].
    result = attention(volume, prompts, torch.tensor([[True, False]]))
    assert result.flatten().tolist() == pytest.approx([3 + size / 2, 1.0], abs=1e-4)


def sparse_volume(batch: int = 2) -> torch.Tensor:
    volume = torch.randn(batch, 8, 5, 4, 3)
    return volume * (torch.rand(batch, 1, 5, 4, 3) < 0.3)


def all_of(batch: int, prompts: int) -> torch.Tensor:
    """A mask that allows every prompt."""
    return torch.ones(batch, prompts, dtype=torch.bool)


def test_equals_attention_voxel_by_voxel():
    attention, volume, prompts = InstanceAttention(8, 6), sparse_volume(), torch.randn(2, 4, 6)
    mask = torch.tensor([[True, True, False, True], [True, False, False, True]])
    result = attention(volume, prompts, mask)
    for sample, x, y, z in torch.cartesian_prod(*map(torch.arange, (2, 5, 4, 3))).tolist():
        voxel = volume[sample, :, x, y, z]
        if not voxel.any():
            assert not result[sample, :, x, y, z].any()
            continue
        allowed = prompts[sample][mask[sample]]
        scores = attention.key(allowed) @ attention.query(attention.norm(voxel)) / 8**0.5
        attended = scores.softmax(dim=0) @ attention.value(allowed)
        added = attended * attention.gate(voxel).sigmoid() * voxel.square().mean().sqrt()
        torch.testing.assert_close(result[sample, :, x, y, z], voxel + added, atol=1e-5, rtol=1e-5)


def test_starts_near_identity():
    attention, volume = InstanceAttention(8, 256), sparse_volume()
    change = attention(volume, torch.randn(2, 18, 256), all_of(2, 18)) - volume
    assert 0.01 * volume.norm() < change.norm() < 0.2 * volume.norm()


def test_a_voxel_with_small_features_is_changed_little():
    """At equal attention, a thousandth of the features gives a thousandth of the change."""
    attention, volume, prompts = InstanceAttention(8, 6), sparse_volume(), torch.randn(2, 3, 6)
    torch.nn.init.zeros_(attention.gate.weight)
    torch.nn.init.zeros_(attention.query.weight)
    large, small = (
        attention(features, prompts, all_of(2, 3)) - features
        for features in (volume, volume / 1000)
    )
    torch.testing.assert_close(small * 1000, large, rtol=1e-3, atol=1e-4)


def test_gradients_reach_voxels_prompts_and_every_weight():
    attention = InstanceAttention(8, 6)
    volume, prompts = sparse_volume().requires_grad_(), torch.randn(2, 3, 6, requires_grad=True)
    attention(volume, prompts, all_of(2, 3)).square().sum().backward()
    for tensor in (volume, prompts, *attention.parameters()):
        assert tensor.grad is not None and tensor.grad.abs().sum() > 0


def test_features_too_small_to_be_squared_have_finite_gradients():
    """The square of 1e-24 is below the smallest float32."""
    attention, volume = InstanceAttention(8, 6), (sparse_volume() * 1e-24).requires_grad_()
    attention(volume, torch.randn(2, 3, 6), all_of(2, 3)).sum().backward()
    for tensor in (volume, *attention.parameters()):
        assert torch.isfinite(tensor.grad).all()


def test_an_empty_volume_stays_empty():
    empty = torch.zeros(1, 8, 2, 2, 2)
    assert not InstanceAttention(8, 6)(empty, torch.randn(1, 2, 6), all_of(1, 2)).any()


def test_switched_off_it_passes_the_volume_on():
    volume = sparse_volume()
    assert NoInstanceAttention()(volume, torch.randn(2, 3, 6), all_of(2, 3)) is volume
