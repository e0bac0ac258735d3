import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from occ_core.adaptive_fusion import AdaptiveFusionConfig
from occ_core.checkpoint import load_checkpoint
from occ_core.config import SurroundOccConfig, TPVFormerConfig
from occ_core.interface import Prediction, VoxelModel
from occ_core.losses.gauss_render.loss import GaussRenderConfig
from occ_core.losses.sequential.renderer import RenderingConfig
from occ_core.model import OccupancyModel
from occ_core.prompts import LanguageConfig
from occ_core.temporal import TemporalConfig
from occ_core.types import Frame, TemporalMemory
from training.learning.objective import LossWeights
from training.learning.prompt_noise import LanguageTraining
from training.recipes import RECIPES, TrainConfig, debug, tiny_town
from training.train import train


@pytest.fixture
def config(box_town: Path, tmp_path: Path) -> TrainConfig:
    return replace(
        debug(),
        data=box_town,
        out=tmp_path / "run",
        steps=6,
        epoch_steps=6,
        device="cpu",
        learning_rate=3e-3,
    )


def curve(out: Path, name: str) -> list[float]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(out / "curves"))
    events.Reload()
    return [event.value for event in events.Scalars(name)]


def test_loss_falls_and_everything_is_written(config: TrainConfig):
    config = replace(config, steps=40, epoch_steps=40, augment=None)
    checkpoint = train(config)
    first, last = curve(config.out, "loss/total")  # steps 20, 40
    assert last < 0.9 * first
    model, description = load_checkpoint(checkpoint)
    assert model.config == config.model
    scores = description["made_by"]["validation"]
    assert description["made_by"]["seed"] == config.seed and scores["frames"] == 2
    # a flat road fills the ground layer: any learning finds it
    assert scores["iou"] > 0.2
    assert [path.name for path in (config.out / "pictures").iterdir()] == ["step_000040.png"]
    assert json.loads((config.out / "config.json").read_text())["steps"] == 40


def test_the_adaptive_fuser_is_annealed_and_its_choices_are_logged(config: TrainConfig):
    model = replace(config.model, adaptive_fusion=AdaptiveFusionConfig())
    trained, _ = load_checkpoint(train(replace(config, model=model, steps=20, ema_decay=0.0)))
    shares = [curve(config.out, f"neighbours/k{k}") for k in (1, 2, 3)]
    assert sum(share[0] for share in shares) == pytest.approx(1.0)
    assert float(trained.fusion.image_queries[0].selector.temperature) == pytest.approx(0.1)


@pytest.mark.parametrize(
    "voxels",
    [LossWeights(), LossWeights(cross_entropy=0, lovasz=0, depth=0)],
    ids=["beside", "alone"],
)
def test_what_is_rendered_becomes_right(voxels: LossWeights, config: TrainConfig):
    """Beside the voxels' losses, and as the only supervision (GaussRender's 2D mode)."""
    gauss_render = GaussRenderConfig(strategy="sensor")
    config = replace(
        config, steps=40, epoch_steps=40, augment=None, losses=voxels, gauss_render=gauss_render
    )
    checkpoint = train(config)
    first, last = curve(config.out, "loss/rendered_bev")  # steps 20, 40
    assert last < 0.9 * first
    assert not any("render" in name for name in load_checkpoint(checkpoint)[0].state_dict())


def test_rendering_may_begin_later(config: TrainConfig):
    loss = GaussRenderConfig(strategy="sensor")
    train(replace(config, steps=40, epoch_steps=40, gauss_render=loss, gauss_render_from=0.5))
    assert len(curve(config.out, "loss/total")) == 2  # steps 20, 40
    assert len(curve(config.out, "loss/rendered_bev")) == 1  # steps 21 to 40


@pytest.mark.parametrize("host", [TPVFormerConfig, SurroundOccConfig])
def test_a_host_learns_with_and_from_renders(host: type, config: TrainConfig):
    tpvformer = TPVFormerConfig(
        channels=16, heads=2, layers=1, pillars=(2, 4, 4), samples=(4, 4, 4), levels=3
    )
    surroundocc = SurroundOccConfig(channels=(32, 32), layers=(1, 1), samples=(2, 2), heads=2)
    shape: dict[str, object] = (
        {"tpvformer": tpvformer} if host is TPVFormerConfig else {"surroundocc": surroundocc}
    )
    encoder = replace(config.model.image_encoder, stride=8)
    model = replace(config.model, lidar=False, cascade_ratio=1, image_encoder=encoder, **shape)
    config = replace(
        config,
        model=model,
        steps=40,
        epoch_steps=40,
        augment=None,
        gauss_render=GaussRenderConfig(strategy="sensor", weight=1.0),
    )
    checkpoint = train(config)
    first, last = curve(config.out, "loss/total")  # steps 20, 40
    assert last < first
    assert load_checkpoint(checkpoint)[0].config == model
    if host is SurroundOccConfig:  # taught at a quarter and at a half of the resolution too
        assert curve(config.out, "loss/lovasz_4") and curve(config.out, "loss/cross_entropy_2")


@pytest.mark.parametrize("whole_model", [False, True], ids=["base", "whole"])
def test_resume_continues_bit_for_bit(
    whole_model: bool, config: TrainConfig, small_clip: Path, tmp_path: Path
):
    """Six steps at once, and three steps, a stop, three more: the same weights to the last bit.

    With the papers' parts also the noise of the selection, the drives' memories, what was seen of
    them, the cameras drawn, what the prompts said and what LoRA has learned have to come back.
    """
    if whole_model:
        model = replace(
            config.model,
            adaptive_fusion=AdaptiveFusionConfig(),
            temporal=TemporalConfig(),
            language=LanguageConfig(width=24),
        )
        config = replace(
            config,
            model=model,
            streams=2,
            clip=1,
            forget=0.3,
            rendering=RenderingConfig(inner_steps=2, image_scale=0.5),
            gauss_render=GaussRenderConfig(),
            language=LanguageTraining(clip=small_clip),
        )
    whole = train(replace(config, epoch_steps=3))
    # the stop: the state of step 3 alone is left, as after a crash at step 5
    interrupted = replace(config, out=tmp_path / "interrupted", epoch_steps=3)
    states = []
    original = torch.save
    with pytest.MonkeyPatch.context() as patch:

        def save_once(state: object, path: object, *args: object) -> None:
            if states:
                raise KeyboardInterrupt
            states.append(state)
            original(state, path, *args)

        patch.setattr(torch, "save", save_once)
        with pytest.raises(KeyboardInterrupt):
            train(interrupted)
    resumed = train(interrupted, resume=True)
    expected, got = (load_checkpoint(path)[0].state_dict() for path in (whole, resumed))
    assert all(torch.equal(expected[name], got[name]) for name in expected)
    final = [
        torch.load(run / "state.pt", weights_only=False)["optimiser"]["state"]
        for run in (config.out, interrupted.out)
    ]
    assert all(torch.equal(final[0][key]["exp_avg"], final[1][key]["exp_avg"]) for key in final[0])


def test_the_volumes_are_aligned(config: TrainConfig):
    config = replace(config, steps=40, epoch_steps=40, augment=None, losses=LossWeights(daga=20.0))
    train(config)
    first, last = curve(config.out, "loss/daga")  # steps 20, 40
    assert last < 0.9 * first


def test_a_stop_before_the_last_report_is_made_up_for(config: TrainConfig):
    checkpoint = train(config)
    weights = load_checkpoint(checkpoint)[0].state_dict()
    for written in (checkpoint, checkpoint.with_suffix(".json")):
        written.unlink()
    again = load_checkpoint(train(config, resume=True))[0].state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in weights.items())


def test_a_run_is_not_overwritten(config: TrainConfig):
    config.out.mkdir()
    (config.out / "state.pt").touch()
    with pytest.raises(FileExistsError, match="--resume"):
        train(config)


def test_missing_data_are_named(config: TrainConfig, tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        train(replace(config, data=tmp_path / "nowhere"))


def test_too_few_scenes_are_an_error(config: TrainConfig):
    with pytest.raises(ValueError, match="3 scenes, of which 3 are for validation"):
        train(replace(config, validation_scenes=3))


def test_config_refuses_nonsense():
    with pytest.raises(ValueError, match=r"TrainConfig.steps must be at least 1, got 0"):
        replace(debug(), steps=0)
    with pytest.raises(ValueError, match="daga"):
        replace(debug(), losses=LossWeights(daga=0.2), model=replace(debug().model, lidar=False))
    with pytest.raises(ValueError, match=r"forget must be in \[0, 1\], got 1.5"):
        replace(debug(), model=replace(debug().model, temporal=TemporalConfig()), forget=1.5)
    with pytest.raises(ValueError, match="no memory"):
        replace(debug(), forget=0.5)
    with pytest.raises(ValueError, match="truth_renders"):
        replace(debug(), truth_renders=Path("renders"))
    with pytest.raises(
        ValueError, match="gauss_render_from is of TrainConfig.gauss_render, which is not given"
    ):
        replace(debug(), gauss_render_from=0.5)
    with pytest.raises(ValueError, match=r"gauss_render_from must be in \[0, 1\), got 1"):
        replace(debug(), gauss_render=GaussRenderConfig(), gauss_render_from=1.0)
    with pytest.raises(ValueError, match="ema_decay"):
        replace(debug(), ema_decay=1.0)


def test_bfloat16_trains_with_poses_in_full(config: TrainConfig):
    """A memory that is moved by poses of single precision would jitter: world coordinates reach
    kilometres.
    """
    model = replace(config.model, temporal=TemporalConfig())
    config = replace(config, model=model, precision="bf16", steps=2, epoch_steps=2, clip=1)
    train(config)
    state = torch.load(config.out / "state.pt", weights_only=False)
    memory = next(iter(state["memories"].values()))
    (pose,) = memory["world_from_grid"]
    assert (
        pose.dtype == torch.float64 and state["model"]["temporal.out.weight"].dtype == torch.float32
    )


def test_a_memory_needs_as_many_streams_as_a_step_advances(config: TrainConfig):
    with pytest.raises(ValueError, match="streams must be batch_size 2 or more, got 1"):
        replace(
            config, model=replace(config.model, temporal=TemporalConfig()), batch_size=2, streams=1
        )


@pytest.mark.parametrize(("forget", "share"), [(None, 1.0), (0.5, 0.5), (1.0, 0.0)])
def test_memories_are_forgotten_as_often_as_asked(
    forget: float | None, share: float, config: TrainConfig, monkeypatch: pytest.MonkeyPatch
):
    """Drives of two keyframes: the second of each has a memory, unless it is forgotten."""
    had: list[bool] = []

    def forward(
        self: VoxelModel, frame: Frame, memory: TemporalMemory | None = None, named: object = None
    ) -> Prediction:
        had.append(memory is not None)
        return plain(self, frame, memory, named)

    plain = OccupancyModel.forward
    monkeypatch.setattr(OccupancyModel, "forward", forward)
    monkeypatch.setattr("training.train._report", lambda *_: None)
    train(
        replace(
            config,
            model=replace(config.model, temporal=TemporalConfig()),
            forget=forget,
            clip=2,
            steps=20,
        )
    )
    assert had[::2] == [False] * 20
    # of twenty, half of them: two standard deviations are 0.22
    assert sum(had[1::2]) / 20 == pytest.approx(share, abs=0.25 if forget == 0.5 else 0.0)


def test_recipes_are_complete_configs():
    assert [recipe.__name__ for recipe in RECIPES][0] == "debug"
    assert all(isinstance(recipe(), TrainConfig) for recipe in RECIPES)
    assert tiny_town().model.grid.shape == (200, 200, 16)
