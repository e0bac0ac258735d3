"""One frame of ``OccupancyModel`` as a function from tensors to tensors, without a branch or a loop
that depends on the data: what is exported.

The parts are the model's own, in the order of ``OccupancyModel.forward``. What differs: the batch
is one sample, masked cameras are encoded as well, and the sizes that the data determine (of points,
voxels, parents, children) are never asked for.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from occ_core.engine import Precision, autocast
from occ_core.export.memory import MemoryTensors, RememberedLogits, memory_after, temporal_memory
from occ_core.export.parts import attend, choose_parents, encode_points, unmasked
from occ_core.head import classify
from occ_core.interface import CameraFeatures, VoxelModel
from occ_core.model import OccupancyModel
from occ_core.ops import backend
from occ_core.ops.intensity_ranks import STRIDE
from occ_core.prompts import NoPrompts, Prompts
from occ_core.types import DriveContext, Frame, HeadOutput

SensorTensors = dict[str, Tensor]
"""By name: ``images`` [1, N, 3, H, W], ``camera_mask`` [1, N], ``intrinsics`` [1, N, 3, 3],
``grid_from_camera`` [1, N, 4, 4], ``points`` [P, 5] and ``world_from_grid`` [1, 4, 4] as in
``Frame``; ``weather`` [1] and ``region`` [1], positions in ``taxonomy.WEATHERS`` and
``taxonomy.REGIONS``. There are at least ``MIN_POINTS`` points; points at x = ``FAR_M`` fill up.
"""
AnswerTensors = dict[str, Tensor]
"""By name: ``labels`` [1, X, Y, Z] in uint8, ``probability`` [1, X, Y, Z] and, of a model with a
``WeatherFusion``, ``sensor_weights`` [1, 2].
"""

MIN_POINTS = STRIDE + 1
"""Sizes 0 and 1 are special cases to torch.export, also that of the points whose intensities are
compared.
"""
FAR_M = 1e6
"""Where a point stands for none, outside of any grid."""


class ExportError(ValueError):
    """A model cannot be exported; the text says why."""


class ExportedStep(nn.Module):
    """The step of one model, for any fixed number of cameras.

    Args:
        model: in evaluation mode.
        precision: arithmetic, as ``OccupancyEngine`` takes it.

    Raises:
        ExportError: the model is a baseline, or remembers a window of volumes.
    """

    def __init__(self, model: VoxelModel, precision: Precision = "fp32") -> None:
        super().__init__()
        if not isinstance(model, OccupancyModel):
            raise ExportError(f"only an OccupancyModel can be exported, got {type(model).__name__}")
        temporal = model.config.temporal
        if temporal is not None and temporal.mode != "streaming":
            raise ExportError(
                f"a memory of mode '{temporal.mode}' cannot be exported; only that of mode "
                "'streaming' has one size"
            )
        self.model, self.precision = model, precision

    def forward(
        self, sensors: SensorTensors, memory: MemoryTensors
    ) -> tuple[AnswerTensors, MemoryTensors]:
        """The answer to one frame, and the memory for the next.

        Args:
            memory: that of the frame before, or ``first_memory``.
        """
        with backend.exporting(), autocast(sensors["points"].device, self.precision):
            return self._step(sensors, memory)

    def _step(
        self, sensors: SensorTensors, memory: MemoryTensors
    ) -> tuple[AnswerTensors, MemoryTensors]:
        model, config = self.model, self.model.config
        frame = as_frame(sensors)
        cameras = self._encode_images(frame)
        image_volume, _ = model.view_transform(*cameras, 1)
        lidar = encode_points(model.lidar_encoder, frame.points)
        prompts = self._prompts(sensors, memory)
        weighted = model.weather_fusion(
            attend(model.image_attention, image_volume, prompts),
            attend(model.lidar_attention, lidar.volume, prompts),
            prompts.weather,
            prompts.all_weathers,
            torch.stack([frame.camera_mask.any(), (frame.points[0][:, 0] < FAR_M).any()])[None],
        )
        fused = model.fusion(weighted.image_volume, weighted.lidar_volume)
        heights = model.ground_height(frame.points)
        encoded = model.volume_encoder(fused.volume + heights.volume.to(fused.volume.dtype))
        volume, state = model.temporal(encoded, frame, temporal_memory(memory))

        head, previous = model.head, None
        if "logits" in memory:
            previous = RememberedLogits(memory, frame.world_from_grid, config.grid)
        coarse = head.coarse(volume)
        children, corner = head.split(choose_parents(head, coarse, lidar.fine))
        features = head.child_features(
            volume, lidar.fine, model.view_transform.sampler(*cameras), heights.sampler
        )(children, corner)
        output = HeadOutput(coarse, head.classify_children(features, children, previous), children)

        labels, probability = classify(output, config.cascade_ratio, config.labels.empty)
        answer = {"labels": labels, "probability": probability}
        if weighted.weights is not None:
            answer["sensor_weights"] = weighted.weights
        return answer, memory_after(config, frame.world_from_grid, state, output, memory)

    def _encode_images(self, frame: Frame) -> CameraFeatures:
        """Feature maps of all cameras; masked ones are placed where they reach nothing."""
        mask = frame.camera_mask[0]
        features = self.model.image_encoder(frame.images[0])
        intrinsics, poses = unmasked(mask, frame.intrinsics[0], frame.grid_from_camera[0], FAR_M)
        # a sample of the batch that does not exist, so that no voxel looks a masked camera up
        return CameraFeatures(features, intrinsics, poses, sample=mask.long() - 1)

    def _prompts(self, sensors: SensorTensors, memory: MemoryTensors) -> Prompts:
        table = self.model.prompts
        if isinstance(table, NoPrompts):
            return table((DriveContext(),), None)
        return table.select(sensors["region"], sensors["weather"], memory.get("classes"))


def as_frame(sensors: SensorTensors) -> Frame:
    """The tensors as a frame; its stamp and context are no tensors, and mean nothing."""
    return Frame(
        images=sensors["images"],
        camera_mask=sensors["camera_mask"],
        intrinsics=sensors["intrinsics"],
        grid_from_camera=sensors["grid_from_camera"],
        points=(sensors["points"],),
        world_from_grid=sensors["world_from_grid"],
        stamp_ns=(0,),
        context=(DriveContext(),),
    )
