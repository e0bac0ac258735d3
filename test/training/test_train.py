import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from occ_core.adaptive_fusion import AdaptiveFusionConfig
from occ_core.checkpoint import load_checkpoint
from occ_core.config import SurroundOccConfig, TPVFormerConfig
from occ_core.interface import Prediction, VoxelModel
from occ_core.losses.gauss_render.loss import GaussRenderConfig
from occ_core.losses.sequential.renderer import SequentialRendererConfig
from occ_core.model import OccupancyModel
from occ_core.prompts import LanguageConfig
from occ_core.temporal import TemporalConfig
from occ_core.types import Frame, TemporalMemory
from occ_core.voxel_grid import SURROUNDOCC_GRID
from training.figures.keyframe import keyframe_picture
from training.learning.config import TrainConfig
from training.learning.examples import count_voxels
from training.learning.loader import split_frames
from training.learning.objective import LossWeights
from training.learning.prompt_noise import LanguageTraining
from training.learning.random_streams import Purpose, random_stream
from training.recipes import RECIPES, tiny_town
from training.train import _set_up, main, train

WITHOUT_VOXELS = LossWeights(cross_entropy=0, lovasz=0, depth=0)


@pytest.fixture(autouse=True)
def every_step_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.train.LOG_STEPS", 1)


def curve(config: TrainConfig, name: str) -> list[float]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(config.out / "curves"))
    events.Reload()
    return [event.value for event in events.Scalars(name)]


def relative_change(values: list[float]) -> float:
    """The last quarter's mean over the first step's value."""
    return float(np.mean(values[-(len(values) // 4) :])) / values[0]


def test_loss_falls_and_everything_is_written(
    smallest: TrainConfig, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("training.train.keyframe_picture", keyframe_picture)
    config = replace(smallest, steps=30, epoch_steps=30, validation_frames=2)
    checkpoint = train(config)
    assert relative_change(curve(config, "loss/total")) < 0.8
    model, description = load_checkpoint(checkpoint)
    assert model.config == config.model
    scores = description["made_by"]["validation"]
    assert description["made_by"]["seed"] == config.seed and scores["frames"] == 2
    # a flat road fills the ground layer: any learning finds it
    assert scores["iou"] > 0.2
    assert [path.name for path in (config.out / "pictures").iterdir()] == ["step_000030.png"]
    assert json.loads((config.out / "config.json").read_text())["steps"] == 30


def test_the_adaptive_fuser_is_annealed_and_its_choices_are_logged(smallest: TrainConfig):
    model = replace(smallest.model, adaptive_fusion=AdaptiveFusionConfig(strides=(1,)))
    config = replace(smallest, model=model, ema_decay=0.0)
    trained, _ = load_checkpoint(train(config))
    fractions = [curve(config, f"neighbours/k{k}") for k in (1, 2, 3)]
    for step in range(2):
        assert sum(fraction[step] for fraction in fractions) == pytest.approx(1.0)
    assert float(trained.fusion.image_queries[0].selector.temperature) == pytest.approx(0.1)


@pytest.mark.parametrize("voxels", [LossWeights(), WITHOUT_VOXELS], ids=["beside", "alone"])
def test_what_is_rendered_becomes_right(voxels: LossWeights, smallest: TrainConfig):
    """On top of the voxel losses, and as the only supervision (GaussRender's 2D mode)."""
    gauss_render = GaussRenderConfig(strategy="sensor")
    config = replace(smallest, steps=20, epoch_steps=20, losses=voxels, gauss_render=gauss_render)
    checkpoint = train(config)
    assert relative_change(curve(config, "loss/rendered_bev")) < 0.9
    assert not any("render" in name for name in load_checkpoint(checkpoint)[0].state_dict())


def test_rendering_may_begin_later(smallest: TrainConfig):
    loss = GaussRenderConfig(strategy="sensor")
    config = replace(smallest, gauss_render=loss, gauss_render_from=0.5)
    train(config)
    assert len(curve(config, "loss/total")) == 2
    assert len(curve(config, "loss/rendered_bev")) == 1  # in the second of two steps


@pytest.mark.parametrize("baseline", [TPVFormerConfig, SurroundOccConfig])
def test_a_baseline_learns_with_and_from_renders(baseline: type, smallest: TrainConfig):
    shape: dict[str, object]
    if baseline is TPVFormerConfig:
        tpvformer = TPVFormerConfig(
            channels=16, heads=2, layers=1, pillars=(2, 4, 4), samples=(4, 4, 4), levels=3
        )
        shape = {"tpvformer": tpvformer}
    else:
        surroundocc = SurroundOccConfig(channels=(32, 32), layers=(1, 1), samples=(2, 2), heads=2)
        # its two levels need a grid that can be halved twice
        shape = {"surroundocc": surroundocc, "grid": SURROUNDOCC_GRID.coarser(2)}
    encoder = replace(smallest.model.image_encoder, stride=8)
    model = replace(smallest.model, lidar=False, cascade_ratio=1, image_encoder=encoder, **shape)
    config = replace(
        smallest,
        model=model,
        steps=8,
        epoch_steps=8,
        gauss_render=GaussRenderConfig(strategy="sensor", weight=1.0),
    )
    checkpoint = train(config)
    assert relative_change(curve(config, "loss/total")) < 0.9
    assert load_checkpoint(checkpoint)[0].config == model
    if baseline is SurroundOccConfig:  # supervised at a quarter and at half of the resolution too
        assert curve(config, "loss/lovasz_4") and curve(config, "loss/cross_entropy_2")


def stopped_in_second_save() -> Callable[..., None]:
    """``torch.save`` that is interrupted when it is called for the second time."""
    original, saved = torch.save, []

    def save(state: object, path: object, *args: object) -> None:
        if saved:
            raise KeyboardInterrupt
        saved.append(path)
        original(state, path, *args)

    return save


@pytest.mark.parametrize("whole_model", [False, True], ids=["base", "whole"])
def test_resume_continues_bit_for_bit(
    whole_model: bool, smallest: TrainConfig, small_clip: Path, tmp_path: Path
):
    """Four steps at once; and two steps, two that are lost by a stop, and these two again.

    With all parts of the papers, the noise of the selection, the drives' memories and past views,
    the virtual cameras, the opacity network, the prompts and LoRA's weights have to come back too.
    """
    config = replace(smallest, steps=4, epoch_steps=2)
    if whole_model:
        model = replace(
            config.model,
            adaptive_fusion=AdaptiveFusionConfig(strides=(1,)),
            temporal=TemporalConfig(),
            language=LanguageConfig(width=24),
        )
        config = replace(
            config,
            model=model,
            streams=2,
            clip=1,
            forget=0.3,
            rendering=SequentialRendererConfig(inner_steps=2, image_scale=0.5),
            gauss_render=GaussRenderConfig(learned_opacity=True),
            language=LanguageTraining(clip=small_clip),
        )
    whole = train(config)
    interrupted = replace(config, out=tmp_path / "interrupted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "save", stopped_in_second_save())
        with pytest.raises(KeyboardInterrupt):
            train(interrupted)
    assert torch.load(interrupted.out / "state.pt", weights_only=False)["step"] == 2
    resumed = train(interrupted, resume=True)
    expected, got = (load_checkpoint(path)[0].state_dict() for path in (whole, resumed))
    assert all(torch.equal(expected[name], got[name]) for name in expected)
    final = [
        torch.load(run / "state.pt", weights_only=False)["optimiser"]["state"]
        for run in (config.out, interrupted.out)
    ]
    assert all(torch.equal(final[0][key]["exp_avg"], final[1][key]["exp_avg"]) for key in final[0])


def test_the_volumes_are_aligned(smallest: TrainConfig):
    losses = replace(WITHOUT_VOXELS, daga=1.0)
    config = replace(smallest, steps=20, epoch_steps=20, losses=losses)
    train(config)
    assert relative_change(curve(config, "loss/daga")) < 0.9


def test_a_stop_before_the_last_report_is_made_up_for(smallest: TrainConfig):
    checkpoint = train(smallest)
    weights = load_checkpoint(checkpoint)[0].state_dict()
    for written in (checkpoint, checkpoint.with_suffix(".json")):
        written.unlink()
    again = load_checkpoint(train(smallest, resume=True))[0].state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in weights.items())


def test_a_run_is_not_overwritten(smallest: TrainConfig):
    smallest.out.mkdir()
    (smallest.out / "state.pt").touch()
    with pytest.raises(FileExistsError, match="--resume"):
        train(smallest)


def test_missing_data_are_named(smallest: TrainConfig, tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        train(replace(smallest, data=tmp_path / "nowhere"))


def test_too_few_scenes_are_an_error(smallest: TrainConfig):
    with pytest.raises(ValueError, match="3 scenes, of which 3 are for validation"):
        train(replace(smallest, validation_scenes=3))


def test_a_loss_that_is_not_finite_stops_the_training(smallest: TrainConfig):
    with pytest.raises(
        FloatingPointError, match="the loss of step 1 is not finite: .*'total': inf"
    ):
        train(replace(smallest, losses=LossWeights(cross_entropy=float("inf"))))


def test_bfloat16_trains_with_poses_in_full(smallest: TrainConfig):
    """World coordinates reach kilometres: a memory moved by poses of single precision would
    jitter.
    """
    model = replace(smallest.model, temporal=TemporalConfig())
    train(replace(smallest, model=model, precision="bf16", steps=1, clip=1))
    state = torch.load(smallest.out / "state.pt", weights_only=False)
    (pose,) = next(iter(state["memories"].values()))["world_from_grid"]
    assert pose.dtype == torch.float64
    assert state["model"]["temporal.out.weight"].dtype == torch.float32


@pytest.mark.parametrize("forget", [None, 0.5, 1.0])
def test_memories_are_forgotten_as_often_as_asked(
    forget: float | None, smallest: TrainConfig, monkeypatch: pytest.MonkeyPatch
):
    """Drives of two keyframes: the second of each has a memory, unless it is forgotten."""
    had: list[bool] = []

    def forward(
        self: VoxelModel, frame: Frame, memory: TemporalMemory | None = None, *rest: object
    ) -> Prediction:
        had.append(memory is not None)
        return plain(self, frame, memory, *rest)

    plain = OccupancyModel.forward
    monkeypatch.setattr(OccupancyModel, "forward", forward)
    monkeypatch.setattr("training.train._report", lambda *_: None)
    model = replace(smallest.model, temporal=TemporalConfig())
    train(replace(smallest, model=model, forget=forget, clip=2, steps=4))
    drawn = [
        random_stream(smallest.seed, step, 1, Purpose.FORGETTING).random() for step in (1, 2, 3, 4)
    ]
    assert had[::2] == [False] * 4
    assert had[1::2] == [number >= (forget or 0.0) for number in drawn]


def test_recipes_are_complete_configs():
    assert [recipe.__name__ for recipe in RECIPES][0] == "debug"
    assert all(isinstance(recipe(), TrainConfig) for recipe in RECIPES)
    assert tiny_town().model.grid.shape == (200, 200, 16)


def test_of_several_processes_one_says_where_the_checkpoint_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("sys.argv", ["train", "debug"])
    monkeypatch.setattr("training.train.train", lambda config, resume: tmp_path / "model")
    monkeypatch.setattr("training.train.rank_zero_only.rank", 1)
    main()
    assert capsys.readouterr().out == ""
    monkeypatch.setattr("training.train.rank_zero_only.rank", 0)
    main()
    assert capsys.readouterr().out == f"trained: {tmp_path / 'model'}\n"


@pytest.mark.parametrize("balance", [0.0, 0.25, 0.5])
def test_a_class_weighs_its_frequency_to_the_power_asked_for(smallest: TrainConfig, balance: float):
    config = replace(smallest, losses=LossWeights(class_balance=balance))
    fabric = Fabric(accelerator="cpu", devices=1)
    training, _ = split_frames(config)
    _, setup = _set_up(config, fabric, training)
    counts = count_voxels(training)[1:]
    present = counts > 0
    weights = setup.class_weights[1:].double()
    # w_a / w_b = (f_a / f_b)^-balance
    common = counts.argmax()
    expected = (counts[present] / counts[common]) ** -balance
    torch.testing.assert_close(weights[present] / weights[common], expected, rtol=1e-5, atol=0)
    assert (balance == 0) == bool((setup.class_weights == 1).all())
