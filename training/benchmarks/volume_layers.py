"""Benchmarks of layers of volumes in training, forward and backward in bfloat16."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from occ_core.ops.depthwise import Depthwise
from occ_core.ops.norm import GroupNorm
from training.benchmarks.definition import Benchmark
from training.benchmarks.operators import equal_to_rounding


@contextmanager
def depthwise() -> Iterator[Benchmark]:
    """The gates of the memory of the model ``tiny``: 64 channels of 50 x 50 x 4 voxels."""
    ours = Depthwise(64)
    theirs = nn.Conv3d(64, 64, 3, padding=1, groups=64, bias=False)
    with _against(ours, theirs, (50, 50, 4)) as benchmark:
        yield benchmark


@contextmanager
def group_norm() -> Iterator[Benchmark]:
    """A norm of the volume encoder of the model ``tiny``: 32 channels of 8 x 100 x 100 voxels."""
    with _against(GroupNorm(8, 32), nn.GroupNorm(8, 32), (8, 100, 100)) as benchmark:
        yield benchmark


@contextmanager
def _against(ours: nn.Module, theirs: nn.Module, size: tuple[int, int, int]) -> Iterator[Benchmark]:
    theirs.load_state_dict(ours.state_dict())
    channels = len(next(ours.parameters()))
    random = torch.Generator().manual_seed(0)
    # channels side by side in memory, as in the model
    rows = torch.randn(1, *size, channels, generator=random).bfloat16()
    volume = rows.permute(0, 4, 1, 2, 3).requires_grad_()

    def run(layer: nn.Module) -> list[Tensor]:
        with torch.autocast("cpu", torch.bfloat16):
            answer = layer(volume)
        gradients = torch.autograd.grad(
            answer.float().square().sum(), [volume, *layer.parameters()]
        )
        return [answer.detach().float(), *(gradient.float() for gradient in gradients)]

    yield Benchmark(
        candidate=partial(run, ours),
        baselines={"torch": partial(run, theirs)},
        same=partial(equal_to_rounding, tolerance=1e-2),  # bfloat16 has 8 bits
    )
