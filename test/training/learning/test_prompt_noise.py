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
from training.learning.augment import flip
from training.learning.prompt_noise import LanguageTraining, tell
from training.learning.text_encoder import ClipTextEncoder, text_encoder
from training.recipes import TrainConfig, debug
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


def test_the_truth_where_nothing_is_noisy():
    told, named = tell(frame(2), labels(2), TRUTHFUL, np.random.default_rng(0))
    assert told.context == (DriveContext("rain", "boston-seaport"),) * 2
    assert [row.nonzero()[:, 0].tolist() for row in named] == [[CAR], [CAR]]


def test_a_mirrored_town_is_told_no_region():
    """Traffic keeps to the other side there. Mirrored twice, it is only turned round."""
    once, twice = (flip(frame(1), 0), flip(flip(frame(1), 0), 1))
    told, _ = tell(collate_frames([once, twice]), labels(2), TRUTHFUL, np.random.default_rng(0))
    assert [context.region for context in told.context] == ["unknown", "boston-seaport"]


def test_prompts_err_as_often_as_asked():
    """Of 4,000 frames; three standard deviations of a share p are 3 * sqrt(p (1 - p) / 4000), 0.024
    at most.
    """
    config = LanguageTraining(
        no_classes=0.25,
        drop_class=0.4,
        add_class=0.1,
        unknown_weather=0.2,
        wrong_weather=0.1,
        unknown_region=0.3,
    )
    told, named = tell(frame(4000), labels(4000), config, np.random.default_rng(0))
    assert named[:, CAR].float().mean().item() == pytest.approx(0.75 * 0.6, abs=0.024)
    assert named[:, BUS].float().mean().item() == pytest.approx(0.75 * 0.1, abs=0.024)
    assert not named[:, 0].any() and named.shape == (4000, NUM_CLASSES)
    weathers = [context.weather for context in told.context]
    assert weathers.count("unknown") / 4000 == pytest.approx(0.2, abs=0.024)
    assert weathers.count("rain") / 4000 == pytest.approx(0.7, abs=0.024)
    assert weathers.count("clear") > 0 and weathers.count("night") > 0  # the wrong ones
    assert [context.region for context in told.context].count("unknown") / 4000 == pytest.approx(
        0.3, abs=0.024
    )


@pytest.fixture
def config(box_town: Path, tmp_path: Path) -> TrainConfig:
    pytest.importorskip("wordllama", reason="the sentence encoder's weights come with wordllama")
    model = replace(debug().model, language=LanguageConfig())
    run = replace(
        debug(), data=box_town, out=tmp_path / "run", steps=4, epoch_steps=2, device="cpu"
    )
    return replace(run, model=model, language=LanguageTraining())


def test_a_model_with_prompts_trains_and_says_who_embedded_them(config: TrainConfig):
    model, description = load_checkpoint(train(config))
    assert description["made_by"]["text_encoder"]["weights"].startswith("wordllama")
    assert model.prompts.embeddings.square().mean().item() == pytest.approx(1.0, abs=1e-3)
    with torch.no_grad():
        fresh = torch.nn.functional.softplus(torch.tensor(np.log(np.e - 1))).item()
    assert torch.nn.functional.softplus(model.weather_fusion.sharpness).item() != pytest.approx(
        fresh, abs=1e-7
    )


def test_lora_learns_and_its_prompts_are_what_is_kept(config: TrainConfig, small_clip: Path):
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
    learned_weights = torch.load(config.out / "state.pt", weights_only=False)["encoder"]
    untouched.load_state_dict(learned_weights, strict=False)
    # what is kept was embedded at the last step's start, one update before
    kept, last = model.prompts.embeddings, untouched(list(PROMPTS))
    assert torch.nn.functional.cosine_similarity(kept, last).min() > 0.99
    assert description["made_by"]["text_encoder"]["revision"].startswith("sha256 ")


def test_prompts_are_embedded_once_a_step(
    config: TrainConfig, small_clip: Path, monkeypatch: pytest.MonkeyPatch
):
    """Two steps of two frames each; and once before the first."""
    calls = []
    plain = ClipTextEncoder.forward
    monkeypatch.setattr(
        ClipTextEncoder,
        "forward",
        lambda self, texts: calls.append(len(texts)) or plain(self, texts),
    )
    model = replace(config.model, language=LanguageConfig(width=24), temporal=TemporalConfig())
    train(
        replace(
            config,
            model=model,
            language=LanguageTraining(clip=small_clip),
            clip=2,
            steps=2,
            epoch_steps=2,
        )
    )
    assert calls == [len(PROMPTS)] * 3


def test_prompts_and_their_training_are_given_together(config: TrainConfig):
    with pytest.raises(ValueError, match="given together"):
        replace(config, language=None)
    with pytest.raises(ValueError, match="given together"):
        replace(debug(), language=LanguageTraining())


def test_lora_cannot_go_on_from_a_checkpoint(config: TrainConfig, small_clip: Path):
    with pytest.raises(ValueError, match="no LoRA weights"):
        replace(
            config, language=LanguageTraining(clip=small_clip), start_from=Path("model.safetensors")
        )


def test_shares_are_shares():
    with pytest.raises(ValueError, match="drop_class must be in"):
        LanguageTraining(drop_class=1.5)
