"""``ExportedEngine``: runs an exported model as ``OccupancyEngine`` runs one of Python."""

from __future__ import annotations

import logging

import torch

from occ_core.engine import AnswerError, is_finite
from occ_core.export.memory import first_memory
from occ_core.export.package import ExportedModel
from occ_core.export.step import FAR_M, MIN_POINTS, SensorTensors
from occ_core.preprocessing.masked_inputs import mask_inputs
from occ_core.taxonomy import REGIONS, WEATHERS
from occ_core.temporal import discontinuity
from occ_core.types import Frame, Occupancy, TemporalMemory

log = logging.getLogger(__name__)


class ExportedEngine:
    """An exported model with the memory of the drive; it answers one frame at a time."""

    def __init__(self, model: ExportedModel) -> None:
        self.model = model
        self._memory = first_memory(model.config, model.device)
        self._last: TemporalMemory | None = None
        """Pose and stamp of the last frame; None where the memory is that of a first frame."""

    @torch.inference_mode()
    def step(self, frame: Frame) -> Occupancy:
        """Predicts the occupancy of a frame; see ``OccupancyEngine.step``.

        Raises:
            AnswerError: as ``OccupancyEngine.step``.
            ValueError: the frame is not one sample, or its cameras or images are not those that the
                model was exported for.
        """
        model, config = self.model, self.model.config
        model.check(frame)
        frame = (mask_inputs(frame) if config.masked_inputs else frame).to(model.device)
        memory_reset = None
        if self._last is not None:
            memory_reset = discontinuity(self._last, frame, config.memory_rules)
        if memory_reset is not None:
            self._forget()
        answer, memory = model(sensor_tensors(frame), self._memory)
        kept = (tensor for tensor in memory.values() if tensor.is_floating_point())
        if not all(map(is_finite, (answer["probability"], *kept))):
            self._forget()
            raise AnswerError("the model's answer is not finite")
        if memory:
            self._memory = memory
            self._last = TemporalMemory(
                world_from_grid=(frame.world_from_grid,), stamp_ns=(frame.stamp_ns,)
            )
        weights = answer.get("sensor_weights")
        return Occupancy(
            answer["labels"].cpu(),
            answer["probability"].cpu(),
            config.grid,
            stamp_ns=frame.stamp_ns,
            frame_id=model.description.frame_id,
            memory_reset=memory_reset,
            sensor_weights=() if weights is None else tuple(weights[0].tolist()),
            label_set=config.labels,
            checkpoint=model.description.checkpoint,
        )

    def reset(self, reason: str) -> None:
        """Discards the memory, so that the next frame is treated as a first one.

        Args:
            reason: why, for the log.
        """
        self._forget()
        log.info("engine reset: %s", reason)

    def _forget(self) -> None:
        self._memory, self._last = first_memory(self.model.config, self.model.device), None


def sensor_tensors(frame: Frame) -> SensorTensors:
    """The tensors of a frame of one sample."""
    points, context = frame.points[0], frame.context[0]
    if len(points) < MIN_POINTS:
        none = points.new_zeros(MIN_POINTS - len(points), 5)
        none[:, 0] = FAR_M
        points = torch.cat([points, none])
    device = points.device
    return {
        "images": frame.images,
        "camera_mask": frame.camera_mask,
        "intrinsics": frame.intrinsics,
        "grid_from_camera": frame.grid_from_camera,
        "points": points,
        "world_from_grid": frame.world_from_grid,
        "weather": torch.tensor([WEATHERS.index(context.weather)], device=device),
        "region": torch.tensor([REGIONS.index(context.region)], device=device),
    }
