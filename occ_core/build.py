"""Wires a model part by part, from its configuration."""

from __future__ import annotations

from torch import nn

from occ_core.adaptive_fusion import AdaptiveFusion
from occ_core.baselines.surroundocc import SurroundOcc
from occ_core.baselines.tpvformer import TPVFormer
from occ_core.config import OccupancyConfig
from occ_core.fusion import SIMPLE_FUSIONS
from occ_core.head import OccupancyHead
from occ_core.image_encoder import ImageEncoder
from occ_core.instance_attention import InstanceAttention
from occ_core.interface import VoxelModel
from occ_core.lidar_encoder import LidarEncoder
from occ_core.model import OccupancyModel
from occ_core.prompts import PromptTable
from occ_core.taxonomy import NUM_CLASSES
from occ_core.temporal import TemporalAggregator
from occ_core.view_transform import ViewTransform
from occ_core.volume_encoder import VolumeEncoder
from occ_core.voxel_grid import VoxelGrid
from occ_core.weather_fusion import WeatherFusion


def build_model(config: OccupancyConfig) -> VoxelModel:
    """A freshly initialised model: ours, or the host that the config names."""
    if config.tpvformer is not None or config.surroundocc is not None:
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
        view_transform=ViewTransform(
            image_channels, channels, config.depth, coarse, config.image_encoder.stride
        )
        if config.camera
        else None,
        lidar_encoder=LidarEncoder(
            channels,
            voxels=VoxelGrid(config.grid.range_m, config.lidar_voxel_m),
            fine=config.grid,
            coarse=coarse,
        )
        if config.lidar
        else None,
        prompts=PromptTable(language.width) if language is not None else None,
        image_attention=InstanceAttention(channels, told) if told and config.camera else None,
        lidar_attention=InstanceAttention(channels, told) if told and config.lidar else None,
        weather_fusion=WeatherFusion(language.width)
        if language is not None and language.weather
        else None,
        fusion=build_fusion(config),
        volume_encoder=VolumeEncoder(
            channels, config.volume_blocks, factorised=config.factorised_convolutions
        ),
        temporal=TemporalAggregator(
            channels, coarse, config.temporal, factorised=config.factorised_convolutions
        )
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
