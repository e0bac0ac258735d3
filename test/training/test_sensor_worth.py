"""Pairs of checkpoints with and without a sensor."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from occ_core.build import build_model
from occ_core.checkpoint import save_checkpoint
from occ_core.config import debug
from training.sensor_worth import SensorWorthConfig, check_pairs, differences, main, sensor_worth


def checkpoint(folder: Path, seed: int, step: int = 10, **changes: object) -> Path:
    torch.manual_seed(seed)
    path = folder / "-".join([*map(str, changes), str(seed), str(step)]) / "model.safetensors"
    model = build_model(replace(debug(), **changes))
    save_checkpoint(path, model, {"seed": seed, "step": step})
    return path


def test_differences_are_paired() -> None:
    ours, theirs = [{"miou": 0.5}, {"miou": 0.75}], [{"miou": 0.25}, {"miou": 0.25}]
    # 0.25 and 0.5: mean 0.375, standard deviation 0.125 * sqrt(2), over sqrt(2): 0.125
    assert differences(ours, theirs) == {
        "miou": {
            "with": {"mean": 0.625, "stderr": pytest.approx(0.125), "values": [0.5, 0.75]},
            "without": {"mean": 0.25, "stderr": 0.0, "values": [0.25, 0.25]},
            "worth": {"mean": 0.375, "stderr": pytest.approx(0.125), "values": [0.25, 0.5]},
        }
    }


def test_both_sensors_are_compared(
    box_town: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lists = {
        "--fused": [str(checkpoint(tmp_path, seed)) for seed in (1, 2)],
        "--lidar-only": [str(checkpoint(tmp_path, seed, camera=False)) for seed in (1, 2)],
        "--camera-only": [str(checkpoint(tmp_path, seed, lidar=False)) for seed in (1, 2)],
    }
    words = [word for option, paths in lists.items() for word in (option, *paths)]
    out = tmp_path / "worth.json"
    monkeypatch.setattr(
        "sys.argv",
        ["worth", *words, "--data", str(box_town), "--keyframes", "1", "--json", str(out)],
    )
    main()
    stored = json.loads(out.read_text())
    assert stored["pairs"] == 2 and list(stored["worth"]) == ["cameras", "LiDAR"]
    for metrics in stored["worth"].values():
        assert list(metrics) == [
            f"{sweeps}{place}{name}"
            for sweeps in ("", "one_sweep_")
            for place in ("", "camera_mask_")
            for name in ("miou", "iou", "miou_clear")
        ]
        for sides in metrics.values():
            pairs = zip(sides["with"]["values"], sides["without"]["values"], strict=True)
            assert sides["worth"]["values"] == [ours - theirs for ours, theirs in pairs]
    # without LiDAR, fewer sweeps change nothing
    without = {name: sides["without"] for name, sides in stored["worth"]["LiDAR"].items()}
    assert without["one_sweep_miou"] == without["miou"]


def test_pairs_must_be_alike(tmp_path: Path) -> None:
    fused, blind = checkpoint(tmp_path, 1), checkpoint(tmp_path, 1, camera=False)

    def check(lidar_only: Path) -> None:
        check_pairs(SensorWorthConfig(fused=(fused,), lidar_only=(lidar_only,), data=tmp_path))

    check(blind)
    with pytest.raises(ValueError, match="given as lidar_only, but has camera=True"):
        check(fused)
    for other in (checkpoint(tmp_path, 2, camera=False), checkpoint(tmp_path, 1, 20, camera=False)):
        with pytest.raises(ValueError, match="differ in grid, seed or steps"):
            check(other)
    coarse = replace(
        debug(), camera=False, grid=debug().grid.coarser(2), lidar_voxel_m=2.0, volume_blocks=(1,)
    )
    save_checkpoint(tmp_path / "coarse.safetensors", build_model(coarse), {"seed": 1, "step": 10})
    with pytest.raises(ValueError, match="differ in grid, seed or steps"):
        check(tmp_path / "coarse.safetensors")


def test_wrong_lists_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = (tmp_path / "a",), (tmp_path / "a", tmp_path / "b")
    with pytest.raises(ValueError, match="give lidar_only, camera_only or both"):
        SensorWorthConfig(fused=one, data=tmp_path)
    with pytest.raises(ValueError, match="in pairs, got 2 of fused and 1 of camera_only"):
        SensorWorthConfig(fused=two, camera_only=one, data=tmp_path)
    with pytest.raises(ValueError, match="keyframes must be at least 1"):
        SensorWorthConfig(fused=one, lidar_only=one, data=tmp_path, keyframes=0)
    gone = str(tmp_path / "gone.safetensors")
    words = ["worth", "--fused", gone, "--lidar-only", gone, "--data", str(tmp_path)]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit, match="training.sensor_worth: .*gone.safetensors"):
        main()
    with pytest.raises(ValueError, match="gone"):
        sensor_worth(
            SensorWorthConfig(fused=(Path(gone),), lidar_only=(Path(gone),), data=tmp_path)
        )
