"""A small model with every part that exports differently, and a drive of random frames for it."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from occ_core.backbones.image_context import ImageContextConfig
from occ_core.build import build_model
from occ_core.checkpoint import save_checkpoint
from occ_core.config import debug
from occ_core.prompts import LanguageConfig
from occ_core.temporal import TemporalConfig
from occ_core.types import DriveContext, Frame

CAMERAS = 2


@pytest.fixture(scope="session")
def small_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The debug model with all options of the shipped one. Its weights are random and none is zero,
    so that parts which start without influence have some.
    """
    torch.manual_seed(0)
    shape = debug()
    config = replace(
        shape,
        image_encoder=replace(shape.image_encoder, context=ImageContextConfig(channels=16)),
        language=LanguageConfig(width=8),
        temporal=TemporalConfig(stride=2),
        image_classes=True,
        normalised_lift=True,
        ground_height=True,
        intensity_ranks=True,
    )
    model = build_model(config)
    for weight in model.parameters():
        if not weight.any():
            torch.nn.init.normal_(weight, std=0.3)
    model.prompts.fill(torch.randn_like(model.prompts.embeddings))
    path = tmp_path_factory.mktemp("checkpoint") / "small.safetensors"
    save_checkpoint(path, model, {})
    return path


@pytest.fixture(scope="session")
def drive(make_frame: Callable[..., Frame]) -> list[Frame]:
    """Five frames half a second and 1.3 m apart, with many, few and no points; the second one lacks
    a camera, and of the third the weather is unknown.
    """
    frames = []
    for number, points in enumerate((3000, 700, 20_000, 0, 1)):
        frame = make_frame(number, points=points, cameras=CAMERAS)
        pose = frame.world_from_grid.clone()
        pose[0, 0, 3] = 1.3 * number
        weather = "unknown" if number == 2 else "rain"
        moved = replace(
            frame,
            world_from_grid=pose,
            camera_mask=torch.tensor([[True, number != 1]]),
            stamp_ns=(500_000_000 * (number + 1),),
            context=(DriveContext(weather, "boston-seaport"),),
        )
        frames.append(moved)
    return frames


@pytest.fixture(scope="session")
def occ_export(repository: Path) -> Callable[..., str]:
    """Runs the command, and returns what it prints. It runs in a process of its own: torch.export
    cannot follow the checks of shapes that tests add to every function.
    """

    def run(*options: object) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "occ_core.export.command", *map(str, options)],
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONPATH": str(repository)},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
