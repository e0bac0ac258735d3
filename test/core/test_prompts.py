import pytest
import torch

from occ_core.prompts import (
    CLASS_PHRASES,
    PROMPTS,
    REGION_PHRASES,
    SEEN_ABOVE,
    WEATHER_PROMPTS,
    LanguageConfig,
    NoPrompts,
    PromptTable,
    classes_seen,
    instance_prompt,
)
from occ_core.taxonomy import CLASS_ID, NUM_CLASSES, REGIONS, WEATHERS
from occ_core.types import DriveContext, HeadOutput

CAR, BUS = CLASS_ID["car"], CLASS_ID["bus"]


def test_every_class_region_and_weather_has_its_prompt():
    assert len(CLASS_PHRASES) == NUM_CLASSES
    assert tuple(REGION_PHRASES) == REGIONS and tuple(WEATHER_PROMPTS) == WEATHERS
    assert len(set(PROMPTS)) == len(PROMPTS) == 5 * 17 + 5
    expected = "A car, parked or driving, in Boston, USA, where traffic keeps to the right."
    assert instance_prompt(CAR, "boston-seaport") == expected
    for class_id, name in enumerate(("barrier", "bicycle", "bus", "car"), start=1):
        assert name in CLASS_PHRASES[class_id]


def numbered_table() -> PromptTable:
    """A table in which the embedding of prompt n is [n, 1]."""
    table = PromptTable(2)
    table.fill(torch.stack([torch.arange(90.0), torch.ones(90)], dim=1))
    return table


def test_a_frame_gets_the_prompts_of_its_region_its_weather_and_the_classes_seen():
    """onenorth is region 2: its rows begin at 2 * 17 = 34. The weathers begin at 5 * 17 = 85; rain
    is the third of them, 87.
    """
    seen = torch.zeros(2, NUM_CLASSES, dtype=torch.bool)
    seen[0, CAR] = True
    contexts = (DriveContext("rain", "singapore-onenorth"), DriveContext())
    prompts = numbered_table()(contexts, seen)
    assert prompts.embeddings[0, :, 0].tolist() == [*range(34, 51), 87]
    assert prompts.embeddings[1, :, 0].tolist() == [*range(17), 85]
    # the general prompt, the car's, and the weather's
    assert prompts.mask[0].nonzero()[:, 0].tolist() == [0, CAR, 17]
    assert prompts.mask[1].nonzero()[:, 0].tolist() == [0, 17]
    assert prompts.weather.tolist() == [[87.0, 1.0], [85.0, 1.0]]


def test_before_anything_is_seen_the_prompt_is_general():
    mask = numbered_table()((DriveContext(),), None).mask
    assert mask[0].nonzero()[:, 0].tolist() == [0, 17]


def test_without_prompts_there_is_nothing_to_attend_to():
    table = NoPrompts()
    table.fill(torch.randn(90, 2))
    prompts = table((DriveContext(), DriveContext()), None)
    assert prompts.embeddings.shape == (2, 0, 1) and prompts.mask.shape == (2, 0)


def head(**probability: float) -> HeadOutput:
    """One voxel for each class, which has it with this probability and is else empty."""
    rows = torch.full((len(probability), NUM_CLASSES), 1e-9)
    for row, (name, value) in zip(rows, probability.items(), strict=True):
        row[CLASS_ID[name]], row[0] = value, 1 - value
    children = torch.tensor([[0, number, 0, 0] for number in range(len(rows))])
    return HeadOutput(torch.zeros(1, NUM_CLASSES, 1, 1, 1), rows.log(), children)


def test_a_class_enters_when_it_is_likely_and_leaves_when_it_is_not():
    def class_ids(seen: torch.Tensor) -> list[int]:
        return (seen[0, 1:].nonzero()[:, 0] + 1).tolist()

    first = classes_seen(head(car=0.6, bus=0.45), None)
    assert class_ids(first) == [CAR]  # 0.45 is too little to enter ...
    second = classes_seen(head(car=0.45, bus=0.45), first)
    assert class_ids(second) == [CAR]  # ... but enough to stay
    assert class_ids(classes_seen(head(car=0.35, bus=0.45), second)) == []


def test_each_sample_of_a_batch_has_its_own_classes():
    two = head(car=0.9, bus=0.9)._replace(
        coarse=torch.zeros(2, NUM_CLASSES, 1, 1, 1),
        children=torch.tensor([[0, 0, 0, 0], [1, 0, 0, 0]]),
    )
    assert classes_seen(two, None)[:, [CAR, BUS]].tolist() == [[True, False], [False, True]]


def test_without_refined_voxels_no_class_is_seen():
    nothing = HeadOutput.dense(torch.zeros(1, NUM_CLASSES, 1, 1, 1))
    assert not classes_seen(nothing, None).any()


def test_the_highest_of_many_voxels_counts():
    """200 and 133 voxels of two samples fill some blocks and part of another. In the last voxel
    class 7 is likely.
    """
    generator = torch.Generator().manual_seed(5)
    logits = 6 * torch.randn(333, NUM_CLASSES, generator=generator)
    sample = torch.arange(333) // 200
    children = torch.stack([sample, *torch.zeros(3, 333, dtype=torch.long)], dim=1)
    seen = classes_seen(HeadOutput(torch.zeros(2, NUM_CLASSES, 1, 1, 1), logits, children), None)
    probability = logits.softmax(dim=1)
    for number in (0, 1):
        highest = probability[sample == number].amax(dim=0)
        assert (highest - SEEN_ABOVE).abs().min() > 1e-3  # rounding decides nothing
        assert torch.equal(seen[number], highest > SEEN_ABOVE)
    last = torch.zeros(333, NUM_CLASSES)
    last[332, 7] = 9.0
    seen = classes_seen(HeadOutput(torch.zeros(2, NUM_CLASSES, 1, 1, 1), last, children), None)
    assert seen.nonzero().tolist() == [[1, 7]]


def test_a_table_of_another_width_is_refused():
    message = r"embeddings are \(90, 3\) .* table is \(90, 2\); set LanguageConfig.width"
    with pytest.raises(ValueError, match=message):
        PromptTable(2).fill(torch.zeros(90, 3))


def test_config_refuses_nonsense():
    with pytest.raises(ValueError, match="instances and weather are both off"):
        LanguageConfig(instances=False, weather=False)
    with pytest.raises(ValueError, match="width must be at least 1, got 0"):
        LanguageConfig(width=0)
