import pytest
import torch
import torch.nn.functional as F

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
    position = (
        torch.rand(50, len(size), generator=generator) * (torch.tensor(size) + 1) - 1
    )  # some beyond the border
    sample = torch.randint(0, 2, (50,), generator=generator)
    ours = interpolate(values, position, sample)
    at = ((position + 0.5) / torch.tensor(size) * 2 - 1).flip(
        1
    )  # grid_sample: [-1, 1] over the faces, last axis first
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
    """Where positions do not learn, the compiled form answers: on both sides of the border too, and
    beyond it.
    """
    values = torch.randn(2, 5, 6, 4, 3, requires_grad=True)
    position = torch.rand(400, 3) * torch.tensor([8.0, 6.0, 5.0]) - 1.0
    position[:3] = torch.tensor(
        [[0.0, 0.0, 0.0], [5.0, 3.0, 2.0], [-0.5, 3.5, 1.0]]
    )  # on centres, and between at the border
    sample = torch.randint(0, 2, (400,))
    told = torch.randn(400, 5)
    by_torch = interpolate(values, position.clone().requires_grad_(), sample)
    (of_torch,) = torch.autograd.grad(by_torch, values, told)
    for layout in (torch.contiguous_format, torch.channels_last_3d):
        compiled = interpolate(values.contiguous(memory_format=layout), position, sample)
        torch.testing.assert_close(
            compiled, by_torch, atol=1e-6, rtol=1e-6
        )  # the sums' order differs
        torch.testing.assert_close(
            torch.autograd.grad(compiled, values, told)[0], of_torch, atol=1e-5, rtol=1e-5
        )


def test_a_position_that_learns_keeps_its_gradient():
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


def test_beyond_the_far_border_there_are_zeros():
    """Of the values 1 to 3 along x, two at a time: (1 + 2) / 8 and 3 / 8 in cells of 8 voxels, of
    which y and z fill one line.
    """
    volume = torch.arange(1.0, 4.0).view(1, 1, 3, 1, 1)
    assert pool(volume, 2).flatten().tolist() == [3 / 8, 3 / 8]
