import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from training.labels.ray_marking import mark_rays

SHAPE = (5, 4, 3)


def marked(origins: list[list[float]], ends: list[list[float]]) -> list[np.ndarray]:
    """Voxels touched, crossed, and those of ends."""
    marks = [np.zeros(SHAPE, bool) for _ in range(3)]
    mark_rays(*marks, np.array(origins, float), np.array(ends, float))
    return marks


def test_a_ray_marks_its_way_and_its_end() -> None:
    touched, crossed, ended = marked([[0.5, 0.5, 0.5]], [[3.5, 0.5, 0.5]])
    assert np.argwhere(touched).tolist() == [[0, 0, 0], [1, 0, 0], [2, 0, 0]]
    assert (crossed == touched).all()
    assert np.argwhere(ended).tolist() == [[3, 0, 0]]


def test_a_ray_from_outside_that_ends_beyond_only_crosses() -> None:
    touched, _, ended = marked([[-10.0, 1.5, 2.5]], [[10.0, 1.5, 2.5]])
    assert np.argwhere(touched).tolist() == [[x, 1, 2] for x in range(5)]
    assert not ended.any()


def test_a_ray_that_clips_an_edge_touches_but_does_not_cross() -> None:
    # At y = 0.9 and z = 0.9 it passes the centres at 0.4 * 2 ** 0.5 = 0.57, more than half a voxel;
    # at z = 0.7 at (0.16 + 0.04) ** 0.5 = 0.45.
    for z, crosses in ((0.9, False), (0.7, True)):
        touched, crossed, _ = marked([[0.1, 0.9, z]], [[4.9, 0.9, z]])
        assert touched.sum() == 4
        assert crossed.sum() == (4 if crosses else 0)


def test_a_ray_beside_the_grid_marks_nothing() -> None:
    marks = marked([[0.5, -1.0, 0.5], [6.0, 1.0, 1.0]], [[4.5, -1.0, 0.5], [9.0, 1.0, 1.0]])
    assert not any(mark.any() for mark in marks)


@given(arrays(np.float64, (6,), elements=st.floats(-3.0, 8.0)))
def test_every_voxel_that_a_ray_passes_well_inside_is_marked(ray: np.ndarray) -> None:
    touched, crossed, ended = marked([ray[:3].tolist()], [ray[3:].tolist()])
    share = np.linspace(0.0, 1.0, 2001)[:, None]
    place = ray[:3] + share * (ray[3:] - ray[:3])
    index = np.floor(place).astype(int)
    # on a face either voxel counts
    clear = (np.abs(place - np.round(place)) > 1e-6).all(axis=1)
    inside = clear & ((index >= 0) & (index < SHAPE)).all(axis=1)
    sampled = np.zeros(SHAPE, bool)
    sampled[tuple(index[inside].T)] = True
    assert not (sampled & ~(touched | ended)).any()
    assert not (crossed & ~touched).any()
    # A voxel with a sample within half a voxel of its centre is crossed, unless the ray ends there.
    near = inside & (np.linalg.norm(place - index - 0.5, axis=1) < 0.499)
    middle = np.zeros(SHAPE, bool)
    middle[tuple(index[near].T)] = True
    assert not (middle & ~(crossed | ended)).any()
