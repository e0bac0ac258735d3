"""TACOcc's temporal consistency aggregator (section III-B, Eq. 2): volume and memory -> smoothed
volume and new memory.

The grid moves with the vehicle, so whatever is remembered is warped by the ego motion before it is
used: in a static world it stays in place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from occ_core.ops.depthwise import Depthwise
from occ_core.ops.interpolate import interpolate, pool
from occ_core.types import Frame, TemporalMemory, TemporalState
from occ_core.volume_encoder import Pointwise
from occ_core.voxel_grid import VoxelGrid


@dataclass(frozen=True, kw_only=True)
class TemporalConfig:
    """How the past is remembered, and when it is discarded.

    Raises:
        ValueError: a field is out of range.
    """

    mode: Literal["streaming", "window"] = "streaming"
    """``streaming`` keeps the ConvLSTM's state and takes one step per frame; ``window`` keeps the
    last volumes and unrolls the ConvLSTM over them at every frame.
    """
    frames: int = 5
    """T: number of frames in a window, including the current one."""
    stride: int = 1
    """The ConvLSTM works on means over this many voxels along each axis: 2 takes an eighth of the
    time.
    """
    filter_voxels: bool = True
    """The head also remembers its output for each fine voxel."""
    max_gap_s: float = 2.0
    """After a longer gap, or a step back in time, the memory is discarded."""
    max_speed_mps: float = 60.0
    """A vehicle that moved faster than this has jumped, and the memory is discarded."""

    def __post_init__(self) -> None:
        if min(self.frames, self.stride) < 1 or min(self.max_gap_s, self.max_speed_mps) <= 0:
            raise ValueError(
                "TemporalConfig needs frames and stride >= 1, max_gap_s and max_speed_mps > 0, "
                f"got {self}"
            )


def discontinuity(memory: TemporalMemory, frame: Frame, config: TemporalConfig) -> str | None:
    """Why a memory cannot be used for a frame, or None if it can."""
    before = len(memory.world_from_grid[-1])
    if before != frame.batch_size:
        return f"a batch of {frame.batch_size} frames follows one of {before}"
    moved_m = (frame.world_from_grid - memory.world_from_grid[-1])[:, :3, 3].norm(dim=1)
    for stamp, last_stamp, distance_m in zip(
        frame.stamp_ns, memory.stamp_ns[-1], moved_m.tolist(), strict=True
    ):
        gap_s = (stamp - last_stamp) * 1e-9
        if not 0 < gap_s <= config.max_gap_s:
            return (
                f"a frame comes {gap_s:.3f} s after the one before "
                f"(0 to {config.max_gap_s} s are bridged)"
            )
        if distance_m > config.max_speed_mps * gap_s:
            return f"the vehicle moved {distance_m:.1f} m in {gap_s:.3f} s"
    return None


def memory_if_continuous(
    memory: TemporalMemory | None, frame: Frame, config: TemporalConfig
) -> TemporalMemory:
    """The memory if it can be used for the frame (see ``discontinuity``), else an empty one."""
    if memory is None or discontinuity(memory, frame, config) is not None:
        return TemporalMemory()
    return memory


class ConvLSTM(nn.Module):
    """One step of a 3D convolutional LSTM.

    Args:
        factorised: compute the gates by a channel-wise 3x3x3 convolution and a 1x1x1 one, at a
            twentieth of the work of a full 3x3x3 convolution.
    """

    def __init__(self, channels: int, *, factorised: bool) -> None:
        super().__init__()
        both = 2 * channels
        self.gates: nn.Module = nn.Conv3d(both, 4 * channels, 3, padding=1)
        if factorised:
            self.gates = nn.Sequential(Depthwise(both), Pointwise(both, 4 * channels))

    def forward(
        self,
        volume: Float[Tensor, "batch channel x y z"],
        hidden: Float[Tensor, "batch channel x y z"],
        cell: Float[Tensor, "batch channel x y z"],
    ) -> tuple[Float[Tensor, "batch channel x y z"], Float[Tensor, "batch channel x y z"]]:
        """The new hidden and cell state."""
        gates = self.gates(torch.cat([volume, hidden], dim=1))
        enter, forget, leave, candidate = gates.chunk(4, dim=1)
        # + 1: the forget gate starts open, or little would be remembered at first
        cell = torch.sigmoid(forget + 1) * cell + torch.sigmoid(enter) * torch.tanh(candidate)
        return torch.sigmoid(leave) * torch.tanh(cell), cell


class TemporalAggregator(nn.Module):
    """Adds the ConvLSTM's output to the volume.

    Eq. 2 passes on the hidden state alone. Here it is added to the volume, through a convolution
    that starts at zero, so that a trained model can be given a memory without losing its skill.

    Args:
        channels: channels of the volume.
        grid: grid of the volume.
        factorised: see ``ConvLSTM``.
    """

    def __init__(
        self, channels: int, grid: VoxelGrid, config: TemporalConfig, *, factorised: bool
    ) -> None:
        super().__init__()
        self.grid, self.config = grid.coarser(config.stride), config
        self.lstm = ConvLSTM(channels, factorised=factorised)
        self.out = Pointwise(channels, channels)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]

    def forward(
        self, volume: Float[Tensor, "batch channel x y z"], frame: Frame, past: TemporalMemory
    ) -> tuple[Float[Tensor, "batch channel x y z"], TemporalState]:
        """The smoothed volume, and what to remember.

        Args:
            past: memory that fits the frame (see ``memory_if_continuous``); empty in a first frame.
        """
        # float32 also under autocast, as the cell sums over a whole drive
        pooled = pool(volume.float(), self.config.stride)  # [B, C, X/s, Y/s, Z/s]
        if self.config.mode == "streaming":
            hidden, cell = self.lstm(pooled, *self.warp_state(pooled, frame, past))
            state = TemporalState(lstm=(hidden, cell))
        else:
            hidden = self.unroll(pooled, frame, past)
            volumes = (*past.volumes, pooled)
            surplus = max(len(volumes) - (self.config.frames - 1), 0)
            state = TemporalState(volumes=volumes[surplus:])
        return volume + F.interpolate(self.out(hidden), size=volume.shape[-3:]), state

    def warp_state(
        self, pooled: Float[Tensor, "batch channel x y z"], frame: Frame, past: TemporalMemory
    ) -> tuple[Tensor, Tensor]:
        """The ConvLSTM's hidden and cell state in the current grid; zeros without a past."""
        if not past.state:
            return torch.zeros_like(pooled), torch.zeros_like(pooled)
        state = torch.cat(past.state, dim=1)
        warped = warp(state, past.world_from_grid[-1], frame.world_from_grid, self.grid)
        hidden, cell = warped.chunk(2, dim=1)
        return hidden, cell

    def unroll(
        self, pooled: Float[Tensor, "batch channel x y z"], frame: Frame, past: TemporalMemory
    ) -> Float[Tensor, "batch channel x y z"]:
        """The hidden state after the remembered volumes and the current one."""
        hidden, cell = torch.zeros_like(pooled), torch.zeros_like(pooled)
        # a window of one frame remembers a pose, but no volume
        for volume, world_from_grid in zip(past.volumes, past.world_from_grid, strict=False):
            warped = warp(volume, world_from_grid, frame.world_from_grid, self.grid)
            hidden, cell = self.lstm(warped, hidden, cell)
        hidden, _ = self.lstm(pooled, hidden, cell)
        return hidden


class NoTemporalAggregator(nn.Module):
    """The temporal aggregator of a model that predicts each frame by itself."""

    def forward(
        self, volume: Float[Tensor, "batch channel x y z"], frame: Frame, past: TemporalMemory
    ) -> tuple[Float[Tensor, "batch channel x y z"], TemporalState]:
        """The volume as it is, and nothing to remember."""
        return volume, TemporalState()


@torch.autocast("cpu", enabled=False)  # bfloat16 would move voxels
@torch.autocast("cuda", enabled=False)
def warp(
    volume: Float[Tensor, "batch channel x y z"],
    world_from_previous: Float[Tensor, "batch 4 4"],
    world_from_current: Float[Tensor, "batch 4 4"],
    grid: VoxelGrid,
) -> Float[Tensor, "batch channel x y z"]:
    """Resamples a volume of an earlier frame trilinearly at the voxel centres of the current one.

    Args:
        volume: volume of the earlier frame.
        world_from_previous: float64 pose of the grid in that frame.
        world_from_current: float64 pose of the grid in the current frame.
        grid: grid of the volume, both before and after.

    Returns:
        The volume in the current grid; zero outside the earlier one.
    """
    previous_from_current = (torch.linalg.inv(world_from_previous) @ world_from_current).float()
    centres = grid.all_centres(volume.device).view(-1, 3)  # [V, 3]
    rotation, translation = previous_from_current[:, :3, :3], previous_from_current[:, None, :3, 3]
    points = centres @ rotation.mT + translation  # [B, V, 3]
    # in cells, with the centres of voxels at integers
    position = (points - points.new_tensor(grid.min_m)) / grid.voxel_size_m - 0.5
    inside = (position > -0.5) & (position < position.new_tensor(grid.shape) - 0.5)
    sample, voxel = inside.all(dim=-1).nonzero(as_tuple=True)
    batch, channels = volume.shape[:2]
    warped = volume.new_zeros(batch, len(centres), channels)
    values = interpolate(volume, position[sample, voxel], sample)
    warped = warped.index_put((sample, voxel), values)
    return warped.view(batch, *grid.shape, channels).permute(0, 4, 1, 2, 3)
