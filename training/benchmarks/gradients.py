"""The benchmarks of what training computes, forward and backward; and what GaussRender's loss adds
to a step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from occ_core.build import build_model
from occ_core.checkpoint import SHIPPED, load_checkpoint
from occ_core.config import OccupancyConfig, tiny
from occ_core.datasets.frames import NuScenesFrames
from occ_core.lidar_encoder import LidarEncoder
from occ_core.losses.gauss_render.loss import GaussRenderConfig, GaussRenderLoss
from occ_core.losses.gauss_render.truth_cache import TruthCache
from occ_core.ops.cpu import splat as splat_compiled
from occ_core.ops.cpu import voxelise as voxelise_compiled
from occ_core.ops.interpolate import interpolate
from occ_core.ops.sparse import linear_index
from occ_core.rendering.cameras import frame_cameras
from occ_core.taxonomy import NUM_CLASSES
from occ_core.view_transform import ViewTransform
from occ_core.voxel_grid import SURROUNDOCC_GRID
from training.benchmarks.operators import Contest, surface
from training.learning.examples import Example, TrainingExamples, collate
from training.learning.objective import LossWeights, objective
from training.make_world import WorldConfig, make_world


@contextmanager
def voxelise() -> Iterator[Contest]:
    """Ten sweeps of 30,000 points each, one after the other along a street, into voxels of 0.25 m,
    against plain torch.
    """
    voxels = SURROUNDOCC_GRID.finer(2)
    torch.manual_seed(0)
    encoder = LidarEncoder(
        64, voxels=voxels, fine=SURROUNDOCC_GRID, coarse=SURROUNDOCC_GRID.coarser(2)
    )
    at = voxels.centres(2 * _in_order(surface(30_000, seed=4))).repeat(10, 1)
    points = (
        torch.cat(
            [at + 0.05 * torch.randn_like(at), torch.rand(len(at), 2) * torch.tensor([255, 0.5])],
            dim=1,
        ),
    )
    weight, bias = encoder.point.parameters()

    def run(mean: Tensor) -> list[Tensor]:
        return [mean.detach(), *torch.autograd.grad(mean.square().sum(), [weight, bias])]

    yield Contest(
        ours=lambda: run(voxelise_compiled.voxelise(points, voxels, weight, bias)[0]),
        rivals={"torch": lambda: run(encoder.mean_over_voxels(points)[0])},
        same=_same,
    )


@contextmanager
def sampling() -> Iterator[Contest]:
    """A volume of 32 channels at the 60,000 voxels of a street, against torch's gathered rows and
    its grid_sample.
    """
    random = torch.Generator().manual_seed(0)
    size = torch.tensor(SURROUNDOCC_GRID.coarser(2).shape)
    volume = torch.randn(1, 32, *size.tolist(), generator=random).contiguous(
        memory_format=torch.channels_last_3d
    )
    volume.requires_grad_()
    position = (_in_order(surface(60_000, seed=4)).float() + 0.5) / 2 - 0.5
    learning = position.clone().requires_grad_()  # which keeps interpolate to torch
    sample = torch.zeros(len(position), dtype=torch.long)
    turned = (
        (2 * (position + 0.5) / size - 1).flip(1).view(1, -1, 1, 1, 3)
    )  # as grid_sample wants it

    def run(read: Callable[[], Tensor]) -> list[Tensor]:
        found = read()
        return [found.detach(), *torch.autograd.grad(found.square().sum(), [volume])]

    def grid_sample() -> Tensor:
        return (
            F.grid_sample(volume, turned, padding_mode="border", align_corners=False).view(32, -1).T
        )

    yield Contest(
        ours=lambda: run(lambda: interpolate(volume, position, sample)),
        rivals={
            "torch": lambda: run(lambda: interpolate(volume, learning, sample)),
            "grid_sample": lambda: run(grid_sample),
        },
        same=_same,
    )


@contextmanager
def splat() -> Iterator[Contest]:
    """Six cameras at the size ``tiny``, each looking its own way, into the coarse volume, against
    plain torch.
    """
    config = tiny()
    height, width = (side // config.image_encoder.stride for side in config.image_size)
    random = torch.Generator().manual_seed(0)
    context = torch.randn(6, config.channels, height, width, generator=random, requires_grad=True)
    weight = torch.rand(6, config.depth.count, height, width, generator=random, requires_grad=True)
    across, down = torch.meshgrid(
        torch.linspace(-0.6, 0.6, width), torch.linspace(-0.3, 0.3, height), indexing="xy"
    )
    turn = (torch.arange(6) * torch.pi / 3)[:, None, None]
    ways = (
        turn.cos() - across * turn.sin(),
        turn.sin() + across * turn.cos(),
        -down.expand(6, -1, -1),
    )
    rays, depth_m = torch.stack(ways, dim=-1), config.depth.centres(torch.device("cpu"))
    places = (
        rays,
        torch.zeros(6, 3),
        depth_m,
        torch.zeros(6, dtype=torch.long),
        config.coarse_grid,
        1,
    )

    def run(volume: Tensor) -> list[Tensor]:
        return [volume.detach(), *torch.autograd.grad(volume.square().sum(), [context, weight])]

    yield Contest(
        ours=lambda: run(splat_compiled.splat(context, weight, *places)),
        rivals={"torch": lambda: run(ViewTransform.splat(context, weight, *places))},
        same=_same,
    )


@contextmanager
def gauss_render() -> Iterator[Contest]:
    """A step at the size ``tiny`` with GaussRender's loss and kept truths, against truths rendered
    anew, and a step without it.

    Four renders a step: prediction and truth from a camera of the vehicle, 2 m up, and from above.
    Ours over "without" is the loss's overhead once all truths are kept.
    """
    shipped, _ = load_checkpoint(
        SHIPPED
    )  # trained: at first all voxels are half there, and all of them are drawn
    config, weights = replace(shipped.config, temporal=None, language=None), torch.ones(NUM_CLASSES)
    model = build_model(config).train()
    trained = shipped.state_dict()
    model.load_state_dict({name: trained[name] for name in model.state_dict()})
    with TemporaryDirectory() as folder:
        example = _town(Path(folder) / "town", config)
        cameras = [frame_cameras(example.frame, 0)]
        standing = GaussRenderConfig(strategy="lifted")  # the same camera in every epoch
        plain = GaussRenderLoss(config.grid, standing)
        cached = GaussRenderLoss(config.grid, standing, cache=TruthCache(Path(folder) / "renders"))

        def step(loss: GaussRenderLoss | None) -> list[Tensor]:
            """The voxels' loss, and GaussRender's where there is one."""
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
                    loss.of_cascade(
                        prediction.head, example.labels, cameras, np.random.default_rng(0)
                    ).total
                )
            torch.stack(terms).sum().backward()
            return [term.detach() for term in terms]

        def same(ours: list[Tensor], theirs: list[Tensor]) -> bool:  # kept in half precision
            return all(
                torch.allclose(one, other, rtol=1e-3)
                for one, other in zip(ours, theirs, strict=False)
            )

        yield Contest(
            ours=lambda: step(cached),
            rivals={"rendered_anew": lambda: step(plain), "without": lambda: step(None)},
            same=same,
        )


def _town(folder: Path, config: OccupancyConfig) -> Example:
    """The first keyframe of a generated drive, with its labels."""
    make_world(WorldConfig(folder, scenes=1, seed=5, keyframes=1, image_size=(450, 800), workers=1))
    frames = NuScenesFrames(folder, None, None, config.image_size, 9, config.grid)
    return collate([TrainingExamples(frames, config.cascade_ratio, None, seed=0)[0, 0]])


def _in_order(voxels: Tensor) -> Tensor:
    """(x, y, z) as the head has its voxels, and about as a LiDAR its points: neighbours follow one
    another.
    """
    return voxels[linear_index(voxels, SURROUNDOCC_GRID.shape).argsort(), 1:]


def _same(ours: list[Tensor], theirs: list[Tensor]) -> bool:
    """To single precision's rounding of long sums."""
    return all(
        (one - other).norm() <= 1e-4 * other.norm() for one, other in zip(ours, theirs, strict=True)
    )
