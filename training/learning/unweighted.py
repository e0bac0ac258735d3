"""Takes the class weights of a training out of the trained model's answers."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from occ_core.head import OccupancyHead
from occ_core.interface import VoxelModel


@torch.no_grad()
def take_out_class_weights(model: VoxelModel, weights: Float[Tensor, " class"]) -> None:
    """Lowers the logits of each class by the logarithm of its weight, in place.

    A cross entropy in which class c weighs w_c is least where softmax(z)_c is proportional to
    w_c p_c. So z - log w are the logits of the probabilities p, and rare classes are no longer seen
    where they are not (logit adjustment, Menon et al., ICLR 2021, after training).

    Args:
        weights: those that ``class_weights`` gave to the training, all positive.

    Raises:
        ValueError: the model has no ``OccupancyHead``.
    """
    head = getattr(model, "head", None)
    if not isinstance(head, OccupancyHead):
        raise ValueError(
            "class weights are taken out of the biases of an OccupancyHead, which "
            f"{type(model).__name__} does not have"
        )
    for layer in (head.coarse, head.refine[-1]):
        assert isinstance(layer, nn.Linear | nn.Conv3d) and layer.bias is not None
        layer.bias -= weights.log().to(layer.bias)
