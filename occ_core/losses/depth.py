"""Depth supervision of the view transform by LiDAR (BEVDepth; Co-Occ's depth loss)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from occ_core.geometry.points import NEWEST_S
from occ_core.types import Frame
from occ_core.view_transform import DepthBins


def depth_loss(
    logits: Float[Tensor, "image bin h w"], target: Int[Tensor, "image h w"]
) -> Float[Tensor, ""]:
    """Cross entropy of the depth bins, over the cells with a target; 0 without any.

    Args:
        target: bin of each cell, -1 where no LiDAR point projects into it.
    """
    if not (target >= 0).any():
        return logits.sum() * 0.0
    return F.cross_entropy(logits.float(), target, ignore_index=-1)


def depth_targets(frame: Frame, bins: DepthBins, stride: int) -> Int[Tensor, "image h w"]:
    """Depth bin of the nearest point of the newest sweep in each feature cell; -1 without one.

    Args:
        stride: width of a feature cell in pixels.

    Returns:
        The targets of the available cameras, in the order of the batch.
    """
    height, width = (side // stride for side in frame.images.shape[-2:])
    targets = []
    for sample, camera in frame.camera_mask.nonzero():
        points = frame.points[sample]
        points = points[points[:, 4] < NEWEST_S, :3]
        camera_from_grid = torch.linalg.inv(frame.grid_from_camera[sample, camera])
        seen = points @ camera_from_grid[:3, :3].T + camera_from_grid[:3, 3]
        seen = seen[seen[:, 2] > bins.min_m]
        pixels = seen @ frame.intrinsics[sample, camera].T
        cells = torch.floor((pixels[:, :2] / pixels[:, 2:] + 0.5) / stride).long()  # (u, v)
        inside = ((cells >= 0) & (cells < cells.new_tensor([width, height]))).all(dim=1)
        cell = cells[inside, 1] * width + cells[inside, 0]
        nearest = torch.full((height * width,), torch.inf, device=cell.device)
        nearest = nearest.scatter_reduce(0, cell, seen[inside, 2], "amin")
        targets.append(bins.index(nearest.nan_to_num(posinf=-1.0)).view(height, width))
    if not targets:
        return torch.zeros(0, height, width, dtype=torch.long, device=frame.images.device)
    return torch.stack(targets)
