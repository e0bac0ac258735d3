"""Recipes: functions that return a complete ``TrainConfig``. ``debug`` first; derive yours by
calling one and changing fields.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from occ_core.adaptive_fusion import AdaptiveFusionConfig
from occ_core.checkpoint import SHIPPED
from occ_core.config import OccupancyConfig
from occ_core.config import debug as debug_model
from occ_core.config import nano as nano_model
from occ_core.config import tiny as tiny_model
from occ_core.engine import Precision
from occ_core.losses.gauss_render.loss import GaussRenderConfig
from occ_core.losses.sequential.renderer import RenderingConfig
from occ_core.prompts import LanguageConfig
from occ_core.temporal import TemporalConfig
from training.learning.augment import AugmentConfig
from training.learning.objective import LossWeights
from training.learning.prompt_noise import LanguageTraining

FORGET = 0.3
"""With a memory: the share of keyframes in training before which it is lost."""

GAUSS_RENDER = 1.5
"""lambda of GaussRender's Eq. 1: a tenth of the paper's, as is the cross entropy beside it (the
authors' code counts that 10).
"""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One training run; written beside its results."""

    model: OccupancyConfig
    data: Path
    """nuScenes data root with ``nuscenes_occ`` labels."""
    out: Path
    """Folder of this run: checkpoints, curves, pictures."""
    version: str | None = None
    """Folder of tables; None takes the only one in ``data``."""
    split: str | None = None
    """nuScenes split to train on (``train``, ``mini_train``); None trains on all but the validation
    scenes below.
    """
    validation_scenes: int = 2
    """Without a split: this many scenes, the last by name, are kept for validation."""
    validation_frames: int = 12
    """Keyframes scored after every epoch, spread evenly."""
    steps: int = 4000
    batch_size: int = 1
    """Keyframes per step; with a memory, or ``by_drive``, drives that a step advances by a clip
    each.
    """
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warmup_steps: int = 100
    clip_norm: float = 5.0
    """Gradients are scaled down to this norm."""
    ema_decay: float = 0.998
    """Of the averaged weights, which are what is evaluated and shipped."""
    sweeps: int = 9
    """LiDAR sweeps joined to the keyframe's."""
    augment: AugmentConfig | None = field(default_factory=AugmentConfig)
    losses: LossWeights = LossWeights()
    rendering: RenderingConfig | None = None
    """TACOcc's sequential renderer; nothing of it is left in the checkpoint. Writes
    ``preprocessed/`` in the data root.
    """
    gauss_render: GaussRenderConfig | None = None
    """GaussRender's loss, beside the voxels'; nothing of it is left in the checkpoint."""
    gauss_render_from: float | None = None
    """Share of the steps after which that loss begins; None: at once. What a model renders that
    knows nothing yet is fog.
    """
    truth_renders: Path | None = None
    """Folder in which GaussRender's renders of truths are kept from epoch to epoch, of the view
    from above and, with a strategy that stands still, of the cameras: at the size ``tiny`` 1.5 MB
    each, up to 42 MB a keyframe (4 mirrorings, 7 views)."""
    language: LanguageTraining | None = None
    """How prompts are told; given where the model has ``language``."""
    epoch_steps: int = 300
    """After this many steps: validation, a picture, a checkpoint."""
    streams: int = 8
    """With a memory: drives under way at once."""
    clip: int = 2
    """With a memory: keyframes of a drive in a row per step. Gradients reach back this far, the
    memory to the drive's start.
    """
    forget: float | None = None
    """With a memory: the share of keyframes before which it is lost, so that the model learns to
    see without one too.
    """
    by_drive: bool = False
    """Without a memory too: keyframes come as with one, ``streams`` and ``clip`` hold, and each is
    a forward pass of its own.
    """
    seed: int = 1
    workers: int = 1
    """Processes that load data; 0 loads in the training process."""
    precision: Precision = "auto"
    device: str = "auto"
    """``cpu``, ``cuda`` or ``auto``."""
    start_from: Path | None = None
    """Checkpoint of a model that this one contains, to go on from: without the fuser or the memory,
    say.
    """
    backbone_weights: Path | None = None
    """Local Hugging Face folder of a ResNet to start the image encoder from."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "epoch_steps", "validation_frames", "streams", "clip"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"TrainConfig.{name} must be at least 1, got {getattr(self, name)}"
                )
        if (self.model.temporal is not None or self.by_drive) and self.streams < self.batch_size:
            raise ValueError(
                f"TrainConfig.streams must be batch_size {self.batch_size} or more, got "
                f"{self.streams}"
            )
        if self.losses.daga and not (self.model.camera and self.model.lidar):
            raise ValueError(
                f"LossWeights.daga {self.losses.daga} aligns camera and lidar, of which the model "
                "has one alone"
            )
        if self.forget is not None and not 0 <= self.forget <= 1:
            raise ValueError(f"TrainConfig.forget must be in [0, 1], got {self.forget}")
        if self.forget is not None and self.model.temporal is None:
            raise ValueError(
                f"TrainConfig.forget is {self.forget}, but the model has no memory "
                "(OccupancyConfig.temporal)"
            )
        if self.truth_renders is not None and self.gauss_render is None:
            raise ValueError(
                "TrainConfig.truth_renders is of TrainConfig.gauss_render, which is not given"
            )
        if self.gauss_render_from is not None and self.gauss_render is None:
            raise ValueError(
                "TrainConfig.gauss_render_from is of TrainConfig.gauss_render, which is not given"
            )
        if self.gauss_render_from is not None and not 0 <= self.gauss_render_from < 1:
            raise ValueError(
                f"TrainConfig.gauss_render_from must be in [0, 1), got {self.gauss_render_from}"
            )
        if (self.language is None) != (self.model.language is None):
            raise ValueError(
                "TrainConfig.language and TrainConfig.model.language are given together, or "
                "neither is"
            )
        if (
            self.start_from is not None
            and self.language is not None
            and self.language.clip is not None
        ):
            raise ValueError(
                "TrainConfig.start_from has no LoRA weights to go on from; leave out "
                "language.clip, or start anew"
            )
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"TrainConfig.ema_decay must be in [0, 1), got {self.ema_decay}")


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
    """The ablations' size, on generated towns."""
    return TrainConfig(
        model=nano_model(),
        data=Path("data/town_train"),
        out=Path("out/train/nano_town"),
        steps=1500,
        learning_rate=2e-3,
    )


def tiny_town() -> TrainConfig:
    """What the shipped checkpoint starts from, on generated towns."""
    return TrainConfig(
        model=tiny_model(),
        data=Path("data/town_train"),
        out=Path("out/train/tiny_town"),
        steps=5000,
        learning_rate=1.5e-3,
    )


def shipped_town() -> TrainConfig:
    """The shipped checkpoint: ``tiny_town``'s, given a memory, prompts, WeathFusion and the
    alignment loss.
    """
    tiny = tiny_town()
    temporal = TemporalConfig(
        stride=2
    )  # at full resolution the ConvLSTM would cost a CPU most of its time
    return replace(
        tiny,
        model=replace(tiny.model, temporal=temporal, language=LanguageConfig()),
        out=Path("out/train/shipped_town"),
        steps=700,
        learning_rate=5e-4,
        losses=LossWeights(daga=0.2),
        language=LanguageTraining(),
        forget=FORGET,
        start_from=tiny.out / "model.safetensors",
    )


def tacocc_town() -> TrainConfig:
    """TACOcc's fuser and memory alone, from the weights that the shipped checkpoint starts from."""
    shipped = shipped_town()
    return replace(
        shipped,
        model=replace(shipped.model, adaptive_fusion=AdaptiveFusionConfig(), language=None),
        out=Path("out/train/tacocc_town"),
        losses=LossWeights(),
        language=None,
    )


def whole_town() -> TrainConfig:
    """The shipped checkpoint given TACOcc's fuser too, at which two CPU cores do not follow at 2
    Hz: all parts of both papers.
    """
    shipped = shipped_town()
    model = replace(shipped.model, adaptive_fusion=AdaptiveFusionConfig())
    return replace(shipped, model=model, out=Path("out/train/whole_town"), start_from=SHIPPED)


def gaussrender_town() -> TrainConfig:
    """``tiny_town``'s weights trained on with GaussRender's loss."""
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
    """``tiny_town``'s model on nuScenes with SurroundOcc's labels."""
    return replace(
        tiny_town(),
        data=Path("data/nuscenes"),
        out=Path("out/train/tiny_nuscenes"),
        version="v1.0-trainval",
        split="train",
        steps=60_000,
    )


RECIPES: tuple[Callable[[], TrainConfig], ...] = (
    debug,
    nano_town,
    tiny_town,
    shipped_town,
    tacocc_town,
    whole_town,
    gaussrender_town,
    tiny_nuscenes,
)
