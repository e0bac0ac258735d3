import json
from pathlib import Path

import pytest
import torch
from torch import nn

from occ_core.build import build_model
from occ_core.config import debug
from occ_core.datasets.frames import NuScenesFrames
from occ_core.engine import OccupancyEngine
from occ_core.types import Frame
from training.profile import ProfileConfig, profile, profile_models, profile_text


@pytest.fixture
def frame(box_town: Path) -> Frame:
    shape = debug()
    return NuScenesFrames(box_town, None, None, shape.image_size, 9, shape.grid)[0][0]


def test_every_part_that_runs_is_measured_and_the_rest_is_the_difference(frame):
    torch.manual_seed(0)
    engine = OccupancyEngine(build_model(debug()))
    answers = []
    measured = profile(engine, lambda: answers.append(engine.step(frame)), repeats=3)
    assert len(answers) == 4  # one more, which is not measured
    stages, step = measured["stages"], measured["step"]
    assert {"image_encoder", "view_transform", "lidar_encoder", "volume_encoder", "head"} <= set(
        stages
    )
    for kind in ("cpu_ms", "wall_ms"):
        assert all(stages[name][kind] >= 0 for name in stages if name != "rest")
        parts = sum(times[kind] for name, times in stages.items() if name != "rest")
        # parts that run side by side may take more wall time together than the step
        assert stages["rest"][kind] == pytest.approx(max(0.0, step[kind] - parts))
    assert not any(
        module._forward_hooks or module._forward_pre_hooks for module in engine.model.children()
    )


def test_hooks_are_removed_after_an_error(frame):
    torch.manual_seed(0)
    engine = OccupancyEngine(build_model(debug()))
    steps = iter([lambda: engine.step(frame), lambda: 1 / 0])
    with pytest.raises(ZeroDivisionError):
        profile(engine, lambda: next(steps)(), repeats=1)
    assert not any(isinstance(m, nn.Module) and m._forward_hooks for m in engine.model.children())


def test_the_table_lists_the_most_expensive_part_first():
    times = {"few": (1.0, 2.0), "many": (3.0, 1.0)}
    stages = {name: {"cpu_ms": cpu, "wall_ms": wall} for name, (cpu, wall) in times.items()}
    measured = {
        "threads": 2,
        "peak_memory_mib": 512.0,
        "stages": stages,
        "step": {"cpu_ms": 4.0, "wall_ms": 3.0},
    }
    lines = profile_text("model", measured).splitlines()
    assert lines[0] == "model: 2 threads, peak memory 512 MiB"
    assert [line.split()[0] for line in lines[2:]] == ["many", "few", "step"]
    assert lines[2].split() == ["many", "3.0", "1.0", "75.0%"]  # 3 of 4


def test_a_model_is_measured_in_its_own_process(box_town: Path, tmp_path: Path, capfd):
    out = tmp_path / "profile.json"
    config = ProfileConfig(models=("debug",), data=box_town, repeats=1, threads=1, out=out)
    profile_models(config)
    stored = json.loads(out.read_text())["models"]["debug"]
    assert stored["threads"] == 1 and stored["peak_memory_mib"] > 100  # it has loaded torch
    assert "head" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"repeats": 0}, "repeats must be at least 1, got 0"),
        ({"threads": 0}, "threads must be at least 1, got 0"),
        ({"models": ("shipped", "tiny"), "here": True}, "exactly one model"),
    ],
)
def test_nonsense_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        ProfileConfig(**fields)


def test_an_unknown_model_is_refused(box_town: Path):
    with pytest.raises(RuntimeError, match="model 'huge' ended with exit status"):
        profile_models(ProfileConfig(models=("huge",), data=box_town))
