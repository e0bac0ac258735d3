"""``TrainConfig``: everything that decides a training run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from occ_core.config import OccupancyConfig
from occ_core.datasets.samples import Damaged
from occ_core.engine import Precision
from occ_core.losses.gauss_render.loss import GaussRenderConfig
from occ_core.losses.sequential.renderer import SequentialRendererConfig
from training.learning.augment import AugmentConfig
from training.learning.objective import LossWeights
from training.learning.prompt_noise import LanguageTraining


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One training run; stored as ``config.json`` next to its results."""

    model: OccupancyConfig
    data: Path
    """Folder of the data set that has labels of the model's classes: nuScenes data root, with the
    labels in it or beside it, or the folder that holds SemanticKITTI's ``sequences/`` or
    KITTI-360's ``data_2d_raw/``.
    """
    out: Path
    """Folder of this run: checkpoints, curves, pictures."""
    version: str | None = None
    """Folder of nuScenes tables; None takes the only one in ``data``."""
    split: str | None = None
    """Official split to train on (``train``, in nuScenes also ``mini_train``); its counterpart
    validates. None trains on all scenes except the validation scenes below.
    """
    validation_scenes: int = 2
    """Number of scenes (in KITTI, sequences) held out for validation if there is no split: the last
    ones by name.
    """
    validation_frames: int = 12
    """Number of keyframes scored after every epoch, spread evenly."""
    steps: int = 4000
    batch_size: int = 1
    """Keyframes per step; with a memory or ``by_drive``, the number of drives from which a step
    takes a clip each.
    """
    accumulate: int | None = None
    """Batches per step, each with a forward and a backward pass of its own; None is 1. For models
    without a memory.
    """
    processes: int | None = None
    """Processes on this machine's CPU that share each step's work, every one with batches of its
    own; None is 1. A step of two is that of one with twice the ``accumulate``.
    """
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warmup_steps: int = 100
    clip_norm: float = 5.0
    """Gradients with a larger norm are scaled down to this one."""
    ema_decay: float = 0.998
    """Decay of the averaged weights, which are the ones that are evaluated and shipped."""
    sweeps: int = 9
    """Number of earlier LiDAR sweeps added to the keyframe's own, at nuScenes' 20 a second; of a
    slower LiDAR, those of the same time.
    """
    augment: AugmentConfig | None = field(default_factory=AugmentConfig)
    losses: LossWeights = LossWeights()
    rendering: SequentialRendererConfig | None = None
    """TACOcc's sequential renderer, which leaves nothing in the checkpoint. It writes
    ``preprocessed/`` in the data root.
    """
    gauss_render: GaussRenderConfig | None = None
    """GaussRender's loss on top of the voxel losses; it leaves nothing in the checkpoint."""
    gauss_render_from: float | None = None
    """Fraction of the steps after which GaussRender's loss sets in; None: from the first step. An
    untrained model renders nothing but fog.
    """
    truth_renders: Path | None = None
    """Folder that caches GaussRender's renders of the labels from epoch to epoch: the view from
    above and, with a strategy that does not move the cameras, the camera views. At the size
    ``tiny`` a render takes 1.5 MB, a keyframe up to 42 MB (4 mirrorings, 7 views).
    """
    language: LanguageTraining | None = None
    """How prompts are made in training; required if the model has ``language``."""
    epoch_steps: int = 300
    """Number of steps between validations, each with a picture and a checkpoint."""
    streams: int = 8
    """Number of drives processed side by side, with a memory."""
    clip: int = 2
    """Number of consecutive keyframes of a drive per step, with a memory. Gradients reach back over
    the clip, the memory to the start of the drive.
    """
    forget: float | None = None
    """Fraction of keyframes before which the memory is dropped, so that the model also learns to
    see without one.
    """
    by_drive: bool = False
    """Draw keyframes drive by drive even without a memory: ``streams`` and ``clip`` apply, and each
    keyframe gets a forward pass of its own.
    """
    repeat_rare: float | None = None
    """Draws keyframes that are rich in rare classes more often, up to four times an epoch; with a
    memory or ``by_drive``, drives. It is the exponent of their richness, such as 2; see
    training/learning/repeat_factors.py.
    """
    damaged: Damaged = "stop"
    """What a keyframe that cannot be read does: ``stop`` ends the training, with ``skip`` the
    nearest intact one of its drive stands in for it, and they are counted.
    """
    seed: int = 1
    workers: int = 1
    """Number of data-loading processes; 0 loads in the training process."""
    precision: Precision = "auto"
    device: str = "auto"
    """``cpu``, ``cuda`` or ``auto``."""
    start_from: Path | None = None
    """Checkpoint to start from; its model may lack parts of this one, such as the fuser or the
    memory.
    """
    start_without: tuple[str, ...] = ()
    """Parts of the model in ``start_from`` that are not taken over, such as ``image_encoder`` or
    ``head.filter``.
    """
    backbone_weights: Path | Literal["imagenet"] | None = None
    """What the image backbone is initialised with: ``imagenet`` for an EfficientNet-Lite0 (its pip
    package contains the weights), or the local Hugging Face folder of a ResNet.
    """
    backbone_rate: float | None = None
    """Factor on the learning rate of a pretrained backbone; None is 1, and 0 keeps its weights."""

    def __post_init__(self) -> None:
        self._check_ranges()
        self._check_model_parts()
        self._check_gauss_render()

    def _check_ranges(self) -> None:
        positive = ("steps", "batch_size", "epoch_steps", "streams", "clip")
        for name in (*positive, "validation_frames", "validation_scenes"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"TrainConfig.{name} must be at least 1, got {getattr(self, name)}"
                )
        for name in ("accumulate", "processes"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(
                    f"TrainConfig.{name} must be at least 1 or None, got {getattr(self, name)}"
                )
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"TrainConfig.ema_decay must be in [0, 1), got {self.ema_decay}")
        if self.backbone_rate is not None and self.backbone_rate < 0:
            raise ValueError(
                f"TrainConfig.backbone_rate must be at least 0, got {self.backbone_rate}"
            )
        if self.forget is not None and not 0 <= self.forget <= 1:
            raise ValueError(f"TrainConfig.forget must be in [0, 1], got {self.forget}")
        if self.repeat_rare is not None and not 0 < self.repeat_rare <= 4:
            raise ValueError(
                f"TrainConfig.repeat_rare must be in (0, 4] or None, got {self.repeat_rare}"
            )

    def _check_model_parts(self) -> None:
        """Refuses options that the model cannot follow."""
        if (self.model.temporal is not None or self.by_drive) and self.streams < self.batch_size:
            raise ValueError(
                f"TrainConfig.streams must be at least batch_size {self.batch_size}, got "
                f"{self.streams}"
            )
        if self.accumulate is not None and (self.model.temporal is not None or self.by_drive):
            raise ValueError(
                f"TrainConfig.accumulate is {self.accumulate}, but clips of drives (a memory, or "
                "by_drive) are not accumulated; use clip and batch_size"
            )
        if self.losses.daga and not (self.model.camera and self.model.lidar):
            raise ValueError(
                f"LossWeights.daga {self.losses.daga} aligns camera and LiDAR, but the model has "
                "only one of them"
            )
        if self.losses.image_classes is not None and not self.model.image_classes:
            raise ValueError(
                f"LossWeights.image_classes is {self.losses.image_classes}, but the model does not "
                "classify image features (OccupancyConfig.image_classes)"
            )
        if self.rendering is not None and self.augment is not None and self.augment.images:
            raise ValueError(
                "TrainConfig.rendering draws the images as they were taken, not as augment.images "
                "varies them; leave out one of the two"
            )
        if self.forget is not None and self.model.temporal is None:
            raise ValueError(
                f"TrainConfig.forget is {self.forget}, but the model has no memory "
                "(OccupancyConfig.temporal)"
            )
        if (self.language is None) != (self.model.language is None):
            raise ValueError(
                "TrainConfig.language and TrainConfig.model.language must be given together"
            )
        lora = self.language is not None and self.language.clip is not None
        if self.start_from is not None and lora:
            raise ValueError(
                "TrainConfig.start_from: a checkpoint holds no LoRA weights to continue from; "
                "leave out language.clip, or train from scratch"
            )

    def _check_gauss_render(self) -> None:
        if self.gauss_render is None:
            for name in ("truth_renders", "gauss_render_from"):
                if getattr(self, name) is not None:
                    raise ValueError(
                        f"TrainConfig.{name} needs TrainConfig.gauss_render, which is not given"
                    )
        if self.truth_renders is not None and self.augment is not None and self.augment.images:
            raise ValueError(
                "TrainConfig.truth_renders keeps views for the next epoch, but with augment.images "
                "the cameras look elsewhere in every epoch; leave out one of the two"
            )
        if self.gauss_render_from is not None and not 0 <= self.gauss_render_from < 1:
            raise ValueError(
                f"TrainConfig.gauss_render_from must be in [0, 1), got {self.gauss_render_from}"
            )
