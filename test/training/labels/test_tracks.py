import numpy as np
import pytest

from training.labels.tracks import ObjectTrack


def poses(*x_m: float) -> np.ndarray:
    all_poses = np.tile(np.eye(4), (len(x_m), 1, 1))
    all_poses[:, 0, 3] = x_m
    return all_poses


def track(times_s: list[float], world_from_box: np.ndarray) -> ObjectTrack:
    return ObjectTrack(4, np.array([4.0, 2.0, 1.5]), np.array(times_s), world_from_box)


def test_a_steady_object_is_where_its_speed_takes_it() -> None:
    # 10 m/s: 2.5 m after a quarter of a second, and 0.2 s beyond its last box 5 + 2 m
    found = track([0.0, 0.5], poses(0.0, 5.0)).poses_at(np.array([0.25, 0.7, -0.1]))
    assert found[:, 0, 3] == pytest.approx([2.5, 7.0, -1.0])


def test_an_object_that_brakes_follows_a_curve() -> None:
    # x = 10 t - 2 t^2: at 0.75 s 7.5 - 1.125 = 6.375; a straight line from 4.5 to 8 gives 6.25
    times = np.arange(5) * 0.5
    found = track(times.tolist(), poses(*(10 * times - 2 * times**2))).poses_at(0.75)
    assert found[0, 3] == pytest.approx(6.375, abs=1e-6)


def test_it_turns_evenly_between_two_boxes() -> None:
    turned = poses(0.0, 0.0)
    turned[1, :2, :2] = [[0.0, -1.0], [1.0, 0.0]]  # 90 degrees to the left
    found = track([0.0, 1.0], turned).poses_at(0.5)
    assert found[:2, 0] == pytest.approx([0.5**0.5, 0.5**0.5])


def test_it_exists_half_a_second_beyond_its_boxes() -> None:
    found = track([1.0, 1.5], poses(0.0, 0.0)).exists_at(np.array([0.4, 0.5, 1.2, 2.0, 2.1]))
    assert found.tolist() == [False, True, True, True, False]


def test_a_single_box_stays_where_it_is() -> None:
    assert track([1.0], poses(3.0)).poses_at(1.3)[0, 3] == 3.0


@pytest.mark.parametrize("times_s", [[], [1.0, 1.0], [2.0, 1.0]])
def test_times_that_do_not_ascend_are_refused(times_s: list[float]) -> None:
    with pytest.raises(ValueError, match="ascending times"):
        track(times_s, poses(*times_s))
