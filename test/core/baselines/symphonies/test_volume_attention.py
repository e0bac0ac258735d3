import math
from itertools import product

import pytest
import torch

from occ_core.baselines.symphonies.volume_attention import VolumeAttention, sample_volume


def trilinear(values: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    """The sum over the eight voxels around a location [C]; beyond the border they are zero."""
    position = [w * side - 0.5 for w, side in zip(where.tolist(), values.shape[1:], strict=True)]
    total = torch.zeros(len(values))
    for corner in product((0, 1), repeat=3):
        cell = [math.floor(p) + step for p, step in zip(position, corner, strict=True)]
        if all(0 <= c < side for c, side in zip(cell, values.shape[1:], strict=True)):
            weight = math.prod(1 - abs(p - c) for p, c in zip(position, cell, strict=True))
            total = total + weight * values[:, cell[0], cell[1], cell[2]]
    return total


def test_equals_a_loop_over_samples_in_values_and_gradients():
    """Some of the locations lie beyond the border."""
    values = torch.randn(6, 5, 4, 3, requires_grad=True)
    where = torch.rand(7, 3, 2, 3) * 1.4 - 0.2
    weights = torch.rand(7, 3, 2, requires_grad=True)
    rows = []
    for query in range(7):
        heads = [
            sum(
                weights[query, head, sample]
                * trilinear(values[2 * head : 2 * head + 2], where[query, head, sample])
                for sample in range(2)
            )
            for head in range(3)
        ]
        rows.append(torch.cat(heads))
    upstream = torch.randn(7, 6)
    found, expected = (
        [result, *torch.autograd.grad(result, (values, weights), upstream)]
        for result in (sample_volume(values, where, weights), torch.stack(rows))
    )
    for tensor, expected_tensor in zip(found, expected, strict=True):
        torch.testing.assert_close(tensor, expected_tensor, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_at_first_heads_look_along_the_axes_with_equal_weights():
    """A volume that holds x + 10 y + 100 z of its voxels, with 9 along each axis, and a query in
    the middle, at (4, 4, 4): 444. Samples at one and at two voxels, 1.5 on average.
    """
    attention = VolumeAttention(6, heads=6, samples=2)
    for layer in (attention.value, attention.out):
        layer.weight.copy_(torch.eye(6))
        layer.bias.zero_()
    cells = torch.arange(9.0)
    volume = cells[:, None, None] + 10 * cells[:, None] + 100 * cells
    found = attention(torch.randn(1, 6), torch.full((1, 3), 0.5), volume.expand(6, 9, 9, 9))
    expected = [445.5, 459.0, 594.0, 442.5, 429.0, 294.0]
    assert found[0].tolist() == pytest.approx(expected, abs=1e-2)
