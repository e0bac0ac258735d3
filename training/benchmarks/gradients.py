"""Benchmarks of operators in training, forward and backward, and of GaussRender's loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from occ_core.build import build_model
from occ_core.checkpoint import SHIPPED, load_checkpoint
from occ_core.config import OccupancyConfig, tiny
from occ_core.datasets.frames import NuScenesFrames
from occ_core.losses.gauss_render.loss import GaussRenderConfig, GaussRenderLoss
from occ_core.losses.gauss_render.truth_cache import TruthCache
from occ_core.ops import backend
from occ_core.ops import splat as splatting
from occ_core.ops import voxelise as voxelisation
from occ_core.ops.interpolate import interpolate
from occ_core.ops.linear_index import linear_index
from occ_core.rendering.cameras import frame_cameras
from occ_core.taxonomy import NUM_CLASSES
from occ_core.voxel_grid import SURROUNDOCC_GRID
from training.benchmarks.definition import Benchmark
from training.benchmarks.inputs import surface_voxels
from training.benchmarks.operators import equal_to_rounding
from training.learning.examples import Example, TrainingExamples, collate
from training.learning.objective import LossWeights, objective
from training.make_world import WorldConfig, make_world


@contextmanager
def voxelise() -> Iterator[Benchmark]:
    """Ten sweeps of 30,000 points each along a street into voxels of 0.25 m, against torch."""
    voxels = SURROUNDOCC_GRID.finer(2)
    torch.manual_seed(0)
    layer = torch.nn.Linear(voxelisation.POINT_FEATURES, 16)
    centres = voxels.centres(2 * _in_order(surface_voxels(30_000, seed=4))).repeat(10, 1)
    xyz = centres + 0.05 * torch.randn_like(centres)
    intensity_and_age = torch.rand(len(centres), 2) * torch.tensor([255, 0.5])
    points = (torch.cat([xyz, intensity_and_age], dim=1),)

    def run() -> list[Tensor]:
        mean, _ = voxelisation.voxelise(points, voxels, layer.weight, layer.bias)
        gradients = torch.autograd.grad(mean.square().sum(), [layer.weight, layer.bias])
        return [mean.detach(), *gradients]

    yield Benchmark(candidate=run, baselines={"torch": lambda: _with_torch_only(run)}, same=_same)


@contextmanager
def sampling() -> Iterator[Benchmark]:
    """Trilinear samples of 32 channels at the 60,000 voxels of a street.

    The baselines are torch's gathered rows and its grid_sample.
    """
    random = torch.Generator().manual_seed(0)
    size = torch.tensor(SURROUNDOCC_GRID.coarser(2).shape)
    volume = torch.randn(1, 32, *size.tolist(), generator=random).contiguous(
        memory_format=torch.channels_last_3d
    )
    volume.requires_grad_()
    position = (_in_order(surface_voxels(60_000, seed=4)).float() + 0.5) / 2 - 0.5
    sample = torch.zeros(len(position), dtype=torch.long)
    # grid_sample expects coordinates in (-1, 1), and z first.
    normalised = (2 * (position + 0.5) / size - 1).flip(1).view(1, -1, 1, 1, 3)

    def run(sampler: Callable[[], Tensor]) -> list[Tensor]:
        samples = sampler()
        return [samples.detach(), *torch.autograd.grad(samples.square().sum(), [volume])]

    def grid_sample() -> Tensor:
        samples = F.grid_sample(volume, normalised, padding_mode="border", align_corners=False)
        return samples.view(32, -1).T

    yield Benchmark(
        candidate=lambda: run(lambda: interpolate(volume, position, sample)),
        baselines={
            "torch": lambda: _with_torch_only(run, lambda: interpolate(volume, position, sample)),
            "grid_sample": lambda: run(grid_sample),
        },
        same=_same,
    )


@contextmanager
def splat() -> Iterator[Benchmark]:
    """Six cameras of the model ``tiny``, all around, into the coarse volume, against torch."""
    config = tiny()
    height, width = (side // config.image_encoder.stride for side in config.image_size)
    random = torch.Generator().manual_seed(0)
    context = torch.randn(6, config.channels, height, width, generator=random, requires_grad=True)
    weight = torch.rand(6, config.depth.count, height, width, generator=random, requires_grad=True)
    across, down = torch.meshgrid(
        torch.linspace(-0.6, 0.6, width), torch.linspace(-0.3, 0.3, height), indexing="xy"
    )
    turn = (torch.arange(6) * torch.pi / 3)[:, None, None]
    directions = (
        turn.cos() - across * turn.sin(),
        turn.sin() + across * turn.cos(),
        -down.expand(6, -1, -1),
    )
    rays, depth_m = torch.stack(directions, dim=-1), config.depth.centres(torch.device("cpu"))
    geometry = (
        rays,
        torch.zeros(6, 3),
        depth_m,
        torch.zeros(6, dtype=torch.long),
        config.coarse_grid,
        1,
    )

    def run() -> list[Tensor]:
        volume = splatting.splat(context, weight, *geometry)
        return [volume.detach(), *torch.autograd.grad(volume.square().sum(), [context, weight])]

    yield Benchmark(candidate=run, baselines={"torch": lambda: _with_torch_only(run)}, same=_same)


@contextmanager
def gauss_render() -> Iterator[Benchmark]:
    """A training step of ``tiny`` with GaussRender's loss and cached renderings of the truth.

    The baselines render the truth in every step, or have no such loss, so that the candidate's time
    over that of "without" is the overhead of the loss once all renderings are cached. A step has
    four renderings: prediction and truth from a camera raised by 2 m, and from above.
    """
    # Trained weights: an untrained model has half-occupied voxels everywhere and draws them all.
    shipped, _ = load_checkpoint(SHIPPED)
    config, weights = replace(shipped.config, temporal=None, language=None), torch.ones(NUM_CLASSES)
    model = build_model(config).train()
    trained = shipped.state_dict()
    model.load_state_dict({name: trained[name] for name in model.state_dict()})
    with TemporaryDirectory() as folder:
        example = _town(Path(folder) / "town", config)
        cameras = [frame_cameras(example.frame, 0)]
        # This strategy uses the same camera in every epoch.
        render_config = GaussRenderConfig(strategy="lifted")
        uncached = GaussRenderLoss(config.grid, render_config)
        cache = TruthCache(Path(folder) / "renders")
        cached = GaussRenderLoss(config.grid, render_config, cache=cache)

        def step(loss: GaussRenderLoss | None) -> list[Tensor]:
            """The loss of the voxels, and that of GaussRender if given."""
            model.zero_grad()
            prediction = model(example.frame, None, None)
            losses = objective(
                prediction,
                example.frame,
                example.labels,
                example.coarse_labels,
                weights,
                LossWeights(),
                config,
            )
            terms = [losses["total"]]
            if loss is not None:
                terms.append(
                    loss.from_cascade(
                        prediction.head, example.labels, cameras, np.random.default_rng(0)
                    ).total
                )
            torch.stack(terms).sum().backward()
            return [term.detach() for term in terms]

        def same(candidate: list[Tensor], baseline: list[Tensor]) -> bool:
            # The cache has half precision; "without" has the first term only.
            return all(
                torch.allclose(term, expected, rtol=1e-3)
                for term, expected in zip(candidate, baseline, strict=False)
            )

        yield Benchmark(
            candidate=lambda: step(cached),
            baselines={"rendered_anew": lambda: step(uncached), "without": lambda: step(None)},
            same=same,
        )


def _town(folder: Path, config: OccupancyConfig) -> Example:
    """The first keyframe of a generated drive, with its labels."""
    make_world(WorldConfig(folder, scenes=1, seed=5, keyframes=1, image_size=(450, 800), workers=1))
    frames = NuScenesFrames(folder, None, None, config.image_size, 9, config.grid)
    return collate([TrainingExamples(frames, config.cascade_ratio, None, seed=0)[0, 0]])


def _in_order(voxels: Tensor) -> Tensor:
    """(x, y, z) sorted by linear index, as in the head, so that neighbours are close in memory."""
    return voxels[linear_index(voxels, SURROUNDOCC_GRID.shape).argsort(), 1:]


def _with_torch_only(run: Callable[..., list[Tensor]], *arguments: Any) -> list[Tensor]:
    """The result without compiled kernels."""
    with backend.torch_only():
        return run(*arguments)


def _same(candidate: list[Tensor], baseline: list[Tensor]) -> bool:
    return equal_to_rounding(candidate, baseline, 1e-4)
