"""The papers' host models in training: a few steps of the smallest size lower the loss."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from occ_core.baselines.mconet import MConetConfig
from occ_core.baselines.occmamba.encoder import OccMambaConfig
from occ_core.checkpoint import load_checkpoint
from occ_core.config import SymphoniesConfig
from occ_core.losses.gauss_render.loss import GaussRenderConfig
from occ_core.prompts import LanguageConfig
from training.learning.config import TrainConfig
from training.learning.objective import LossWeights
from training.learning.prompt_noise import LanguageTraining
from training.train import train

OCCMAMBA = OccMambaConfig(channels=8, layers=(1, 1), state=2, patches=(5,), patch_channels=8)
HOSTS: dict[str, dict[str, object]] = {
    "occmamba": {"occmamba": OCCMAMBA},
    "mconet": {"mconet": MConetConfig(kernel=3, blocks=(1, 1))},
}


def totals(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The total loss of every step of a training, which ends with a checkpoint of the model."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setattr("training.train.LOG_STEPS", 1)
    assert load_checkpoint(train(config))[0].config == config.model
    events = EventAccumulator(str(config.out / "curves"))
    events.Reload()
    return [event.value for event in events.Scalars("loss/total")]


@pytest.mark.parametrize("parts", ["host", "host_with_vlmfusion"])
@pytest.mark.parametrize("host", HOSTS)
def test_a_multimodal_host_learns(
    host: str, parts: str, smallest: TrainConfig, monkeypatch: pytest.MonkeyPatch
):
    config = replace(
        smallest,
        # all voxels are refined, or the total would jump by the fine losses when the first one is
        model=replace(smallest.model, refine_above=0.0, **HOSTS[host]),
        steps=24,
        epoch_steps=24,
        losses=LossWeights(conet_labels=True),
    )
    if parts == "host_with_vlmfusion":
        pytest.importorskip("wordllama", reason="the sentence encoder's weights come with it")
        config = replace(
            config,
            model=replace(config.model, language=LanguageConfig()),
            language=LanguageTraining(),
            losses=LossWeights(conet_labels=True, daga=0.2),
        )
    losses = totals(config, monkeypatch)
    assert np.mean(losses[-6:]) < 0.9 * losses[0]


@pytest.mark.parametrize("rendered", [False, True], ids=["host", "host_with_gaussrender"])
def test_symphonies_learns(rendered: bool, smallest: TrainConfig, monkeypatch: pytest.MonkeyPatch):
    symphonies = SymphoniesConfig(channels=16, heads=2, layers=2, instances=5, samples=2, levels=2)
    encoder = replace(smallest.model.image_encoder, stride=8)
    model = replace(
        smallest.model, lidar=False, cascade_ratio=1, image_encoder=encoder, symphonies=symphonies
    )
    loss = None
    if rendered:
        loss = GaussRenderConfig(strategy="sensor", weight=1.0, learned_opacity=True)
    config = replace(smallest, model=model, steps=12, epoch_steps=12, gauss_render=loss)
    losses = totals(config, monkeypatch)
    assert np.mean(losses[-3:]) < 0.9 * losses[0]
    if rendered:  # the opacity network has learned; its last bias started at 0
        stored = torch.load(config.out / "state.pt", weights_only=True)["gauss_render"]
        assert stored["opacity.4.bias"].abs() > 1e-4


def test_an_opacity_is_learned_from_the_volume_of_a_cascade(
    smallest: TrainConfig, monkeypatch: pytest.MonkeyPatch
):
    loss = GaussRenderConfig(strategy="sensor", weight=1.0, learned_opacity=True)
    config = replace(smallest, gauss_render=loss)
    assert len(totals(config, monkeypatch)) == 2
    stored = torch.load(config.out / "state.pt", weights_only=True)["gauss_render"]
    assert stored["opacity.0.weight"].shape == (8, 8) and stored["opacity.4.bias"].abs() > 1e-4
