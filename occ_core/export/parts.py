"""Steps of the model's parts that Python decides by the data, written without decisions.

Each gives what the part itself gives for a batch of one sample, up to rounding.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from occ_core.head import OccupancyHead
from occ_core.instance_attention import InstanceAttention, NoInstanceAttention
from occ_core.lidar_encoder import LidarEncoder, LidarFeatures, NoLidarEncoder
from occ_core.ops.sparse import SparseVolume, non_empty, to_dense
from occ_core.prompts import SEEN_ABOVE, UNSEEN_BELOW, Prompts
from occ_core.types import HeadOutput


def unmasked(
    mask: Bool[Tensor, " camera"],
    intrinsics: Float[Tensor, "camera 3 3"],
    grid_from_camera: Float[Tensor, "camera 4 4"],
    far_m: float,
) -> tuple[Float[Tensor, "camera 3 3"], Float[Tensor, "camera 4 4"]]:
    """Intrinsics and poses, in which a masked camera lies ``far_m`` away from the grid, whatever
    its own are.
    """
    eye = torch.eye(4, dtype=intrinsics.dtype, device=intrinsics.device)
    away = eye + eye.new_tensor([[0, 0, 0, far_m], *[[0.0] * 4] * 3])
    is_used = mask[:, None, None]
    return (
        torch.where(is_used, intrinsics, eye[:3, :3]),
        torch.where(is_used, grid_from_camera, away),
    )


def encode_points(
    encoder: LidarEncoder | NoLidarEncoder, points: tuple[Float[Tensor, "_ 5"], ...]
) -> LidarFeatures:
    """As the encoder, which leaves out its stages where there is no voxel."""
    if isinstance(encoder, NoLidarEncoder):
        return encoder(points)
    with torch.autocast(points[0].device.type, enabled=False):
        fine = volume = encoder.voxelise(points)
        for number, stage in enumerate(encoder.stages):
            volume = stage(volume)
            if number == encoder.fine_stage:
                fine = volume
        return LidarFeatures(to_dense(volume), fine)


def attend(
    attention: InstanceAttention | NoInstanceAttention,
    volume: Float[Tensor, "1 channel x y z"],
    prompts: Prompts,
) -> Float[Tensor, "1 channel x y z"]:
    """As the attention, which splits the voxels of a batch by their sample."""
    if isinstance(attention, NoInstanceAttention):
        return volume
    occupied = non_empty(volume)
    index = occupied.flatten().nonzero()[:, 0]
    rows = volume.permute(0, 2, 3, 4, 1).flatten(0, 3)  # [X*Y*Z, C]
    allowed = prompts.mask[0].nonzero()[:, 0]
    added = attention.attend(
        rows.index_select(0, index), prompts.embeddings[0].index_select(0, allowed)
    )
    # in float32, since AOTInductor cannot call ``index_add`` of bfloat16
    refined = rows.float().index_add(0, index, added.float()).to(rows.dtype)
    return refined.view(*occupied.shape, -1).permute(0, 4, 1, 2, 3)


def choose_parents(
    head: OccupancyHead, coarse: Float[Tensor, "1 class x y z"], lidar: SparseVolume
) -> Int[Tensor, "parent 4"]:
    """As the head, which looks for the most probable voxels only where there are too many.

    Of voxels that hold points, all of probability 1, others may be left out where they alone are
    too many.
    """
    occupied = head.refinement_worth(coarse, lidar)
    chosen = occupied > head.refine_above
    if occupied.numel() > head.max_refined:
        best = occupied.flatten().topk(head.max_refined, sorted=False).indices
        among_best = torch.zeros_like(chosen).flatten()
        among_best[best] = True
        chosen = chosen & among_best.view_as(chosen)
    return chosen.nonzero()


def classes_seen_by(output: HeadOutput, before: Bool[Tensor, "1 class"]) -> Bool[Tensor, "1 class"]:
    """As ``classes_seen``, which splits the children of a batch by their sample."""
    probability = output.fine.float().softmax(dim=1)  # [child, class]
    none = probability.new_zeros(1, probability.shape[1])  # without children, no class is seen
    highest = torch.cat([none, probability]).amax(dim=0, keepdim=True)
    return (highest > SEEN_ABOVE) | (before & (highest > UNSEEN_BELOW))
