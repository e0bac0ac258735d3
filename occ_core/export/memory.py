"""A model's memory as named tensors, of which one size alone changes: what ``TemporalMemory`` is
to Python, for programs without it.

An exported model has a single program, for first frames too: their memory consists of zeros, which
warp to zeros and add nothing.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from occ_core.config import OccupancyConfig
from occ_core.export.parts import classes_seen_by
from occ_core.ops.interpolate import upsample
from occ_core.ops.linear_index import linear_index
from occ_core.types import HeadOutput, TemporalMemory, TemporalState
from occ_core.voxel_filter import PreviousLogits
from occ_core.voxel_grid import VoxelGrid

MemoryTensors = dict[str, Tensor]
"""By name; which there are depends on the configuration:

- with a temporal aggregator ``hidden`` and ``cell`` [1, C, X, Y, Z], ``world_from_last_grid``
  [1, 4, 4], the float64 pose of the last frame, and ``is_filled`` [1], False before the first one;
- with its filter of fine voxels ``logits`` [R, class], those of the coarse voxels and then of the
  children, and ``rows`` [voxel], the row of every fine voxel in them;
- with prompts about classes ``classes`` [1, class], those seen.
"""


def first_memory(config: OccupancyConfig, device: torch.device | str = "cpu") -> MemoryTensors:
    """The memory before the first frame."""
    memory: MemoryTensors = {}
    classes = len(config.labels.names)
    if config.temporal is not None:
        shape = (1, config.channels, *config.coarse_grid.coarser(config.temporal.stride).shape)
        memory["hidden"] = torch.zeros(shape, device=device)
        memory["cell"] = torch.zeros(shape, device=device)
        memory["world_from_last_grid"] = torch.eye(4, dtype=torch.float64, device=device)[None]
        memory["is_filled"] = torch.zeros(1, dtype=torch.bool, device=device)
        if config.temporal.filter_voxels:
            coarse = math.prod(config.coarse_grid.shape)
            memory["logits"] = torch.zeros(coarse, classes, device=device)
            fine = math.prod(config.grid.shape)
            memory["rows"] = torch.zeros(fine, dtype=torch.long, device=device)
    if config.remembers_classes:
        memory["classes"] = torch.zeros(1, classes, dtype=torch.bool, device=device)
    return memory


def temporal_memory(memory: MemoryTensors) -> TemporalMemory:
    """What the temporal aggregator reads."""
    if "hidden" not in memory:
        return TemporalMemory()
    return TemporalMemory(
        state=(memory["hidden"], memory["cell"]), world_from_grid=(memory["world_from_last_grid"],)
    )


class RememberedLogits(PreviousLogits):
    """``PreviousLogits`` from tensors; before the first frame they are zero everywhere.

    Args:
        memory: with ``logits`` and ``rows``.
        world_from_current: float64 pose of the grid in the current frame.
        fine: grid of the children.
    """

    def __init__(
        self, memory: MemoryTensors, world_from_current: Float[Tensor, "batch 4 4"], fine: VoxelGrid
    ) -> None:
        self.fine, self.row, self.logits = fine, memory["rows"], memory["logits"]
        previous_from_world = torch.linalg.inv(memory["world_from_last_grid"])
        self.previous_from_current = (previous_from_world @ world_from_current).float()
        self.is_filled: Bool[Tensor, " 1"] = memory["is_filled"]

    def __call__(self, children: Int[Tensor, "child 4"]) -> Float[Tensor, "child class"]:
        return super().__call__(children) * self.is_filled


def memory_after(
    config: OccupancyConfig,
    world_from_grid: Float[Tensor, "1 4 4"],
    state: TemporalState,
    output: HeadOutput,
    before: MemoryTensors,
) -> MemoryTensors:
    """The memory after a frame.

    Args:
        world_from_grid: pose of the frame.
        state: what the temporal aggregator keeps.
        output: the head's output.
        before: the memory before the frame.
    """
    memory: MemoryTensors = {}
    if config.temporal is not None:
        memory["hidden"], memory["cell"] = state.lstm
        memory["world_from_last_grid"] = world_from_grid.clone()  # no output may be an input
        memory["is_filled"] = torch.ones_like(before["is_filled"])
        if config.temporal.filter_voxels:
            logits, rows = logits_by_row(output, config.grid, config.cascade_ratio)
            memory["logits"], memory["rows"] = logits, rows
    if config.remembers_classes:
        memory["classes"] = classes_seen_by(output, before["classes"])
    # compiled code takes its inputs as they lay when it was compiled
    return {name: tensor.contiguous() for name, tensor in memory.items()}


def logits_by_row(
    output: HeadOutput, fine: VoxelGrid, ratio: int
) -> tuple[Float[Tensor, "row class"], Int[Tensor, " voxel"]]:
    """The logits of coarse voxels and children as one table, and the row of every fine voxel."""
    coarse = output.coarse.permute(0, 2, 3, 4, 1)  # [B, X, Y, Z, class]
    parent = torch.arange(coarse[..., 0].numel(), device=coarse.device).view(coarse.shape[:-1])
    rows = upsample(parent, ratio).flatten()
    children = torch.arange(output.children.shape[0], device=coarse.device)
    rows[linear_index(output.children, fine.shape)] = parent.numel() + children
    return torch.cat([coarse.flatten(0, 3), output.fine]).float(), rows
