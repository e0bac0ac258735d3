"""GroupNorm whose gradient is fast in bfloat16 on a CPU."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class GroupNorm(nn.GroupNorm):
    """``nn.GroupNorm``, computed in float32 on a CPU when autograd is on.

    Torch's gradient of bfloat16 volumes whose channels lie side by side in memory takes five times
    as long as that of float32 ones on a CPU, and twice as long as with both conversions.
    """

    def forward(self, volume: Tensor) -> Tensor:
        on_cpu = volume.device.type == "cpu"
        if on_cpu and torch.is_grad_enabled() and volume.dtype == torch.bfloat16:
            return super().forward(volume.float()).to(volume.dtype)
        return super().forward(volume)
