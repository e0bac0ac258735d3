"""The model: sensors in, class logits out. ``OccupancyModel.forward`` reads like the papers'
figures.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from occ_core.config import OccupancyConfig
from occ_core.fusion import Fused
from occ_core.head import OccupancyHead, SampleImages
from occ_core.image_encoder import ImageEncoder
from occ_core.instance_attention import InstanceAttention
from occ_core.interface import Cameras, Prediction, VoxelModel
from occ_core.lidar_encoder import LidarEncoder
from occ_core.prompts import Prompts, PromptTable, classes_seen
from occ_core.temporal import TemporalAggregator, continued
from occ_core.types import Frame, TemporalMemory
from occ_core.view_transform import ViewTransform, sample_images
from occ_core.volume_encoder import VolumeEncoder
from occ_core.voxel_filter import Recall
from occ_core.weather_fusion import WeatherFusion


class OccupancyModel(VoxelModel):
    """Camera and LiDAR semantic occupancy (TACOcc, Table III "Base"; M-CONet and Co-Occ are its
    kin).
    """

    def __init__(
        self,
        config: OccupancyConfig,
        image_encoder: ImageEncoder | None,
        view_transform: ViewTransform | None,
        lidar_encoder: LidarEncoder | None,
        prompts: PromptTable | None,
        image_attention: InstanceAttention | None,
        lidar_attention: InstanceAttention | None,
        weather_fusion: WeatherFusion | None,
        fusion: nn.Module | None,
        volume_encoder: VolumeEncoder,
        temporal: TemporalAggregator | None,
        head: OccupancyHead,
    ) -> None:
        super().__init__(config, image_encoder)
        self.view_transform = view_transform
        self.lidar_encoder = lidar_encoder
        self.prompts = prompts
        self.image_attention = image_attention
        self.lidar_attention = lidar_attention
        self.weather_fusion = weather_fusion
        self.fusion = fusion
        self.volume_encoder = volume_encoder
        self.temporal = temporal
        self.head = head

    def forward(
        self,
        frame: Frame,
        memory: TemporalMemory | None = None,
        named: Bool[Tensor, "batch class"] | None = None,
    ) -> Prediction:
        """Logits for one batch of frames, in the light of what the frames before left.

        Args:
            named: classes that the prompts name, where training knows them; else those that the
                memory has seen.

        Raises:
            ValueError: the images are not of ``config.image_size``.
        """
        self.check(frame)
        past = continued(memory, frame, self.config.forgetting)
        volumes, lidar, cameras, depth_logits = [], None, None, None
        if self.image_encoder is not None and self.view_transform is not None:
            cameras = self.see(frame)
            image_volume, depth_logits = self.view_transform(
                *cameras, frame.batch_size
            )  # [B, C, X, Y, Z]
            volumes.append(image_volume)
        if self.lidar_encoder is not None:
            lidar_volume, lidar = self.lidar_encoder(frame.points)  # [B, C, X, Y, Z]
            volumes.append(lidar_volume)
        prompts = self._prompts(frame, past, named)
        refined = self._attend(volumes, prompts)
        refined, weights = self._weigh(refined, prompts, frame)
        fused = Fused(*refined) if self.fusion is None else self.fusion(*refined)
        volume = self.volume_encoder(fused.volume)  # [B, C, X, Y, Z]
        after, recall = None, None
        if self.temporal is not None:
            recall = self._recall(past, frame)
            volume, after = self.temporal(volume, frame, past)
        head = self.head(volume, lidar, self._image_sampler(cameras), recall)
        if after is not None:
            after = replace(after, head=head)
        if self.image_attention is not None or self.lidar_attention is not None:
            seen = classes_seen(head, None if past is None else past.classes)
            after = after or TemporalMemory(
                world_from_grid=(frame.world_from_grid,), stamp_ns=(frame.stamp_ns,)
            )
            after = replace(after, classes=seen)
        return Prediction(
            head,
            volume,
            tuple(volumes),
            depth_logits=depth_logits,
            neighbourhoods=fused.neighbourhoods,
            sensor_weights=weights,
            memory=after,
        )

    def _prompts(
        self, frame: Frame, past: TemporalMemory | None, named: Tensor | None
    ) -> Prompts | None:
        if self.prompts is None:
            return None
        if named is None and past is not None:
            named = past.classes
        return self.prompts(frame.context, named)

    def _attend(self, volumes: list[Tensor], prompts: Prompts | None) -> list[Tensor]:
        """InstVLM, on each sensor's volume by itself."""
        attentions = [
            one for one in (self.image_attention, self.lidar_attention) if one is not None
        ]
        if prompts is None or not attentions:
            return volumes
        return [
            attend(volume, prompts.embeddings, prompts.said)
            for attend, volume in zip(attentions, volumes, strict=True)
        ]

    def _weigh(
        self, volumes: list[Tensor], prompts: Prompts | None, frame: Frame
    ) -> tuple[list[Tensor], Tensor | None]:
        """WeathFusion's weights, and the volumes scaled by them."""
        if prompts is None or self.weather_fusion is None:
            return volumes, None
        points = frame.camera_mask.new_tensor([len(points) > 0 for points in frame.points])
        present = torch.stack([frame.camera_mask.any(dim=1), points], dim=1)  # [B, 2]
        *volumes, weights = self.weather_fusion(
            *volumes, prompts.weather, prompts.weathers, present
        )
        return volumes, weights

    def see(self, frame: Frame) -> Cameras:
        """Features of the cameras that are there."""
        assert self.image_encoder is not None
        there = self.present(frame)
        return Cameras(
            self.image_encoder(there.images), there.intrinsics, there.grid_from_camera, there.sample
        )

    def _image_sampler(self, cameras: Cameras | None) -> SampleImages | None:
        if cameras is None:
            return None
        camera_from_grid = torch.linalg.inv(cameras.grid_from_camera)
        stride = self.config.image_encoder.stride

        def sample(points: Tensor, point_sample: Tensor) -> Tensor:
            return sample_images(
                cameras.features,
                cameras.intrinsics,
                camera_from_grid,
                cameras.sample,
                stride,
                points,
                point_sample,
            )

        return sample

    def _recall(self, past: TemporalMemory | None, frame: Frame) -> Recall | None:
        if past is None or past.head is None:
            return None
        return Recall(
            past.head,
            past.world_from_grid[-1],
            frame.world_from_grid,
            self.config.grid,
            self.config.cascade_ratio,
        )
