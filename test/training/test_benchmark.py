import json
import sys

import pytest

from training import benchmark
from training.benchmark import BenchmarkConfig, run


@pytest.mark.parametrize(
    "name", ["markers", "pointcloud", "synchronizer", "model_cpu", "voxelise", "splat", "sampling"]
)
def test_the_sides_give_the_same_result(name: str):
    result = run(name, repeats=1)
    assert result.equal and result.ours_ms > 0
    assert result.ratio == min(result.rivals_ms.values()) / result.ours_ms


def test_the_command_writes_what_it_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(
        sys, "argv", ["benchmark", "synchronizer", "--repeats", "1", "--out", str(tmp_path)]
    )
    benchmark.main()
    written = json.loads((tmp_path / "synchronizer.json").read_text())
    assert {"name", "equal", "ours_ms", "rivals_ms", "ratio", "machine"} == written.keys()


def test_a_benchmark_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="no benchmark is named"):
        BenchmarkConfig(names=("speed",))
