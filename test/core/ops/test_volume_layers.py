"""Layers with a faster gradient, against torch's own."""

import pytest
import torch
from torch import Tensor, nn

from occ_core.ops.depthwise import Depthwise
from occ_core.ops.norm import GroupNorm

PAIRS = {
    "depthwise": (
        lambda: Depthwise(16),
        lambda: nn.Conv3d(16, 16, 3, padding=1, groups=16, bias=False),
    ),
    "group_norm": (lambda: GroupNorm(8, 16), lambda: nn.GroupNorm(8, 16)),
}


def _pair(name: str) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    ours, theirs = (make() for make in PAIRS[name])
    for weight in ours.parameters():
        nn.init.normal_(weight)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def _volume(dtype: torch.dtype) -> Tensor:
    """Two samples of 5 x 4 x 3 voxels, channels side by side in memory."""
    rows = torch.randn(2, 5, 4, 3, 16, generator=torch.Generator().manual_seed(1))
    return rows.to(dtype).permute(0, 4, 1, 2, 3).requires_grad_()


def _run(layer: nn.Module, dtype: torch.dtype) -> list[Tensor]:
    """The answer, and the gradients of a random sum of it."""
    volume = _volume(dtype)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        answer = layer(volume)
    assert answer.dtype == dtype
    random = torch.randn(answer.shape, generator=torch.Generator().manual_seed(2))
    gradients = torch.autograd.grad((answer.float() * random).sum(), [volume, *layer.parameters()])
    return [answer.detach(), *gradients]


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_answers_and_gradients_are_torchs(name: str, dtype: torch.dtype, tolerance: float):
    """To the rounding of the type, in the norm of each tensor: bfloat16 keeps 8 bits."""
    for ours, theirs in zip(*(_run(layer, dtype) for layer in _pair(name)), strict=True):
        assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
        difference = (ours.float() - theirs.float()).norm() / theirs.float().norm()
        assert difference < tolerance


@pytest.mark.parametrize("name", PAIRS)
def test_without_gradients_it_is_torchs_own(name: str):
    ours, theirs = _pair(name)
    with torch.inference_mode():
        for dtype in (torch.float32, torch.bfloat16):
            volume = _volume(dtype)
            with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
                assert torch.equal(ours(volume), theirs(volume))


@pytest.mark.parametrize("name", PAIRS)
def test_checkpoints_have_the_names_of_torchs(name: str):
    ours, theirs = _pair(name)
    assert list(ours.state_dict()) == list(theirs.state_dict())
