"""The objects that travel through the whole library. Read this first.

``Frame`` goes in, ``Occupancy`` comes out, ``TemporalMemory`` rides along.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from occ_core.voxel_grid import VoxelGrid

UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class DriveContext:
    """What is known of the drive beside its sensors; ``"unknown"`` where nothing is."""

    weather: str = UNKNOWN
    region: str = UNKNOWN


@dataclass(frozen=True, slots=True)
class Frame:
    """One synchronised instant of all sensors, batched (the robot's batch is 1).

    The *grid frame* is the frame in which the voxel grid is fixed (the LiDAR frame for
    SurroundOcc).
    """

    images: UInt8[Tensor, "batch camera 3 height width"]
    """RGB."""
    camera_mask: Bool[Tensor, "batch camera"]
    """False: the camera is missing, and its pixels must not influence anything."""
    intrinsics: Float[Tensor, "batch camera 3 3"]
    """In pixels of ``images``; pixel centres at integer coordinates."""
    grid_from_camera: Float[Tensor, "batch camera 4 4"]
    """Camera frame: x right, y down, z forward (optical)."""
    points: tuple[Float[Tensor, "_ 5"], ...]
    """Per sample: x, y, z in metres in the grid frame, intensity in 0..255, age in seconds (0: this
    sweep).
    """
    world_from_grid: Float[Tensor, "batch 4 4"]
    """float64: world coordinates of a drive reach kilometres."""
    stamp_ns: tuple[int, ...]
    context: tuple[DriveContext, ...]

    def __post_init__(self) -> None:
        batch = self.images.shape[0]
        for name in (
            "camera_mask",
            "intrinsics",
            "grid_from_camera",
            "points",
            "world_from_grid",
            "stamp_ns",
            "context",
        ):
            if len(getattr(self, name)) != batch:
                raise ValueError(
                    f"Frame.{name} holds {len(getattr(self, name))} samples, but Frame.images "
                    f"holds {batch}"
                )

    @property
    def batch_size(self) -> int:
        return self.images.shape[0]

    def to(self, device: torch.device | str) -> Frame:
        """The same frame with every tensor on ``device``."""
        moved = {
            f.name: getattr(self, f.name).to(device)
            for f in fields(self)
            if isinstance(getattr(self, f.name), Tensor)
        }
        return replace(self, **moved, points=tuple(points.to(device) for points in self.points))


def collate_frames(frames: list[Frame]) -> Frame:
    """Joins frames along the batch dimension.

    Raises:
        ValueError: frames differ in the number of cameras or in image size.
    """
    sizes = {tuple(frame.images.shape[1:]) for frame in frames}
    if len(sizes) != 1:
        raise ValueError(
            f"frames to be batched differ in [camera, 3, height, width]: {sorted(sizes)}; use one "
            "image size"
        )
    joined = {f.name: [getattr(frame, f.name) for frame in frames] for f in fields(Frame)}
    batched: dict[str, Any] = {
        name: torch.cat(values)
        if isinstance(values[0], Tensor)
        else tuple(item for value in values for item in value)
        for name, values in joined.items()
    }
    return Frame(**batched)


class HeadOutput(NamedTuple):
    """Logits of both stages of the cascade; the fine ones only where refined."""

    coarse: Float[Tensor, "batch class x y z"]
    fine: Float[Tensor, "child class"]
    children: Int[Tensor, "child 4"]
    """(batch, x, y, z) in the fine grid; in the order of the batch, no voxel twice, all or none of
    a parent's.
    """

    @classmethod
    def dense(cls, logits: Float[Tensor, "batch class x y z"]) -> HeadOutput:
        """Of a model that classifies every voxel of its grid at once: nothing is refined."""
        none = torch.zeros(0, 4, dtype=torch.long, device=logits.device)
        return cls(logits, logits.new_zeros(0, logits.shape[1]), none)


@dataclass(frozen=True, slots=True)
class TemporalMemory:
    """What one frame leaves to the next; handed in and handed back, ``None`` means first frame."""

    state: tuple[Float[Tensor, "batch channel x y z"], ...] = ()
    """Hidden and cell state of the ConvLSTM at the last frame (streaming mode)."""
    volumes: tuple[Float[Tensor, "batch channel x y z"], ...] = ()
    """Fused volumes of the last frames, oldest first (window mode)."""
    world_from_grid: tuple[Float[Tensor, "batch 4 4"], ...] = ()
    """Poses of these volumes; in streaming mode, of the state. The last is that of ``head``."""
    stamp_ns: tuple[tuple[int, ...], ...] = ()
    """Their stamps, one per sample of the batch."""
    head: HeadOutput | None = None
    """What the head said of the last frame."""
    classes: Bool[Tensor, "batch class"] | None = None
    """Those seen in the last frame: the next one's prompts name them."""

    def detach(self) -> TemporalMemory:
        """The same memory, through which no gradient flows back into the past."""
        return replace(
            self,
            state=tuple(volume.detach() for volume in self.state),
            volumes=tuple(volume.detach() for volume in self.volumes),
            head=None if self.head is None else HeadOutput(*(part.detach() for part in self.head)),
        )


@dataclass(frozen=True, slots=True)
class Gaussians:
    """Anisotropic 3D Gaussians that carry features: colours, class probabilities, anything with
    channels (TACOcc, Eq. 3).
    """

    means: Float[Tensor, "gaussian 3"]
    """Centres in metres, in the grid frame."""
    quaternions: Float[Tensor, "gaussian 4"]
    """Rotations (w, x, y, z), of any length but zero."""
    scales: Float[Tensor, "gaussian 3"]
    """Standard deviations in metres along the rotated axes."""
    opacities: Float[Tensor, " gaussian"]
    """In [0, 1]."""
    features: Float[Tensor, "gaussian channel"]


@dataclass(frozen=True, slots=True)
class Occupancy:
    """A semantic voxel grid: a class id and its probability for every voxel."""

    labels: UInt8[Tensor, "batch x y z"]
    """Class ids of ``occ_core.taxonomy``: 0 empty, 1..16 occupied."""
    probability: Float[Tensor, "batch x y z"]
    """Of the label, in [0, 1]."""
    grid: VoxelGrid
    stamp_ns: tuple[int, ...]
    frame_id: str
    """Name of the grid frame."""
    memory_reset: str | None = None
    """Why the model forgot the frames before this one, where it did of itself."""
    neighbour_shares: tuple[float, ...] = ()
    """Of a model with the adaptive fuser: the share of its queries that chose each number of
    neighbours.
    """
    sensor_weights: tuple[float, ...] = ()
    """Of a model that heeds the weather: how far it trusts camera and LiDAR; their sum is 1."""
