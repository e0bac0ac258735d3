"""``OccupancyEngine``: one frame in, one occupancy grid out. The robot and the offline tools run
the model through it.
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from occ_core.checkpoint import checkpoint_id, load_checkpoint
from occ_core.head import OccupancyHead, classify
from occ_core.interface import VoxelModel
from occ_core.ops.sparse import HAS_CUDA
from occ_core.preprocessing.masked_inputs import mask_inputs
from occ_core.temporal import discontinuity
from occ_core.types import Frame, Occupancy, TemporalMemory

Precision = Literal["auto", "fp32", "bf16"]
log = logging.getLogger(__name__)

MAX_OCCUPIED = 0.9
"""Fraction of occupied voxels above which an answer is absurd; streets fill about a twentieth."""
MIN_POINTS = 100
"""Number of LiDAR points in the grid from which an empty answer is absurd."""


class AnswerError(RuntimeError):
    """The model's answer is not usable; the text gives the reason."""


def check_answer(frame: Frame, occupancy: Occupancy) -> None:
    """Refuses answers that no scene has, for programs that act on them.

    An untrained model gives such answers, so that ``OccupancyEngine`` itself does not check this.

    Raises:
        AnswerError: a probability is not finite, nearly all voxels are occupied, or all are empty
            although LiDAR points lie among them.
    """
    if not is_finite(occupancy.probability):
        raise AnswerError("the model's answer is not finite")
    for sample, labels in enumerate(occupancy.labels):
        occupied = float((labels != occupancy.label_set.empty).float().mean())
        if occupied > MAX_OCCUPIED:
            raise AnswerError(f"the model's answer is absurd: {occupied:.0%} of space is occupied")
        if occupied == 0:
            grid = occupancy.grid
            inside = int(grid.contains(grid.index(frame.points[sample][:, :3])).sum())
            if inside >= MIN_POINTS:
                raise AnswerError(
                    f"the model's answer is absurd: all space is empty, but {inside} LiDAR points "
                    "lie in it"
                )


def best_device() -> torch.device:
    """CUDA if both torch and spconv can use it, else the CPU."""
    if torch.cuda.is_available() and not HAS_CUDA:
        log.warning(
            "the CPU build of spconv is installed; to use the GPU: pip install --force-reinstall "
            "--no-deps spconv-cu120 cumm-cu120"
        )
    return torch.device("cuda" if torch.cuda.is_available() and HAS_CUDA else "cpu")


def checked_device(device: torch.device | str) -> torch.device:
    """The device that is asked for, such as ``cuda:1``.

    Raises:
        ValueError: it is neither the CPU nor a CUDA device that torch sees.
    """
    kind, colon, number = str(device).partition(":")
    if kind == "cpu" and not colon:
        return torch.device("cpu")
    if kind != "cuda" or (colon and not number.isdecimal()):
        raise ValueError(f"device must be cpu, cuda or cuda:N, got '{device}'")
    count = torch.cuda.device_count()
    if int(number or 0) >= count:
        cure = f"or one of cuda:0 to cuda:{count - 1}" if count else "or install a torch for CUDA"
        raise ValueError(
            f"device is '{device}', but torch sees {count} CUDA devices; choose cpu, {cure}"
        )
    return torch.device(str(device))


def bf16_is_fast(device: torch.device) -> bool:
    """Whether the device computes in bfloat16 natively; emulated, it is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # torch has no public function for this, and its releases differ in the private ones
    checks = (
        getattr(torch.cpu, name, None)
        for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    )
    return any(check is not None and check() for check in checks)


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """A context with autocast to bfloat16 or without; ``auto`` casts where bfloat16 is fast."""
    if precision == "bf16" or (precision == "auto" and bf16_is_fast(device)):
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()


class OccupancyEngine:
    """A model on its device, with the memory of the drive.

    Args:
        frame_id: name of the grid frame, copied to every ``Occupancy``.
        checkpoint: which weights the model has, likewise.

    Raises:
        ValueError: see ``checked_device``.
    """

    def __init__(
        self,
        model: VoxelModel,
        device: torch.device | str = "cpu",
        precision: Precision = "auto",
        frame_id: str = "lidar",
        checkpoint: str = "",
    ) -> None:
        self.device = checked_device(device)
        self.model = model.to(self.device).eval()
        self.precision = precision
        self.frame_id = frame_id
        self.checkpoint = checkpoint
        self.memory: TemporalMemory | None = None
        self.refined = 0
        """Number of coarse voxels that were refined in the last frame."""

    @property
    def max_refined(self) -> int:
        """Largest number of coarse voxels refined in a frame; 0 for a model that refines none."""
        return 0 if (head := self._refining_head()) is None else head.max_refined

    @max_refined.setter
    def max_refined(self, voxels: int) -> None:
        if (head := self._refining_head()) is None:
            raise ValueError(
                f"{type(self.model).__name__} refines no voxels, so that there is no "
                f"limit to set to {voxels}"
            )
        head.max_refined = voxels

    def _refining_head(self) -> OccupancyHead | None:
        head = getattr(self.model, "head", None)
        return head if isinstance(head, OccupancyHead) else None

    @classmethod
    def from_checkpoint(
        cls, path: Path | str, device: torch.device | str = "cpu", precision: Precision = "auto"
    ) -> OccupancyEngine:
        """An engine for the model in a checkpoint.

        Raises:
            CheckpointError: see ``load_checkpoint``.
            ValueError: see ``checked_device``.
        """
        device = checked_device(device)
        model, description = load_checkpoint(path)
        model.image_encoder.fold()
        return cls(
            model,
            device,
            precision,
            frame_id=description["frame_id"],
            checkpoint=checkpoint_id(path),
        )

    @torch.inference_mode()
    def step(self, frame: Frame) -> Occupancy:
        """Predicts the occupancy of a frame; the result is on the CPU.

        The memory is discarded where the drive is not continuous: after a gap, a jump or a step
        back in time.

        Raises:
            AnswerError: the answer, or what the model would remember of it, is not finite. The
                memory is discarded, since one such value would spread through all later answers.
        """
        config = self.model.config
        frame = (mask_inputs(frame) if config.masked_inputs else frame).to(self.device)
        memory_reset = None
        if self.memory is not None:
            memory_reset = discontinuity(self.memory, frame, config.memory_rules)
        if memory_reset is not None:
            self.memory = None
        with autocast(self.device, self.precision):
            prediction = self.model(frame, self.memory)
        labels, probability = classify(prediction.head, config.cascade_ratio, config.labels.empty)
        if not (is_finite(probability) and _memory_is_finite(prediction.memory)):
            self.memory = None
            raise AnswerError("the model's answer is not finite")
        self.memory = prediction.memory
        self.refined = len(prediction.head.children) // config.cascade_ratio**3
        weights = prediction.sensor_weights
        return Occupancy(
            labels.cpu(),
            probability.cpu(),
            config.grid,
            stamp_ns=frame.stamp_ns,
            frame_id=self.frame_id,
            memory_reset=memory_reset,
            neighbour_shares=prediction.neighbour_shares(),
            sensor_weights=() if weights is None else tuple(weights.mean(dim=0).tolist()),
            label_set=config.labels,
            checkpoint=self.checkpoint,
        )

    def reset(self, reason: str) -> None:
        """Discards the memory, so that the next frame is treated as a first one.

        Args:
            reason: why, for the log.
        """
        self.memory = None
        log.info("engine reset: %s", reason)


def is_finite(tensor: Tensor) -> bool:
    """Whether all values are finite. The extremes pass on every NaN, and take a twentieth of the
    time of ``isfinite``.
    """
    return not tensor.numel() or all(bool(value.isfinite()) for value in torch.aminmax(tensor))


def _memory_is_finite(memory: TemporalMemory | None) -> bool:
    if memory is None:
        return True
    logits = () if memory.head is None else (memory.head.coarse, memory.head.fine)
    kept = (*memory.state, *memory.volumes, *logits)
    return all(is_finite(tensor) for tensor in kept)
