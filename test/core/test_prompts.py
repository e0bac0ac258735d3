import pytest
import torch

from occ_core.prompts import (
    CLASSES,
    PLACES,
    PROMPTS,
    SEEN_ABOVE,
    WEATHER_PROMPTS,
    LanguageConfig,
    PromptTable,
    classes_seen,
    instance_prompt,
)
from occ_core.taxonomy import CLASS_ID, NUM_CLASSES, REGIONS, WEATHERS
from occ_core.types import DriveContext, HeadOutput

CAR, BUS = CLASS_ID["car"], CLASS_ID["bus"]


def test_every_class_region_and_weather_has_its_sentence():
    assert (
        len(CLASSES) == NUM_CLASSES
        and tuple(PLACES) == REGIONS
        and tuple(WEATHER_PROMPTS) == WEATHERS
    )
    assert len(set(PROMPTS)) == len(PROMPTS) == 5 * 17 + 5
    assert (
        instance_prompt(CAR, "boston-seaport")
        == "A car, parked or driving, in Boston, USA, where traffic keeps to the right."
    )
    for class_id, name in enumerate(("barrier", "bicycle", "bus", "car"), start=1):
        assert name in CLASSES[class_id]


def table() -> PromptTable:
    """The embedding of prompt n is [n, 1]."""
    made = PromptTable(2)
    made.fill(torch.stack([torch.arange(90.0), torch.ones(90)], dim=1))
    return made


def test_a_frame_is_told_its_region_its_weather_and_the_classes_seen():
    seen = torch.zeros(2, NUM_CLASSES, dtype=torch.bool)
    seen[0, CAR] = True
    prompts = table()((DriveContext("rain", "singapore-onenorth"), DriveContext()), seen)
    # onenorth is region 2: its rows begin at 2 * 17 = 34; the weathers' at 5 * 17 = 85, rain is the
    # third: 87.
    assert prompts.embeddings[0, :, 0].tolist() == [*range(34, 51), 87]
    assert prompts.embeddings[1, :, 0].tolist() == [*range(17), 85]
    assert prompts.said[0].nonzero()[:, 0].tolist() == [
        0,
        CAR,
        17,
    ]  # the general prompt, the car's, the weather's
    assert prompts.said[1].nonzero()[:, 0].tolist() == [0, 17]
    assert prompts.weather.tolist() == [[87.0, 1.0], [85.0, 1.0]]


def test_before_anything_is_seen_the_prompt_is_general():
    assert table()((DriveContext(),), None).said[0].nonzero()[:, 0].tolist() == [0, 17]


def head(**probability: float) -> HeadOutput:
    """One voxel a class, that has it with this probability and is empty else."""
    rows = torch.full((len(probability), NUM_CLASSES), 1e-9)
    for row, (name, value) in zip(rows, probability.items(), strict=True):
        row[CLASS_ID[name]], row[0] = value, 1 - value
    children = torch.tensor([[0, number, 0, 0] for number in range(len(rows))])
    return HeadOutput(torch.zeros(1, NUM_CLASSES, 1, 1, 1), rows.log(), children)


def test_a_class_enters_when_it_is_likely_and_leaves_when_it_is_not():
    def named(seen: torch.Tensor) -> list[int]:
        return (seen[0, 1:].nonzero()[:, 0] + 1).tolist()

    first = classes_seen(head(car=0.6, bus=0.45), None)
    assert named(first) == [CAR]  # 0.45 is too little to enter
    second = classes_seen(head(car=0.45, bus=0.45), first)
    assert named(second) == [CAR]  # but enough to stay
    assert named(classes_seen(head(car=0.35, bus=0.45), second)) == []


def test_samples_are_told_apart_and_nothing_refined_is_nothing_seen():
    two = head(car=0.9, bus=0.9)
    two = two._replace(
        coarse=torch.zeros(2, NUM_CLASSES, 1, 1, 1),
        children=torch.tensor([[0, 0, 0, 0], [1, 0, 0, 0]]),
    )
    seen = classes_seen(two, None)
    assert seen[0, CAR] and not seen[0, BUS] and seen[1, BUS] and not seen[1, CAR]
    nothing = HeadOutput(
        torch.zeros(1, NUM_CLASSES, 1, 1, 1),
        torch.zeros(0, NUM_CLASSES),
        torch.zeros(0, 4, dtype=torch.long),
    )
    assert not classes_seen(nothing, None).any()


def test_the_highest_of_many_voxels_counts():
    """333 voxels of two samples, so some blocks and a rest of one; each class's highest stands
    somewhere among them.
    """
    drawn = torch.Generator().manual_seed(5)
    logits = 6 * torch.randn(333, NUM_CLASSES, generator=drawn)
    sample = torch.arange(333) // 200
    children = torch.stack([sample, *torch.zeros(3, 333, dtype=torch.long)], dim=1)
    seen = classes_seen(HeadOutput(torch.zeros(2, NUM_CLASSES, 1, 1, 1), logits, children), None)
    for number in (0, 1):
        assert torch.equal(
            seen[number], logits.softmax(dim=1)[sample == number].amax(dim=0) > SEEN_ABOVE
        )
    last = torch.zeros(333, NUM_CLASSES)
    last[332, 7] = 9.0  # in the rest
    seen = classes_seen(HeadOutput(torch.zeros(2, NUM_CLASSES, 1, 1, 1), last, children), None)
    assert seen.nonzero().tolist() == [[1, 7]]


def test_a_table_of_another_width_is_refused():
    with pytest.raises(
        ValueError,
        match=r"embeddings are \(90, 3\) .* the model's table is \(90, 2\); set LanguageConfig.width",
    ):
        PromptTable(2).fill(torch.zeros(90, 3))


def test_config_refuses_nonsense():
    with pytest.raises(ValueError, match="instances and weather are both off"):
        LanguageConfig(instances=False, weather=False)
    with pytest.raises(ValueError, match="width must be at least 1, got 0"):
        LanguageConfig(width=0)
