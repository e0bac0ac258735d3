"""A small MLP that names the classes of points by their features."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from tqdm import tqdm

from occ_core.metrics.occupancy import OccupancyScore, OccupancyScores
from occ_core.taxonomy import NUM_CLASSES

HIDDEN, DROPOUT = 96, 0.1
BATCH, EPOCHS = 512, 12
LEARNING_RATE, WEIGHT_DECAY = 2e-3, 1e-2
FAR_M = 20.0


def probe(
    features: Float[Tensor, "point channel"],
    classes: Int[Tensor, " point"],
    range_m: Float[Tensor, " point"],
    held_out: Bool[Tensor, " point"],
    seed: int,
    name: str,
) -> dict[str, Any]:
    """Trains the MLP on all points but those held out, and scores it on these.

    Args:
        classes: 1 to 16.
        range_m: distance from the LiDAR.
        held_out: the points to score on.
        seed: of weights, order and dropout; torch's own random state is left as it was.
        name: for the progress bar.

    Returns:
        ``miou``, ``per_class`` and ``accuracy`` over the held-out points, ``miou_beyond_20m`` over
        those farther than ``FAR_M``, and ``miou_trained_on`` over the others. A class that is
        neither true nor predicted is left out of a mean.

    Raises:
        ValueError: there are no points to train on, or none to score on.
    """
    if held_out.all() or not held_out.any():
        raise ValueError(
            f"a probe needs points to train on and points held out, got {int((~held_out).sum())} "
            f"and {int(held_out.sum())}"
        )
    trained_on = ~held_out
    mean, spread = features[trained_on].mean(dim=0), features[trained_on].std(dim=0)
    features = (features - mean) / (spread + 1e-6)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        network = _fit(features[trained_on], classes[trained_on], name)
    with torch.no_grad():
        predicted = network(features).argmax(dim=1)
    scores = _score(predicted[held_out], classes[held_out])
    far = held_out & (range_m > FAR_M)
    return {
        "miou": scores["miou"],
        "miou_beyond_20m": _score(predicted[far], classes[far])["miou"],
        "accuracy": (predicted == classes)[held_out].double().mean().item(),
        "miou_trained_on": _score(predicted[trained_on], classes[trained_on])["miou"],
        "per_class": scores["per_class"],
    }


def _fit(
    features: Float[Tensor, "point channel"], classes: Int[Tensor, " point"], name: str
) -> nn.Module:
    """The trained MLP, in evaluation mode."""
    network = nn.Sequential(
        nn.Linear(features.shape[1], HIDDEN),
        nn.ReLU(),
        nn.Dropout(DROPOUT),
        nn.Linear(HIDDEN, NUM_CLASSES),
    )
    optimiser = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    steps = EPOCHS * math.ceil(len(features) / BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in tqdm(range(EPOCHS), desc=name, unit="epoch", leave=False):
        for rows in torch.randperm(len(features)).split(BATCH):
            loss = F.cross_entropy(network(features[rows]), classes[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return network.eval()


def _score(predicted: Int[Tensor, " point"], classes: Int[Tensor, " point"]) -> OccupancyScores:
    score = OccupancyScore()
    score.update(predicted.to(torch.uint8), classes.to(torch.uint8))
    return score.compute()
