from pathlib import Path

import numpy as np
import pytest

from training.demo import DemoConfig, equals_offline
from training.demo_parts.summary import Answer


def answer(labels: list[int], probability: list[float]) -> Answer:
    shape = (len(labels), 1, 1)
    return Answer(
        np.array(labels, np.uint8).reshape(shape),
        np.array(probability, np.float32).reshape(shape),
        latency_ms=1.0,
    )


@pytest.mark.parametrize(
    ("labels", "probability", "expected"),
    [
        ([0, 4], [0.9, 0.5], True),  # the probability of an empty voxel is not published
        ([0, 5], [0.0, 0.5], False),
        ([0, 4], [0.0, 0.25], False),
    ],
)
def test_answers_are_compared_with_the_offline_output(
    tmp_path: Path, labels: list[int], probability: list[float], expected: bool
) -> None:
    offline = answer(labels, probability)
    np.savez(tmp_path / "7.npz", labels=offline.labels, probability=offline.probability)
    answers = {7: answer([0, 4], [0.0, 0.5])}
    assert equals_offline(answers, tmp_path) is expected
    assert not equals_offline({**answers, 8: answers[7]}, tmp_path)  # no file of the second stamp


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"keyframes": 3}, "keyframes must be even and at least 2, got 3"),
        ({"rate": 0.0}, "rate must be positive, got 0.0"),
        ({"busy_loops": -1}, "busy_loops must not be negative, got -1"),
    ],
)
def test_nonsense_is_refused_by_name(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DemoConfig(**settings)
