"""The command for labelled drives."""

import json
from pathlib import Path

import pytest
import torch

from occ_core.build import build_model
from occ_core.checkpoint import save_checkpoint
from occ_core.config import debug
from training.yardsticks import YardsticksConfig, main


def test_the_command_prints_tables_and_writes_json(
    box_town: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    torch.manual_seed(0)
    checkpoint, out = tmp_path / "model.safetensors", tmp_path / "new" / "scores.json"
    save_checkpoint(checkpoint, build_model(debug()), {})
    words = f"--data {box_town} --checkpoint {checkpoint} --json {out} --keyframes 1"
    monkeypatch.setattr("sys.argv", ["yardsticks", *words.split()])
    main()
    printed = capsys.readouterr().out
    assert "| % | all sensors | one sweep | without cameras | without LiDAR |" in printed
    stored = json.loads(out.read_text())
    assert stored["command"].startswith("python -m training.yardsticks --data")
    assert {each["frames"] for each in stored["conditions"].values()} == {3}


def test_wrong_arguments_end_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="keyframes must be at least 1, got 0"):
        YardsticksConfig(data=tmp_path, keyframes=0)
    monkeypatch.setattr("sys.argv", ["yardsticks", "--data", str(tmp_path / "nowhere")])
    with pytest.raises(SystemExit, match="training.yardsticks: .*nowhere"):
        main()
