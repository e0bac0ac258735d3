"""TACOcc's temporal consistency aggregator (section III-B, Eq. 2): volume and memory -> smoothed
volume and new memory.

The grid moves with the vehicle, so what is remembered is moved by the ego motion before it is used:
a static world stays where it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from occ_core.ops.interpolate import interpolate, pool
from occ_core.types import Frame, TemporalMemory
from occ_core.volume_encoder import Pointwise
from occ_core.voxel_grid import VoxelGrid


@dataclass(frozen=True, kw_only=True)
class TemporalConfig:
    """How the past is kept, and when it is forgotten."""

    mode: Literal["streaming", "window"] = "streaming"
    """``streaming`` keeps the ConvLSTM's state, one step a frame; ``window`` keeps the last volumes
    and starts anew from them.
    """
    frames: int = 5
    """T: frames that a window holds, the current one among them."""
    stride: int = 1
    """The ConvLSTM works on means over so many voxels of the volume along each axis: 2 costs an
    eighth.
    """
    filter_voxels: bool = True
    """The head, too, remembers what it said of each fine voxel."""
    max_gap_s: float = 2.0
    """After a longer pause, or a step back in time, the memory is reset."""
    max_speed_mps: float = 60.0
    """A vehicle that moved faster than this has jumped: the memory is reset."""

    def __post_init__(self) -> None:
        if min(self.frames, self.stride) < 1 or min(self.max_gap_s, self.max_speed_mps) <= 0:
            raise ValueError(
                "TemporalConfig needs frames and stride >= 1, max_gap_s and max_speed_mps > 0, "
                f"got {self}"
            )


def discontinuity(memory: TemporalMemory, frame: Frame, config: TemporalConfig) -> str | None:
    """Why a memory has nothing to say about a frame; None where it has."""
    if len(memory.world_from_grid[-1]) != frame.batch_size:
        return (
            f"a batch of {frame.batch_size} frames follows one of {len(memory.world_from_grid[-1])}"
        )
    moved_m = (frame.world_from_grid - memory.world_from_grid[-1])[:, :3, 3].norm(dim=1)
    for stamp, before, metres in zip(
        frame.stamp_ns, memory.stamp_ns[-1], moved_m.tolist(), strict=True
    ):
        gap_s = (stamp - before) * 1e-9
        if not 0 < gap_s <= config.max_gap_s:
            return f"a frame comes {gap_s:.3f} s after the one before (0 to {config.max_gap_s} s are bridged)"
        if metres > config.max_speed_mps * gap_s:
            return f"the vehicle moved {metres:.1f} m in {gap_s:.3f} s"
    return None


def continued(
    memory: TemporalMemory | None, frame: Frame, config: TemporalConfig
) -> TemporalMemory | None:
    """The memory where it has something to say about the frame; None where it has not."""
    return None if memory is None or discontinuity(memory, frame, config) is not None else memory


class ConvLSTM(nn.Module):
    """One step of a 3D convolutional LSTM.

    Args:
        factorised: the gates' 3x3x3 convolution is made of a channel-wise one and a 1x1x1 one, at a
            twentieth of the work.
    """

    def __init__(self, channels: int, *, factorised: bool) -> None:
        super().__init__()
        both = 2 * channels
        self.gates: nn.Module = nn.Conv3d(both, 4 * channels, 3, padding=1)
        if factorised:
            self.gates = nn.Sequential(
                nn.Conv3d(both, both, 3, padding=1, groups=both, bias=False),
                Pointwise(both, 4 * channels),
            )

    def forward(
        self,
        volume: Float[Tensor, "batch channel x y z"],
        hidden: Float[Tensor, "batch channel x y z"],
        cell: Float[Tensor, "batch channel x y z"],
    ) -> tuple[Float[Tensor, "batch channel x y z"], Float[Tensor, "batch channel x y z"]]:
        enter, forget, leave, candidate = self.gates(torch.cat([volume, hidden], dim=1)).chunk(
            4, dim=1
        )
        cell = torch.sigmoid(forget + 1) * cell + torch.sigmoid(enter) * torch.tanh(
            candidate
        )  # + 1: remember, at first
        return torch.sigmoid(leave) * torch.tanh(cell), cell


class TemporalAggregator(nn.Module):
    """Adds what the ConvLSTM remembers to the volume.

    Eq. 2 hands the hidden state on alone; here it is added, by a convolution that starts at zero,
    so that a trained model can be given a memory and starts as what it was.
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
        self,
        volume: Float[Tensor, "batch channel x y z"],
        frame: Frame,
        memory: TemporalMemory | None,
    ) -> tuple[Float[Tensor, "batch channel x y z"], TemporalMemory]:
        past = TemporalMemory() if memory is None else memory
        seen = pool(volume.float(), self.config.stride)  # [B, C, X/s, Y/s, Z/s]
        here, now = frame.world_from_grid, frame.stamp_ns
        if self.config.mode == "streaming":
            hidden, cell = self.remembered(seen, past, here)
            hidden, cell = self.lstm(seen, hidden, cell)
            memory = TemporalMemory(state=(hidden, cell), world_from_grid=(here,), stamp_ns=(now,))
        else:
            hidden, cell = torch.zeros_like(seen), torch.zeros_like(seen)
            for before, there in zip(past.volumes, past.world_from_grid, strict=True):
                hidden, cell = self.lstm(warp(before, there, here, self.grid), hidden, cell)
            hidden, _ = self.lstm(seen, hidden, cell)
            kept = self.config.frames - 1
            memory = TemporalMemory(
                volumes=(*past.volumes, seen)[-kept:] if kept else (),
                world_from_grid=(*past.world_from_grid, here)[-max(kept, 1) :],
                stamp_ns=(*past.stamp_ns, now)[-max(kept, 1) :],
            )
        return volume + F.interpolate(self.out(hidden), size=volume.shape[-3:]), memory

    def remembered(
        self,
        seen: Float[Tensor, "batch channel x y z"],
        past: TemporalMemory,
        here: Float[Tensor, "batch 4 4"],
    ) -> tuple[Tensor, Tensor]:
        """The ConvLSTM's state, moved to where the vehicle is now; zeros without a past."""
        if not past.state:
            return torch.zeros_like(seen), torch.zeros_like(seen)
        hidden, cell = warp(
            torch.cat(past.state, dim=1), past.world_from_grid[-1], here, self.grid
        ).chunk(2, dim=1)
        return hidden, cell


@torch.autocast("cpu", enabled=False)  # bfloat16 would move voxels
@torch.autocast("cuda", enabled=False)
def warp(
    volume: Float[Tensor, "batch channel x y z"],
    world_from_there: Float[Tensor, "batch 4 4"],
    world_from_here: Float[Tensor, "batch 4 4"],
    grid: VoxelGrid,
) -> Float[Tensor, "batch channel x y z"]:
    """A volume of an earlier grid, resampled (trilinear) at the centres of the current one; zero
    where it did not reach.

    Args:
        world_from_there, world_from_here: float64 poses of the earlier and of the current grid.
    """
    there_from_here = (torch.linalg.inv(world_from_there) @ world_from_here).float()  # [B, 4, 4]
    centres = grid.all_centres(volume.device).view(-1, 3)  # [V, 3]
    points = centres @ there_from_here[:, :3, :3].mT + there_from_here[:, None, :3, 3]  # [B, V, 3]
    position = (
        points - points.new_tensor(grid.min_m)
    ) / grid.voxel_size_m - 0.5  # centres at integers
    inside = ((position > -0.5) & (position < position.new_tensor(grid.shape) - 0.5)).all(
        dim=-1
    )  # [B, V]
    sample, voxel = inside.nonzero(as_tuple=True)
    batch, channels = volume.shape[:2]
    moved = volume.new_zeros(batch, len(centres), channels)
    moved = moved.index_put((sample, voxel), interpolate(volume, position[sample, voxel], sample))
    return moved.view(batch, *grid.shape, channels).permute(0, 4, 1, 2, 3)
