import math

import pytest
import torch

from occ_core.instance_attention import InstanceAttention


def test_equation_1_by_hand():
    """Two channels, two prompts, one voxel; every number is worked out here."""
    attend = InstanceAttention(2, 2)
    for layer in (attend.query, attend.key, attend.value):
        torch.nn.init.eye_(layer.weight)
    torch.nn.init.zeros_(attend.gate.weight)
    torch.nn.init.zeros_(attend.gate.bias)  # sigmoid(0) = 1/2
    volume = torch.tensor([3.0, 1.0]).view(1, 2, 1, 1, 1)
    prompts = torch.tensor([[[1.0, 0.0], [0.0, 2.0]]])
    # Layer norm: mean 2, variance 1 -> [1, -1]. Scores over sqrt(2): [1, -2] / 1.414.
    first, second = math.exp(1 / math.sqrt(2)), math.exp(-2 / math.sqrt(2))
    share = first / (first + second)
    size = math.sqrt((9 + 1) / 2)  # root mean square of the voxel
    expected = [3 + share * 1.0 / 2 * size, 1 + (1 - share) * 2.0 / 2 * size]
    result = attend(volume, prompts, torch.tensor([[True, True]]))
    assert result.flatten().tolist() == pytest.approx(expected, abs=1e-4)
    # With the second prompt unsaid, all attention is on the first: [3 + size / 2, 1].
    result = attend(volume, prompts, torch.tensor([[True, False]]))
    assert result.flatten().tolist() == pytest.approx([3 + size / 2, 1.0], abs=1e-4)


def sparse_volume(batch: int = 2) -> torch.Tensor:
    volume = torch.randn(batch, 8, 5, 4, 3)
    return volume * (torch.rand(batch, 1, 5, 4, 3) < 0.3)


def test_equals_attention_voxel_by_voxel():
    attend, volume, prompts = InstanceAttention(8, 6), sparse_volume(), torch.randn(2, 4, 6)
    said = torch.tensor([[True, True, False, True], [True, False, False, True]])
    result = attend(volume, prompts, said)
    for sample, x, y, z in torch.cartesian_prod(
        *(torch.arange(side) for side in (2, 5, 4, 3))
    ).tolist():
        voxel = volume[sample, :, x, y, z]
        if not voxel.any():
            assert not result[sample, :, x, y, z].any()
            continue
        told = prompts[sample][said[sample]]
        scores = attend.key(told) @ attend.query(attend.norm(voxel)) / 8**0.5
        instance = scores.softmax(dim=0) @ attend.value(told) * attend.gate(voxel).sigmoid()
        expected = voxel + instance * voxel.square().mean().sqrt()
        torch.testing.assert_close(result[sample, :, x, y, z], expected)


def test_starts_near_identity():
    attend, volume = InstanceAttention(8, 256), sparse_volume()
    result = attend(volume, torch.randn(2, 18, 256), torch.ones(2, 18, dtype=torch.bool))
    assert (result - volume).norm() < 0.2 * volume.norm()
    assert not torch.equal(result, volume)


def test_a_voxel_that_hardly_counts_is_hardly_changed():
    """A thousandth of the features, at equal attention: what is added is a thousandth too."""
    attend, volume, prompts = InstanceAttention(8, 6), sparse_volume(), torch.randn(2, 3, 6)
    torch.nn.init.zeros_(attend.gate.weight)
    torch.nn.init.zeros_(attend.query.weight)
    said = torch.ones(2, 3, dtype=torch.bool)
    added, added_to_little = (attend(one, prompts, said) - one for one in (volume, volume / 1000))
    torch.testing.assert_close(added_to_little * 1000, added, rtol=1e-3, atol=1e-4)


def test_gradients_reach_voxels_prompts_and_every_weight():
    attend = InstanceAttention(8, 6)
    volume, prompts = sparse_volume().requires_grad_(), torch.randn(2, 3, 6, requires_grad=True)
    attend(volume, prompts, torch.ones(2, 3, dtype=torch.bool)).square().sum().backward()
    for tensor in (volume, prompts, *attend.parameters()):
        assert tensor.grad is not None and tensor.grad.abs().sum() > 0


def test_features_too_small_to_be_squared_have_finite_gradients():
    attend, volume = InstanceAttention(8, 6), (sparse_volume() * 1e-24).requires_grad_()
    attend(volume, torch.randn(2, 3, 6), torch.ones(2, 3, dtype=torch.bool)).sum().backward()
    assert torch.isfinite(volume.grad).all() and all(
        torch.isfinite(one.grad).all() for one in attend.parameters()
    )


def test_an_empty_volume_stays_empty():
    empty = torch.zeros(1, 8, 2, 2, 2)
    assert torch.equal(
        InstanceAttention(8, 6)(empty, torch.randn(1, 2, 6), torch.ones(1, 2, dtype=torch.bool)),
        empty,
    )
