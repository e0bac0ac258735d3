"""``occ_export`` as a user runs it, and what it writes, run in Python and in C++."""

import shutil
import subprocess
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from torch.utils import cpp_extension

from occ_core.checkpoint import SHIPPED, load_checkpoint
from occ_core.config import OccupancyConfig
from occ_core.engine import AnswerError, OccupancyEngine
from occ_core.export.command import ExportConfig, export
from occ_core.export.compare import MAX_DIFFERING, compare
from occ_core.export.engine import ExportedEngine
from occ_core.export.package import ExportedModel, ExportedModelError
from occ_core.export.step import ExportError
from occ_core.image_encoder import ImageEncoderConfig

FEW = 1e-3
"""Fraction of voxels that may differ, see test_export_step.py."""

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++")


@pytest.fixture(scope="module")
def graph(small_checkpoint, occ_export, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("graph") / "small.pt2"
    occ_export("--checkpoint", small_checkpoint, "--out", path, "--kind", "graph", "--cameras", 2)
    return path


@pytest.fixture(scope="module")
def compiled(small_checkpoint, occ_export, tmp_path_factory) -> Path:
    """Machine code for bfloat16, which has operators of its own; the graph computes in float32."""
    path = tmp_path_factory.mktemp("compiled") / "small.pt2"
    options = ("--checkpoint", small_checkpoint, "--out", path, "--cameras", 2)
    occ_export(*options, "--precision", "bf16")
    return path


def test_the_exported_model_has_all_options_of_the_shipped_one(small_checkpoint):
    """Else it shows nothing of whether that one can be exported."""
    small, shipped = (load_checkpoint(path)[0].config for path in (small_checkpoint, SHIPPED))
    off = _off(small) | _off(small.image_encoder)
    assert off - _off(shipped) - _off(shipped.image_encoder) - {"backbone"} == set()


def _off(config: OccupancyConfig | ImageEncoderConfig) -> set[str]:
    """Names of the options that are not switched on."""
    return {each.name for each in fields(config) if getattr(config, each.name) in (None, False)}


def test_a_graph_answers_as_the_model(graph, small_checkpoint, drive):
    engine = OccupancyEngine.from_checkpoint(small_checkpoint, precision="fp32")
    exported = ExportedEngine(ExportedModel(graph))
    found = compare(engine, exported, drive)
    assert found.frames == len(drive) and found.differing <= FEW
    # a gap of 4.5 s, of 2 s bridged: both forget, and say so
    late = replace(drive[0], stamp_ns=(7_000_000_000,))
    first, second = engine.step(late), exported.step(late)
    assert "4.500 s after" in str(first.memory_reset) and first.memory_reset == second.memory_reset
    assert first.checkpoint == second.checkpoint and second.checkpoint.startswith("small.")
    assert first.frame_id == second.frame_id == "lidar"
    assert second.sensor_weights == pytest.approx(first.sensor_weights, abs=1e-5)


def test_tensors_are_named_in_the_order_of_the_program(graph):
    description = ExportedModel(graph).description
    sensors, memory = description.inputs[:8], description.inputs[8:]
    assert len(set(description.inputs)) == 15  # 8 of the sensors, 7 of the memory
    assert sensors[0] == "images" and sensors[5:] == ("world_from_grid", "weather", "region")
    assert memory[:2] == ("hidden", "cell") and memory[-1] == "classes"
    assert description.outputs == ("labels", "probability", "sensor_weights", *memory)


def test_a_reset_forgets(graph, drive):
    exported = ExportedEngine(ExportedModel(graph))
    first = exported.step(drive[0])
    later = exported.step(drive[2])
    exported.reset("test")
    assert not torch.equal(later.probability, exported.step(drive[2]).probability)
    exported.reset("test")
    assert torch.equal(first.probability, exported.step(drive[0]).probability)


def test_an_answer_that_is_not_finite_is_refused_and_forgotten(graph, drive):
    exported = ExportedEngine(ExportedModel(graph))
    first = exported.step(drive[0])
    spoilt = replace(drive[1], points=(torch.full((50, 5), torch.nan),))
    spoilt.points[0][:, :3] = 1.0  # in the grid, of unknown intensity
    with pytest.raises(AnswerError, match="not finite"):
        exported.step(spoilt)
    assert torch.equal(first.probability, exported.step(drive[0]).probability)


def test_a_frame_that_the_program_does_not_take_is_refused(graph, drive, make_frame):
    exported = ExportedEngine(ExportedModel(graph))
    with pytest.raises(ValueError, match=r"\[1, 3, 3, 64, 192\].*takes \[1, 2, 3, 64, 192\]"):
        exported.step(make_frame(cameras=3))


def test_what_cannot_be_made_or_compared_is_refused_before_the_long_export(
    small_checkpoint, make_frame, tmp_path, monkeypatch
):
    def too_late(*_: object) -> None:
        raise AssertionError("exported")

    monkeypatch.setattr("occ_core.export.command.export_step", too_late)
    config = ExportConfig(checkpoint=small_checkpoint, out=tmp_path / "small.pt2", cameras=3)
    with pytest.raises(ExportedModelError, match=r"is a .pt2 file, got '.*small.onnx'"):
        export(replace(config, out=tmp_path / "small.onnx"))
    with pytest.raises(FileNotFoundError, match="nowhere"):
        export(replace(config, data=tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="device must be cpu, cuda or cuda:N, got 'gpu'"):
        export(replace(config, device="gpu"))
    keyframes = [(make_frame(cameras=6), None)]
    monkeypatch.setattr("occ_core.export.command.NuScenesFrames", lambda *_: keyframes)
    with pytest.raises(ExportError, match=r"have 6 cameras.*take 3; use --cameras 6"):
        export(replace(config, data=tmp_path))
    assert not list(tmp_path.iterdir())


@needs_compiler
def test_machine_code_answers_as_the_model(compiled, small_checkpoint, drive):
    engine = OccupancyEngine.from_checkpoint(small_checkpoint, precision="bf16")
    found = compare(engine, ExportedEngine(ExportedModel(compiled)), drive)
    assert found.frames == len(drive) and found.differing <= MAX_DIFFERING["bf16"]
    assert found.model_ms > 0 and found.exported_ms > 0


@needs_compiler
def test_a_program_in_cpp_gives_the_same_answer(compiled, repository, tmp_path):
    program, answer = tmp_path / "run_package", tmp_path / "answer.pt"
    (libraries,) = cpp_extension.library_paths()
    subprocess.run(
        [
            *("g++", "-std=c++20", repository / "occ_core" / "export" / "run_package.cpp"),
            *(f"-I{folder}" for folder in cpp_extension.include_paths()),
            *(f"-L{libraries}", f"-Wl,-rpath,{libraries}", "-Wl,--no-as-needed"),
            *("-ltorch", "-ltorch_cpu", "-lc10", "-o", program),
        ],
        check=True,
    )
    inputs = compiled.with_suffix(".inputs.pt")
    done = subprocess.run(
        [program, compiled, inputs, "2", answer], capture_output=True, text=True, check=True
    )
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == ["frame 0", "frame 1"]

    model = ExportedModel(compiled)
    names = model.description.inputs
    tensors = dict(zip(names, torch.load(inputs), strict=True))
    sensors, memory = ({name: tensors[name] for name in part} for part in (names[:8], names[8:]))
    for _ in range(2):
        expected, memory = model(sensors, memory)
    found = torch.load(answer)
    by_name = dict(zip(model.description.outputs, found, strict=True))
    for name, tensor in expected.items():
        torch.testing.assert_close(by_name[name], tensor)
    missing = subprocess.run([program, compiled, "/nowhere.pt"], capture_output=True, text=True)
    assert missing.returncode == 1 and "cannot read '/nowhere.pt'" in missing.stderr
    none = subprocess.run([program, compiled, inputs, "abc"], capture_output=True, text=True)
    assert none.returncode == 2 and none.stderr.startswith("usage: run_package MODEL.pt2")
    other = subprocess.run([program, inputs, inputs], capture_output=True, text=True)
    assert other.returncode == 1 and "must be of occ_export --kind compiled" in other.stderr
