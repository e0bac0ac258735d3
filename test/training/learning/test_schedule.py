import pytest

from training.learning.schedule import warmup_cosine


def test_the_rate_rises_then_falls():
    """Linear over four steps; then 0.01 + 0.99 * (1 + cos) / 2 at 0, a half and 1 of the rest."""
    factors = [warmup_cosine(step, warmup_steps=4, steps=12) for step in range(13)]
    assert factors[:4] == [0.25, 0.5, 0.75, 1.0]
    assert factors[4] == 1.0 and factors[12] == pytest.approx(0.01)
    assert factors[8] == pytest.approx(0.01 + 0.99 / 2)
    assert factors[4:] == sorted(factors[4:], reverse=True)


def test_without_warmup_it_starts_at_the_top():
    assert warmup_cosine(0, warmup_steps=0, steps=1) == 1.0
