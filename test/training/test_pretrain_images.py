import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from occ_core.backbones.image_context import ImageContextConfig
from occ_core.build import build_model
from occ_core.checkpoint import save_checkpoint
from training.learning.augment import AugmentConfig
from training.learning.config import TrainConfig
from training.learning.objective import LossWeights
from training.learning.pretrained import initial_model
from training.pretrain_images import TAUGHT_ANEW, PretrainImagesConfig, main, pretrain_images


@pytest.fixture
def trained(smallest: TrainConfig, tmp_path: Path) -> Path:
    """A model whose image branch is another."""
    torch.manual_seed(5)
    path = tmp_path / "trained.safetensors"
    save_checkpoint(path, build_model(replace(smallest.model, image_classes=True)), {})
    return path


@pytest.fixture
def recipe(smallest: TrainConfig, trained: Path) -> TrainConfig:
    encoder = replace(
        smallest.model.image_encoder,
        backbone="efficientnet_lite0",
        context=ImageContextConfig(channels=8, blocks=1, coarser_blocks=1),
    )
    return replace(
        smallest,
        model=replace(smallest.model, image_classes=True, image_encoder=encoder),
        losses=LossWeights(image_classes=0.5),
        backbone_rate=0.0,
        workers=0,
        start_from=trained,
        start_without=TAUGHT_ANEW,
    )


def _config(trained: Path, tmp_path: Path, steps: int) -> PretrainImagesConfig:
    return PretrainImagesConfig(
        recipe="image_context_streets",
        start_from=trained,
        to=tmp_path / "new" / "taught.safetensors",
        passes=1,
        steps=steps,
        images=2,
        learning_rate=1e-2,
    )


def test_the_branch_learns_and_nothing_else(recipe: TrainConfig, trained: Path, tmp_path: Path):
    config = _config(trained, tmp_path, 60)
    losses = pretrain_images(config, recipe)
    first = pretrain_images(replace(config, steps=1, to=tmp_path / "first.safetensors"), recipe)
    assert losses["image_classes"] < 0.8 * first["image_classes"]
    assert losses["depth"] < first["depth"]
    before, after = load_file(trained), load_file(config.to)
    start = load_file(tmp_path / "first.safetensors")
    for name in before:
        if name.split(".")[0] not in TAUGHT_ANEW:
            assert torch.equal(after[name], before[name]), name
    changed = {name for name in after if not torch.equal(after[name], start[name])}
    assert not any(name.startswith("image_encoder.backbone") for name in changed)
    for part in ("lateral", "context", "out"):
        assert any(name.startswith(f"image_encoder.{part}") for name in changed), part
    assert any(name.startswith("view_transform.depth") for name in changed)
    assert any(name.startswith("image_classes") for name in changed)


def test_the_same_seed_gives_the_same_weights(recipe: TrainConfig, trained: Path, tmp_path: Path):
    config = _config(trained, tmp_path, 3)
    again = replace(config, to=tmp_path / "again.safetensors")
    for each in (config, again):
        pretrain_images(each, recipe)
    one, other = load_file(config.to), load_file(again.to)
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"backbone_rate": 0.3}, "backbone_rate is 0.3, and must be 0"),
        ({"backbone_rate": None}, "backbone_rate is None, and must be 0"),
    ],
)
def test_a_backbone_that_learns_is_refused(
    change: dict[str, object], message: str, recipe: TrainConfig, trained: Path, tmp_path: Path
):
    with pytest.raises(ValueError, match=message):
        pretrain_images(_config(trained, tmp_path, 1), replace(recipe, **change))


def test_a_resnets_batch_norms_stay_too(recipe: TrainConfig, trained: Path, tmp_path: Path):
    """Its running statistics would follow the images in training mode."""
    encoder = replace(recipe.model.image_encoder, backbone=None)
    resnet = replace(recipe, model=replace(recipe.model, image_encoder=encoder))
    torch.manual_seed(1)
    before = initial_model(resnet).image_encoder.state_dict()
    pretrain_images(_config(trained, tmp_path, 2), resnet)
    after = load_file(tmp_path / "new" / "taught.safetensors")
    kept = [name for name in before if name.startswith("backbone")]
    assert any("running_mean" in name for name in kept)
    for name in kept:
        assert torch.equal(after[f"image_encoder.{name}"], before[name]), name


def test_without_any_image_it_says_so(recipe: TrainConfig, trained: Path, tmp_path: Path):
    hidden = replace(recipe, augment=AugmentConfig(drop_all_cameras=1.0))
    with pytest.raises(ValueError, match="no keyframe has a visible image"):
        pretrain_images(_config(trained, tmp_path, 1), hidden)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"to": Path("weights.pt")}, "to must be a .safetensors file, got 'weights.pt'"),
        ({"recipe": "no_such"}, "no recipe is called 'no_such'; choose from debug"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
    ],
)
def test_bad_options_are_refused(change: dict[str, object], message: str, tmp_path: Path):
    with pytest.raises(ValueError, match=message):
        replace(_config(tmp_path / "trained.safetensors", tmp_path, 1), **change)


def test_a_missing_checkpoint_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    start, to = tmp_path / "nowhere.safetensors", tmp_path / "to.safetensors"
    paths = ["--start-from", str(start), "--to", str(to)]
    arguments = ["training.pretrain_images", "image_context_streets", *paths]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit, match="nowhere.safetensors"):
        main()
