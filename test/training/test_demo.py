from types import SimpleNamespace

import numpy as np

from training.demo import weighed
from training.demo_parts.summary import Answer
from training.figures.sensor_weights import Moment


def test_moments_are_the_answers_with_weights_in_the_order_of_time():
    """Of four keyframes the second was not answered, the third came without weights."""

    def answer(weights: tuple[float, float] | None) -> Answer:
        return Answer(np.zeros((1, 1, 1), np.uint8), np.zeros((1, 1, 1), np.float32), 1.0, weights)

    weathers = ["clear", "clear", "rain at night", "rain at night"]
    keyframes = [
        SimpleNamespace(
            stamp_ns=7 * 10**9 + i * 500_000_000, context=SimpleNamespace(weather=weather)
        )
        for i, weather in enumerate(weathers)
    ]
    given = {3: (0.25, 0.75), 2: None, 0: (0.5, 0.5)}
    answers = {keyframes[number].stamp_ns: answer(weights) for number, weights in given.items()}
    assert weighed(keyframes, answers) == [
        Moment(0.0, "clear", (0.5, 0.5)),
        Moment(1.5, "rain at night", (0.25, 0.75)),
    ]
