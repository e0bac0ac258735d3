"""A linear recurrence along a sequence, many steps at a time: the core of a state-space model."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable


def linear_scan(
    decay: Float[Tensor, "batch step *channel"], drive: Float[Tensor, "batch step *channel"]
) -> Float[Tensor, "batch step *channel"]:
    """The states ``h_t = decay_t * h_(t-1) + drive_t`` of all steps, with ``h_0 = 0`` before the
    first one.

    Two sweeps of about ``sqrt(steps)`` vector operations each take the place of ``steps`` of them.
    Nothing is divided, so that decays down to 0 are exact.
    """
    states: Tensor = _LinearScan.apply(decay, drive)
    return states


class _LinearScan(torch.autograd.Function):
    """The recurrence and its gradient, which is the same recurrence from the last step to the
    first.
    """

    @staticmethod
    def forward(ctx: Any, decay: Tensor, drive: Tensor) -> Tensor:
        states = _scan(decay, drive)
        ctx.save_for_backward(decay, states)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        decay, states = ctx.saved_tensors
        last = torch.zeros_like(decay[:, :1])
        # dL/dh_t = gradient_t + decay_(t+1) dL/dh_(t+1)
        later = torch.cat([decay[:, 1:], last], dim=1)
        of_states = _scan(later.flip(1), gradient.flip(1)).flip(1)
        before = torch.cat([last, states[:, :-1]], dim=1)
        return of_states * before, of_states


def _scan(decay: Tensor, drive: Tensor) -> Tensor:
    """Cuts the sequence into blocks, scans all of them side by side from a state of zero, and then
    hands each block the state that the one before it ends with.
    """
    batch, steps = decay.shape[:2]
    length = max(1, math.isqrt(steps))
    beyond = -steps % length
    trailing = (0, 0) * (decay.dim() - 2)
    decay, drive = (
        F.pad(each, (*trailing, 0, beyond)).unflatten(1, (-1, length)) for each in (decay, drive)
    )  # [B, block, step, ...]
    states, products = torch.empty_like(drive), torch.empty_like(decay)
    states[:, :, 0], products[:, :, 0] = drive[:, :, 0], decay[:, :, 0]
    for step in range(1, length):
        factor = decay[:, :, step]
        torch.addcmul(drive[:, :, step], factor, states[:, :, step - 1], out=states[:, :, step])
        torch.mul(factor, products[:, :, step - 1], out=products[:, :, step])
    for block in range(1, decay.shape[1]):
        states[:, block].addcmul_(products[:, block], states[:, block - 1, -1:])
    return states.flatten(1, 2)[:, :steps]
