import pytest
import torch

from training.gpu.operators import CASES, OperatorResult, difference


@pytest.mark.parametrize("name", CASES)
def test_torch_forms_give_what_compiled_loops_give(name):
    assert OperatorResult(name, difference(CASES[name], torch.device("cpu"))).is_equal


@pytest.mark.parametrize("name", CASES)
def test_every_case_has_something_to_compare(name):
    results = CASES[name](torch.device("cpu"))
    finite = [result[result.isfinite()].float() for result in results]
    assert all(values.numel() and values.std() > 0 for values in finite)


def test_every_operator_with_a_compiled_loop_has_a_case(repository):
    ops = repository / "occ_core" / "ops"
    forms, loops = ({file.stem for file in folder.glob("*.py")} for folder in (ops, ops / "cpu"))
    operators = (forms & loops) - {"__init__"}
    assert "splat" in operators and operators <= {name.split(",")[0] for name in CASES}


def test_a_difference_is_seen_relative_to_the_largest_value(monkeypatch):
    def off_by(error: float):
        calls = iter([torch.tensor([4.0, 1.0]), torch.tensor([4.0, 1.0 + error])])
        return lambda device: [next(calls)]

    # 0.2 of 4
    assert difference(off_by(0.2), torch.device("cpu")) == pytest.approx(0.05)
    assert difference(off_by(float("nan")), torch.device("cpu")) == float("inf")
    shapes = iter([torch.zeros(2), torch.zeros(3)])
    assert difference(lambda device: [next(shapes)], torch.device("cpu")) == float("inf")
