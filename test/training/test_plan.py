from pathlib import Path

import pytest

from training.plan import PlanConfig, Usage, _keyframes_per_step, cost, measure, plan
from training.results.plan_table import plan_table


def test_a_program_is_measured_with_its_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A child of the program computes for a third of a second of processor time."""
    (tmp_path / "busy.py").write_text(
        "import subprocess, sys, time\n"
        "code = 'import time\\nwhile time.process_time() < 0.33: pass'\n"
        "subprocess.run([sys.executable, '-c', code], check=True)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    usage = measure(["busy"])
    assert usage.cpu_s >= 0.33 and usage.peak_mib > 1


def test_a_program_that_fails_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "failing.py").write_text("raise SystemExit(3)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(RuntimeError, match=r"-m failing --now ended with exit status 3"):
        measure(["failing", "--now"])


def test_the_start_of_a_program_drops_out():
    """10 s to start and 2 s a keyframe: 14 s for 2 keyframes, 30 s for 10, of which 8 are more."""
    less, more = Usage(14.0, 9.0, 100.0), Usage(30.0, 25.0, 120.0)
    assert cost([less, more], 8) == {"cpu_s": 2.0, "wall_s": 2.0, "peak_mib": 120.0}
    with pytest.raises(ValueError, match="larger part of the data"):
        cost([more, less], 8)


def test_full_data_sets_are_multiples_of_a_keyframe():
    """nuScenes: 34,149 x 3.6 s = 34.1 core hours; 28,130 x 24 x 3.6 s = 675 hours on one core, 0.44
    days on 64; 6,019 x 1.8 s = 3.0 hours. Labels: 34,149 x 50 kB = 1.7 GB.
    """
    each = {"wall_s": 1.0, "peak_mib": 2048.0}
    plan = {
        "tasks": {
            "labels": {"cpu_s": 3.6, **each},
            "training": {"cpu_s": 3.6, **each},
            "evaluation": {"cpu_s": 1.8, **each},
        },
        "label_bytes": 50_000,
        "recipe": "nano_town",
        "machine": "a laptop",
    }
    table = plan_table(plan)
    assert "| labels at 0.5 m, once | 3.60 | 2.0 GiB | 34 | 0.022 | 341 | 0.22 |" in table
    assert "| training, 24 epochs | 3.60 | 2.0 GiB | 675 | 0.44 | 6,751 | 4.4 |" in table
    assert "| 1.80 | 2.0 GiB | 3 | 0.002 | 30 | 0.02 |" in table
    assert "50 kB a keyframe: 1.7 GB for nuScenes, 17 GB" in table


def test_a_step_counts_all_its_keyframes():
    """``context_town`` has a memory: clips of two keyframes; ``tiny_town`` takes one keyframe."""
    assert (_keyframes_per_step("context_town"), _keyframes_per_step("tiny_town")) == (2, 1)


@pytest.mark.timeout(900)  # starts five programs
def test_tasks_are_run_on_one_scene_and_on_two(box_town: Path, monkeypatch: pytest.MonkeyPatch):
    """The programs run in earnest; their times, which a busy machine would decide, are made up: the
    n-th takes n seconds, so that two more keyframes or twelve more steps of one keyframe take 1 s.
    Label tasks say themselves what they took.
    """
    runs: list[list[str]] = []

    def timed(arguments: list[str]) -> Usage:
        measure(arguments)
        runs.append(arguments)
        return Usage(float(len(runs)), float(len(runs)), 100.0)

    monkeypatch.setattr("training.plan.measure", timed)
    result = plan(PlanConfig(box_town, recipe="debug"))
    programs = ["training.make_labels", *["training.train"] * 2, *["training.evaluate"] * 2]
    assert [run[0] for run in runs] == programs
    costs = {name: task["cpu_s"] for name, task in result["tasks"].items()}
    assert costs.pop("labels") > 0
    assert costs == {"training": 1 / 12, "evaluation": 1 / 2}
    assert any(argument.endswith("model.safetensors") for argument in runs[-1])
    assert result["label_bytes"] > 100
