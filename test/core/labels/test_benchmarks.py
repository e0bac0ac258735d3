import pytest

from occ_core.labels.benchmarks import BENCHMARKS
from occ_core.voxel_grid import VoxelGrid


@pytest.mark.parametrize(
    ("name", "classes", "empty", "shape", "size_m", "corner_m"),
    [
        ("surroundocc", 17, "empty", (200, 200, 16), 0.5, (-50.0, -50.0, -5.0)),
        ("occ3d", 18, "free", (200, 200, 16), 0.4, (-40.0, -40.0, -1.0)),
        ("openoccupancy", 17, "empty", (512, 512, 40), 0.2, (-51.2, -51.2, -5.0)),
        ("semantic_kitti", 20, "empty", (256, 256, 32), 0.2, (0.0, -25.6, -2.0)),
        ("kitti360", 19, "empty", (256, 256, 32), 0.2, (0.0, -25.6, -2.0)),
    ],
)
def test_classes_and_grid(
    name: str, classes: int, empty: str, shape: tuple, size_m: float, corner_m: tuple
):
    benchmark = BENCHMARKS[name]
    assert benchmark.name == name and len(benchmark.labels.names) == classes
    assert benchmark.labels.names[benchmark.labels.empty] == empty
    assert benchmark.grid.shape == shape
    assert (benchmark.grid.voxel_size_m, benchmark.grid.min_m) == (size_m, corner_m)


def test_a_coarser_grid_holds_whole_voxels_of_the_benchmark():
    """0.2 m voxels of KITTI: 0.8 m are 4 of them, 0.1 m and another range none."""
    benchmark = BENCHMARKS["semantic_kitti"]
    assert [benchmark.coarsening(benchmark.grid.coarser(ratio)) for ratio in (1, 2, 4)] == [1, 2, 4]
    shorter = VoxelGrid((0.0, -25.6, -2.0, 25.6, 25.6, 4.4), 0.2)
    between = VoxelGrid(benchmark.grid.range_m, 0.32)  # 160 x 160 x 20
    for grid in (benchmark.grid.finer(2), shorter, between, BENCHMARKS["occ3d"].grid):
        with pytest.raises(ValueError, match="the grid must be that of semantic_kitti"):
            benchmark.coarsening(grid)
