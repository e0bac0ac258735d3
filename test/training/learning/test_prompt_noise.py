from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from occ_core.checkpoint import load_checkpoint
from occ_core.prompts import PROMPTS, LanguageConfig
from occ_core.taxonomy import CLASS_ID, NUM_CLASSES
from occ_core.temporal import TemporalConfig
from occ_core.types import DriveContext, Frame, collate_frames
from training.learning.config import TrainConfig
from training.learning.prompt_noise import LanguageTraining, perturb_context
from training.learning.symmetries import flip
from training.learning.text_encoder import ClipTextEncoder, text_encoder
from training.train import train

CAR, BUS = CLASS_ID["car"], CLASS_ID["bus"]
TRUTHFUL = LanguageTraining(
    no_classes=0, drop_class=0, add_class=0, unknown_weather=0, wrong_weather=0, unknown_region=0
)


def frame(batch: int) -> Frame:
    return Frame(
        images=torch.zeros(batch, 1, 3, 2, 2, dtype=torch.uint8),
        camera_mask=torch.ones(batch, 1, dtype=torch.bool),
        intrinsics=torch.eye(3).expand(batch, 1, 3, 3),
        grid_from_camera=torch.eye(4).expand(batch, 1, 4, 4),
        points=(torch.zeros(0, 5),) * batch,
        world_from_grid=torch.eye(4, dtype=torch.float64).expand(batch, 4, 4),
        stamp_ns=(0,) * batch,
        context=(DriveContext("rain", "boston-seaport"),) * batch,
    )


def labels(batch: int) -> torch.Tensor:
    made = torch.zeros(batch, 2, 2, 2, dtype=torch.uint8)
    made[:, 0, 0, 0], made[:, 1, 1, 1] = CAR, 255  # what is ignored is no class
    return made


def test_without_noise_prompts_are_true():
    perturbed, prompted = perturb_context(frame(2), labels(2), TRUTHFUL, np.random.default_rng(0))
    assert perturbed.context == (DriveContext("rain", "boston-seaport"),) * 2
    assert [row.nonzero()[:, 0].tolist() for row in prompted] == [[CAR], [CAR]]


def test_the_region_of_a_mirrored_town_is_unknown():
    """Mirrored once, traffic drives on the wrong side; mirrored twice, the town is only turned."""
    once = flip(frame(1), labels(1)[0], 0)
    twice = flip(*once, 1)
    perturbed, _ = perturb_context(
        collate_frames([once[0], twice[0]]), labels(2), TRUTHFUL, np.random.default_rng(0)
    )
    assert [context.region for context in perturbed.context] == ["unknown", "boston-seaport"]


def test_prompts_are_wrong_as_often_as_asked():
    """In 4,000 frames, three standard deviations of a fraction p are 3 * sqrt(p (1 - p) / 4000), at
    most 0.024.
    """
    config = LanguageTraining(
        no_classes=0.25,
        drop_class=0.4,
        add_class=0.1,
        unknown_weather=0.2,
        wrong_weather=0.1,
        unknown_region=0.3,
    )
    perturbed, prompted = perturb_context(
        frame(4000), labels(4000), config, np.random.default_rng(0)
    )
    assert prompted[:, CAR].float().mean().item() == pytest.approx(0.75 * 0.6, abs=0.024)
    assert prompted[:, BUS].float().mean().item() == pytest.approx(0.75 * 0.1, abs=0.024)
    assert not prompted[:, 0].any() and prompted.shape == (4000, NUM_CLASSES)
    weathers = [context.weather for context in perturbed.context]
    assert weathers.count("unknown") / 4000 == pytest.approx(0.2, abs=0.024)
    assert weathers.count("rain") / 4000 == pytest.approx(0.7, abs=0.024)
    assert weathers.count("clear") > 0 and weathers.count("night") > 0  # the wrong ones
    regions = [context.region for context in perturbed.context]
    assert regions.count("unknown") / 4000 == pytest.approx(0.3, abs=0.024)


@pytest.fixture
def config(smallest: TrainConfig) -> TrainConfig:
    pytest.importorskip("wordllama", reason="the sentence encoder's weights come with wordllama")
    model = replace(smallest.model, language=LanguageConfig())
    return replace(smallest, model=model, language=LanguageTraining())


def test_a_model_with_prompts_trains_and_says_who_embedded_them(config: TrainConfig):
    model, description = load_checkpoint(train(config))
    assert description["made_by"]["text_encoder"]["weights"].startswith("wordllama")
    assert model.prompts.embeddings.square().mean().item() == pytest.approx(1.0, abs=1e-3)
    sharpness = torch.nn.functional.softplus(model.weather_fusion.sharpness).item()
    assert sharpness != pytest.approx(1.0, abs=1e-4)  # its initial value; Adam steps by 3e-3


def test_lora_learns_and_its_embedded_prompts_are_kept(config: TrainConfig, small_clip: Path):
    language = LanguageTraining(clip=small_clip)
    config = replace(
        config,
        model=replace(config.model, language=LanguageConfig(width=24)),
        language=language,
        ema_decay=0.0,
    )
    model, description = load_checkpoint(train(config))
    untouched = text_encoder(small_clip)
    assert not torch.allclose(model.prompts.embeddings, untouched(list(PROMPTS)), atol=1e-4)
    lora_weights = torch.load(config.out / "state.pt", weights_only=False)["encoder"]
    untouched.load_state_dict(lora_weights, strict=False)
    # the kept ones were embedded at the start of the last step, one update earlier
    kept, last = model.prompts.embeddings, untouched(list(PROMPTS))
    assert torch.nn.functional.cosine_similarity(kept, last).min() > 0.99
    assert description["made_by"]["text_encoder"]["revision"].startswith("sha256 ")


def test_prompts_are_embedded_once_a_step(
    config: TrainConfig, small_clip: Path, monkeypatch: pytest.MonkeyPatch
):
    """In two steps of two frames each, and once before the first."""
    calls = []
    plain = ClipTextEncoder.forward
    monkeypatch.setattr(
        ClipTextEncoder,
        "forward",
        lambda self, texts: calls.append(len(texts)) or plain(self, texts),
    )
    model = replace(config.model, language=LanguageConfig(width=24), temporal=TemporalConfig())
    train(replace(config, model=model, language=LanguageTraining(clip=small_clip), clip=2))
    assert calls == [len(PROMPTS)] * 3


def test_probabilities_are_in_range():
    with pytest.raises(ValueError, match="drop_class must be in"):
        LanguageTraining(drop_class=1.5)
