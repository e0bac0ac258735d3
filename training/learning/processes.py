"""Training by several processes: each takes its share of a step, and all take the mean gradient."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import cast

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy
from torch import Tensor, nn


class MeanGradientStrategy(DDPStrategy):
    """Fabric's DDP without torch's DDP wrapper, which follows neither several forward passes before
    one backward pass (clips with a memory) nor parameters that a frame leaves out (no camera).
    ``average_gradients`` takes its place.
    """

    def setup_module(self, module: nn.Module) -> nn.Module:  # type: ignore[override]
        """The module as it is; equal seeds have given all processes the same weights."""
        return module


def started_by_torchrun() -> tuple[int, int] | None:
    """How many processes torchrun has started on this machine, and on how many machines; None where
    it has not started this one.
    """
    if not torch.distributed.is_torchelastic_launched():
        return None
    here = int(os.environ["LOCAL_WORLD_SIZE"])
    return here, int(os.environ["WORLD_SIZE"]) // here


@torch.no_grad()
def average_losses(fabric: Fabric, losses: dict[str, Tensor]) -> dict[str, Tensor]:
    """The mean of each loss over all processes, so that they log and judge the same values."""
    if fabric.world_size == 1:
        return losses
    together = torch.stack([loss.detach().float() for loss in losses.values()])
    mean = cast(Tensor, fabric.all_reduce(together, reduce_op="mean"))
    return dict(zip(losses, mean.unbind(), strict=True))


@torch.no_grad()
def average_gradients(fabric: Fabric, parameters: Iterable[nn.Parameter]) -> None:
    """Replaces the gradients by their means over all processes; does nothing with one process.

    A parameter without a gradient counts as one whose gradient is zero.
    """
    if fabric.world_size == 1:
        return
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    for parameter in trained:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    gradients = [parameter.grad for parameter in trained if parameter.grad is not None]
    together = torch.cat([gradient.flatten() for gradient in gradients])
    mean = cast(Tensor, fabric.all_reduce(together, reduce_op="mean"))
    start = 0
    for gradient in gradients:
        gradient.copy_(mean[start : start + gradient.numel()].view_as(gradient))
        start += gradient.numel()
