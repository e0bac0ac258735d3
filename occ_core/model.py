"""The model: sensors in, class logits out. ``OccupancyModel.forward`` reads like the papers'
figures.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from jaxtyping import Bool, Float
from torch import Tensor, nn

from occ_core.config import OccupancyConfig
from occ_core.ground_height import GroundHeight, HeightFeatures, NoGroundHeight
from occ_core.head import OccupancyHead
from occ_core.image_encoder import ImageEncoder, NoImageEncoder
from occ_core.instance_attention import InstanceAttention, NoInstanceAttention
from occ_core.interface import CameraFeatures, Prediction, VoxelModel, visible_cameras
from occ_core.lidar_encoder import LidarEncoder, LidarFeatures, NoLidarEncoder
from occ_core.ops.parallel import side_by_side
from occ_core.prompts import NoPrompts, PromptTable, classes_seen
from occ_core.temporal import NoTemporalAggregator, TemporalAggregator, memory_if_continuous
from occ_core.types import Frame, HeadOutput, TemporalMemory, TemporalState
from occ_core.view_transform import NoViewTransform, SamplePoints, ViewTransform
from occ_core.voxel_filter import PreviousLogits
from occ_core.weather_fusion import NoWeatherFusion, WeatherFusion


class ImageFeatures(NamedTuple):
    """What the cameras contribute, as ``LidarFeatures`` does for the LiDAR."""

    cameras: CameraFeatures
    logits: Float[Tensor, "image class h w"] | None
    volume: Float[Tensor, "batch channel x y z"]
    depth_logits: Float[Tensor, "image bin h w"] | None
    sampler: SamplePoints
    """Looks up image features at points, for the head."""


class OccupancyModel(VoxelModel):
    """Semantic occupancy from cameras and LiDAR (TACOcc, Table III "Base"; related to M-CONet and
    Co-Occ). A part that the configuration switches off is an object that does nothing.
    """

    def __init__(
        self,
        config: OccupancyConfig,
        image_encoder: ImageEncoder | NoImageEncoder,
        image_classes: nn.Module | None,
        view_transform: ViewTransform | NoViewTransform,
        lidar_encoder: LidarEncoder | NoLidarEncoder,
        prompts: PromptTable | NoPrompts,
        image_attention: InstanceAttention | NoInstanceAttention,
        lidar_attention: InstanceAttention | NoInstanceAttention,
        weather_fusion: WeatherFusion | NoWeatherFusion,
        fusion: nn.Module,
        ground_height: GroundHeight | NoGroundHeight,
        volume_encoder: nn.Module,
        temporal: TemporalAggregator | NoTemporalAggregator,
        head: OccupancyHead,
    ) -> None:
        super().__init__(config, image_encoder)
        self.image_classes = image_classes
        self.view_transform = view_transform
        self.lidar_encoder = lidar_encoder
        self.prompts = prompts
        self.image_attention = image_attention
        self.lidar_attention = lidar_attention
        self.weather_fusion = weather_fusion
        self.fusion = fusion
        self.ground_height = ground_height
        self.volume_encoder = volume_encoder
        self.temporal = temporal
        self.head = head

    def forward(
        self,
        frame: Frame,
        memory: TemporalMemory | None = None,
        prompted_classes: Bool[Tensor, "batch class"] | None = None,
    ) -> Prediction:
        """Predicts one batch of frames; for arguments and errors see ``VoxelModel.forward``."""
        self.check(frame)
        past = memory_if_continuous(memory, frame, self.config.memory_rules)
        classes = past.classes if prompted_classes is None else prompted_classes
        image, lidar, heights = self.sensor_branches(frame)
        prompts = self.prompts(frame.context, classes)
        image_volume = self.image_attention(image.volume, prompts.embeddings, prompts.mask)
        lidar_volume = self.lidar_attention(lidar.volume, prompts.embeddings, prompts.mask)
        weighted = self.weather_fusion(
            image_volume,
            lidar_volume,
            prompts.weather,
            prompts.all_weathers,
            frame.sensors_with_data(),
        )
        fused = self.fusion(weighted.image_volume, weighted.lidar_volume)
        # [B, C, X, Y, Z], as every volume
        encoded = self.volume_encoder(fused.volume + heights.volume.to(fused.volume.dtype))
        volume, state = self.temporal(encoded, frame, past)
        head = self.head(
            volume, lidar.fine, image.sampler, heights.sampler, self.previous_logits(past, frame)
        )
        return Prediction(
            head,
            volume,
            sensor_volumes=(image.volume, lidar.volume),
            cameras=image.cameras,
            image_logits=image.logits,
            depth_logits=image.depth_logits,
            neighbourhoods=fused.neighbourhoods,
            sensor_weights=weighted.weights,
            memory=self.remember(frame, past, state, head),
        )

    def sensor_branches(self, frame: Frame) -> tuple[ImageFeatures, LidarFeatures, HeightFeatures]:
        """Both sensors' features, and those of heights above the ground, which the LiDAR shows; on
        a CPU that only answers, they are computed side by side.
        """
        lidar, image, heights = side_by_side(  # the longest first
            partial(self.lidar_encoder, frame.points),
            partial(self.image_branch, frame),
            partial(self.ground_height, frame.points),
            device=frame.points[0].device,
        )
        return image, lidar, heights

    def image_branch(self, frame: Frame) -> ImageFeatures:
        """Encodes the images and lifts their features into a volume."""
        cameras = self.encode_images(frame)
        volume, depth_logits = self.view_transform(*cameras, frame.batch_size)
        sampler = self.view_transform.sampler(*cameras)
        logits = None if self.image_classes is None else self.image_classes(cameras.features)
        return ImageFeatures(cameras, logits, volume, depth_logits, sampler)

    def encode_images(self, frame: Frame) -> CameraFeatures:
        """Feature maps of the visible cameras."""
        cameras = visible_cameras(frame)
        features = self.image_encoder(cameras.images)
        return CameraFeatures(
            features, cameras.intrinsics, cameras.grid_from_camera, cameras.sample
        )

    def previous_logits(self, past: TemporalMemory, frame: Frame) -> PreviousLogits | None:
        """The logits of the previous frame, to be looked up at the voxels of this one."""
        if past.head is None:
            return None
        return PreviousLogits(
            past.head,
            past.world_from_grid[-1],
            frame.world_from_grid,
            self.config.grid,
            self.config.cascade_ratio,
        )

    def remember(
        self, frame: Frame, past: TemporalMemory, state: TemporalState, head: HeadOutput
    ) -> TemporalMemory | None:
        """The memory for the next frame; None where no part of the model has one."""
        aggregates = self.config.temporal is not None
        if not (aggregates or self.config.remembers_classes):
            return None
        return TemporalMemory.after(
            frame,
            past,
            state,
            head if aggregates else None,
            classes_seen(head, past.classes) if self.config.remembers_classes else None,
        )
