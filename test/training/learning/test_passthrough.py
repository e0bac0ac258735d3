from dataclasses import replace

import torch
from lightning_fabric import Fabric
from torch import nn

from occ_core.build import build_model
from occ_core.datasets.frames import NuScenesFrames
from occ_core.temporal import TemporalConfig
from training.learning.config import TrainConfig
from training.learning.passthrough import FabricPassthrough, FrameInput, Opaque


class Doubled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))  # Fabric wraps no module without parameters

    def forward(self, boxed: Opaque[torch.Tensor]) -> tuple[torch.Tensor, Opaque[torch.Tensor]]:
        return boxed.value * 2, Opaque(boxed.value * 2)


def test_fabric_casts_nothing_in_an_opaque_box():
    module = Fabric(accelerator="cpu", devices=1, precision="bf16-mixed").setup(Doubled())
    metres = torch.tensor(1_000_000.125, dtype=torch.float64)
    plain, boxed = module(Opaque(metres))
    assert plain.dtype == torch.float32 and plain == 2_000_000.25
    assert boxed.value.dtype == torch.float64 and boxed.value == 2_000_000.25


def test_memory_is_handed_back_apart_from_the_prediction(smallest: TrainConfig):
    shape = replace(smallest.model, temporal=TemporalConfig())
    module = FabricPassthrough(build_model(shape), None, None)
    frame, _ = NuScenesFrames(smallest.data, image_size=shape.image_size, grid=shape.grid)[0]
    given = FrameInput(frame, None, (), extras=(), prompted=None, begins_step=True)
    output = module(Opaque(given))
    assert output.prediction.memory is None and output.memory.value is not None
    assert output.rendering is None and output.past.value == ()
