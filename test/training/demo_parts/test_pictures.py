from types import SimpleNamespace

import numpy as np

from training.demo_parts.pictures import sensor_weights
from training.demo_parts.summary import Answer
from training.figures.sensor_weights import Moment


def test_sensor_weights_are_those_of_the_answers_in_time_order() -> None:
    """Of four keyframes, the second was not answered and the third was answered without weights."""
    weathers = ["clear", "clear", "rain at night", "rain at night"]
    keyframes = [
        SimpleNamespace(
            stamp_ns=7 * 10**9 + number * 500_000_000, context=SimpleNamespace(weather=weather)
        )
        for number, weather in enumerate(weathers)
    ]
    volume = np.zeros((1, 1, 1), np.uint8)
    weights = {3: (0.25, 0.75), 2: None, 0: (0.5, 0.5)}
    answers = {
        keyframes[number].stamp_ns: Answer(volume, volume.astype(np.float32), 1.0, pair)
        for number, pair in weights.items()
    }
    assert sensor_weights(keyframes, answers) == [
        Moment(0.0, "clear", (0.5, 0.5)),
        Moment(1.5, "rain at night", (0.25, 0.75)),
    ]
