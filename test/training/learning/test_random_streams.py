import numpy as np
import pytest

from training.learning.random_streams import Purpose, random_stream


@pytest.mark.parametrize(
    ("purpose", "rank", "key"),
    [
        (Purpose.VIRTUAL_CAMERAS, 0, [7, 20, 1]),  # a zero at the end changes no stream
        (Purpose.CONTEXT, 0, [7, 20, 1, 1]),
        (Purpose.CONTEXT, 3, [7, 20, 1, 4]),
        (Purpose.FORGETTING, 0, [7, 20, 1, 1000]),
        (Purpose.FORGETTING, 3, [7, 20, 1, 1003]),
    ],
)
def test_streams_are_those_of_stored_results(purpose: Purpose, rank: int, key: list[int]):
    stream = random_stream(seed=7, step=20, number=1, purpose=purpose, rank=rank)
    assert stream.random(3).tolist() == np.random.default_rng(key).random(3).tolist()
