import importlib
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest

from occ_core.build import build_model
from occ_core.checkpoint import save_checkpoint
from occ_core.config import debug
from occ_core.labels.benchmarks import BENCHMARKS
from training.engines.resumable import finish_drives
from training.engines.tasks import map_tasks
from training.evaluate import EvaluateConfig, evaluate
from training.make_labels import LabelConfig, make_labels
from training.make_world import WorldConfig, make_world
from training.results.stored import to_json

SCENES = ("scene-box-1", "scene-box-2")
# The workers are processes of their own, which import what they run.
TASKS = '''
import os
import signal


def double(number):
    return 2 * number


def refuse(number):
    raise ValueError(f"{number} is refused")


def call_but_die_once(out, load, task, died):
    """Its process is killed when all files are written, but before the drive counts as complete."""
    counts = task(out, load)
    if not died.exists():
        died.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return counts
'''


@pytest.fixture
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    (tmp_path / "mapped_tasks.py").write_text(TASKS)
    monkeypatch.syspath_prepend(tmp_path)
    # Ray starts its workers afresh.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    return importlib.import_module("mapped_tasks")


@pytest.fixture
def cluster(tasks: ModuleType) -> Iterator[None]:
    """A Ray cluster of this machine, with two cores."""
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install '.[ray]'")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".parts" not in path.parts
    }


def test_the_local_engine_gives_every_result_by_name(tasks: ModuleType) -> None:
    numbers = {str(number): number for number in range(5)}
    results = dict(map_tasks("local", tasks.double, numbers, 2, "json"))
    assert results == {"0": 0, "1": 2, "2": 4, "3": 6, "4": 8}


def test_an_error_of_a_task_ends_the_local_engine(tasks: ModuleType) -> None:
    with pytest.raises(ValueError, match="3 is refused"):
        list(map_tasks("local", tasks.refuse, {"three": 3}, 2, "json"))


def test_without_ray_its_engine_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # an import now fails
    with pytest.raises(RuntimeError, match=r"not installed: pip install '\.\[ray\]'"):
        list(map_tasks("ray", str, {"one": 1}, 2, "json"))


@pytest.mark.usefixtures("cluster")
def test_labels_of_a_cluster_with_a_killed_worker_equal_the_local_ones(
    tasks: ModuleType, box_town: Path, tmp_path: Path
) -> None:
    local = LabelConfig(box_town, tmp_path / "local", ("surroundocc",), scenes=SCENES)
    make_labels(local)
    died = tmp_path / "died"
    config = LabelConfig(box_town, tmp_path / "ray", ("surroundocc",), scenes=SCENES, engine="ray")
    # Ray's own run of make_labels, in which a task takes its process with it.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "training.make_labels.finish_drives",
            lambda out, layout, drives, task, workers, engine, preload: finish_drives(
                out,
                layout,
                drives,
                partial(tasks.call_but_die_once, task=task, died=died),
                workers,
                engine,
                preload,
            ),
        )
        counts = make_labels(config)
    assert died.exists()
    assert counts["surroundocc"]["drives"] == len(SCENES)
    made = files(tmp_path / "ray")
    assert made == files(tmp_path / "local")
    assert not [name for name in made if name.endswith(".part")]
    # A second run finds everything complete.
    assert make_labels(config)["surroundocc"]["drives"] == 0


@pytest.mark.usefixtures("cluster")
def test_predictions_of_a_cluster_score_as_those_of_this_machine(
    box_town: Path, tmp_path: Path
) -> None:
    grid = BENCHMARKS["surroundocc"].grid.coarser(4)
    checkpoint = tmp_path / "model.safetensors"
    save_checkpoint(checkpoint, build_model(replace(debug(), grid=grid, volume_blocks=(1,))), {})
    local = EvaluateConfig(
        data=box_town, checkpoint=checkpoint, write_predictions=tmp_path / "local", engine="local"
    )
    scores = evaluate(replace(local, write_predictions=tmp_path / "ray", engine="ray"))
    assert to_json(scores) == to_json(evaluate(local))
    assert files(tmp_path / "ray") == files(tmp_path / "local")


@pytest.mark.timeout(900)  # makes four town drives
@pytest.mark.usefixtures("cluster")
def test_a_world_of_a_cluster_has_the_bytes_of_this_machine_s(tmp_path: Path) -> None:
    local = WorldConfig(tmp_path / "local", 2, seed=3, keyframes=1, image_size=(36, 64))
    make_world(local)
    make_world(replace(local, out=tmp_path / "ray", engine="ray"))
    assert files(tmp_path / "ray") == files(tmp_path / "local")


@pytest.mark.usefixtures("cluster")
def test_an_error_of_a_task_ends_the_ray_engine(tasks: ModuleType) -> None:
    with pytest.raises(ValueError, match="3 is refused"):
        list(map_tasks("ray", tasks.refuse, {"three": 3}, 2, "json"))
