import pytest
import torch

from occ_core.ops.linear_scan import linear_scan


def step_by_step(decay: torch.Tensor, drive: torch.Tensor) -> torch.Tensor:
    """``linear_scan``, one step after the other."""
    state, states = torch.zeros_like(drive[:, 0]), []
    for step in range(drive.shape[1]):
        state = decay[:, step] * state + drive[:, step]
        states.append(state)
    return torch.stack(states, dim=1)


def test_by_hand():
    """Half of the state stays: 1, 1 / 2 + 0, 0.5 / 2 + 4; then nothing stays, and all does."""
    decay = torch.tensor([[0.5, 0.5, 0.5, 0.0, 1.0]])
    drive = torch.tensor([[1.0, 0.0, 4.0, 3.0, 2.0]])
    assert linear_scan(decay, drive).tolist() == [[1.0, 0.5, 4.25, 3.0, 5.0]]


@pytest.mark.parametrize("steps", [1, 2, 3, 15, 16, 17, 100])
def test_equals_the_recurrence_in_values_and_gradients(steps: int):
    """Whole blocks, and sequences that end within one."""
    decay = torch.rand(2, steps, 3, 4, dtype=torch.float64, requires_grad=True)
    drive = torch.randn(2, steps, 3, 4, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(2, steps, 3, 4, dtype=torch.float64)
    found, expected = (
        [states, *torch.autograd.grad(states, (decay, drive), upstream)]
        for states in (linear_scan(decay, drive), step_by_step(decay, drive))
    )
    for tensor, expected_tensor in zip(found, expected, strict=True):
        torch.testing.assert_close(tensor, expected_tensor)


def test_states_that_vanish_stay_exact():
    """Products of decays fall below what a number can hold; a quotient of such would not be one."""
    decay = torch.full((1, 400, 1), 1e-3)
    states = linear_scan(decay, torch.ones(1, 400, 1))
    torch.testing.assert_close(states, step_by_step(decay, torch.ones(1, 400, 1)))
