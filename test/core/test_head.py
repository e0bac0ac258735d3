import pytest
import torch

from occ_core.head import HeadOutput, OccupancyHead, classify, decide, dense_logits, probability_of
from occ_core.ops.sparse import SparseVolume, sparse_volume
from occ_core.taxonomy import EMPTY
from occ_core.voxel_grid import VoxelGrid

FINE = VoxelGrid((0.0, 0.0, 0.0, 8.0, 8.0, 4.0), 1.0)  # 8 x 8 x 4, coarse 4 x 4 x 2
CLASSES = 3


def make_head(max_refined: int = 100, lidar_channels: int = 0) -> OccupancyHead:
    return OccupancyHead(
        8,
        lidar_channels,
        image_channels=0,
        classes=CLASSES,
        fine=FINE,
        ratio=2,
        refine_above=0.3,
        max_refined=max_refined,
    )


def lidar_at(*voxels: tuple[int, int, int], features: torch.Tensor | None = None) -> SparseVolume:
    """LiDAR features at fine voxels of one sample; by default without channels."""
    index = torch.tensor([(0, *voxel) for voxel in voxels], dtype=torch.long).view(-1, 4)
    if features is None:
        features = torch.zeros(len(voxels), 0)
    return sparse_volume(features, index, FINE.shape, 1)


def no_images(points: torch.Tensor, sample: torch.Tensor) -> torch.Tensor:
    return points.new_zeros(len(points), 0)


def coarse_logits(*occupied: tuple[int, int, int]) -> torch.Tensor:
    logits = torch.zeros(1, CLASSES, 4, 4, 2)
    logits[:, EMPTY] = 10.0
    for voxel in occupied:
        logits[(0, 1, *voxel)] = 20.0
    return logits


def test_only_voxels_that_may_be_occupied_are_chosen():
    chosen = make_head().choose_parents(coarse_logits((1, 2, 0), (3, 3, 1)), lidar_at())
    assert chosen.tolist() == [[0, 1, 2, 0], [0, 3, 3, 1]]


def test_voxels_with_points_are_always_chosen():
    """The parent of fine voxel (7, 0, 3) is (3, 0, 1)."""
    chosen = make_head().choose_parents(coarse_logits(), lidar_at((7, 0, 3)))
    assert chosen.tolist() == [[0, 3, 0, 1]]


def test_nothing_occupied_gives_no_children():
    head = make_head()
    with torch.no_grad():
        head.coarse.bias[EMPTY] = 100.0
    output = head(torch.zeros(1, 8, 4, 4, 2), lidar_at(), no_images)
    assert output.fine.shape == (0, CLASSES) and output.children.shape == (0, 4)
    label, probability = classify(output, ratio=2)
    assert label.shape == (1, *FINE.shape) and not label.any() and (probability > 0.99).all()


def test_a_head_starts_from_fifteen_percent_occupied():
    """Features without influence leave the biases: empty has 0.85, the others share 0.15."""
    head = make_head()
    torch.nn.init.zeros_(head.coarse.weight)
    with torch.no_grad():
        head.coarse.bias[EMPTY + 1 :] = 0.0
    output = head(torch.randn(1, 8, 4, 4, 2), lidar_at(), no_images)
    probability = output.coarse[0, :, 0, 0, 0].softmax(dim=0)
    assert probability.tolist() == pytest.approx([0.85, 0.075, 0.075], abs=1e-5)


def test_a_child_is_classified_by_the_lidar_feature_of_its_own_voxel():
    """A change of the feature at fine voxel (7, 0, 3) changes the logits of that child alone."""
    head = make_head(lidar_channels=2)
    volume = torch.zeros(1, 8, 4, 4, 2)
    first, second = (
        head(volume, lidar_at((7, 0, 3), features=torch.tensor([feature])), no_images)
        for feature in ([1.0, -1.0], [-1.0, 1.0])
    )
    assert first.children.tolist() == second.children.tolist()
    difference = (first.fine - second.fine).abs().amax(dim=1)
    own = (first.children == torch.tensor([0, 7, 0, 3])).all(dim=1)
    assert own.sum() == 1 and difference[own].min() > 0.01 and difference[~own].max() < 1e-6


def test_the_most_probable_are_refined_where_there_are_too_many():
    logits = coarse_logits((0, 0, 0), (1, 1, 1))
    logits[0, 1, 2, 2, 0] = 10.5
    chosen = make_head(max_refined=2).choose_parents(logits, lidar_at())
    assert chosen.tolist() == [[0, 0, 0, 0], [0, 1, 1, 1]]


def test_children_of_a_voxel():
    children, corner = make_head().split(torch.tensor([[0, 1, 2, 0]]))
    # x in {2, 3}, y in {4, 5}, z in {0, 1}, z fastest
    assert children.tolist() == [[0, x, y, z] for x in (2, 3) for y in (4, 5) for z in (0, 1)]
    assert corner.tolist() == list(range(8))


def test_trilinear_sample_at_the_centres_of_children():
    """In a volume that holds its own x index i, coarse centre i lies at fine coordinate 2 i + 0.5,
    so that child x reads x / 2 - 0.25.
    """
    volume = torch.arange(4.0).view(1, 1, 4, 1, 1).expand(1, 8, 4, 4, 2)
    children = torch.tensor([[0, 2, 3, 1], [0, 5, 0, 0], [0, 0, 0, 0]])
    sampled = make_head().sample_volume(volume, children)
    # 2 / 2 - 0.25 = 0.75; 5 / 2 - 0.25 = 2.25; the border repeats: max(0, -0.25) = 0
    torch.testing.assert_close(sampled[:, 0], torch.tensor([0.75, 2.25, 0.0]))


def test_lidar_features_are_looked_up_at_the_child_s_own_voxel():
    lidar = lidar_at((2, 4, 1), features=torch.tensor([[5.0, 6.0]]))
    head = make_head()
    children = torch.tensor([[0, 2, 4, 1], [0, 2, 4, 0]])
    found = head.look_up(lidar, head.lidar_rows(lidar), children)
    assert found.tolist() == [[5.0, 6.0], [0.0, 0.0]]


def test_classify_takes_the_child_where_refined_and_the_parent_elsewhere():
    coarse = coarse_logits((0, 0, 0))
    fine = torch.log(torch.tensor([[0.1, 0.2, 0.7]]))
    label, probability = classify(HeadOutput(coarse, fine, torch.tensor([[0, 7, 7, 3]])), ratio=2)
    assert label[0, 7, 7, 3] == 2 and abs(probability[0, 7, 7, 3].item() - 0.7) < 1e-6
    assert (label[0, :2, :2, :2] == 1).all()  # not refined: the parent is of class 1
    assert label.sum() == 2 + 8


def test_occupied_where_the_classes_together_are_more_probable_than_empty():
    """0.4 for empty against 0.35 + 0.25 is occupied, by the larger; 0.6 for empty is empty."""
    label, probability = decide(torch.log(torch.tensor([[0.4, 0.35, 0.25], [0.6, 0.3, 0.1]])))
    assert label.tolist() == [1, EMPTY]
    torch.testing.assert_close(probability, torch.tensor([0.35, 0.6]))


@pytest.mark.parametrize("empty", [0, 1, 3])
def test_decisions_are_those_of_the_softmax(empty: int):
    """Logits in both orders of memory, some so far apart that their exponentials overflow."""
    logits = torch.randn(2, 4, 5, 6, 3, generator=torch.Generator().manual_seed(0)) * 3
    logits[0, 2, 1, 1] = 500.0
    logits[1, empty, 2, 2] = 500.0
    shares = logits.softmax(dim=1)
    others = shares.clone()
    others[:, empty] = 0
    is_empty = shares[:, empty] > 0.5
    expected = torch.where(is_empty, shares[:, empty], others.amax(dim=1))
    expected_label = torch.where(is_empty, empty, others.argmax(dim=1))
    for each in (logits, logits.contiguous(memory_format=torch.channels_last_3d)):
        torch.testing.assert_close(probability_of(2, each), shares[:, 2], atol=1e-6, rtol=1e-6)
        label, probability = decide(each, empty)
        assert torch.equal(label, expected_label.to(torch.uint8))
        torch.testing.assert_close(probability, expected, atol=1e-6, rtol=1e-6)


def test_a_logit_that_is_no_number_shows_in_the_probability():
    assert decide(torch.tensor([[0.0, torch.nan, 1.0]]))[1].isnan().all()


def test_dense_logits_decide_as_the_cascade_does():
    """Whole logits in another order per voxel: every decision has a margin of 1."""
    children = torch.tensor([[0, x, y, z] for x in (2, 3) for y in (4, 5) for z in (0, 1)])
    fine = torch.rand(8, CLASSES).argsort(dim=1).mul(2.0).requires_grad_()
    coarse = torch.rand(1, CLASSES, 4, 4, 2).argsort(dim=1).mul(2.0)
    output = HeadOutput(coarse, fine, children)
    dense = dense_logits(output, ratio=2)
    assert torch.equal(decide(dense)[0], classify(output, ratio=2)[0])
    dense.sum().backward()
    assert (fine.grad == 1).all()
