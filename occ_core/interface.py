"""What training and inference need to know about a model: ``VoxelModel``, which OccupancyModel and
the baselines implement, and the ``Prediction`` that it returns.
"""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from occ_core.config import OccupancyConfig
from occ_core.image_encoder import ImageEncoder, NoImageEncoder
from occ_core.prompts import NoPrompts, PromptTable
from occ_core.types import Frame, HeadOutput, TemporalMemory


class VisibleCameras(NamedTuple):
    """The unmasked cameras of a batch as one list of K images. Masked cameras are left out at the
    start, so that their pixels cannot leak into anything.
    """

    images: UInt8[Tensor, "image 3 height width"]
    intrinsics: Float[Tensor, "image 3 3"]
    grid_from_camera: Float[Tensor, "image 4 4"]
    sample: Int[Tensor, " image"]
    """The sample of the batch that each image belongs to."""
    camera: Int[Tensor, " image"]
    """The index of its camera in the frame."""


class CameraFeatures(NamedTuple):
    """Feature maps of the visible cameras."""

    features: Float[Tensor, "image channel h w"]
    intrinsics: Float[Tensor, "image 3 3"]
    grid_from_camera: Float[Tensor, "image 4 4"]
    sample: Int[Tensor, " image"]
    """The sample of the batch that each image belongs to."""


def visible_cameras(frame: Frame) -> VisibleCameras:
    """The cameras of a frame that are not masked, in the order of ``camera_mask.nonzero()``."""
    sample, camera = index = frame.camera_mask.nonzero(as_tuple=True)
    return VisibleCameras(
        frame.images[index], frame.intrinsics[index], frame.grid_from_camera[index], sample, camera
    )


class Prediction(NamedTuple):
    """Result of a forward pass: ``head`` for inference, the rest for training and diagnostics."""

    head: HeadOutput
    volume: Float[Tensor, "batch channel x y z"]
    """The volume that the head reads: fused, encoded, and aggregated over time."""
    sensor_volumes: tuple[Float[Tensor, "batch _ x y z"], ...] = ()
    """Image volume and LiDAR volume before fusion; that of an absent sensor has no channels."""
    cameras: CameraFeatures | None = None
    """Feature maps of the visible cameras; those of a model without cameras have no channels."""
    image_logits: Float[Tensor, "image class h w"] | None = None
    """Class logits of the cells of the feature maps; None without ``image_classes``."""
    depth_logits: Float[Tensor, "image bin h w"] | None = None
    """Logits over the depth bins of the visible cameras; None without cameras."""
    neighbourhoods: Int[Tensor, "retrieval candidate"] | None = None
    """See ``Fused``; None without adaptive fusion."""
    sensor_weights: Float[Tensor, "batch 2"] | None = None
    """Weights of camera and LiDAR (see ``WeatherFusion``); None without weather fusion."""
    coarser: tuple[Float[Tensor, "batch class _ _ _"], ...] = ()
    """Logits at lower resolutions, of a baseline that is supervised at several."""
    memory: TemporalMemory | None = None
    """Memory for the next frame; None for a model that remembers nothing."""

    def neighbour_shares(self) -> tuple[float, ...]:
        """The fraction of all queries that chose each number of neighbours; empty without adaptive
        fusion.
        """
        if self.neighbourhoods is None:
            return ()
        queries = self.neighbourhoods.sum(dim=0)  # [candidate]
        return tuple((queries / queries.sum().clamp(min=1)).tolist())


class VoxelModel(nn.Module):
    """A model that predicts voxels from frames."""

    prompts: PromptTable | NoPrompts

    def __init__(
        self, config: OccupancyConfig, image_encoder: ImageEncoder | NoImageEncoder
    ) -> None:
        super().__init__()
        self.config = config
        self.image_encoder = image_encoder

    def forward(
        self,
        frame: Frame,
        memory: TemporalMemory | None = None,
        prompted_classes: Bool[Tensor, "batch class"] | None = None,
    ) -> Prediction:
        """Predicts one batch of frames.

        Args:
            memory: ``Prediction.memory`` of the previous frame; None for a first frame.
            prompted_classes: classes that the prompts name, where training knows them; by default
                those that the memory holds.

        Raises:
            ValueError: the images are not of ``config.image_size``.
        """
        raise NotImplementedError

    def check(self, frame: Frame) -> None:
        """Checks that a frame fits the model.

        Raises:
            ValueError: the images are not of ``config.image_size``.
        """
        if tuple(frame.images.shape[-2:]) != self.config.image_size:
            raise ValueError(
                f"images are {tuple(frame.images.shape[-2:])} (height, width), the model expects "
                f"{self.config.image_size}; build frames with image_size=model.config.image_size"
            )
