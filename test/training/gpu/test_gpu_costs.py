from pathlib import Path

import pytest
import torch

from training.gpu import costs
from training.gpu.costs import RenderingCost, measure_gauss_render, waiting


def test_the_overhead_is_a_fraction_of_a_step_without_it():
    assert RenderingCost(without_ms=400.0, with_ms=500.0).overhead == 0.25  # 100 of 400


def test_a_gpu_is_waited_for(monkeypatch):
    events: list[str] = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: events.append(str(device)))
    waiting(lambda: events.append("asked"), torch.device("cuda"))()
    waiting(lambda: events.append("done"), torch.device("cpu"))()
    assert events == ["asked", "cuda", "done"]


def test_both_training_steps_are_timed(box_town: Path, monkeypatch):
    timed = []

    def once(steps, repeats):
        timed.append((set(steps), repeats))
        return {"without": 100.0, "with": 130.0}

    monkeypatch.setattr(costs, "medians_ms", once)
    cost = measure_gauss_render(box_town, torch.device("cpu"), repeats=3)
    assert timed == [({"without", "with"}, 3)] and cost.overhead == pytest.approx(0.3)
