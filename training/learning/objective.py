"""The training objective: named losses and their weighted sum (TACOcc, section III-C:
L_occ = L_ce + L_lovasz).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from occ_core.config import OccupancyConfig
from occ_core.datasets.surroundocc import coarsen_labels
from occ_core.interface import Prediction
from occ_core.losses.conet_labels import conet_labels
from occ_core.losses.cross_entropy import cross_entropy
from occ_core.losses.daga import daga_loss
from occ_core.losses.depth import depth_loss, depth_targets
from occ_core.losses.image_classes import image_class_loss, image_class_targets
from occ_core.losses.lovasz import lovasz_softmax
from occ_core.types import Frame


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """Weight of each term of the total."""

    cross_entropy: float = 1.0
    class_balance: float = 0.25
    """A class weighs its frequency to the power of minus this in the cross entropies. Above 0 rare
    classes are found more often, and seen where they are not; at 0 all weigh alike, and the
    probabilities are those of the training drives.
    """
    lovasz: float = 1.0
    depth: float = 0.2
    """Weight of the cross entropy over depth bins, which guides the image branch and must not
    outweigh the voxels.
    """
    image_classes: float | None = None
    """Weight of the cross entropy over the cells of the feature maps (``image_classes`` of the
    model).
    """
    daga: float = 0.0
    """Weight of VLMFusionOcc3D's alignment of image and LiDAR volumes; 0.2 in the paper."""
    conet_labels: bool = False
    """Label the coarse voxels by CONet's rule, which leaves out those with a single occupied child
    (see ``conet_labels``); TACOcc and OccMamba have CONet's head.
    """


def objective(
    prediction: Prediction,
    frame: Frame,
    labels: Tensor,
    coarse_labels: Tensor,
    class_weights: Tensor,
    weights: LossWeights,
    config: OccupancyConfig,
) -> dict[str, Tensor]:
    """Scalar losses by name, including their weighted sum ``total``.

    Args:
        labels: class ids uint8 ``[B, X, Y, Z]`` on ``config.grid``, 255 ignored.
        coarse_labels: the same on ``config.coarse_grid``.
        class_weights: float ``[class]``, for the cross entropies.
    """
    empty = config.labels.empty
    if weights.conet_labels:
        coarse_labels = conet_labels(labels, config.cascade_ratio, empty)
    coarse_logits = prediction.head.coarse.permute(0, 2, 3, 4, 1).flatten(0, 3)  # [voxel, class]
    coarse_truth = coarse_labels.flatten().long()
    fine_logits = prediction.head.fine  # [child, class]
    fine_truth = labels[prediction.head.children.unbind(1)].long()
    cross_entropies = {
        "coarse_cross_entropy": cross_entropy(coarse_logits, coarse_truth, class_weights),
        "fine_cross_entropy": cross_entropy(fine_logits, fine_truth, class_weights),
    }
    lovaszes = {
        "coarse_lovasz": lovasz_softmax(coarse_logits, coarse_truth),
        "fine_lovasz": lovasz_softmax(fine_logits, fine_truth),
    }
    for logits in prediction.coarser:
        ratio = labels.shape[1] // logits.shape[2]
        truth = _coarsened(labels, ratio, empty)
        rows, truth = logits.permute(0, 2, 3, 4, 1).flatten(0, 3), truth.flatten().long()
        cross_entropies[f"cross_entropy_{ratio}"] = (
            cross_entropy(rows, truth, class_weights) / ratio
        )
        lovaszes[f"lovasz_{ratio}"] = lovasz_softmax(rows, truth) / ratio
    losses = cross_entropies | lovaszes
    depth = torch.zeros((), device=labels.device)
    if prediction.depth_logits is not None:
        targets = depth_targets(frame, config.depth, config.image_encoder.stride)
        depth = losses["depth"] = depth_loss(prediction.depth_logits, targets)
    losses["total"] = (
        weights.cross_entropy * torch.stack(list(cross_entropies.values())).sum()
        + weights.lovasz * torch.stack(list(lovaszes.values())).sum()
        + weights.depth * depth
    )
    if weights.image_classes is not None and prediction.image_logits is not None:
        losses["image_classes"] = _image_classes(prediction, labels, class_weights, config)
        losses["total"] = losses["total"] + weights.image_classes * losses["image_classes"]
    if weights.daga:
        image_volume, lidar_volume = prediction.sensor_volumes
        losses["daga"] = daga_loss(image_volume, lidar_volume)
        losses["total"] = losses["total"] + weights.daga * losses["daga"]
    return losses


def _coarsened(labels: Tensor, ratio: int, empty: int) -> Tensor:
    coarse = [torch.from_numpy(coarsen_labels(each.cpu().numpy(), ratio, empty)) for each in labels]
    return torch.stack(coarse).to(labels.device)


def _image_classes(
    prediction: Prediction, labels: Tensor, class_weights: Tensor, config: OccupancyConfig
) -> Tensor:
    assert prediction.image_logits is not None and prediction.cameras is not None
    stride = config.image_encoder.stride
    target = image_class_targets(
        labels, config.grid, prediction.cameras, stride, config.labels.empty
    )
    return image_class_loss(prediction.image_logits, target, class_weights)
