"""Every operator on some device against its twin on the CPU.

A case computes one operator on made-up inputs, with its gradients where it has any. The twin is the
loop compiled for the CPU, or the torch form of an operator without one. On the CPU itself the torch
form takes the device's place, so that the cases can be tried without a GPU; an operator that has no
other form is then only compared with itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from occ_core.ops import backend
from occ_core.ops.height_histogram import height_histogram
from occ_core.ops.intensity_ranks import with_intensity_ranks
from occ_core.ops.interpolate import interpolate
from occ_core.ops.line_of_sight import see_through
from occ_core.ops.linear_index import unravel_index
from occ_core.ops.linear_scan import linear_scan
from occ_core.ops.moved_index import moved_index
from occ_core.ops.neighbours import nearest_neighbours
from occ_core.ops.ray_casting import cast_rays
from occ_core.ops.sample_images import sample_images
from occ_core.ops.sparse import SparseBlock, sparse_volume
from occ_core.ops.splat import splat
from occ_core.ops.voxelise import voxelise
from occ_core.rendering.cameras import Cameras
from occ_core.rendering.rasterize import rasterize
from occ_core.types import Gaussians
from occ_core.voxel_grid import VoxelGrid

GRID = VoxelGrid((-8.0, -8.0, -2.0, 8.0, 8.0, 2.0), 0.5)  # 32 x 32 x 8 voxels
TOLERANCE = 1e-4
"""Largest difference over the largest value: sums of floats in another order."""


@dataclass(frozen=True)
class OperatorResult:
    """How far a device lies from the CPU, for one operator."""

    name: str
    difference: float
    """Largest difference of a tensor over its largest value, of all that the operator gives."""

    @property
    def is_equal(self) -> bool:
        """Whether it is within ``TOLERANCE``."""
        return self.difference <= TOLERANCE


Case = Callable[[torch.device], list[Tensor]]
"""The results of an operator on a device, from inputs that are the same on every device."""


def check_operators(device: torch.device) -> list[OperatorResult]:
    """Compares all ``CASES``."""
    return [OperatorResult(name, difference(case, device)) for name, case in CASES.items()]


def difference(case: Case, device: torch.device) -> float:
    """See ``OperatorResult.difference``; infinite where shapes differ."""
    twin = case(torch.device("cpu"))
    if device.type == "cpu":
        with backend.torch_only():
            found = case(device)
    else:
        found = [tensor.cpu() for tensor in case(device)]
    return max(_distance(*pair) for pair in zip(found, twin, strict=True))


def _distance(found: Tensor, twin: Tensor) -> float:
    if found.shape != twin.shape or not torch.equal(found.isfinite(), twin.isfinite()):
        return float("inf")
    finite = twin.isfinite()
    found, twin = found[finite].double(), twin[finite].double()
    if not twin.numel():
        return 0.0
    return float((found - twin).abs().max() / twin.abs().max().clamp(min=1e-12))


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def _with_gradients(outputs: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    return [outputs.detach(), *torch.autograd.grad(outputs.square().sum(), inputs)]


def _points(count: int, device: torch.device) -> Tensor:
    """Coordinates [count, 3] in metres, a few of them outside the grid."""
    low, high = (torch.tensor(side) for side in (GRID.range_m[:3], GRID.range_m[3:]))
    return (low + (high - low) * (1.1 * _random(count, 3, seed=1) - 0.05)).to(device)


def _voxels(count: int, seed: int, device: torch.device) -> Tensor:
    """Different voxels (batch, x, y, z), ascending."""
    x, y, z = GRID.shape
    cells = torch.randperm(x * y * z, generator=torch.Generator().manual_seed(seed))[:count]
    return unravel_index(cells.sort().values, GRID.shape).to(device)


def _lenses(device: torch.device) -> tuple[Tensor, Tensor]:
    """Intrinsics and poses [2, ...] of cameras that look along +y and -y from outside the grid."""
    lens = torch.tensor([[20.0, 0, 15.5], [0, 20.0, 11.5], [0, 0, 1]])
    ahead = torch.tensor([[1.0, 0, 0, 0], [0, 0, 1, -12], [0, -1, 0, 0], [0, 0, 0, 1]])
    back = torch.tensor([[-1.0, 0, 0, 0], [0, 0, -1, 12], [0, -1, 0, 0], [0, 0, 0, 1]])
    return lens.expand(2, 3, 3).to(device), torch.stack([ahead, back]).to(device)


def _splat(device: torch.device) -> list[Tensor]:
    context, weight = (_random(2, n, 6, 8, seed=n).to(device).requires_grad_() for n in (4, 10))
    _, poses = _lenses(device)
    rays = torch.randn(2, 6, 8, 3, generator=torch.Generator().manual_seed(2)).to(device)
    depths, sample = torch.linspace(1, 10, 10, device=device), torch.zeros(2, dtype=torch.long)
    volume = splat(
        context, weight, rays, poses[:, :3, 3] / 4, depths, sample.to(device), GRID, batch_size=1
    )
    return _with_gradients(volume, [context, weight])


def _voxelise(device: torch.device) -> list[Tensor]:
    weight, bias = ((_random(*shape) - 0.3).to(device).requires_grad_() for shape in ((8, 9), (8,)))
    scale = torch.tensor([255.0, 0.5], device=device)
    clouds = [
        torch.cat([_points(count, device), _random(count, 2).to(device) * scale], dim=1)
        for count in (2000, 300)
    ]
    mean, occupied = voxelise(tuple(clouds), GRID, weight, bias)
    return [*_with_gradients(mean, [weight, bias]), occupied]


def _intensity_ranks(device: torch.device) -> list[Tensor]:
    rest = _random(2000, 2, seed=2).to(device) * torch.tensor([255.0, 0.5], device=device)
    return [with_intensity_ranks(torch.cat([_points(2000, device), rest], dim=1), GRID)]


def _height_histogram(device: torch.device) -> list[Tensor]:
    cloud = torch.cat([_points(2000, device), torch.zeros(2000, 2, device=device)], dim=1)
    return list(height_histogram(cloud, GRID, cell_m=2.0, bin_m=0.25))


def _interpolate(device: torch.device) -> list[Tensor]:
    volume = _random(1, 4, *GRID.shape).to(device).requires_grad_()
    position = _random(2000, 3, seed=1).to(device) * torch.tensor(GRID.shape, device=device)
    sample = torch.zeros(2000, dtype=torch.long, device=device)
    return _with_gradients(interpolate(volume, position, sample), [volume])


def _sample_images(device: torch.device) -> list[Tensor]:
    features = _random(2, 4, 6, 8).to(device).requires_grad_()
    intrinsics, poses = _lenses(device)
    camera_from_grid = torch.linalg.inv(poses.cpu()).to(device)
    sample = torch.zeros(2, dtype=torch.long, device=device)
    points = _points(2000, device)
    sampled = sample_images(
        features,
        intrinsics,
        camera_from_grid,
        sample,
        4,
        points,
        torch.zeros(len(points), dtype=torch.long, device=device),
    )
    return _with_gradients(sampled, [features])


def _moved_index(device: torch.device) -> list[Tensor]:
    pose = torch.eye(4)[None].clone()
    pose[0, :2, 3] = torch.tensor([1.3, -0.6])  # no centre comes to lie on a border
    return [moved_index(_voxels(2000, 1, device), pose.to(device), GRID)]


def _neighbours(device: torch.device) -> list[Tensor]:
    found = nearest_neighbours(_voxels(500, 1, device), _voxels(500, 2, device), 3, 3.0)
    return [found.row, found.distance]


def _sparse(stride: int) -> Case:
    def run(device: torch.device) -> list[Tensor]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            block = SparseBlock(8, 8, stride=stride, share="check").to(device)
        features = _random(2000, 8).to(device).requires_grad_()
        volume = block(sparse_volume(features, _voxels(2000, 1, device), GRID.shape, 1))
        x, y, z = (side // stride for side in GRID.shape)
        index = volume.indices.long()
        order = ((index[:, 1] * y + index[:, 2]) * z + index[:, 3]).argsort()  # spconv has its own
        rows = volume.features[order]
        return [*_with_gradients(rows, [features, block.convolution.weight]), index[order]]

    return run


def _see_through(device: torch.device) -> list[Tensor]:
    seen = torch.zeros(GRID.shape, dtype=torch.uint8, device=device)
    walls = (_random(*GRID.shape) > 0.95).to(device)
    ends = _points(500, device).double()
    see_through(seen, walls, GRID, torch.zeros_like(ends) + 0.1, ends)
    return [seen]


def _cast_rays(device: torch.device) -> list[Tensor]:
    labels = (_random(*GRID.shape) > 0.97).to(torch.uint8).to(device)
    directions = torch.nn.functional.normalize(_points(500, torch.device("cpu")).double(), dim=1)
    origins = torch.full((500, 3), 0.1, dtype=torch.float64)
    hits = cast_rays(labels, GRID, origins.to(device), directions.to(device))
    return [hits.label, hits.depth_m]


def _linear_scan(device: torch.device) -> list[Tensor]:
    decay, drive = (_random(1, 200, 3, seed=seed).to(device).requires_grad_() for seed in (1, 2))
    return _with_gradients(linear_scan(decay, drive), [decay, drive])


def _rasterize(device: torch.device) -> list[Tensor]:
    count, seed = 200, torch.Generator().manual_seed(0)
    parameters = (
        _points(count, torch.device("cpu")),
        torch.randn(count, 4, generator=seed),
        0.2 + 0.3 * _random(count, 3),
        0.1 + 0.5 * _random(count),
        _random(count, 5),
    )
    leaves = [each.to(device).requires_grad_() for each in parameters]
    intrinsics, poses = _lenses(device)
    cameras = Cameras(intrinsics, torch.linalg.inv(poses.cpu()).to(device), size=(24, 32))
    images = rasterize(Gaussians(*leaves), cameras)
    total: Any = torch.cat([images.image.flatten(), images.alpha.flatten()])
    return _with_gradients(total, leaves)


CASES: dict[str, Case] = {
    "splat": _splat,
    "voxelise": _voxelise,
    "intensity_ranks": _intensity_ranks,
    "height_histogram": _height_histogram,
    "interpolate": _interpolate,
    "sample_images": _sample_images,
    "moved_index": _moved_index,
    "neighbours": _neighbours,
    "sparse, stride 1": _sparse(1),
    "sparse, stride 2": _sparse(2),
    "line_of_sight": _see_through,
    "ray_casting": _cast_rays,
    "linear_scan": _linear_scan,
    "rasterize": _rasterize,
}
"""The operators of ``occ_core.ops`` and ``occ_core.rendering``, by the name of their module."""
