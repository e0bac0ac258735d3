import math

import pytest
import torch

from occ_core.baselines.deformable_attention import (
    DeformableAttention,
    ImageCrossAttention,
    project,
    sample_levels,
)


def naive(
    levels: list[torch.Tensor], locations: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """Every sample by itself: the four cells around it, zeros beyond the border."""
    n, queries, heads, _, samples, _ = locations.shape
    width = levels[0].shape[1] // heads
    result = torch.zeros(n, queries, heads, width)
    for b, q, head, (number, values), s in (
        (b, q, head, level, s)
        for b in range(n) for q in range(queries) for head in range(heads)
        for level in enumerate(levels) for s in range(samples)
    ):  # fmt: skip
        height, columns = values.shape[2:]
        u, v = locations[b, q, head, number, s].tolist()
        x, y = u * columns - 0.5, v * height - 0.5
        for row in (math.floor(y), math.floor(y) + 1):
            for column in (math.floor(x), math.floor(x) + 1):
                if 0 <= row < height and 0 <= column < columns:
                    share = (1 - abs(y - row)) * (1 - abs(x - column))
                    cell = values[b, head * width : (head + 1) * width, row, column]
                    result[b, q, head] = (
                        result[b, q, head] + weights[b, q, head, number, s] * share * cell
                    )
    return result.flatten(2)


def test_equals_a_loop_over_samples_in_values_and_gradients():
    sides: dict[str, list[torch.Tensor]] = {}
    for side in ("ours", "loop"):
        torch.manual_seed(0)
        levels = [
            torch.randn(2, 6, 4, 7, requires_grad=True),
            torch.randn(2, 6, 2, 3, requires_grad=True),
        ]
        locations = torch.rand(2, 5, 3, 2, 4, 2) * 1.4 - 0.2  # some beyond the border
        weights = torch.rand(2, 5, 3, 2, 4, requires_grad=True)
        result = (
            sample_levels(levels, locations, weights)
            if side == "ours"
            else naive(levels, locations, weights)
        )
        upstream = torch.randn(2, 5, 6)
        sides[side] = [result, *torch.autograd.grad((result * upstream).sum(), [*levels, weights])]
    for ours, loop in zip(*sides.values(), strict=True):
        torch.testing.assert_close(ours, loop, atol=1e-5, rtol=1e-5)


def test_at_first_heads_look_around_with_equal_weights():
    """Four heads: right, down, left, up of the reference point, a cell and then two; a map of u has
    their mean, the middle.
    """
    attention = DeformableAttention(4, heads=4, levels=1, samples=2)
    torch.nn.init.zeros_(attention.value.bias)
    with torch.no_grad():
        attention.value.weight.copy_(torch.eye(4)[:, :, None, None])
    columns = torch.arange(9.0).expand(1, 4, 9, 9)
    found = attention(torch.randn(1, 1, 4), torch.full((1, 1, 1, 2), 0.5), [columns])
    # (5 + 6) / 2 to the right of column 4, 4 above and below it, (3 + 2) / 2 to its left
    assert found[0, 0].tolist() == pytest.approx([5.5, 4.0, 2.5, 4.0], abs=1e-5)


def test_samples_are_shared_out_to_the_reference_points():
    attention = DeformableAttention(2, heads=1, levels=1, samples=4, references=2)
    assert attention.offsets.bias.view(4, 2)[:, 0].tolist() == [
        1,
        2,
        1,
        2,
    ]  # each reference point looks a cell and two away
    with torch.no_grad():
        attention.value.weight.copy_(torch.eye(2)[:, :, None, None])
        attention.value.bias.zero_(), attention.offsets.bias.zero_()
    columns = torch.arange(10.0).expand(1, 2, 1, 10)
    reference = torch.tensor([[[[0.25, 0.5], [0.85, 0.5]]]])  # columns 2 and 8, two samples each
    found = attention(torch.randn(1, 1, 2), reference, [columns])
    assert found[0, 0].tolist() == pytest.approx([5.0, 5.0], abs=1e-5)


LENS = torch.tensor(
    [[[10.0, 0.0, 9.5], [0.0, 10.0, 4.5], [0.0, 0.0, 1.0]]]
)  # of images of 10 x 20 pixels


def test_projection_by_hand():
    """At depth 5, 2 to the right and 1 down: pixel (9.5 + 10 * 0.4, 4.5 + 10 * 0.2) = (13.5, 6.5),
    of 20 and 10: (0.7, 0.7).
    """
    points = torch.tensor(
        [[[2.0, 1.0, 5.0], [2.0, 1.0, -5.0]], [[9.0, 0.0, 5.0], [-9.0, 0.0, 5.0]]]
    )
    where, seen = project(points, LENS, torch.eye(4)[None], (10, 20))
    assert where[0, 0, 0].tolist() == pytest.approx([0.7, 0.7])
    assert seen.tolist() == [
        [True, False]
    ]  # one point in view is enough; of the second query none is


def test_what_no_camera_sees_gets_the_bias_and_what_two_see_their_mean():
    cross = ImageCrossAttention(4, heads=1, levels=1, samples=1)
    with torch.no_grad():
        cross.out.weight.copy_(torch.eye(4)), cross.out.bias.fill_(0.25)
        cross.attention.value.weight.copy_(torch.eye(4)[:, :, None, None])
        cross.attention.value.bias.zero_(), cross.attention.offsets.bias.zero_()
    maps = torch.tensor([1.0, 5.0, 9.0])[:, None, None, None].expand(
        3, 4, 3, 3
    )  # images of the samples 0, 0, 1
    reference = torch.full((3, 3, 1, 2), 0.5)
    seen = torch.tensor([[True, True, False], [True, False, False], [False, False, True]])
    found = cross(torch.randn(2, 3, 4), reference, seen, torch.tensor([0, 0, 1]), [maps])
    assert found[..., 0].tolist() == [
        pytest.approx([3.25, 1.25, 0.25]),
        pytest.approx([0.25, 0.25, 9.25]),
    ]
