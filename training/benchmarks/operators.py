"""Benchmarks of operators of ``occ_core`` against libraries that have them too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import open3d
import torch
from scipy.spatial import cKDTree

from occ_core.ops.linear_index import linear_index
from occ_core.ops.neighbours import Neighbours, nearest_neighbours
from occ_core.ops.sparse import SparseBlock, sparse_volume
from occ_core.rendering import rasterize as rasterization
from occ_core.rendering.cameras import Cameras
from occ_core.rendering.rasterize import RasterImages
from occ_core.types import Gaussians
from occ_core.voxel_grid import SURROUNDOCC_GRID
from training.benchmarks.definition import Benchmark
from training.benchmarks.inputs import surface_voxels


@contextmanager
def neighbours() -> Iterator[Benchmark]:
    """The three nearest of 20,000 surface voxels to each of 20,000 others, within 4 voxels."""
    queries, keys = surface_voxels(20_000, seed=1), surface_voxels(20_000, seed=2)
    k, radius = 3, 4.0
    query_xyz, key_xyz = (voxels[:, 1:].double().numpy() for voxels in (queries, keys))
    query_tensor = open3d.core.Tensor.from_numpy(query_xyz.astype(np.float32))
    key_tensor = open3d.core.Tensor.from_numpy(key_xyz.astype(np.float32))

    def kd_tree(workers: int) -> np.ndarray:
        return cKDTree(key_xyz).query(
            query_xyz, k=k, distance_upper_bound=radius + 1e-6, workers=workers
        )[0]

    def open3d_knn() -> np.ndarray:
        search = open3d.core.nns.NearestNeighborSearch(key_tensor)
        search.knn_index()
        distance = np.sqrt(search.knn_search(query_tensor, k)[1].numpy())
        return np.where(distance <= radius, distance, np.inf)

    def open3d_hybrid() -> np.ndarray:
        search = open3d.core.nns.NearestNeighborSearch(key_tensor)
        search.hybrid_index(radius)
        _, squared, found = search.hybrid_search(query_tensor, radius, k)
        missing = np.arange(k) >= found.numpy().reshape(-1, 1)
        return np.where(missing, np.inf, np.sqrt(squared.numpy()))

    def same(candidate: Neighbours, baseline: np.ndarray) -> bool:
        # Only the distances: any of several keys at the same distance may be chosen.
        return np.allclose(candidate.distance.numpy(), baseline)

    yield Benchmark(
        candidate=lambda: nearest_neighbours(queries, keys, k, radius),
        baselines={
            "ckdtree": lambda: kd_tree(workers=1),
            "ckdtree_all_cores": lambda: kd_tree(workers=-1),
            "open3d_knn": open3d_knn,
            "open3d_hybrid": open3d_hybrid,
        },
        same=same,
    )


@contextmanager
def rasterize() -> Iterator[Benchmark]:
    """30,000 Gaussians with 18 channels in an image of 112x200, forward and backward.

    The baseline evaluates every Gaussian at every pixel.
    """
    random = torch.Generator().manual_seed(0)
    centres = SURROUNDOCC_GRID.centres(surface_voxels(60_000, seed=3)[:, 1:])
    means = centres[centres[:, 1] > 0][:30_000]  # ahead of the vehicle
    count = len(means)
    parameters = (
        means,
        torch.randn(count, 4, generator=random),
        SURROUNDOCC_GRID.voxel_size_m / 2 * (0.5 + torch.rand(count, 3, generator=random)),
        torch.rand(count, generator=random),
        torch.rand(count, 18, generator=random),
    )
    # The camera looks along y and is upright.
    camera_from_grid = [[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]]
    cameras = Cameras(
        intrinsics=torch.tensor([[[158.0, 0, 99.5], [0, 158.0, 55.5], [0, 0, 1]]]),
        camera_from_grid=torch.tensor([camera_from_grid]),
        size=(112, 200),
    )
    upstream = torch.randn(1, 18, 112, 200, generator=random)

    def run(render: Callable[[Gaussians, Cameras], RasterImages]) -> list[torch.Tensor]:
        leaves = [parameter.clone().requires_grad_() for parameter in parameters]
        rendering = render(Gaussians(*leaves), cameras)
        (rendering.image * upstream).sum().backward()
        return [
            *(part.detach() for part in rendering),
            *(leaf.grad for leaf in leaves if leaf.grad is not None),
        ]

    yield Benchmark(
        candidate=lambda: run(rasterization.rasterize),
        baselines={"dense": lambda: run(rasterization.rasterize_dense)},
        same=lambda candidate, baseline: equal_to_rounding(candidate, baseline, 1e-3),
        max_repeats=3,  # the dense one takes a minute and ten gigabytes
    )


@contextmanager
def model_cpu() -> Iterator[Benchmark]:
    """A sparse 3D convolution on the CPU, against that of spconv.

    The result of spconv is only correct with a single thread.
    """
    random = torch.Generator().manual_seed(0)
    shape = SURROUNDOCC_GRID.shape
    cells = torch.randperm(shape[0] * shape[1] * shape[2], generator=random)[:30_000].sort().values
    index = torch.stack([torch.zeros_like(cells), *torch.unravel_index(cells, shape)], dim=1)
    features = torch.randn(len(cells), 32, generator=random)
    torch.manual_seed(0)
    block = SparseBlock(32, 32, stride=1, share="benchmark").eval()

    def spconv() -> torch.Tensor:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        volume = block.convolution(sparse_volume(features, index, shape, 1))
        torch.set_num_threads(threads)
        order = linear_index(volume.indices, shape).argsort()
        return torch.relu(block.norm(volume.features[order]))

    with torch.inference_mode():
        yield Benchmark(
            candidate=lambda: block(sparse_volume(features, index, shape, 1)).features,
            baselines={"spconv": spconv},
            same=lambda candidate, baseline: torch.allclose(candidate, baseline, atol=1e-4),
        )


def equal_to_rounding(
    tensors: list[torch.Tensor], others: list[torch.Tensor], tolerance: float
) -> bool:
    """Whether the norms of the differences are small; long sums in single precision differ."""
    return all(
        (tensor - other).norm() <= tolerance * other.norm()
        for tensor, other in zip(tensors, others, strict=True)
    )
