"""Mamba's selective state-space layer in plain torch (Gu and Dao, COLM 2024, Algorithm 2)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from occ_core.ops.linear_scan import linear_scan

CHUNK = 4096
"""Steps whose states exist at a time: the states of a whole volume would take gigabytes."""
KERNEL = 4
"""Steps that the convolution before the scan sees."""
STEP_SIZES = (1e-3, 1e-1)
"""Range of the initial step sizes."""


def selective_scan(
    values: Float[Tensor, "batch step channel"],
    sizes: Float[Tensor, "batch step channel"],
    rates: Float[Tensor, "channel state"],
    inward: Float[Tensor, "batch step state"],
    outward: Float[Tensor, "batch step state"],
    chunk: int = CHUNK,
) -> Float[Tensor, "batch step channel"]:
    """The discretised state-space model of each channel: ``h_t = exp(delta_t A) h_(t-1) + delta_t
    B_t x_t`` and ``y_t = C_t h_t`` (Eq. 2 with the parameters of Algorithm 2).

    Args:
        values: x.
        sizes: delta, the step sizes, above 0.
        rates: A, below 0.
        inward: B, which writes to the states.
        outward: C, which reads from them.
        chunk: steps that are scanned at a time; in training the states of a chunk are computed
            again for its gradient.
    """
    state = values.new_zeros(len(values), 1, *rates.shape)  # [B, 1, channel, state]
    results = []
    parts_of = (each.split(chunk, dim=1) for each in (values, sizes, inward, outward))
    for parts in zip(*parts_of, strict=True):
        if torch.is_grad_enabled():
            result, state = checkpoint(_scan_chunk, state, rates, *parts, use_reentrant=False)
        else:
            result, state = _scan_chunk(state, rates, *parts)
        results.append(result)
    return torch.cat(results, dim=1)


def _scan_chunk(
    state: Tensor, rates: Tensor, values: Tensor, sizes: Tensor, inward: Tensor, outward: Tensor
) -> tuple[Tensor, Tensor]:
    """The results of some steps that follow a state, and the state after them."""
    decay = torch.exp(sizes[..., None] * rates)  # [B, T, channel, state]
    drive = (sizes * values)[..., None] * inward[:, :, None]
    drive = torch.cat([drive[:, :1] + decay[:, :1] * state, drive[:, 1:]], dim=1)
    states = linear_scan(decay, drive)
    return torch.einsum("btcs,bts->btc", states, outward), states[:, -1:]


class SelectiveStateSpace(nn.Module):
    """A gated state-space model whose step sizes, inputs and outputs depend on the sequence, after
    a short causal convolution.

    Args:
        channels: channels of the sequence.
        state: numbers of state per inner channel.
        expand: inner channels per channel.
    """

    def __init__(self, channels: int, state: int, expand: int) -> None:
        super().__init__()
        inner, rank = expand * channels, math.ceil(channels / 16)
        self.split = (rank, state, state)
        self.enter = nn.Linear(channels, 2 * inner, bias=False)
        self.convolution = nn.Conv1d(inner, inner, KERNEL, padding=KERNEL - 1, groups=inner)
        self.select = nn.Linear(inner, sum(self.split), bias=False)
        self.size = nn.Linear(rank, inner)
        self.log_rates = nn.Parameter(torch.arange(1.0, state + 1).log().repeat(inner, 1))
        self.skip = nn.Parameter(torch.ones(inner))
        self.leave = nn.Linear(inner, channels, bias=False)
        low, high = (math.log(size) for size in STEP_SIZES)
        sizes = torch.exp(low + (high - low) * torch.rand(inner))
        with torch.no_grad():
            self.size.bias.copy_(torch.log(torch.expm1(sizes)))  # softplus gives the sizes back

    @torch.autocast("cpu", enabled=False)  # bfloat16 would round decays to 1
    @torch.autocast("cuda", enabled=False)
    def forward(
        self, sequence: Float[Tensor, "batch step channel"]
    ) -> Float[Tensor, "batch step channel"]:
        values, gate = self.enter(sequence.float()).chunk(2, dim=-1)  # [B, L, inner] each
        convolved = self.convolution(values.transpose(1, 2))[..., : values.shape[1]]
        values = F.silu(convolved).transpose(1, 2)
        rank, inward, outward = self.select(values).split(self.split, dim=-1)
        sizes = F.softplus(self.size(rank))
        scanned = selective_scan(values, sizes, -self.log_rates.exp(), inward, outward)
        return self.leave((scanned + self.skip * values) * F.silu(gate))


class MambaLayers(nn.Module):
    """State-space layers, each with a LayerNorm before it and a shortcut around it, and a LayerNorm
    at the end.

    Args:
        channels: channels of the sequence.
        layers: number of layers.
        state, expand: see ``SelectiveStateSpace``.
    """

    def __init__(self, channels: int, layers: int, state: int, expand: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            SelectiveStateSpace(channels, state, expand) for _ in range(layers)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(layers + 1))

    def forward(
        self, sequence: Float[Tensor, "batch step channel"]
    ) -> Float[Tensor, "batch step channel"]:
        *before, last = self.norms
        for norm, layer in zip(before, self.layers, strict=True):
            sequence = sequence + layer(norm(sequence))
        return last(sequence)
