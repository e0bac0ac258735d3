"""The command that probes features at points."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from occ_core.build import build_model
from occ_core.checkpoint import save_checkpoint
from occ_core.config import TPVFormerConfig, debug
from training.point_probe import PointProbeConfig, _spread, main, point_probe


@pytest.fixture
def config(box_town: Path, tmp_path: Path) -> PointProbeConfig:
    torch.manual_seed(0)
    checkpoint = tmp_path / "model.safetensors"
    save_checkpoint(checkpoint, build_model(debug()), {})
    return PointProbeConfig(
        checkpoint=checkpoint,
        data=box_town,
        held_out=1,
        keyframes=1,
        points=100,
        sweeps=0,
        json=tmp_path / "probe.json",
    )


def test_drives_are_held_out_and_scores_are_stored(config: PointProbeConfig) -> None:
    document = point_probe(config)
    assert document["drives"] == {"trained_on": 2, "held_out": 1}
    assert document["points"] == {"trained_on": 200, "held_out": 100}
    stored = json.loads(config.json.read_text())
    assert list(stored["features"]) == ["image", "lidar", "fused", "fused_and_image"]
    for scores in stored["features"].values():
        assert 0 <= scores["miou"] <= 1 and 0 <= scores["accuracy"] <= 1
    assert point_probe(config) == document or str(point_probe(config)) == str(document)


def test_the_command_prints_a_table(
    config: PointProbeConfig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = f"{config.checkpoint} --data {config.data} --held-out 1 --keyframes 1 --points 50"
    monkeypatch.setattr("sys.argv", ["probe", *words.split(), "--json", str(config.json)])
    main()
    assert "| fused and image |" in capsys.readouterr().out


def test_keyframes_are_spread_over_the_drive() -> None:
    assert _spread(list(range(10, 20)), 4) == [10, 13, 16, 19]
    assert _spread([5, 6], 4) == [5, 6]
    assert _spread([5, 6, 7], 1) == [5]


def test_wrong_arguments_are_named(
    config: PointProbeConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="3 drives, of which 3 are held out"):
        point_probe(replace(config, held_out=3))
    with pytest.raises(ValueError, match="must be at least 1, got 0, 1 and 100"):
        replace(config, held_out=0)
    baseline = replace(
        debug(),
        lidar=False,
        cascade_ratio=1,
        image_encoder=replace(debug().image_encoder, stride=8),
        tpvformer=TPVFormerConfig(
            channels=16, heads=2, layers=1, pillars=(2, 2, 2), samples=(2, 2, 2), levels=1
        ),
    )
    path = tmp_path / "baseline.safetensors"
    save_checkpoint(path, build_model(baseline), {})
    with pytest.raises(ValueError, match="is a TPVFormer, whose features differ"):
        point_probe(replace(config, checkpoint=path))
    monkeypatch.setattr("sys.argv", ["probe", str(tmp_path / "gone.safetensors")])
    with pytest.raises(SystemExit, match="training.point_probe: .*gone.safetensors"):
        main()
