import pytest
import torch

from occ_core.losses.conet_labels import conet_labels


def block(*children: int, empty: int = 0) -> torch.Tensor:
    """Labels of a single coarse voxel of eight children, the rest of them empty."""
    padded = [*children, *[empty] * (8 - len(children))]
    return torch.tensor(padded, dtype=torch.uint8).view(1, 2, 2, 2)


@pytest.mark.parametrize(
    ("children", "expected"),
    [
        ((), 0),
        ((4,), 255),  # a single occupied child
        ((4, 4), 4),
        ((4, 7), 255),  # one of each
        ((4, 4, 7), 4),
        ((7, 7, 4, 4), 4),  # a draw of two: the smaller id
        ((255, 255, 4), 255),  # noise takes part
        ((255, 4, 4), 4),
        ((1, 2, 3, 4, 5, 6, 7, 8), 1),  # one of each, but none is empty
    ],
)
@pytest.mark.parametrize("empty", [0, 17])
def test_the_rule(children: tuple[int, ...], expected: int, empty: int):
    expected = empty if not children else expected
    assert conet_labels(block(*children, empty=empty), 2, empty).item() == expected


def test_equals_the_mode_of_each_block():
    """The rule as OpenOccupancy computes it: the mode of a block in which every empty child is a
    number of its own, below 0; where such a one wins, 255.
    """
    labels = torch.tensor([0, 0, 0, 0, 2, 3, 255], dtype=torch.uint8)[
        torch.randint(7, (2, 4, 6, 8))
    ]
    expected = torch.zeros(2, 2, 3, 4, dtype=torch.uint8)
    for sample, x, y, z in torch.cartesian_prod(*map(torch.arange, expected.shape)).tolist():
        children = labels[sample, 2 * x : 2 * x + 2, 2 * y : 2 * y + 2, 2 * z : 2 * z + 2]
        values = children.flatten().long()
        if (values == 0).all():
            continue
        values = torch.where(values == 0, -1 - torch.arange(8), values)
        mode = max(values.tolist(), key=lambda value: ((values == value).sum().item(), -value))
        expected[sample, x, y, z] = 255 if mode < 0 else mode
    assert torch.equal(conet_labels(labels, 2), expected)


def test_without_a_coarser_grid_nothing_changes():
    labels = torch.randint(0, 17, (1, 4, 4, 2), dtype=torch.uint8)
    assert torch.equal(conet_labels(labels, 1), labels)
