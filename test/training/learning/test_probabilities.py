from dataclasses import dataclass

import pytest

from training.learning.probabilities import check_probabilities


@dataclass
class Chances:
    rain: float = 0.0
    wind: float = 1.0


def test_probabilities_lie_between_0_and_1():
    check_probabilities(Chances())
    with pytest.raises(ValueError, match=r"Chances.rain must be in \[0, 1\], got -0.5"):
        check_probabilities(Chances(rain=-0.5))
    with pytest.raises(ValueError, match=r"Chances.wind must be in \[0, 1\], got nan"):
        check_probabilities(Chances(wind=float("nan")))
