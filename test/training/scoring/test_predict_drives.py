from dataclasses import replace
from pathlib import Path

import pytest
import torch

from occ_core.build import build_model
from occ_core.checkpoint import save_checkpoint
from occ_core.config import debug
from occ_core.labels.benchmarks import BENCHMARKS
from training.evaluate import EvaluateConfig, evaluate
from training.results.stored import to_json


def write_checkpoint(path: Path, seed: int) -> Path:
    config = replace(debug(), grid=BENCHMARKS["surroundocc"].grid.coarser(4), volume_blocks=(1,))
    torch.manual_seed(seed)
    save_checkpoint(path, build_model(config), {})
    return path


def local_run(data: Path, folder: Path) -> EvaluateConfig:
    return EvaluateConfig(
        data=data,
        checkpoint=write_checkpoint(folder / "model.safetensors", 0),
        write_predictions=folder / "files",
        engine="local",
    )


def test_drives_predicted_in_other_processes_score_as_in_this_one(box_town: Path, tmp_path: Path):
    checkpoint = write_checkpoint(tmp_path / "model.safetensors", 0)
    here = EvaluateConfig(data=box_town, checkpoint=checkpoint, write_predictions=tmp_path / "here")
    there = replace(here, write_predictions=tmp_path / "there", engine="local")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the other processes
    try:
        assert to_json(evaluate(there)) == to_json(evaluate(here))
    finally:
        torch.set_num_threads(threads)
    names = sorted(path.name for path in (tmp_path / "here").glob("*.npy"))
    assert len(names) == 6  # three drives of two keyframes
    for name in names:
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes()


def test_a_stopped_run_continues_and_another_checkpoint_predicts_anew(
    box_town: Path, tmp_path: Path
):
    first = replace(local_run(box_town, tmp_path), workers=1)
    evaluate(replace(first, scenes=("scene-box-1",)))
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "files").glob("*.npy")}
    assert len(written) == 2
    evaluate(first)
    assert len(list((tmp_path / "files").glob("*.npy"))) == 6
    assert {path: path.stat().st_mtime_ns for path in written} == written
    files = {path: path.read_bytes() for path in (tmp_path / "files").glob("*.npy")}
    second = write_checkpoint(tmp_path / "second.safetensors", 1)
    evaluate(replace(first, checkpoint=second))
    assert all(path.stat().st_mtime_ns > written[path] for path in written)
    assert {path: path.read_bytes() for path in files} != files
    # back to the first: its drives were complete before the second replaced their files
    evaluate(first)
    assert {path: path.read_bytes() for path in files} == files


def test_a_drive_that_is_not_there_is_refused_before_anything_is_predicted(
    box_town: Path, tmp_path: Path
):
    config = replace(local_run(box_town, tmp_path), scenes=("scene-box-1", "scene-0061"))
    with pytest.raises(ValueError, match=r"\['scene-0061'\] are not among the 3 drives"):
        evaluate(config)
    assert not (tmp_path / "files").exists()


def test_options_that_do_not_go_together_are_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="--engine ray predicts .* by --write-predictions"):
        EvaluateConfig(data=tmp_path, engine="ray")
    with pytest.raises(ValueError, match="predicts on CPUs, got --device cuda"):
        EvaluateConfig(data=tmp_path, engine="ray", write_predictions=tmp_path, device="cuda")
    with pytest.raises(ValueError, match="--pictures needs the sensors"):
        EvaluateConfig(data=tmp_path, predictions=tmp_path, pictures=tmp_path)
    with pytest.raises(ValueError, match="leave out --damaged skip"):
        EvaluateConfig(data=tmp_path, engine="local", write_predictions=tmp_path, damaged="skip")
