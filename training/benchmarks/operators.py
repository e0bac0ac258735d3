"""The benchmarks of the core's operators, against the libraries that have them too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import open3d
import torch
from scipy.spatial import cKDTree

from occ_core.ops.neighbours import Neighbours, nearest_neighbours
from occ_core.ops.sparse import SparseBlock, linear_index, sparse_volume
from occ_core.rendering import rasterize as rasterization
from occ_core.rendering.cameras import Cameras
from occ_core.rendering.rasterize import Rendering
from occ_core.types import Gaussians
from occ_core.voxel_grid import SURROUNDOCC_GRID


@dataclass(frozen=True)
class Contest:
    """Ways to the same result."""

    ours: Callable[[], Any]
    rivals: dict[str, Callable[[], Any]]
    same: Callable[[Any, Any], bool]
    """Whether a rival's result is ours."""
    most_repeats: int = 1_000_000


def surface(count: int, seed: int) -> torch.Tensor:
    """``count`` voxels (batch, x, y, z) as a street's surfaces fill the grid: a rolling ground and
    a facade.
    """
    random = np.random.default_rng(seed)
    width, depth, height = SURROUNDOCC_GRID.shape
    ground = random.uniform(0, (width, depth), (2 * count, 2))
    ground = np.c_[ground, 2 + np.sin(ground[:, 0] / 30) + random.normal(0, 0.3, len(ground))]
    facade = np.c_[
        width / 5 + random.normal(0, 0.5, count),
        random.uniform(0, depth, count),
        random.uniform(2, height - 1, count),
    ]
    cells = np.clip(
        np.concatenate([ground, facade]), 0, np.array([width, depth, height]) - 1
    ).astype(np.int64)
    cells = random.permutation(np.unique(cells, axis=0))[:count]
    return torch.from_numpy(np.c_[np.zeros(len(cells), np.int64), cells])


@contextmanager
def neighbours() -> Iterator[Contest]:
    """The three nearest of 20,000 surface voxels for each of 20,000 others, within 4 voxels."""
    queries, keys, k, radius = surface(20_000, seed=1), surface(20_000, seed=2), 3, 4.0
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

    def same(
        ours: Neighbours, theirs: np.ndarray
    ) -> bool:  # of keys at one distance each may name another
        return np.allclose(ours.distance.numpy(), theirs)

    yield Contest(
        ours=lambda: nearest_neighbours(queries, keys, k, radius),
        rivals={
            "ckdtree": lambda: kd_tree(workers=1),
            "ckdtree_all_cores": lambda: kd_tree(workers=-1),
            "open3d_knn": open3d_knn,
            "open3d_hybrid": open3d_hybrid,
        },
        same=same,
    )


@contextmanager
def rasterize() -> Iterator[Contest]:
    """30,000 Gaussians of 18 channels into an image of 112x200, forward and backward, against every
    Gaussian on every pixel.
    """
    random = torch.Generator().manual_seed(0)
    voxels = SURROUNDOCC_GRID.centres(surface(60_000, seed=3)[:, 1:])
    voxels = voxels[voxels[:, 1] > 0][:30_000]  # ahead of the vehicle
    count = len(voxels)
    parameters = (
        voxels,
        torch.randn(count, 4, generator=random),
        SURROUNDOCC_GRID.voxel_size_m / 2 * (0.5 + torch.rand(count, 3, generator=random)),
        torch.rand(count, generator=random),
        torch.rand(count, 18, generator=random),
    )
    view = Cameras(
        intrinsics=torch.tensor([[[158.0, 0, 99.5], [0, 158.0, 55.5], [0, 0, 1]]]),
        camera_from_grid=torch.tensor(
            [[[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]]]
        ),  # along y, upright
        size=(112, 200),
    )
    upstream = torch.randn(1, 18, 112, 200, generator=random)

    def run(render: Callable[[Gaussians, Cameras], Rendering]) -> list[torch.Tensor]:
        leaves = [parameter.clone().requires_grad_() for parameter in parameters]
        rendering = render(Gaussians(*leaves), view)
        (rendering.image * upstream).sum().backward()
        return [
            *(part.detach() for part in rendering),
            *(leaf.grad for leaf in leaves if leaf.grad is not None),
        ]

    def same(
        ours: list[torch.Tensor], theirs: list[torch.Tensor]
    ) -> bool:  # to single precision's rounding of long sums
        return all(
            (one - other).norm() <= 1e-3 * other.norm()
            for one, other in zip(ours, theirs, strict=True)
        )

    yield Contest(
        ours=lambda: run(rasterization.rasterize),
        rivals={"dense": lambda: run(rasterization.rasterize_dense)},
        same=same,
        most_repeats=3,  # the dense one takes a minute and ten gigabytes
    )


@contextmanager
def model_cpu() -> Iterator[Contest]:
    """A sparse 3D convolution on the CPU, against spconv's own, which is right there with one
    thread only.
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
        yield Contest(
            ours=lambda: block(sparse_volume(features, index, shape, 1)).features,
            rivals={"spconv": spconv},
            same=lambda ours, theirs: torch.allclose(ours, theirs, atol=1e-4),
        )
