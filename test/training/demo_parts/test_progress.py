import pytest

from training.demo_parts.progress import LogCounter


def test_a_count_is_printed_when_it_grows(capsys: pytest.CaptureFixture[str]) -> None:
    counter = LogCounter(r"ANSWER (\d+)", "answer", 3)
    started_s = counter.changed_s
    counter.update("READY\n")
    assert (counter.count, counter.changed_s) == (0, started_s)
    counter.update("READY\nANSWER 1\nANSWER 2\n")
    counter.update("READY\nANSWER 1\nANSWER 2\n")
    assert counter.count == 2 and counter.changed_s >= started_s
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("]")[1] for line in lines] == ["   answer 2 of 3"]
