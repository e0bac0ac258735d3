import pytest
import torch

from occ_core.lidar_encoder import LidarEncoder, LidarFeatures
from occ_core.ops.voxelise import point_features
from occ_core.voxel_grid import VoxelGrid

FINE = VoxelGrid((-4.0, -4.0, -2.0, 4.0, 4.0, 2.0), 0.5)  # 16 x 16 x 8
COARSE = FINE.coarser(2)


@pytest.fixture
def encoder() -> LidarEncoder:
    torch.manual_seed(0)
    return LidarEncoder(16, voxels=FINE, fine=FINE, coarse=COARSE)


def cloud(*xyz: tuple[float, float, float]) -> torch.Tensor:
    return torch.tensor([[*point, 40.0, 0.1] for point in xyz])


def test_points_gather_in_their_voxels(encoder: LidarEncoder):
    # (-3.9 + 4) / 0.5 = 0.2 -> 0; (0.1 + 4) / 0.5 = 8.2 -> 8; z: (0 + 2) / 0.5 = 4; the third point
    # lies outside
    voxels = encoder.voxelise(
        (cloud((-3.9, -3.9, 0.0), (-3.8, -3.7, 0.1), (9.0, 0.0, 0.0)), cloud((0.1, 0.1, 0.0)))
    )
    assert voxels.indices.tolist() == [[0, 0, 0, 4], [1, 8, 8, 4]]


def test_voxel_feature_does_not_depend_on_the_order_of_points(encoder: LidarEncoder):
    points = torch.randn(200, 5, generator=torch.Generator().manual_seed(0)).abs()
    shuffled = points[torch.randperm(200, generator=torch.Generator().manual_seed(1))]
    torch.testing.assert_close(encoder((points,)).volume, encoder((shuffled,)).volume)


def test_mean_over_points_by_hand(encoder: LidarEncoder):
    """Two points in one voxel: its feature comes from the mean of their two features."""
    points = cloud((0.1, 0.1, 0.0), (0.4, 0.2, 0.3))
    index, count = FINE.index(points[:, :3]), torch.tensor([2, 2])
    hidden = encoder.point(point_features(points, index, count, FINE))
    expected = encoder.enter((hidden[:1] + hidden[1:]) / 2)
    torch.testing.assert_close(encoder.voxelise((points,)).features, expected)


@pytest.mark.parametrize(
    "points", [torch.zeros(0, 5), torch.full((3, 5), 100.0)], ids=["no points", "all outside"]
)
def test_nothing_in_the_grid_gives_a_zero_volume(encoder: LidarEncoder, points: torch.Tensor):
    volume, fine = encoder((points,))
    assert volume.shape == (1, 16, 8, 8, 4) and not volume.any()
    assert fine.features.shape == (0, 16)


def test_batch_equals_each_alone(encoder: LidarEncoder):
    first, second = cloud((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)), cloud((-2.0, 1.0, 0.5))
    both = encoder((first, second)).volume
    torch.testing.assert_close(both[:1], encoder((first,)).volume)
    torch.testing.assert_close(both[1:], encoder((second,)).volume)


def test_grids_that_do_not_halve_are_refused():
    with pytest.raises(ValueError, match="halving"):
        LidarEncoder(16, voxels=FINE, fine=FINE, coarse=VoxelGrid(FINE.range_m, 4.0 / 3))


def test_inference_computes_with_one_thread_what_training_does(
    encoder: LidarEncoder, set_threads, monkeypatch: pytest.MonkeyPatch
):
    set_threads(2)
    points = (torch.randn(300, 5, generator=torch.Generator().manual_seed(0)).abs(),)
    expected = encoder(points).volume
    threads, encode = [], encoder.encode

    def noting(points: tuple[torch.Tensor, ...]) -> LidarFeatures:
        threads.append(torch.get_num_threads())
        return encode(points)

    monkeypatch.setattr(encoder, "encode", noting)
    with torch.inference_mode():
        torch.testing.assert_close(encoder(points).volume, expected)
    assert threads == [1]


def test_ranked_intensities_have_no_scale():
    torch.manual_seed(0)
    ranked = LidarEncoder(16, voxels=FINE, fine=FINE, coarse=COARSE, intensity_ranks=True)
    plain = LidarEncoder(16, voxels=FINE, fine=FINE, coarse=COARSE)
    plain.load_state_dict(ranked.state_dict())
    points = torch.rand(400, 5, generator=torch.Generator().manual_seed(0)) * 2
    points[:, 3] *= 100
    brighter = points.clone()
    brighter[:, 3] /= 255  # as a sensor reports it that counts from 0 to 1
    torch.testing.assert_close(ranked((points,)).volume, ranked((brighter,)).volume)
    assert (plain((points,)).volume - plain((brighter,)).volume).abs().max() > 0.1
