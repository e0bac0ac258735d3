import torch

from occ_core.head import HeadOutput, OccupancyHead, classify, decide, dense_logits
from occ_core.ops.sparse import sparse_volume
from occ_core.taxonomy import EMPTY
from occ_core.voxel_grid import VoxelGrid

FINE = VoxelGrid((0.0, 0.0, 0.0, 8.0, 8.0, 4.0), 1.0)  # 8 x 8 x 4, coarse 4 x 4 x 2
CLASSES = 3


def make_head(
    max_refined: int = 100, lidar_channels: int = 0, image_channels: int = 0
) -> OccupancyHead:
    torch.manual_seed(0)
    return OccupancyHead(
        8,
        lidar_channels,
        image_channels,
        CLASSES,
        FINE,
        ratio=2,
        refine_above=0.3,
        max_refined=max_refined,
    )


def coarse_logits(*occupied: tuple[int, int, int]) -> torch.Tensor:
    logits = torch.zeros(1, CLASSES, 4, 4, 2)
    logits[:, EMPTY] = 10.0
    for voxel in occupied:
        logits[(0, 1, *voxel)] = 20.0
    return logits


def test_only_voxels_that_may_be_occupied_are_chosen():
    assert make_head().choose(coarse_logits((1, 2, 0), (3, 3, 1)), None).tolist() == [
        [0, 1, 2, 0],
        [0, 3, 3, 1],
    ]


def test_voxels_with_returns_are_always_chosen():
    lidar = sparse_volume(
        torch.zeros(1, 4), torch.tensor([[0, 7, 0, 3]]), FINE.shape, 1
    )  # parent (3, 0, 1)
    assert make_head().choose(coarse_logits(), lidar).tolist() == [[0, 3, 0, 1]]


def test_no_foreground_gives_no_children_and_does_not_crash():
    head = make_head()
    with torch.no_grad():
        head.coarse.bias[EMPTY] = 100.0
    output = head(torch.zeros(1, 8, 4, 4, 2), None, None)
    assert output.fine.shape == (0, CLASSES) and output.children.shape == (0, 4)
    label, probability = classify(output, ratio=2)
    assert label.shape == (1, *FINE.shape) and not label.any() and (probability > 0.99).all()


def test_the_most_probable_are_refined_where_there_are_too_many():
    logits = coarse_logits((0, 0, 0), (1, 1, 1))
    logits[0, 1, 2, 2, 0] = 10.5
    assert make_head(max_refined=2).choose(logits, None).tolist() == [[0, 0, 0, 0], [0, 1, 1, 1]]


def test_children_of_a_voxel():
    children, corner = make_head().split(torch.tensor([[0, 1, 2, 0]]))
    # x in {2, 3}, y in {4, 5}, z in {0, 1}, z fastest
    assert children.tolist() == [[0, x, y, z] for x in (2, 3) for y in (4, 5) for z in (0, 1)]
    assert corner.tolist() == list(range(8))


def test_trilinear_sample_at_the_centres_of_children():
    """A volume equal to its own x index i: coarse centre i lies at fine coordinate 2 i + 0.5, so
    child x reads x / 2 - 0.25.
    """
    volume = torch.arange(4.0).view(1, 1, 4, 1, 1).expand(1, 8, 4, 4, 2)
    children = torch.tensor([[0, 2, 3, 1], [0, 5, 0, 0], [0, 0, 0, 0]])
    sampled = make_head().sample_volume(volume, children)
    # 2 / 2 - 0.25 = 0.75; 5 / 2 - 0.25 = 2.25; the border repeats: max(0, -0.25) = 0
    torch.testing.assert_close(sampled[:, 0], torch.tensor([0.75, 2.25, 0.0]))


def test_lidar_features_come_from_the_child_s_own_voxel():
    lidar = sparse_volume(torch.tensor([[5.0, 6.0]]), torch.tensor([[0, 2, 4, 1]]), FINE.shape, 1)
    head = make_head()
    found = head.look_up(lidar, head.rows(lidar), torch.tensor([[0, 2, 4, 1], [0, 2, 4, 0]]))
    assert found.tolist() == [[5.0, 6.0], [0.0, 0.0]]


def test_classify_takes_the_child_where_refined_and_the_parent_elsewhere():
    coarse = coarse_logits((0, 0, 0))
    fine = torch.log(torch.tensor([[0.1, 0.2, 0.7]]))
    label, probability = classify(HeadOutput(coarse, fine, torch.tensor([[0, 7, 7, 3]])), ratio=2)
    assert label[0, 7, 7, 3] == 2 and abs(probability[0, 7, 7, 3].item() - 0.7) < 1e-6
    assert (label[0, :2, :2, :2] == 1).all()  # not refined, the parent says class 1
    assert label.sum() == 2 + 8


def test_occupied_where_the_classes_together_are_more_probable_than_empty():
    """0.4 empty against 0.35 + 0.25: occupied, by the larger class. 0.6 empty: empty."""
    label, probability = decide(torch.log(torch.tensor([[0.4, 0.35, 0.25], [0.6, 0.3, 0.1]])))
    assert label.tolist() == [1, EMPTY]
    torch.testing.assert_close(probability, torch.tensor([0.35, 0.6]))


def test_dense_logits_decide_as_the_cascade_does():
    generator = torch.Generator().manual_seed(0)
    children = torch.tensor([[0, x, y, z] for x in (2, 3) for y in (4, 5) for z in (0, 1)])
    fine = torch.randn(8, CLASSES, generator=generator).requires_grad_()
    output = HeadOutput(torch.randn(1, CLASSES, 4, 4, 2, generator=generator), fine, children)
    dense = dense_logits(output, ratio=2)
    assert torch.equal(decide(dense)[0], classify(output, ratio=2)[0])
    dense.sum().backward()
    assert (fine.grad == 1).all()
