"""The image branch's part of a training: what a backbone that is kept makes of every image, and
what each cell of the feature map should say.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from occ_core.image_encoder import ImageEncoder
from occ_core.interface import CameraFeatures, VoxelModel, visible_cameras
from occ_core.losses.depth import depth_loss, depth_targets
from occ_core.losses.image_classes import image_class_loss, image_class_targets
from occ_core.model import OccupancyModel
from occ_core.view_transform import ViewTransform
from training.learning.config import TrainConfig
from training.learning.examples import Example


class ImageCells(NamedTuple):
    """Images of any instants as the backbone sees them, and the targets of their cells."""

    classes: Int[Tensor, "image h w"]
    """Class ids, 255 ignored; see ``image_class_targets``."""
    depth_bins: Int[Tensor, "image h w"]
    """-1 without a LiDAR point; see ``depth_targets``."""
    intrinsics: Float[Tensor, "image 3 3"]
    stages: tuple[Float[Tensor, "image _ _ _"], ...]
    """The backbone's maps, one per stride in the order of its ``channels``."""


class ImageBranch(NamedTuple):
    """What lies between the images and the answers about their cells."""

    encoder: ImageEncoder
    classes: nn.Module
    lift: ViewTransform

    @classmethod
    def of(cls, model: VoxelModel) -> ImageBranch:
        """A model's image branch.

        Raises:
            ValueError: the model has none that classifies image features.
        """
        if isinstance(model, OccupancyModel) and model.image_classes is not None:
            encoder, lift = model.image_encoder, model.view_transform
            if isinstance(encoder, ImageEncoder) and isinstance(lift, ViewTransform):
                return cls(encoder, model.image_classes, lift)
        raise ValueError(
            "the model does not classify image features: it must be an OccupancyModel with cameras "
            "and OccupancyConfig.image_classes"
        )

    @property
    def taught(self) -> list[nn.Parameter]:
        """The weights between the backbone and the answers."""
        encoder, lift = self.encoder, self.lift
        parts = (encoder.lateral, encoder.context, encoder.out, lift.camera, lift.depth)
        return [weight for part in (*parts, self.classes) for weight in part.parameters()]


@torch.no_grad()
def image_cells(encoder: ImageEncoder, example: Example, config: TrainConfig) -> ImageCells:
    """The visible images of an example."""
    model = config.model
    stride = model.image_encoder.stride
    cameras = visible_cameras(example.frame)
    stages = encoder.backbone.stages(cameras.images)
    cells = CameraFeatures(
        stages[stride], cameras.intrinsics, cameras.grid_from_camera, cameras.sample
    )
    return ImageCells(
        image_class_targets(example.labels, model.grid, cells, stride, model.labels.empty),
        depth_targets(example.frame, model.depth, stride),
        cameras.intrinsics,
        tuple(stages.values()),
    )


def image_losses(
    branch: ImageBranch, cells: ImageCells, class_weights: Float[Tensor, " class"]
) -> dict[str, Tensor]:
    """The losses of ``objective`` that reach the image branch directly, of the same names."""
    strides = branch.encoder.backbone.channels
    features = branch.encoder.feature_map(dict(zip(strides, cells.stages, strict=True)))
    depth = branch.lift.depth_logits(features, cells.intrinsics)
    return {
        "image_classes": image_class_loss(branch.classes(features), cells.classes, class_weights),
        "depth": depth_loss(depth, cells.depth_bins),
    }


class StoredCells:
    """Cells of many images in memory, in bfloat16 and whole numbers of two bytes.

    Args:
        cells: all of images of the same size.

    Raises:
        ValueError: there is not a single image.
    """

    def __init__(self, cells: Iterable[ImageCells]) -> None:
        parts = [
            (
                each.classes.to(torch.int16),
                each.depth_bins.to(torch.int16),
                each.intrinsics,
                *(stage.bfloat16() for stage in each.stages),
            )
            for each in cells
        ]
        if not parts:
            raise ValueError(
                "no keyframe has a visible image; the image branch learns from images alone"
            )
        self._tensors = tuple(torch.cat(tensors) for tensors in zip(*parts, strict=True))

    def __len__(self) -> int:
        return len(self._tensors[0])

    def batches(self, size: int, steps: int, generator: torch.Generator) -> Iterator[ImageCells]:
        """``steps`` batches; every image once before any comes again."""
        order = torch.empty(0, dtype=torch.long)
        for _ in range(steps):
            while len(order) < size:
                order = torch.cat([order, torch.randperm(len(self), generator=generator)])
            classes, depth_bins, intrinsics, *stages = (
                tensor[order[:size]] for tensor in self._tensors
            )
            order = order[size:]
            yield ImageCells(
                classes.long(),
                depth_bins.long(),
                intrinsics,
                tuple(stage.float() for stage in stages),
            )
