import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
import tyro

from training import gpu_check as module
from training.gpu.costs import RenderingCost, measure_preset
from training.gpu.operators import OperatorResult
from training.gpu_check import (
    GpuCheckConfig,
    NoGpuError,
    cost_text,
    gpu_check,
    operator_text,
    usable_device,
)


def test_without_a_gpu_it_says_so(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(NoGpuError, match="finds no CUDA device.*--device cpu"):
        gpu_check(GpuCheckConfig())
    assert usable_device("cpu") == torch.device("cpu")


def test_the_cpu_build_of_spconv_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(module, "HAS_CUDA", False)
    with pytest.raises(NoGpuError, match="pip install .*spconv-cu120"):
        usable_device("cuda")


def test_the_report_on_the_cpu(box_town: Path, tmp_path: Path, capfd, monkeypatch):
    def here(program: str, name: str, options: list[str]) -> dict[str, float]:
        assert program == "training.gpu_check"
        asked = tyro.cli(GpuCheckConfig, args=["--here", *options])
        device = usable_device(asked.device)
        return asdict(measure_preset(asked.presets[0], asked.data, device, asked.repeats))

    monkeypatch.setattr(module, "measure_in_own_process", here)
    # what GaussRender costs is not measured here: a training step of the shipped model takes long
    cost = RenderingCost(without_ms=200.0, with_ms=260.0)
    monkeypatch.setattr(module, "measure_gauss_render", lambda *_: cost)
    out = tmp_path / "gpu.json"
    config = GpuCheckConfig(device="cpu", presets=("debug",), data=box_town, repeats=1, out=out)
    gpu_check(config)
    report, text = json.loads(out.read_text()), capfd.readouterr().out
    assert max(report["operators"].values()) <= 1e-4
    debug = report["presets"]["debug"]
    assert debug["latency_ms"] > 0 and debug["memory_gb"] > 0.1  # it has loaded torch
    assert report["gauss_render"]["overhead"] == pytest.approx(0.3)  # 260 / 200 - 1
    assert "a training step takes 30% longer" in text
    assert "TACOcc, RTX A6000                    600.0 ms   11.78 GB" in text


def test_lines_say_what_differs():
    assert operator_text(OperatorResult("splat", 2e-4)).endswith("DIFFERS by more than 1e-04")
    assert operator_text(OperatorResult("splat", 5e-5)).endswith("equal")
    # 1000 / 7.8
    assert cost_text("DAOcc", {"latency_ms": 1000 / 7.8}).split() == ["DAOcc", "128.2", "ms"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"presets": ("huge",)}, "no presets .*huge"),
        ({"repeats": 0}, "at least 1"),
        ({"here": True}, "exactly one preset"),
    ],
)
def test_nonsense_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        GpuCheckConfig(**fields)
