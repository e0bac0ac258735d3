import pytest
import torch
import torch.nn.functional as F

from occ_core.ops.backend import torch_only
from occ_core.ops.interpolate import interpolate, pool


def test_bilinear_by_hand():
    """Values 0 1 / 2 3: a quarter of the way down, half of the way right: 0.75 * 0.5 + 0.25 * 2.5 =
    1.0.
    """
    values = torch.tensor([[0.0, 1.0], [2.0, 3.0]])[None, None]
    found = interpolate(
        values,
        torch.tensor([[0.25, 0.5], [1.0, 1.0], [-3.0, 9.0]]),
        torch.zeros(3, dtype=torch.long),
    )
    assert found[:, 0].tolist() == [1.0, 3.0, 1.0]  # beyond the border: the corner (0, 1)


@pytest.mark.parametrize("size", [(5, 7), (4, 5, 6)])
def test_equals_grid_sample_in_values_and_gradients(size: tuple[int, ...]):
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(2, 3, *size, generator=generator, requires_grad=True)
    twin = values.detach().clone().requires_grad_()
    # some beyond the border
    position = torch.rand(50, len(size), generator=generator) * (torch.tensor(size) + 1) - 1
    sample = torch.randint(0, 2, (50,), generator=generator)
    ours = interpolate(values, position, sample)
    # grid_sample: [-1, 1] over the faces, last axis first
    at = ((position + 0.5) / torch.tensor(size) * 2 - 1).flip(1)
    theirs = torch.stack(
        [
            F.grid_sample(
                twin[s : s + 1],
                a.view(1, *[1] * len(size), -1),
                align_corners=False,
                padding_mode="border",
            ).flatten()
            for s, a in zip(sample.tolist(), at, strict=True)
        ]
    )
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)  # float32, values of order 1
    upstream = torch.randn(50, 3, generator=generator)
    (ours * upstream).sum().backward()
    (theirs * upstream).sum().backward()
    torch.testing.assert_close(values.grad, twin.grad, atol=1e-5, rtol=1e-5)


def test_compiled_reads_what_torch_reads_with_the_same_gradients():
    """Also on both sides of the border, and beyond it."""
    values = torch.randn(2, 5, 6, 4, 3, requires_grad=True)
    position = torch.rand(400, 3) * torch.tensor([8.0, 6.0, 5.0]) - 1.0
    # on centres, and between them at the border
    position[:3] = torch.tensor([[0.0, 0.0, 0.0], [5.0, 3.0, 2.0], [-0.5, 3.5, 1.0]])
    sample, upstream = torch.randint(0, 2, (400,)), torch.randn(400, 5)
    with torch_only():
        by_torch = interpolate(values, position, sample)
    (expected,) = torch.autograd.grad(by_torch, values, upstream)
    for layout in (torch.contiguous_format, torch.channels_last_3d):
        compiled = interpolate(values.contiguous(memory_format=layout), position, sample)
        (found,) = torch.autograd.grad(compiled, values, upstream)
        # sums of eight products of order 1, in another order
        torch.testing.assert_close(compiled, by_torch, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_a_position_that_needs_a_gradient_gets_it():
    """The values rise by 1 a cell along x: so does what is read."""
    values = torch.arange(4.0).view(1, 1, 4, 1, 1).expand(1, 1, 4, 2, 2)
    position = torch.tensor([[1.3, 0.5, 0.5]], requires_grad=True)
    interpolate(values, position, torch.tensor([0])).sum().backward()
    torch.testing.assert_close(position.grad, torch.tensor([[1.0, 0.0, 0.0]]))


@pytest.mark.parametrize("ratio", [1, 2, 4])
def test_pooled_values_and_gradients_are_avg_pool3d_s(ratio: int):
    volume = torch.randn(2, 3, 8, 12, 4, requires_grad=True)
    twin = volume.detach().clone().requires_grad_()
    ours, theirs = pool(volume, ratio), F.avg_pool3d(twin, ratio)
    torch.testing.assert_close(ours, theirs)
    upstream = torch.randn_like(theirs)
    (ours * upstream).sum().backward()
    (theirs * upstream).sum().backward()
    torch.testing.assert_close(volume.grad, twin.grad)


def test_voxels_beyond_the_far_border_count_as_zeros():
    """Values 1 to 3 along x in blocks of 8 voxels, of which y and z fill one line: (1 + 2) / 8 and
    (3 + 0) / 8.
    """
    volume = torch.arange(1.0, 4.0).view(1, 1, 3, 1, 1)
    assert pool(volume, 2).flatten().tolist() == [3 / 8, 3 / 8]
