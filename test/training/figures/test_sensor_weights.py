from pathlib import Path

import cv2
import numpy as np
import pytest

from training.figures.sensor_weights import Moment, draw_weights


def test_the_weather_is_behind_the_curves(tmp_path: Path):
    """The clear day on the left is brighter than the rainy night on the right."""
    moments = [
        Moment(0.5 * i, "clear" if i < 6 else "rain at night", (0.6, 0.4) if i < 6 else (0.2, 0.8))
        for i in range(12)
    ]
    draw_weights(moments, tmp_path / "new" / "weights.png")
    picture = cv2.imread(str(tmp_path / "new" / "weights.png")).mean(axis=2)
    width = picture.shape[1]
    day, night = (
        np.median(picture[:, int(begin * width) : int((begin + 0.2) * width)])
        for begin in (0.2, 0.7)
    )
    assert day > 1.3 * night


def test_without_weights_there_is_no_picture(tmp_path: Path):
    with pytest.raises(ValueError, match="WeathFusion"):
        draw_weights([], tmp_path / "weights.png")
