import pytest
import torch

from occ_core.baselines.occmamba.mamba import MambaLayers, SelectiveStateSpace, selective_scan


def scan_slowly(
    values: torch.Tensor,
    sizes: torch.Tensor,
    rates: torch.Tensor,
    inward: torch.Tensor,
    outward: torch.Tensor,
) -> torch.Tensor:
    """``selective_scan``, one step after the other."""
    state = torch.zeros(len(values), *rates.shape, dtype=values.dtype)
    results = []
    for step in range(values.shape[1]):
        size, value = sizes[:, step, :, None], values[:, step, :, None]
        state = torch.exp(size * rates) * state + size * inward[:, step, None] * value
        results.append((state * outward[:, step, None]).sum(dim=-1))
    return torch.stack(results, dim=1)


def parts(steps: int, channels: int = 3, state: int = 2) -> list[torch.Tensor]:
    """Values, sizes, rates, inward and outward of a batch of two, in double precision."""
    made = [
        torch.randn(2, steps, channels),
        torch.rand(2, steps, channels),
        -torch.rand(channels, state) * 4,
        torch.randn(2, steps, state),
        torch.randn(2, steps, state),
    ]
    return [each.double().requires_grad_() for each in made]


def test_by_hand():
    """One state that loses half in a step of size 1, as ``exp(-ln 2) = 1 / 2``: 3, 1.5 + 2 * 1,
    3.5 / 4 with a step of size 2; what is read is twice that.
    """
    sizes = torch.tensor([[[1.0], [1.0], [2.0]]])
    values = torch.tensor([[[3.0], [2.0], [0.0]]])
    one = torch.ones(1, 3, 1)
    rates = -torch.tensor([[2.0]]).log()
    found = selective_scan(values, sizes, rates, one, 2 * one)
    torch.testing.assert_close(found[0, :, 0], torch.tensor([6.0, 7.0, 1.75]))


@pytest.mark.parametrize("chunk", [1, 4, 7, 20, 50])
def test_equals_the_recurrence_whatever_the_chunks(chunk: int):
    """20 steps in chunks that do and do not divide them, in values and gradients."""
    inputs = parts(20)
    upstream = torch.randn(2, 20, 3, dtype=torch.float64)
    found, expected = (
        [result, *torch.autograd.grad(result, inputs, upstream)]
        for result in (selective_scan(*inputs, chunk=chunk), scan_slowly(*inputs))
    )
    for tensor, expected_tensor in zip(found, expected, strict=True):
        torch.testing.assert_close(tensor, expected_tensor)
    with torch.no_grad():
        torch.testing.assert_close(selective_scan(*inputs, chunk=chunk), expected[0].detach())


@torch.no_grad()
def test_a_layer_sees_what_came_before_and_nothing_that_comes():
    """A change at step 9 of 20 changes that step and later ones alone, the last one too: far
    beyond the four steps that the convolution sees.
    """
    layers = MambaLayers(8, layers=2, state=4, expand=2)
    sequence = torch.randn(1, 20, 8)
    changed = sequence.clone()
    changed[0, 9] += torch.randn(8)
    difference = (layers(changed) - layers(sequence)).abs().amax(dim=2)[0]
    assert (difference[:9] == 0).all() and (difference[9:] > 0).all()


@torch.no_grad()
def test_what_is_passed_on_depends_on_the_sequence():
    """The selection: sizes, inputs and outputs are computed from the values; a linear system would
    answer twice the sequence by twice the answer.
    """
    layer = SelectiveStateSpace(8, state=4, expand=2)
    sequence = torch.randn(1, 20, 8)
    assert not torch.allclose(layer(2 * sequence), 2 * layer(sequence), rtol=0.1)


def test_initial_rates_and_sizes():
    """Each inner channel has the rates -1, -2, ..., and step sizes between a thousandth and a
    tenth.
    """
    layer = SelectiveStateSpace(8, state=4, expand=2)
    assert -layer.log_rates.exp()[0].detach() == pytest.approx([-1.0, -2.0, -3.0, -4.0])
    sizes = torch.nn.functional.softplus(layer.size.bias.detach())
    assert sizes.min() >= 0.999e-3 and sizes.max() <= 0.1001 and sizes.max() > 2 * sizes.min()
