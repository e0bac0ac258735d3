"""Recipes: functions that return a complete ``TrainConfig``. Start with ``debug``; derive your own
by calling one and replacing fields.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from occ_core.adaptive_fusion import AdaptiveFusionConfig
from occ_core.backbones.image_context import ImageContextConfig
from occ_core.checkpoint import SHIPPED
from occ_core.config import debug as debug_model
from occ_core.config import nano as nano_model
from occ_core.config import tiny as tiny_model
from occ_core.image_encoder import ImageEncoderConfig
from occ_core.labels.benchmarks import BENCHMARKS
from occ_core.losses.gauss_render.loss import GaussRenderConfig
from occ_core.prompts import LanguageConfig
from occ_core.temporal import TemporalConfig
from training.learning.augment import other_sensors
from training.learning.augment_lidar import LidarAugmentConfig
from training.learning.config import TrainConfig
from training.learning.objective import LossWeights
from training.learning.prompt_noise import LanguageTraining

FORGET = 0.3
"""Fraction of training keyframes before which a model with a memory loses it."""

GAUSS_RENDER = 1.5
"""lambda of GaussRender's Eq. 1: a tenth of the paper's, because our cross entropy weighs a tenth
of theirs (10 in the authors' code).
"""


def debug() -> TrainConfig:
    """Twenty steps of the smallest model: does everything run?"""
    return TrainConfig(
        model=debug_model(),
        data=Path("data/town_debug"),
        out=Path("out/train/debug"),
        steps=20,
        epoch_steps=10,
        warmup_steps=2,
        validation_scenes=1,
        validation_frames=2,
        ema_decay=0.9,
        workers=0,
    )


def nano_town() -> TrainConfig:
    """The size of the ablations, on generated towns."""
    return TrainConfig(
        model=nano_model(),
        data=Path("data/town_train"),
        out=Path("out/train/nano_town"),
        steps=1500,
        learning_rate=2e-3,
    )


def tiny_town() -> TrainConfig:
    """The smallest model for a robot, on generated towns."""
    return TrainConfig(
        model=tiny_model(),
        data=Path("data/town_train"),
        out=Path("out/train/tiny_town"),
        steps=5000,
        learning_rate=1.5e-3,
    )


def tiny_hard() -> TrainConfig:
    """The model for real streets: a pretrained image backbone that is taught classes directly, on
    drives through the hard world with another rig in each.
    """
    model = replace(
        tiny_model(),
        image_encoder=ImageEncoderConfig(backbone="efficientnet_lite0", out_channels=32, stride=8),
        image_classes=True,
        normalised_lift=True,
        ground_height=True,
        lidar_voxel_m=0.25,
        volume_blocks=(1, 1, 2),
    )
    return TrainConfig(
        model=model,
        data=Path("data/hard_train"),
        out=Path("out/train/tiny_hard"),
        steps=16_000,
        epoch_steps=400,
        learning_rate=1.5e-3,
        warmup_steps=300,
        augment=other_sensors(),
        losses=LossWeights(image_classes=0.5),
        backbone_weights="imagenet",
        backbone_rate=0.3,
        validation_scenes=6,
        validation_frames=30,
    )


def context_town() -> TrainConfig:
    """``tiny_town``, trained further with a memory, prompts, WeathFusion and the alignment loss."""
    tiny = tiny_town()
    # at full resolution the ConvLSTM would take most of a CPU's time
    temporal = TemporalConfig(stride=2)
    return replace(
        tiny,
        model=replace(tiny.model, temporal=temporal, language=LanguageConfig()),
        out=Path("out/train/context_town"),
        steps=700,
        learning_rate=5e-4,
        losses=LossWeights(daga=0.2),
        language=LanguageTraining(),
        forget=FORGET,
        start_from=tiny.out / "model.safetensors",
    )


def tiny_streets() -> TrainConfig:
    """The weights of ``context_town``, taught real streets by hard and plain towns, with a new
    camera branch that starts from ImageNet and without InstVLM's attentions.
    """
    town, hard = context_town(), tiny_hard()
    return replace(
        hard,
        model=replace(
            hard.model,
            lidar_voxel_m=0.5,
            temporal=town.model.temporal,
            language=LanguageConfig(instances=False),
        ),
        data=Path("data/mixed_train"),
        out=Path("out/train/tiny_streets"),
        steps=2600,
        learning_rate=1e-3,
        warmup_steps=150,
        epoch_steps=200,
        clip=1,
        repeat_rare=1,
        validation_scenes=4,
        validation_frames=6,
        language=LanguageTraining(),
        forget=FORGET,
        processes=2,
        start_from=town.out / "model.safetensors",
        start_without=("image_encoder", "view_transform", "image_attention", "lidar_attention"),
    )


def frozen_streets() -> TrainConfig:
    """``tiny_streets``, trained further: finer LiDAR voxels, all classes weigh alike, and the image
    backbone keeps its ImageNet weights.
    """
    streets = tiny_streets()
    return replace(
        streets,
        model=replace(streets.model, lidar_voxel_m=0.25),
        data=Path("data/mixed_more"),
        out=Path("out/train/frozen_streets"),
        steps=2400,
        repeat_rare=None,
        losses=replace(streets.losses, class_balance=0.0),
        backbone_rate=0.0,
        start_from=streets.out / "model.safetensors",
        start_without=("image_encoder", "lidar_encoder"),
    )


def real_streets() -> TrainConfig:
    """``frozen_streets``, trained further on drives with rougher surfaces and raised kerbs."""
    frozen = frozen_streets()
    return replace(
        frozen,
        data=Path("data/mixed_real"),
        out=Path("out/train/real_streets"),
        steps=2400,
        learning_rate=8e-4,
        start_from=frozen.out / "model.safetensors",
        start_without=(),
    )


def everyday_streets() -> TrainConfig:
    """``real_streets``, trained further on drives whose weather, pavements and vehicles are nearly
    as frequent as on real streets; WeathFusion's gate starts anew.
    """
    return replace(
        real_streets(),
        data=Path("data/mixed_everyday"),
        out=Path("out/train/everyday_streets"),
        steps=1500,
        start_from=Path("training/checkpoints/real_streets.safetensors"),
        start_without=("weather_fusion",),
    )


def paved_streets() -> TrainConfig:
    """``everyday_streets``, trained further on drives with wide pavements, posts and parked cars on
    them, few people, and streets that fork at any angle.
    """
    return replace(
        everyday_streets(),
        data=Path("data/mixed_paved"),
        out=Path("out/train/paved_streets"),
        steps=2400,
        start_from=Path("training/checkpoints/everyday_streets.safetensors"),
        start_without=(),
    )


def infrared_streets() -> TrainConfig:
    """``paved_streets`` and two more blocks of its volume encoder, trained further on drives whose
    surfaces reflect a LiDAR's light as real ones do; of intensities it sees which are higher than
    which.
    """
    paved = paved_streets()
    return replace(
        paved,
        model=replace(paved.model, intensity_ranks=True, volume_blocks=(1, 2, 3)),
        augment=replace(other_sensors(), lidar=LidarAugmentConfig(falloff=0.0)),
        data=Path("data/mixed_infrared"),
        out=Path("out/train/infrared_streets"),
        steps=4000,
        epoch_steps=500,
        learning_rate=1e-3,
        ema_decay=0.999,
        start_from=Path("training/checkpoints/paved_streets.safetensors"),
    )


def falloff_streets() -> TrainConfig:
    """``infrared_streets``, trained further on the same and 160 more drives, with intensities that
    fall with the range in many ways.
    """
    return replace(
        infrared_streets(),
        data=Path("data/mixed_falloff"),
        out=Path("out/train/falloff_streets"),
        steps=4500,
        augment=other_sensors(),
        start_from=Path("training/checkpoints/infrared_streets.safetensors"),
    )


def image_context_streets() -> TrainConfig:
    """The shipped checkpoint: ``falloff_streets``, trained further with an image branch that sees
    the context of each cell and was taught alone first.
    """
    falloff = falloff_streets()
    encoder = replace(falloff.model.image_encoder, context=ImageContextConfig())
    return replace(
        falloff,
        model=replace(falloff.model, image_encoder=encoder),
        out=Path("out/train/image_context_streets"),
        steps=4500,
        start_from=Path("out/pretrained/image_context_streets.safetensors"),
    )


def bench_streets() -> TrainConfig:
    """What ablations on streets start from: the shipped weights without memory, prompts and
    WeathFusion, trained until the rest does without them.
    """
    streets = image_context_streets()
    return replace(
        streets,
        model=replace(streets.model, temporal=None, language=None),
        data=Path("data/hard_bench"),
        out=Path("out/train/bench_streets"),
        steps=600,
        learning_rate=5e-4,
        warmup_steps=30,
        # the renderer draws images as they were taken
        augment=replace(other_sensors(), images=None),
        language=None,
        forget=None,
        start_from=SHIPPED.with_name("image_context_streets.safetensors"),
        start_without=("prompts", "weather_fusion", "temporal", "head.filter"),
    )


def tacocc_town() -> TrainConfig:
    """TACOcc's fuser and memory alone, from the same weights as ``context_town``."""
    town = context_town()
    return replace(
        town,
        model=replace(town.model, adaptive_fusion=AdaptiveFusionConfig(), language=None),
        out=Path("out/train/tacocc_town"),
        losses=LossWeights(),
        language=None,
    )


def whole_town() -> TrainConfig:
    """All parts of both papers: ``context_town`` plus TACOcc's fuser. Too slow for 2 Hz on two CPU
    cores.
    """
    town = context_town()
    model = replace(town.model, adaptive_fusion=AdaptiveFusionConfig())
    start = town.out / "model.safetensors"
    return replace(town, model=model, out=Path("out/train/whole_town"), start_from=start)


def gaussrender_town() -> TrainConfig:
    """``tiny_town``, trained further with GaussRender's loss."""
    tiny = tiny_town()
    return replace(
        tiny,
        out=Path("out/train/gaussrender_town"),
        steps=700,
        learning_rate=5e-4,
        gauss_render=GaussRenderConfig(weight=GAUSS_RENDER),
        start_from=tiny.out / "model.safetensors",
    )


def tiny_nuscenes() -> TrainConfig:
    """The model of ``tiny_town`` on nuScenes with SurroundOcc's labels."""
    return replace(
        tiny_town(),
        data=Path("data/nuscenes"),
        out=Path("out/train/tiny_nuscenes"),
        version="v1.0-trainval",
        split="train",
        steps=60_000,
    )


def tiny_semantic_kitti() -> TrainConfig:
    """The model of ``tiny_town`` on SemanticKITTI's scene completion, at 0.4 m: the left camera and
    the grid of 51.2 m ahead.
    """
    benchmark = BENCHMARKS["semantic_kitti"]
    model = replace(
        tiny_model(),
        grid=benchmark.grid.coarser(2),
        grid_frame=benchmark.grid_frame,
        labels=benchmark.labels,
        image_size=(128, 416),  # KITTI's 376 x 1241 at a third of its width
    )
    return replace(
        tiny_town(),
        model=model,
        data=Path("data/semantic_kitti"),
        out=Path("out/train/tiny_semantic_kitti"),
        split="train",
        steps=20_000,
    )


RECIPES: tuple[Callable[[], TrainConfig], ...] = (
    debug,
    nano_town,
    tiny_town,
    tiny_hard,
    context_town,
    tiny_streets,
    frozen_streets,
    real_streets,
    everyday_streets,
    paved_streets,
    infrared_streets,
    falloff_streets,
    image_context_streets,
    bench_streets,
    tacocc_town,
    whole_town,
    gaussrender_town,
    tiny_nuscenes,
    tiny_semantic_kitti,
)
