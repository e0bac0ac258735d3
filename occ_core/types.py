"""The objects that cross the borders of modules. Read this first.

``Frame`` goes in, ``Occupancy`` comes out, and ``TemporalMemory`` links one frame to the next.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from occ_core.labels.label_set import LabelSet
from occ_core.labels.sets import NUSCENES
from occ_core.taxonomy import DriveContext as DriveContext
from occ_core.voxel_grid import VoxelGrid


@dataclass(frozen=True, slots=True)
class Frame:
    """One synchronised instant of all sensors, batched (the robot's batch is 1).

    The *grid frame* is the frame in which the voxel grid is fixed (the LiDAR frame for
    SurroundOcc).
    """

    images: UInt8[Tensor, "batch camera 3 height width"]
    """RGB images, one per camera."""
    camera_mask: Bool[Tensor, "batch camera"]
    """False where a camera is missing; its pixels must not influence anything."""
    intrinsics: Float[Tensor, "batch camera 3 3"]
    """Camera matrices in pixels of ``images``; pixel centres lie at integer coordinates."""
    grid_from_camera: Float[Tensor, "batch camera 4 4"]
    """Poses of the optical frames: x right, y down, z forward."""
    points: tuple[Float[Tensor, "_ 5"], ...]
    """LiDAR points of each sample: x, y, z in metres in the grid frame, intensity in 0..255, age in
    seconds (0 for the current sweep).
    """
    world_from_grid: Float[Tensor, "batch 4 4"]
    """Poses of the grid in float64, since world coordinates of a drive reach kilometres."""
    stamp_ns: tuple[int, ...]
    """Stamp of each sample."""
    context: tuple[DriveContext, ...]
    """Context of each sample."""

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
        """Number of samples in the batch."""
        return self.images.shape[0]

    def sensors_with_data(self) -> Bool[Tensor, "batch 2"]:
        """Whether a sample holds an image of any camera, and whether it holds a LiDAR point."""
        has_points = self.camera_mask.new_tensor([len(points) > 0 for points in self.points])
        return torch.stack([self.camera_mask.any(dim=1), has_points], dim=1)

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
        ValueError: the frames differ in the number of cameras or in image size.
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
    """Logits of both stages of the cascade."""

    coarse: Float[Tensor, "batch class x y z"]
    """Logits of every coarse voxel."""
    fine: Float[Tensor, "child class"]
    """Logits of the fine voxels into which coarse ones were split."""
    children: Int[Tensor, "child 4"]
    """Indices (batch, x, y, z) of those voxels in the fine grid: in the order of the batch, without
    duplicates, and either all children of a coarse voxel or none.
    """

    @classmethod
    def dense(cls, logits: Float[Tensor, "batch class x y z"]) -> HeadOutput:
        """The output of a model that classifies every voxel of its grid directly, without
        refinement.
        """
        none = torch.zeros(0, 4, dtype=torch.long, device=logits.device)
        return cls(logits, logits.new_zeros(0, logits.shape[1]), none)


class TemporalState(NamedTuple):
    """What the temporal aggregator keeps of the frames so far; empty in a model without one."""

    lstm: tuple[Float[Tensor, "batch channel x y z"], ...] = ()
    """Hidden and cell state of the ConvLSTM (streaming mode)."""
    volumes: tuple[Float[Tensor, "batch channel x y z"], ...] = ()
    """Fused volumes of the last frames, oldest first (window mode)."""


@dataclass(frozen=True, slots=True)
class TemporalMemory:
    """What the model passes from one frame to the next.

    The model takes it and returns a new one; ``None`` or an empty memory stands for no past.
    """

    state: tuple[Float[Tensor, "batch channel x y z"], ...] = ()
    """``TemporalState.lstm`` at the last frame."""
    volumes: tuple[Float[Tensor, "batch channel x y z"], ...] = ()
    """``TemporalState.volumes`` at the last frame."""
    world_from_grid: tuple[Float[Tensor, "batch 4 4"], ...] = ()
    """Poses of ``volumes``, or that of ``state``; the last one belongs to the last frame."""
    stamp_ns: tuple[tuple[int, ...], ...] = ()
    """Stamps that belong to the poses, one per sample of the batch."""
    head: HeadOutput | None = None
    """Output of the head for the last frame."""
    classes: Bool[Tensor, "batch class"] | None = None
    """Classes seen in the last frame, which the prompts of the next one name."""

    @classmethod
    def after(
        cls,
        frame: Frame,
        past: TemporalMemory,
        state: TemporalState,
        head: HeadOutput | None,
        classes: Bool[Tensor, "batch class"] | None,
    ) -> TemporalMemory:
        """The memory after ``frame``: the poses of ``past`` that still count, and what is new."""
        poses = max(len(state.volumes), 1)  # at least the one of the frame itself
        return cls(
            state=state.lstm,
            volumes=state.volumes,
            world_from_grid=(*past.world_from_grid, frame.world_from_grid)[-poses:],
            stamp_ns=(*past.stamp_ns, frame.stamp_ns)[-poses:],
            head=head,
            classes=classes,
        )

    def detach(self) -> TemporalMemory:
        """The same memory, cut off from the graph that computed it."""
        return replace(
            self,
            state=tuple(volume.detach() for volume in self.state),
            volumes=tuple(volume.detach() for volume in self.volumes),
            head=None if self.head is None else HeadOutput(*(part.detach() for part in self.head)),
        )


@dataclass(frozen=True, slots=True)
class Gaussians:
    """Anisotropic 3D Gaussians with a feature vector each, such as a colour or class probabilities
    (TACOcc, Eq. 3).
    """

    means: Float[Tensor, "gaussian 3"]
    """Centres in metres, in the grid frame."""
    quaternions: Float[Tensor, "gaussian 4"]
    """Rotations (w, x, y, z); they need not be normalised, but must not be zero."""
    scales: Float[Tensor, "gaussian 3"]
    """Standard deviations in metres along the rotated axes."""
    opacities: Float[Tensor, " gaussian"]
    """Opacities in [0, 1]."""
    features: Float[Tensor, "gaussian channel"]


@dataclass(frozen=True, slots=True)
class Occupancy:
    """A semantic voxel grid: a class id and its probability for every voxel."""

    labels: UInt8[Tensor, "batch x y z"]
    """Class ids of ``label_set``."""
    probability: Float[Tensor, "batch x y z"]
    """Probability of the label, in [0, 1]."""
    grid: VoxelGrid
    stamp_ns: tuple[int, ...]
    frame_id: str
    """Name of the grid frame."""
    memory_reset: str | None = None
    """Why the model discarded its memory before this frame; None where it did not."""
    neighbour_shares: tuple[float, ...] = ()
    """Fraction of queries that chose each number of neighbours; empty without adaptive fusion."""
    sensor_weights: tuple[float, ...] = ()
    """Weights of camera and LiDAR, which sum to 1; empty without weather fusion."""
    label_set: LabelSet = NUSCENES
    """Meaning of the class ids."""
    checkpoint: str = ""
    """Which weights made it, see ``checkpoint_id``; empty for a model that was not loaded."""
