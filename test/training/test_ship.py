import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from occ_core.build import build_model
from occ_core.checkpoint import load_checkpoint, save_checkpoint
from occ_core.config import debug
from occ_core.datasets.frames import NuScenesFrames
from training.learning.examples import count_voxels
from training.ship import ShipConfig, ship


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    path = tmp_path / "run" / "model.safetensors"
    save_checkpoint(
        path,
        build_model(debug()),
        {"command": "python -m training.train debug", "seed": 1, "step": 20},
    )
    return path


def test_shipped_weights_are_half_as_large_and_load(trained: Path, box_town: Path, tmp_path: Path):
    to = tmp_path / "shipped" / "small.safetensors"
    scores = ship(ShipConfig(trained, data=box_town, to=to, note="a test"))
    assert to.stat().st_size < 0.6 * trained.stat().st_size
    loaded, description = load_checkpoint(to)
    assert loaded.config.refine_above == 0.5
    half = load_file(trained)["head.coarse.weight"].half().float()
    assert torch.equal(loaded.state_dict()["head.coarse.weight"], half)
    expected = {
        "command": "python -m training.train debug",
        "seed": 1,
        "step": 20,
        "note": "a test",
        "scores": scores,
    }
    # As text, since the scores of classes that never occur are NaN, which equals nothing.
    assert json.dumps(description["made_by"]) == json.dumps(expected)
    assert scores["unseen_towns"]["frames"] == 6


def test_the_mean_of_two_trainings_is_shipped(trained: Path, box_town: Path, tmp_path: Path):
    other, to = tmp_path / "start.safetensors", tmp_path / "shipped.safetensors"
    torch.manual_seed(1)
    save_checkpoint(other, build_model(debug()), {})
    ship(ShipConfig(trained, data=box_town, to=to, average_with=other))
    first, second, shipped = load_file(trained), load_file(other), load_file(to)
    assert not torch.equal(first["head.coarse.weight"], second["head.coarse.weight"])
    for name in shipped:
        mean = (first[name] + second[name]) / 2
        torch.testing.assert_close(shipped[name].float(), mean.float(), atol=1e-3, rtol=1e-3)
    _, description = load_checkpoint(to)
    assert description["made_by"]["averaged_with"] == "start.safetensors"


def test_another_model_is_not_averaged(trained: Path, box_town: Path, tmp_path: Path):
    other = tmp_path / "other.safetensors"
    save_checkpoint(other, build_model(replace(debug(), channels=16)), {})
    to = tmp_path / "shipped.safetensors"
    with pytest.raises(ValueError, match="checkpoint of another model"):
        ship(ShipConfig(trained, data=box_town, to=to, average_with=other))
    assert not to.exists()


def test_class_weights_are_taken_out_of_the_answers(trained: Path, box_town: Path, tmp_path: Path):
    """Of two classes a and b with frequencies f, a gains log(w_b / w_a) = log(f_a / f_b) / 2."""
    to = tmp_path / "shipped.safetensors"
    ship(ShipConfig(trained, data=box_town, to=to, trained_on=box_town, class_balance=0.5))
    before, after = load_file(trained), load_file(to)
    frames = NuScenesFrames(box_town, image_size=debug().image_size, grid=debug().grid)
    counts = count_voxels(frames)
    a, b = counts[1:].argsort(descending=True)[:2].tolist()
    gain = float((counts[1 + a] / counts[1 + b]).log() / 2)
    for name in ("head.coarse.bias", "head.refine.3.bias"):
        change = (after[name].float() - before[name])[1:]
        assert float(change[a] - change[b]) == pytest.approx(gain, abs=5e-3)
    for name in before.keys() - {"head.coarse.bias", "head.refine.3.bias"}:
        assert torch.equal(after[name], before[name].half()), name
    _, description = load_checkpoint(to)
    assert description["made_by"]["class_weights"] == "taken out (class_balance 0.5)"
