"""The limit of refined voxels, which holds a goal for the time of a frame."""

import pytest

from occ_perception_ros.refinement_budget import GROWTH, LEAST, SLACK, RefinementBudget


class TimedEngine:
    """An engine that takes 50 ms and 10 us a refined voxel, of the 12,000 worth refining."""

    max_refined = 16_000
    refined = 0

    def step(self, frame: object = None) -> float:
        self.refined = min(12_000, self.max_refined)
        return 50 + 0.01 * self.refined

    def reset(self, reason: str) -> None: ...


class PlainEngine:
    """An engine whose model refines nothing."""

    def step(self, frame: object) -> None: ...

    def reset(self, reason: str) -> None: ...


def frames(engine: TimedEngine, budget: RefinementBudget, goal_ms: float, count: int) -> list:
    times = []
    for _ in range(count):
        times.append(engine.step())
        budget.adapt(times[-1], goal_ms)
    return times


def test_without_a_goal_the_model_takes_its_time():
    engine = TimedEngine()
    times = frames(engine, RefinementBudget(engine), goal_ms=0, count=5)
    assert times == [170.0] * 5  # 50 + 0.01 * 12,000
    assert engine.max_refined == 16_000


def test_a_goal_is_held_after_a_few_frames_and_nearly_used():
    engine = TimedEngine()
    budget = RefinementBudget(engine)
    times = frames(engine, budget, goal_ms=100, count=40)
    # From 170 ms: 12,000 * 100 / 170 = 7058 voxels take 120.6 ms; 7058 * 100 / 120.6 = 5853 take
    # 108.5 ms; 5853 * 100 / 108.5 = 5393 take 103.9 ms; 5189 take 101.9 ms; ...
    assert times[1] == pytest.approx(120.58, abs=0.01)
    assert times[2] == pytest.approx(108.5, abs=0.1)
    assert times == sorted(times, reverse=True)  # no swinging
    # the cut is proportional to the excess, so that the goal is approached from above
    assert SLACK * 100 < times[-1] < 100.1


def test_the_cut_counts_from_what_was_refined():
    engine = TimedEngine()
    engine.step()
    RefinementBudget(engine).adapt(took_ms=171.0, goal_ms=170.0)
    assert engine.max_refined == int(12_000 * 170 / 171)  # and not 16,000 * 170 / 171


def test_one_late_frame_halves_the_limit_and_time_left_gives_it_back():
    engine = TimedEngine()
    budget = RefinementBudget(engine)
    engine.step()
    budget.adapt(took_ms=5000.0, goal_ms=200.0)
    assert engine.max_refined == 6000
    assert budget.text(200.0) == (
        "at most 6000 instead of 16000 voxels are refined, to answer within 200 ms"
    )
    frames(engine, budget, goal_ms=200, count=1)
    assert engine.max_refined == int(GROWTH * 6000) + 1
    frames(engine, budget, goal_ms=200, count=20)
    assert engine.max_refined == 16_000
    assert budget.text(200.0) == ""


def test_an_impossible_goal_leaves_a_sixteenth_and_is_called_so():
    engine = TimedEngine()
    budget = RefinementBudget(engine)
    # 12,000 -> 6000 -> 3000 -> 1500 -> 1000: the fourth frame still refined more
    frames(engine, budget, goal_ms=10, count=4)
    assert engine.max_refined == LEAST * 16_000 == 1000
    reduced = "at most 1000 instead of 16000 voxels are refined"
    assert budget.text(10.0) == f"{reduced}, to answer within 10 ms"
    frames(engine, budget, goal_ms=10, count=16)
    assert engine.max_refined == 1000
    assert budget.text(10.0) == f"frames take longer than 10 ms, although {reduced}"
    frames(engine, budget, goal_ms=100, count=1)  # 50 + 0.01 * 1000 = 60 ms
    assert "although" not in budget.text(100.0)


def test_without_its_goal_the_limit_is_the_models_again():
    engine = TimedEngine()
    budget = RefinementBudget(engine)
    frames(engine, budget, goal_ms=100, count=3)
    assert budget.text(100.0)
    frames(engine, budget, goal_ms=0, count=1)
    assert engine.max_refined == 16_000
    assert budget.text(0.0) == ""


def test_an_engine_that_refines_nothing_is_left_alone_and_called_late():
    coarse = TimedEngine()
    coarse.max_refined = 0  # a model without a cascade
    for engine in (PlainEngine(), coarse):
        budget = RefinementBudget(engine)
        budget.adapt(took_ms=500.0, goal_ms=100.0)
        assert budget.text(100.0) == (
            "frames take longer than 100 ms, and this model cannot refine fewer voxels"
        )
        budget.adapt(took_ms=90.0, goal_ms=100.0)
        assert budget.text(100.0) == ""
        budget.adapt(took_ms=500.0, goal_ms=0.0)
        assert budget.text(0.0) == ""
