import torch

from occ_core.build import build_model
from occ_core.config import debug
from occ_core.export.parts import choose_parents, classes_seen_by, unmasked
from occ_core.ops.sparse import sparse_volume
from occ_core.prompts import classes_seen
from occ_core.types import HeadOutput


def test_a_masked_camera_lies_far_away_whatever_its_pose():
    lens = torch.tensor([[[2.0, 0, 1], [0, 2, 1], [0, 0, 1]], [[0.0] * 3] * 3])
    poses = torch.stack([torch.eye(4) * 2, torch.full((4, 4), torch.nan)])
    intrinsics, grid_from_camera = unmasked(torch.tensor([True, False]), lens, poses, 500.0)
    assert torch.equal(intrinsics, torch.stack([lens[0], torch.eye(3)]))
    assert torch.equal(grid_from_camera[0], poses[0])
    assert grid_from_camera[1].tolist() == [
        [1, 0, 0, 500],
        [0, 1, 0, 0],
        [0, 0, 1, 0],
        [0, 0, 0, 1],
    ]


def test_too_many_parents_are_cut_to_the_most_probable_ones_in_the_order_of_the_grid():
    head = build_model(debug()).head
    head.max_refined = 3
    x, y, z = debug().coarse_grid.shape
    occupied = torch.tensor([0.9, 0.2, 0.5, 0.8, 0.31, 0.7])  # above 0.3: five, of which three
    coarse = torch.zeros(1, 17, x, y, z)
    coarse[:, 0] = 20.0  # empty
    # softmax over the empty class and one other: p = 1 / (1 + exp(empty - other))
    coarse[0, 0, 0, 0:6, 0] = (1 / occupied - 1).log()
    coarse[0, 1:, 0, 0:6, 0] = torch.tensor([0.0] + [-30.0] * 15)[:, None]
    none = sparse_volume(torch.zeros(0, 8), torch.zeros(0, 4).long(), debug().grid.shape, 1)
    chosen = choose_parents(head, coarse, none)
    assert chosen.tolist() == [[0, 0, row, 0] for row in (0, 3, 5)]  # 0.9, 0.8, 0.7
    assert torch.equal(chosen, head.choose_parents(coarse, none))
    head.max_refined = 100
    assert torch.equal(choose_parents(head, coarse, none), head.choose_parents(coarse, none))


def test_classes_seen_are_those_of_the_prompts():
    # of three classes, the second reaches 0.9 / 1.1 = 0.82, the third 0.45 / 1 at most
    fine = torch.tensor([[0.1, 0.9, 0.1], [0.5, 0.05, 0.45]]).log()
    children = torch.zeros(2, 4, dtype=torch.long)
    output = HeadOutput(torch.zeros(1, 3, 1, 1, 1), fine, children)
    for before, after in ((False, [False, True, False]), (True, [True, True, True])):
        known = torch.full((1, 3), before)
        assert classes_seen_by(output, known).tolist() == [after]
        assert torch.equal(classes_seen_by(output, known), classes_seen(output, known))
    nothing = HeadOutput(torch.zeros(1, 3, 1, 1, 1), fine[:0], children[:0])
    assert not classes_seen_by(nothing, torch.ones(1, 3, dtype=torch.bool)).any()
