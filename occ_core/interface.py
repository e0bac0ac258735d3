"""What training and the engine know of a model: ``VoxelModel``, and the ``Prediction`` that it
returns.
"""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from occ_core.config import OccupancyConfig
from occ_core.image_encoder import ImageEncoder
from occ_core.prompts import PromptTable
from occ_core.types import Frame, HeadOutput, TemporalMemory


class Present(NamedTuple):
    """The cameras of a batch that are there, as one list of K; of the others nothing is looked at,
    so nothing can leak.
    """

    images: UInt8[Tensor, "image 3 height width"]
    intrinsics: Float[Tensor, "image 3 3"]
    grid_from_camera: Float[Tensor, "image 4 4"]
    sample: Int[Tensor, " image"]
    number: Int[Tensor, " image"]
    """Of the camera in the frame."""


class Cameras(NamedTuple):
    """What is seen by the cameras that are there."""

    features: Float[Tensor, "image channel h w"]
    intrinsics: Float[Tensor, "image 3 3"]
    grid_from_camera: Float[Tensor, "image 4 4"]
    sample: Int[Tensor, " image"]


class Prediction(NamedTuple):
    """What training needs of a forward pass; inference needs ``head`` alone."""

    head: HeadOutput
    volume: Float[Tensor, "batch channel x y z"]
    """What the head reads: fused, encoded, and smoothed over time where there is a memory."""
    sensor_volumes: tuple[Float[Tensor, "batch channel x y z"], ...] = ()
    """Image volume and LiDAR volume, of the sensors that the model has."""
    depth_logits: Float[Tensor, "image bin h w"] | None = None
    """Of the cameras that are there (in the order of ``Frame.camera_mask.nonzero()``)."""
    neighbourhoods: Int[Tensor, "retrieval candidate"] | None = None
    """Of the adaptive fuser: see ``Fused``."""
    sensor_weights: Float[Tensor, "batch 2"] | None = None
    """Of camera and LiDAR, by the weather: see ``WeatherFusion``."""
    coarser: tuple[Float[Tensor, "batch class _ _ _"], ...] = ()
    """Logits at lower resolutions, of a host that is taught at several."""
    memory: TemporalMemory | None = None
    """For the next frame; None of a model without memory."""

    def neighbour_shares(self) -> tuple[float, ...]:
        """The share of all queries that chose each number of neighbours; empty without the adaptive
        fuser.
        """
        if self.neighbourhoods is None:
            return ()
        queries = self.neighbourhoods.sum(dim=0)  # [candidate]
        return tuple((queries / queries.sum().clamp(min=1)).tolist())


class VoxelModel(nn.Module):
    """What training and the engine know of a model, ours or a host.

    Args:
        image_encoder: None where there is no camera.
    """

    prompts: PromptTable | None
    fusion: nn.Module | None

    def __init__(self, config: OccupancyConfig, image_encoder: ImageEncoder | None) -> None:
        super().__init__()
        self.config = config
        self.image_encoder = image_encoder
        self.prompts = None
        self.fusion = None

    def forward(
        self,
        frame: Frame,
        memory: TemporalMemory | None = None,
        named: Bool[Tensor, "batch class"] | None = None,
    ) -> Prediction:
        """Logits for one batch of frames."""
        raise NotImplementedError

    def present(self, frame: Frame) -> Present:
        """The cameras that are there."""
        sample, number = frame.camera_mask.nonzero(as_tuple=True)
        at = sample, number
        return Present(
            frame.images[at], frame.intrinsics[at], frame.grid_from_camera[at], sample, number
        )

    def check(self, frame: Frame) -> None:
        """
        Raises:
            ValueError: the images are not of ``config.image_size``.
        """
        if tuple(frame.images.shape[-2:]) != self.config.image_size:
            raise ValueError(
                f"images are {tuple(frame.images.shape[-2:])} (height, width), the model expects "
                f"{self.config.image_size}; "
                "build frames with image_size=model.config.image_size"
            )
