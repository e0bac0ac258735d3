"""Builds a model from its configuration, part by part."""

from __future__ import annotations

from typing import Any

from torch import nn

from occ_core.adaptive_fusion import AdaptiveFusion
from occ_core.baselines.mconet import GatedFusion, WeightedPyramid
from occ_core.baselines.occmamba.encoder import OccMambaEncoder
from occ_core.baselines.surroundocc import SurroundOcc
from occ_core.baselines.symphonies.model import Symphonies
from occ_core.baselines.tpvformer import TPVFormer
from occ_core.baselines.volume_head import VolumeHead
from occ_core.config import OccupancyConfig
from occ_core.fusion import SIMPLE_FUSIONS, NoFusion
from occ_core.ground_height import GroundHeight, NoGroundHeight
from occ_core.head import OccupancyHead
from occ_core.image_encoder import ImageEncoder, NoImageEncoder
from occ_core.instance_attention import InstanceAttention, NoInstanceAttention
from occ_core.interface import VoxelModel
from occ_core.lidar_encoder import LidarEncoder, NoLidarEncoder
from occ_core.model import OccupancyModel
from occ_core.prompts import NoPrompts, PromptTable
from occ_core.temporal import NoTemporalAggregator, TemporalAggregator
from occ_core.view_transform import NoViewTransform, ViewTransform
from occ_core.volume_encoder import VolumeEncoder
from occ_core.weather_fusion import NoWeatherFusion, WeatherFusion


def build_model(config: OccupancyConfig) -> VoxelModel:
    """A freshly initialised model: an OccupancyModel, or the baseline that the config names."""
    if config.tpvformer is not None:
        return TPVFormer(config, config.tpvformer)
    if config.surroundocc is not None:
        return SurroundOcc(config, config.surroundocc)
    if config.symphonies is not None:
        return Symphonies(config, config.symphonies)
    return build_occupancy_model(config)


def build_occupancy_model(config: OccupancyConfig) -> OccupancyModel:
    """A freshly initialised OccupancyModel; OccMamba and M-CONet are such with other parts.

    The parts are built in the order of the figure: a seed then always gives the same weights.
    """
    image_encoder, view_transform = build_image_branch(config)
    ground_height = build_ground_height(config)
    return OccupancyModel(
        config,
        image_encoder=image_encoder,
        image_classes=build_image_classes(config),
        view_transform=view_transform,
        lidar_encoder=build_lidar_encoder(config),
        prompts=build_prompts(config),
        image_attention=build_attention(config, has_sensor=config.camera),
        lidar_attention=build_attention(config, has_sensor=config.lidar),
        weather_fusion=build_weather_fusion(config),
        fusion=build_fusion(config),
        ground_height=ground_height,
        volume_encoder=build_volume_encoder(config),
        temporal=build_temporal(config),
        head=build_head(config, ground_height.features),
    )


def build_image_branch(
    config: OccupancyConfig,
) -> tuple[ImageEncoder | NoImageEncoder, ViewTransform | NoViewTransform]:
    """The parts that lead from the images to the image volume."""
    if not config.camera:
        return NoImageEncoder(), NoViewTransform(config.coarse_grid)
    encoder = config.image_encoder
    return ImageEncoder(encoder), ViewTransform(
        encoder.out_channels,
        config.channels,
        config.depth,
        config.coarse_grid,
        encoder.stride,
        normalised=config.normalised_lift,
    )


def build_image_classes(config: OccupancyConfig) -> nn.Module | None:
    """The classification of the cells of the feature maps."""
    if not (config.camera and config.image_classes):
        return None
    return nn.Conv2d(config.image_encoder.out_channels, len(config.labels.names), 1)


def build_lidar_encoder(config: OccupancyConfig) -> LidarEncoder | NoLidarEncoder:
    """The part that leads from the points to the LiDAR volume."""
    if not config.lidar:
        return NoLidarEncoder(config.grid, config.coarse_grid)
    return LidarEncoder(
        config.channels,
        config.lidar_grid,
        fine=config.grid,
        coarse=config.coarse_grid,
        intensity_ranks=config.intensity_ranks,
    )


def build_prompts(config: OccupancyConfig) -> PromptTable | NoPrompts:
    """The table of prompts about the model's classes."""
    if config.language is None:
        return NoPrompts()
    return PromptTable(config.language.width, config.labels)


def build_attention(
    config: OccupancyConfig, *, has_sensor: bool
) -> InstanceAttention | NoInstanceAttention:
    """The attention of one sensor's volume to the prompts."""
    if config.language is not None and config.language.instances and has_sensor:
        return InstanceAttention(config.channels, config.language.width)
    return NoInstanceAttention()


def build_weather_fusion(config: OccupancyConfig) -> WeatherFusion | NoWeatherFusion:
    """The weighting of the sensors by the weather."""
    if config.language is not None and config.language.weather:
        return WeatherFusion(config.language.width)
    return NoWeatherFusion()


def build_fusion(config: OccupancyConfig) -> nn.Module:
    """The fusion of image volume and LiDAR volume."""
    if not (config.camera and config.lidar):
        return NoFusion()
    if config.mconet is not None:
        return GatedFusion(config.channels, config.mconet.kernel)
    if config.adaptive_fusion is not None:
        return AdaptiveFusion(config.channels, config.adaptive_fusion)
    return SIMPLE_FUSIONS[config.fusion](config.channels)


def build_ground_height(config: OccupancyConfig) -> GroundHeight | NoGroundHeight:
    """The part that tells voxels their height above the ground."""
    if not config.ground_height:
        return NoGroundHeight()
    return GroundHeight(config.channels, config.coarse_grid)


def build_volume_encoder(config: OccupancyConfig) -> nn.Module:
    """The 3D encoder of the fused volume."""
    if config.occmamba is not None:
        return OccMambaEncoder(config.channels, config.coarse_grid.shape, config.occmamba)
    if config.mconet is not None:
        return WeightedPyramid(config.channels, config.mconet.blocks)
    return VolumeEncoder(
        config.channels, config.volume_blocks, factorised=config.factorised_convolutions
    )


def build_temporal(config: OccupancyConfig) -> TemporalAggregator | NoTemporalAggregator:
    """The aggregation over time."""
    if config.temporal is None:
        return NoTemporalAggregator()
    return TemporalAggregator(
        config.channels,
        config.coarse_grid,
        config.temporal,
        factorised=config.factorised_convolutions,
    )


def build_head(config: OccupancyConfig, height_features: int) -> OccupancyHead:
    """The cascade; those of OccMamba and M-CONet have no features of the LiDAR's own, and that of
    OccMamba none of the images.

    Args:
        height_features: features of a point's height above the ground.
    """
    image_channels = config.image_encoder.out_channels if config.camera else 0
    options: dict[str, Any] = {
        "classes": len(config.labels.names),
        "fine": config.grid,
        "ratio": config.cascade_ratio,
        "refine_above": config.refine_above,
        "max_refined": config.max_refined,
        "height_features": height_features,
        "filter_voxels": config.temporal is not None and config.temporal.filter_voxels,
        "empty": config.labels.empty,
    }
    if config.occmamba is not None:
        return VolumeHead(config.channels, 0, **options)
    if config.mconet is not None:
        return VolumeHead(config.channels, image_channels, **options)
    lidar_channels = config.channels if config.lidar else 0
    return OccupancyHead(config.channels, lidar_channels, image_channels, **options)
