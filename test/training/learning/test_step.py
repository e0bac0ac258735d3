from typing import NamedTuple

import numpy as np
import pytest
import torch

from occ_core.build import build_model
from occ_core.datasets.frames import NuScenesFrames
from training.learning.config import TrainConfig
from training.learning.step import add_gauss_render


class RenderedTerms(NamedTuple):
    bev: torch.Tensor
    total: torch.Tensor


class FixedLoss:
    opacity = None

    def from_cascade(self, *_: object) -> RenderedTerms:
        return RenderedTerms(bev=torch.tensor(0.5), total=torch.tensor(0.25))


def test_rendered_terms_are_named_and_added_to_the_total(smallest: TrainConfig):
    shape = smallest.model
    frames = NuScenesFrames(smallest.data, image_size=shape.image_size, grid=shape.grid)
    frame, labels = frames[0]
    losses = add_gauss_render(
        {"lovasz": torch.tensor(1.0), "total": torch.tensor(2.0)},
        FixedLoss(),
        build_model(shape)(frame),
        frame,
        labels[None],
        np.random.default_rng(0),
    )
    # 2 + 0.25
    assert {name: value.item() for name, value in losses.items()} == pytest.approx(
        {"lovasz": 1.0, "total": 2.25, "rendered_bev": 0.5}
    )
