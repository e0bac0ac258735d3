import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from occ_core.build import build_model
from occ_core.checkpoint import load_checkpoint, save_checkpoint
from occ_core.config import debug
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
