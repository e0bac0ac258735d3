import pytest

from training.results.statistics import compare, signed_percent, summarise


def test_the_error_is_that_of_the_mean():
    # 1, 2, 6: mean 3, squares 4 + 1 + 9 = 14, deviation sqrt(14 / 2), over sqrt(3): sqrt(7 / 3)
    assert summarise([1.0, 2.0, 6.0]) == {
        "mean": 3.0,
        "stderr": pytest.approx((7 / 3) ** 0.5),
        "values": [1.0, 2.0, 6.0],
    }
    assert summarise([0.5])["stderr"] is None


def test_differences_are_paired_by_seed():
    scores = {2: {"iou": 0.5, "new": 1.0}, 1: {"iou": 0.25}, 3: {"iou": 1.0}}
    reference = {1: {"iou": 0.5}, 2: {"iou": 0.5}, 4: {"iou": 9.0}}
    summaries = compare(scores, reference)
    assert list(summaries) == ["iou", "iou_over_first"]  # not every seed has "new"
    assert summaries["iou"]["values"] == [0.25, 0.5, 1.0]
    # seeds 1 and 2 are in both: 0.25 - 0.5 and 0.5 - 0.5
    assert summaries["iou_over_first"]["values"] == [-0.25, 0.0]


def test_without_a_common_seed_there_is_no_difference():
    assert list(compare({1: {"iou": 0.5}}, {2: {"iou": 0.5}})) == ["iou"]


def test_a_difference_is_written_in_points():
    assert signed_percent({"mean": 0.0123, "stderr": 0.004}) == "+1.23 +-0.40"
    assert signed_percent({"mean": -0.5, "stderr": None}) == "-50.00"
