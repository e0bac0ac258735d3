import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from occ_core.losses.gauss_render.loss import GaussRenderConfig
from occ_core.losses.sequential.renderer import SequentialRendererConfig
from training.learning.objective import LossWeights
from training.recipes import nano_town
from training.results.fingerprint import fingerprint, stored_fingerprint


def test_a_training_is_recognised_by_all_but_seed_and_folder():
    nano = nano_town()
    known = fingerprint(nano)
    assert fingerprint(replace(nano, seed=nano.seed + 1, out=Path("elsewhere"))) == known
    assert fingerprint(replace(nano, steps=nano.steps + 1)) != known
    assert fingerprint(replace(nano, by_drive=True)) != known


def test_a_stored_configuration_has_the_same_fingerprint(tmp_path: Path):
    config = asdict(nano_town()) | {"an_option_of_the_past": False, "another": None}
    (tmp_path / "config.json").write_text(json.dumps(config, default=str))
    assert stored_fingerprint(tmp_path) == fingerprint(nano_town())


def test_options_of_the_renderer_that_came_later_leave_a_training_as_it_was(tmp_path: Path):
    """Faint voxels were always left out below 0.02; another bound is another training."""
    recipe = replace(nano_town(), gauss_render=GaussRenderConfig())
    earlier: dict[str, Any] = asdict(recipe)
    for name in ("min_opacity", "inside_only", "learned_opacity", "max_depths_m"):
        del earlier["gauss_render"][name]
    (tmp_path / "config.json").write_text(json.dumps(earlier, default=str))
    assert stored_fingerprint(tmp_path) == fingerprint(recipe)
    foggy = replace(recipe, gauss_render=GaussRenderConfig(min_opacity=1 / 255))
    assert fingerprint(foggy) != fingerprint(recipe)


def test_options_that_came_later_leave_a_training_as_it_was(tmp_path: Path):
    """Two keyframes were rendered, inputs not masked, and rare classes weighed more."""
    recipe = replace(nano_town(), rendering=SequentialRendererConfig())
    earlier: dict[str, Any] = asdict(recipe)
    del earlier["rendering"]["frames"]
    del earlier["model"]["masked_inputs"]
    del earlier["losses"]["class_balance"]
    (tmp_path / "config.json").write_text(json.dumps(earlier, default=str))
    known = stored_fingerprint(tmp_path)
    assert known == fingerprint(recipe)
    for other in (
        replace(recipe, rendering=SequentialRendererConfig(frames=5)),
        replace(recipe, model=replace(recipe.model, masked_inputs=True)),
        replace(recipe, losses=LossWeights(class_balance=0.0)),
    ):
        assert fingerprint(other) != known
