"""A node that runs a model which ``occ_export`` made."""

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from occ_core.build import build_model
from occ_core.checkpoint import save_checkpoint
from occ_core.config import debug
from occ_core.export.package import Description
from occ_perception_ros.exported import load_exported, mismatches
from occ_perception_ros.node_config import NodeConfig
from occ_perception_ros.occupancy_node import load_engine, model_text
from occ_perception_ros.parameters import ParameterError
from occ_perception_ros.pipeline import file_problems
from occ_perception_ros.ranges import ConfigError

CAMERAS = len(NodeConfig().cameras)
EXPORTED = Description(
    kind="graph",
    device="cpu",
    precision="fp32",
    cameras=CAMERAS,
    frame_id="lidar",
    checkpoint="a.safetensors",
    torch=torch.__version__,
    inputs=(),
    outputs=(),
    config=asdict(debug()),
)


def test_what_is_decided_in_an_exported_model_cannot_be_asked_for_otherwise():
    fits = NodeConfig(exported_model="model.pt2")
    assert mismatches(fits, EXPORTED) == []
    assert mismatches(replace(fits, device="cpu", precision="fp32"), EXPORTED) == []
    device, precision = mismatches(replace(fits, device="cuda", precision="bf16"), EXPORTED)
    assert "made for device cpu, but device is cuda" in device
    assert "occ_export --precision bf16" in precision
    (cameras,) = mismatches(fits, replace(EXPORTED, cameras=1))
    assert f"takes 1 cameras, but cameras names {CAMERAS}" in cameras


def test_parameters_that_do_not_fit_are_refused_before_the_program_is_loaded(tmp_path):
    path = tmp_path / "model.pt2"
    path.write_bytes(b"no program")
    path.with_suffix(".json").write_text(json.dumps(asdict(replace(EXPORTED, cameras=1))))
    with pytest.raises(ParameterError, match="takes 1 cameras"):
        load_exported(NodeConfig(exported_model=str(path)))


def test_two_models_and_missing_files_are_named():
    with pytest.raises(ConfigError, match="'a.safetensors' and exported_model .* two models"):
        NodeConfig(checkpoint="a.safetensors", exported_model="/nowhere/b.pt2")
    (problem,) = file_problems(NodeConfig(exported_model="/nowhere/b.pt2"))
    assert "'/nowhere/b.pt2' does not exist" in problem


def test_the_node_runs_an_exported_model(repository: Path, tmp_path: Path):
    checkpoint, exported = tmp_path / "debug.safetensors", tmp_path / "debug.pt2"
    torch.manual_seed(0)
    save_checkpoint(checkpoint, build_model(debug()), {})
    options = ("--checkpoint", checkpoint, "--out", exported, "--kind", "graph")
    subprocess.run(
        [sys.executable, "-m", "occ_core.export.command", *options],
        check=True,
        env=os.environ | {"PYTHONPATH": str(repository)},
    )
    config = NodeConfig(exported_model=str(exported))
    engine, image_size = load_engine(config)  # answers made-up frames of all its cameras
    assert image_size == debug().image_size
    assert type(engine).__name__ == "ExportedEngine"
    assert model_text(config, "cpu") == f"model: {exported}, on cpu"
