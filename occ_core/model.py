"""The model: sensors in, class logits out. ``OccupancyModel.forward`` reads like the papers' figures."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from occ_core.adaptive_fusion import AdaptiveFusion, AdaptiveFusionConfig
from occ_core.fusion import SIMPLE_FUSIONS, Fused
from occ_core.head import OccupancyHead, SampleImages
from occ_core.hosts.config import SurroundOccConfig, TPVFormerConfig
from occ_core.image_encoder import ImageEncoder, ImageEncoderConfig
from occ_core.instance_attention import InstanceAttention
from occ_core.lidar_encoder import LidarEncoder
from occ_core.prompts import LanguageConfig, Prompts, PromptTable, classes_seen
from occ_core.taxonomy import NUM_CLASSES
from occ_core.temporal import TemporalAggregator, TemporalConfig, continued
from occ_core.types import Frame, HeadOutput, TemporalMemory
from occ_core.view_transform import DepthBins, ViewTransform, sample_images
from occ_core.volume_encoder import VolumeEncoder
from occ_core.voxel_filter import Recall
from occ_core.voxel_grid import SURROUNDOCC_GRID, VoxelGrid
from occ_core.weather_fusion import WeatherFusion


@dataclass(frozen=True, kw_only=True)
class OccupancyConfig:
    """Everything that decides the shape of the network; stored with its weights."""

    grid: VoxelGrid = SURROUNDOCC_GRID
    """The grid that is predicted."""
    cascade_ratio: int = 2
    """Fine voxels per coarse voxel and axis."""
    image_size: tuple[int, int] = (128, 352)
    """(height, width) of the images in ``Frame``."""
    channels: int = 32
    """Of every volume."""
    image_encoder: ImageEncoderConfig = ImageEncoderConfig()
    depth: DepthBins = DepthBins()
    lidar_voxel_m: float = 0.5
    """Voxels in which points are gathered before the sparse convolutions."""
    fusion: Literal["add", "concat", "conv"] = "concat"
    """How image and LiDAR volumes are joined where there is no ``adaptive_fusion``."""
    adaptive_fusion: AdaptiveFusionConfig | None = None
    """TACOcc's fuser."""
    volume_blocks: tuple[int, ...] = (0, 1, 2)
    """Residual blocks per level of the 3D encoder."""
    factorised_convolutions: bool = True
    """3x3x1 then 1x1x3 in the 3D encoder: less than half the work of 3x3x3. The memory's are factorised further."""
    temporal: TemporalConfig | None = None
    """TACOcc's memory; None predicts each frame on its own."""
    language: LanguageConfig | None = None
    """VLMFusionOcc3D's prompts; None hears nothing of weather and region."""
    refine_above: float = 0.3
    """Coarse voxels whose probability of being occupied exceeds this are refined."""
    max_refined: int = 16_000
    """Coarse voxels refined per batch at most."""
    camera: bool = True
    lidar: bool = True
    tpvformer: TPVFormerConfig | None = None
    surroundocc: SurroundOccConfig | None = None
    """Another model instead of ours, of which grid, image size and image encoder are taken."""

    def __post_init__(self) -> None:
        if not (self.camera or self.lidar):
            raise ValueError("OccupancyConfig: camera and lidar are both off; a model needs at least one sensor")
        if self.adaptive_fusion is not None and not (self.camera and self.lidar):
            raise ValueError("OccupancyConfig.adaptive_fusion joins camera and lidar, of which one is off")
        if self.language is not None and self.language.weather and not (self.camera and self.lidar):
            raise ValueError("OccupancyConfig.language.weather weighs camera and lidar, of which one is off")
        if hosts := [host for host in (self.tpvformer, self.surroundocc) if host is not None]:
            ours = any(part is not None for part in (self.adaptive_fusion, self.temporal, self.language))
            if len(hosts) > 1 or ours or self.lidar or not self.camera or self.cascade_ratio != 1:
                raise ValueError(
                    "OccupancyConfig.tpvformer and .surroundocc are models of their own: one of them, with lidar=False, "
                    "cascade_ratio=1, and none of adaptive_fusion, temporal and language"
                )
        if self.channels % 8:
            raise ValueError(f"OccupancyConfig.channels must be a multiple of 8 (group norms), got {self.channels}")
        if any(side % 32 for side in self.image_size):  # the backbone's last stride
            raise ValueError(f"OccupancyConfig.image_size must be multiples of 32, got {self.image_size}")
        if not self.volume_blocks or self.volume_blocks[0] < 0 or any(blocks < 1 for blocks in self.volume_blocks[1:]):
            raise ValueError(
                f"OccupancyConfig.volume_blocks must be 0 or more, then at least 1 per level, got {self.volume_blocks}"
            )
        self.coarse_grid.coarser(2 ** (len(self.volume_blocks) - 1))  # raises where the levels do not fit

    @property
    def coarse_grid(self) -> VoxelGrid:
        """The grid of the feature volumes."""
        return self.grid.coarser(self.cascade_ratio)

    @property
    def forgetting(self) -> TemporalConfig:
        """Whose rules say when the frames before are forgotten: their classes are remembered without a ConvLSTM too."""
        return TemporalConfig() if self.temporal is None else self.temporal


def debug() -> OccupancyConfig:
    """For tests: everything is there, nothing is big."""
    return OccupancyConfig(
        grid=SURROUNDOCC_GRID.coarser(2),
        image_size=(64, 192),
        channels=8,
        # no stage of 8 channels: oneDNN (torch 2.13) writes past the gradient of its 1x1 convolution of stride 2, on AVX-512
        image_encoder=ImageEncoderConfig(depths=(1, 1, 1, 1), widths=(16, 16, 32, 64), out_channels=16),
        depth=DepthBins(step_m=2.0),
        lidar_voxel_m=1.0,
        volume_blocks=(1, 1),
    )


def nano() -> OccupancyConfig:
    """For ablations: one training in minutes on two cores."""
    return replace(
        debug(), channels=16, image_encoder=ImageEncoderConfig(depths=(1, 1, 1, 1), widths=(16, 32, 64, 128), out_channels=32)
    )


def tiny() -> OccupancyConfig:
    """For a CPU at 2 Hz: the shipped checkpoint, which has a memory and prompts besides. ResNet-18 at half its width."""
    return OccupancyConfig(
        image_encoder=ImageEncoderConfig(widths=(32, 64, 128, 256), out_channels=32, stride=8), depth=DepthBins(step_m=1.0)
    )


def small() -> OccupancyConfig:
    """The papers' light setting: ResNet-50 at 256x704."""
    return OccupancyConfig(
        image_size=(256, 704),
        channels=80,
        image_encoder=ImageEncoderConfig(
            depths=(3, 4, 6, 3), widths=(256, 512, 1024, 2048), block="bottleneck", out_channels=256
        ),
        lidar_voxel_m=0.25,
        volume_blocks=(2, 2, 2),
        factorised_convolutions=False,
    )


def base() -> OccupancyConfig:
    """The papers' main setting: ResNet-101 at 896x1600, points gathered at 0.125 m (Co-Occ)."""
    return replace(
        small(),
        image_size=(896, 1600),
        channels=128,
        image_encoder=replace(small().image_encoder, depths=(3, 4, 23, 3), out_channels=512),
        lidar_voxel_m=0.125,
    )


class Present(NamedTuple):
    """The cameras of a batch that are there, as one list of K; of the others nothing is looked at, so nothing can leak."""

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
        """The share of all queries that chose each number of neighbours; empty without the adaptive fuser."""
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
        self, frame: Frame, memory: TemporalMemory | None = None, named: Bool[Tensor, "batch class"] | None = None
    ) -> Prediction:
        """Logits for one batch of frames."""
        raise NotImplementedError

    def present(self, frame: Frame) -> Present:
        """The cameras that are there."""
        sample, number = frame.camera_mask.nonzero(as_tuple=True)
        at = sample, number
        return Present(frame.images[at], frame.intrinsics[at], frame.grid_from_camera[at], sample, number)

    def check(self, frame: Frame) -> None:
        """
        Raises:
            ValueError: the images are not of ``config.image_size``.
        """
        if tuple(frame.images.shape[-2:]) != self.config.image_size:
            raise ValueError(
                f"images are {tuple(frame.images.shape[-2:])} (height, width), the model expects {self.config.image_size}; "
                "build frames with image_size=model.config.image_size"
            )


class OccupancyModel(VoxelModel):
    """Camera and LiDAR semantic occupancy (TACOcc, Table III "Base"; M-CONet and Co-Occ are its kin)."""

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
        self, frame: Frame, memory: TemporalMemory | None = None, named: Bool[Tensor, "batch class"] | None = None
    ) -> Prediction:
        """Logits for one batch of frames, in the light of what the frames before left.

        Args:
            named: classes that the prompts name, where training knows them; else those that the memory has seen.

        Raises:
            ValueError: the images are not of ``config.image_size``.
        """
        self.check(frame)
        past = continued(memory, frame, self.config.forgetting)
        volumes, lidar, cameras, depth_logits = [], None, None, None
        if self.image_encoder is not None and self.view_transform is not None:
            cameras = self.see(frame)
            image_volume, depth_logits = self.view_transform(*cameras, frame.batch_size)  # [B, C, X, Y, Z]
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
            after = after or TemporalMemory(world_from_grid=(frame.world_from_grid,), stamp_ns=(frame.stamp_ns,))
            after = replace(after, classes=seen)
        return Prediction(
            head, volume, tuple(volumes), depth_logits=depth_logits, neighbourhoods=fused.neighbourhoods, sensor_weights=weights,
            memory=after,
        )  # fmt: skip

    def _prompts(self, frame: Frame, past: TemporalMemory | None, named: Tensor | None) -> Prompts | None:
        if self.prompts is None:
            return None
        if named is None and past is not None:
            named = past.classes
        return self.prompts(frame.context, named)

    def _attend(self, volumes: list[Tensor], prompts: Prompts | None) -> list[Tensor]:
        """InstVLM, on each sensor's volume by itself."""
        attentions = [one for one in (self.image_attention, self.lidar_attention) if one is not None]
        if prompts is None or not attentions:
            return volumes
        return [
            attend(volume, prompts.embeddings, prompts.said) for attend, volume in zip(attentions, volumes, strict=True)
        ]

    def _weigh(self, volumes: list[Tensor], prompts: Prompts | None, frame: Frame) -> tuple[list[Tensor], Tensor | None]:
        """WeathFusion's weights, and the volumes scaled by them."""
        if prompts is None or self.weather_fusion is None:
            return volumes, None
        points = frame.camera_mask.new_tensor([len(points) > 0 for points in frame.points])
        present = torch.stack([frame.camera_mask.any(dim=1), points], dim=1)  # [B, 2]
        *volumes, weights = self.weather_fusion(*volumes, prompts.weather, prompts.weathers, present)
        return volumes, weights

    def see(self, frame: Frame) -> Cameras:
        """Features of the cameras that are there."""
        assert self.image_encoder is not None
        there = self.present(frame)
        return Cameras(self.image_encoder(there.images), there.intrinsics, there.grid_from_camera, there.sample)

    def _image_sampler(self, cameras: Cameras | None) -> SampleImages | None:
        if cameras is None:
            return None
        camera_from_grid = torch.linalg.inv(cameras.grid_from_camera)
        stride = self.config.image_encoder.stride

        def sample(points: Tensor, point_sample: Tensor) -> Tensor:
            return sample_images(
                cameras.features, cameras.intrinsics, camera_from_grid, cameras.sample, stride, points, point_sample
            )

        return sample

    def _recall(self, past: TemporalMemory | None, frame: Frame) -> Recall | None:
        if past is None or past.head is None:
            return None
        return Recall(
            past.head, past.world_from_grid[-1], frame.world_from_grid, self.config.grid, self.config.cascade_ratio
        )


def build_model(config: OccupancyConfig) -> VoxelModel:
    """A freshly initialised model: ours, or the host that the config names."""
    if config.tpvformer is not None or config.surroundocc is not None:
        from occ_core.hosts.surroundocc import SurroundOcc  # they are models of this module's kind
        from occ_core.hosts.tpvformer import TPVFormer

        if config.tpvformer is not None:
            return TPVFormer(config, config.tpvformer)
        assert config.surroundocc is not None
        return SurroundOcc(config, config.surroundocc)
    return build_ours(config)


def build_ours(config: OccupancyConfig) -> OccupancyModel:
    """Our model, part by part."""
    channels, coarse, language = config.channels, config.coarse_grid, config.language
    told = language.width if language is not None and language.instances else 0
    image_channels = config.image_encoder.out_channels
    return OccupancyModel(
        config,
        image_encoder=ImageEncoder(config.image_encoder) if config.camera else None,
        view_transform=ViewTransform(image_channels, channels, config.depth, coarse, config.image_encoder.stride)
        if config.camera
        else None,
        lidar_encoder=LidarEncoder(
            channels, voxels=VoxelGrid(config.grid.range_m, config.lidar_voxel_m), fine=config.grid, coarse=coarse
        )
        if config.lidar
        else None,
        prompts=PromptTable(language.width) if language is not None else None,
        image_attention=InstanceAttention(channels, told) if told and config.camera else None,
        lidar_attention=InstanceAttention(channels, told) if told and config.lidar else None,
        weather_fusion=WeatherFusion(language.width) if language is not None and language.weather else None,
        fusion=build_fusion(config),
        volume_encoder=VolumeEncoder(channels, config.volume_blocks, factorised=config.factorised_convolutions),
        temporal=TemporalAggregator(channels, coarse, config.temporal, factorised=config.factorised_convolutions)
        if config.temporal is not None
        else None,
        head=OccupancyHead(
            channels,
            lidar_channels=channels if config.lidar else 0,
            image_channels=image_channels if config.camera else 0,
            classes=NUM_CLASSES,
            fine=config.grid,
            ratio=config.cascade_ratio,
            refine_above=config.refine_above,
            max_refined=config.max_refined,
            recalls=config.temporal is not None and config.temporal.filter_voxels,
        ),
    )


def build_fusion(config: OccupancyConfig) -> nn.Module | None:
    """The fuser that the config asks for; None where there is one sensor only."""
    if not (config.camera and config.lidar):
        return None
    if config.adaptive_fusion is not None:
        return AdaptiveFusion(config.channels, config.adaptive_fusion)
    return SIMPLE_FUSIONS[config.fusion](config.channels)


PRESETS = {"debug": debug, "nano": nano, "tiny": tiny, "small": small, "base": base}
