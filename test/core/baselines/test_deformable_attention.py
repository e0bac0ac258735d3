import math
from itertools import product

import pytest
import torch

from occ_core.baselines.deformable_attention import (
    DeformableAttention,
    ImageCrossAttention,
    project,
    sample_levels,
)


def loop_over_samples(
    levels: list[torch.Tensor], locations: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """``sample_levels``, one sample after the other."""
    n, queries, heads, _, samples, _ = locations.shape
    width = levels[0].shape[1] // heads
    result = torch.zeros(n, queries, heads, width)
    for batch, query, head, level, sample in product(
        range(n), range(queries), range(heads), range(len(levels)), range(samples)
    ):
        values = levels[level][batch, head * width : (head + 1) * width]
        value = bilinear(values, *locations[batch, query, head, level, sample].tolist())
        weight = weights[batch, query, head, level, sample]
        result[batch, query, head] = result[batch, query, head] + weight * value
    return result.flatten(2)


def bilinear(values: torch.Tensor, u: float, v: float) -> torch.Tensor:
    """The sum over the four cells around a location [C]; beyond the border they are zero."""
    height, width = values.shape[1:]
    x, y = u * width - 0.5, v * height - 0.5
    total = torch.zeros(len(values))
    for row, column in product(
        (math.floor(y), math.floor(y) + 1), (math.floor(x), math.floor(x) + 1)
    ):
        if 0 <= row < height and 0 <= column < width:
            total = total + (1 - abs(y - row)) * (1 - abs(x - column)) * values[:, row, column]
    return total


def test_equals_a_loop_over_samples_in_values_and_gradients():
    """Some of the locations lie beyond the border."""
    levels = [
        torch.randn(2, 6, 4, 7, requires_grad=True),
        torch.randn(2, 6, 2, 3, requires_grad=True),
    ]
    locations = torch.rand(2, 5, 3, 2, 4, 2) * 1.4 - 0.2
    weights = torch.rand(2, 5, 3, 2, 4, requires_grad=True)
    upstream = torch.randn(2, 5, 6)
    actual, expected = (
        [result, *torch.autograd.grad(result, [*levels, weights], upstream)]
        for result in (
            sample_levels(levels, locations, weights),
            loop_over_samples(levels, locations, weights),
        )
    )
    for tensor, expected_tensor in zip(actual, expected, strict=True):
        torch.testing.assert_close(tensor, expected_tensor, atol=1e-4, rtol=1e-4)


def test_at_first_heads_look_around_with_equal_weights():
    """Four heads sample to the right of the reference point, below it, to its left and above it, at
    one and at two cells. In a map that holds its own column, from 0 to 8, the point is at 4.
    """
    attention = DeformableAttention(4, heads=4, levels=1, samples=2)
    torch.nn.init.zeros_(attention.value.bias)
    with torch.no_grad():
        attention.value.weight.copy_(torch.eye(4)[:, :, None, None])
    columns = torch.arange(9.0).expand(1, 4, 9, 9)
    found = attention(torch.randn(1, 1, 4), torch.full((1, 1, 1, 2), 0.5), [columns])
    # right (5 + 6) / 2, below 4, left (3 + 2) / 2, above 4
    assert found[0, 0].tolist() == pytest.approx([5.5, 4.0, 2.5, 4.0], abs=1e-5)


def test_samples_are_divided_among_the_reference_points():
    """Each of two reference points has two samples, at first one and two cells away."""
    attention = DeformableAttention(2, heads=1, levels=1, samples=4, references=2)
    assert attention.offsets.bias.view(4, 2)[:, 0].tolist() == [1, 2, 1, 2]
    with torch.no_grad():
        attention.value.weight.copy_(torch.eye(2)[:, :, None, None])
        attention.value.bias.zero_()
        attention.offsets.bias.zero_()
    columns = torch.arange(10.0).expand(1, 2, 1, 10)
    reference = torch.tensor([[[[0.25, 0.5], [0.85, 0.5]]]])  # columns 2 and 8, two samples each
    found = attention(torch.randn(1, 1, 2), reference, [columns])
    assert found[0, 0].tolist() == pytest.approx([5.0, 5.0], abs=1e-5)


# for images of 10 x 20 pixels
LENS = torch.tensor([[[10.0, 0.0, 9.5], [0.0, 10.0, 4.5], [0.0, 0.0, 1.0]]])


def test_projection_by_hand():
    """At depth 5, 2 m to the right and 1 m down, a point has the pixel (9.5 + 10 * 2 / 5,
    4.5 + 10 * 1 / 5) = (13.5, 6.5). With half a pixel to the edge, (14 / 20, 7 / 10) = (0.7, 0.7).
    """
    points = torch.tensor(
        [[[2.0, 1.0, 5.0], [2.0, 1.0, -5.0]], [[9.0, 0.0, 5.0], [-9.0, 0.0, 5.0]]]
    )
    where, seen = project(points, LENS, torch.eye(4)[None], (10, 20))
    assert where[0, 0, 0].tolist() == pytest.approx([0.7, 0.7])
    # of the first query one point is in view, which is enough; of the second query none
    assert seen.tolist() == [[True, False]]


def test_a_query_gets_the_mean_over_the_images_that_see_it():
    """Three images hold 1, 5 and 9 everywhere and belong to the samples 0, 0 and 1. The output adds
    a bias of 0.25, which is all that a query gets that no image sees.
    """
    cross = ImageCrossAttention(4, heads=1, levels=1, samples=1)
    with torch.no_grad():
        cross.out.weight.copy_(torch.eye(4))
        cross.out.bias.fill_(0.25)
        cross.attention.value.weight.copy_(torch.eye(4)[:, :, None, None])
        cross.attention.value.bias.zero_()
        cross.attention.offsets.bias.zero_()
    maps = torch.tensor([1.0, 5.0, 9.0])[:, None, None, None].expand(3, 4, 3, 3)
    reference = torch.full((3, 3, 1, 2), 0.5)
    seen = torch.tensor([[True, True, False], [True, False, False], [False, False, True]])
    found = cross(torch.randn(2, 3, 4), reference, seen, torch.tensor([0, 0, 1]), [maps])
    # sample 0: (1 + 5) / 2, 1, none; sample 1: none, none, 9
    assert found[0, :, 0].tolist() == pytest.approx([3.25, 1.25, 0.25])
    assert found[1, :, 0].tolist() == pytest.approx([0.25, 0.25, 9.25])
