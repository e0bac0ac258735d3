import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from training import benchmark
from training.benchmark import BENCHMARKS, BenchmarkConfig, run
from training.benchmarks.definition import Benchmark

FAST = (
    *("markers", "pointcloud", "synchronizer", "model_cpu", "voxelise", "splat", "sampling"),
    *("read_semantic_kitti", "read_kitti360", "image_encoder", "volume_encoder"),
    *("depthwise", "group_norm"),
)


@contextmanager
def counting(*, baseline: int = 3) -> Iterator[Benchmark]:
    """Candidate 1 + 2 against a number."""
    yield Benchmark(
        candidate=lambda: 1 + 2, baselines={"number": lambda: baseline}, same=lambda a, b: a == b
    )


@pytest.mark.parametrize("name", FAST)
def test_candidate_and_baselines_give_the_same_result(name: str) -> None:
    with BENCHMARKS[name]() as definition:
        expected = definition.candidate()
        for baseline in definition.baselines.values():
            assert definition.same(expected, baseline())


def test_the_command_writes_its_measurements(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setitem(BENCHMARKS, "counting", counting)
    monkeypatch.setattr(
        sys, "argv", ["benchmark", "counting", "--repeats", "2", "--out", str(tmp_path)]
    )
    benchmark.main()
    written = json.loads((tmp_path / "counting.json").read_text())
    assert list(written) == ["name", "equal", "ours_ms", "rivals_ms", "ratio", "machine"]
    assert written["equal"] and list(written["rivals_ms"]) == ["number"]
    assert "counting ... equal; ours" in capsys.readouterr().out


def test_the_ratio_is_the_fastest_baseline_over_the_candidate(monkeypatch) -> None:
    medians = {"ours": 4.0, "slow": 30.0, "fast": 6.0}
    monkeypatch.setattr(benchmark, "medians_ms", lambda functions, repeats, clock: dict(medians))
    monkeypatch.setitem(BENCHMARKS, "counting", counting)
    result = run("counting", repeats=1)
    assert (result.ours_ms, result.rivals_ms) == (4.0, {"slow": 30.0, "fast": 6.0})
    assert result.ratio == 6.0 / 4.0


def test_different_results_are_an_error(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(BENCHMARKS, "counting", lambda: counting(baseline=4))
    monkeypatch.setattr(sys, "argv", ["benchmark", "counting", "--out", str(tmp_path)])
    with pytest.raises(SystemExit, match="The results differ in: counting"):
        benchmark.main()
    assert not json.loads((tmp_path / "counting.json").read_text())["equal"]


def test_unknown_benchmarks_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"unknown benchmarks \['speed'\]; known"):
        BenchmarkConfig(names=("speed",))
