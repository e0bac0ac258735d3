"""Triangle meshes: what a sketch draws, and meshes copied, joined and centred."""

from __future__ import annotations

import numpy as np
import pytest

from training.world.scene import Mesh
from training.world.things.materials import MATERIAL_ID
from training.world.things.meshes import (
    CATEGORY_ID,
    category_name,
    centre_on_footprint,
    footprint_size,
    join,
    place_copies,
)
from training.world.things.props.fences import draw_fence
from training.world.things.sketch import Sketch
from training.world.things.vehicles.cars import CAR_KINDS, draw_car


def enclosed_volume(mesh: Mesh) -> float:
    """Volume inside a closed mesh; each triangle adds that of a tetrahedron with the origin."""
    a, b, c = np.moveaxis(mesh.vertices[mesh.triangles].astype(float), 1, 0)
    return abs(float((a * np.cross(b, c)).sum())) / 6


def edge_uses(mesh: Mesh) -> np.ndarray:
    """How many triangles use each edge in its own direction, less those in the opposite one."""
    edges = mesh.triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
    sign = np.where(edges[:, 0] < edges[:, 1], 1, -1)
    _, edge = np.unique(np.sort(edges, axis=1), axis=0, return_inverse=True)
    return np.bincount(edge.reshape(-1), sign)


def unit_box() -> Mesh:
    sketch = Sketch("vehicle.car")
    sketch.box((0.5, 0.5, 0.5), (1, 1, 1), "paint", (0.5, 0.25, 1.0))
    return sketch.mesh()


def test_a_box_has_its_size_material_category_and_tint() -> None:
    sketch = Sketch("static.manmade")
    sketch.box((1, 2, 3), (2, 3, 4), "brick", (1.0, 0.5, 0.25))
    mesh = sketch.mesh()
    np.testing.assert_allclose(mesh.vertices.min(axis=0), (0, 0.5, 1))  # centre less half the size
    np.testing.assert_allclose(mesh.vertices.max(axis=0), (2, 3.5, 5))
    assert enclosed_volume(mesh) == pytest.approx(24)  # 2 x 3 x 4
    assert set(mesh.material) == {MATERIAL_ID["brick"]}
    assert set(mesh.category) == {CATEGORY_ID["static.manmade"]}
    np.testing.assert_allclose(mesh.tint, np.tile((1.0, 0.5, 0.25), (12, 1)))


def test_pitch_turns_a_box_nose_down() -> None:
    sketch = Sketch("static.manmade")
    sketch.box((0, 0, 0), (2, 0.1, 0), "brick", pitch=np.pi / 6)
    tip = sketch.mesh().vertices[np.argmax(sketch.mesh().vertices[:, 0])]
    # The front edge at (1, z = 0) turns by 30 degrees: cos 30 = 0.866, -sin 30 = -0.5.
    np.testing.assert_allclose(tip[[0, 2]], (0.8660, -0.5), atol=1e-4)


def test_tubes_prisms_and_ellipsoids_are_closed_and_have_their_volume() -> None:
    tube, prism, ellipsoid = (Sketch("static.manmade") for _ in range(3))
    tube.tube([(0, 0, 0), (0, 0, 2)], 1.0, "metal", sides=6)
    prism.prism([(0, 0), (2, 0), (0, 1)], (0, 3), "metal")
    ellipsoid.ellipsoid((5, 0, 0), (1, 2, 3), "metal", fine=True)
    # A hexagon of radius 1 has an area of 3 sqrt(3) / 2, a triangle half its base times its height.
    assert enclosed_volume(tube.mesh()) == pytest.approx(2 * 3 * 3**0.5 / 2, rel=1e-5)
    assert enclosed_volume(prism.mesh()) == pytest.approx(3 * 0.5 * 2 * 1)
    # 80 flat faces inside the ellipsoid, whose volume is 4/3 pi 1 2 3 = 25.1.
    assert 0.85 * 25.1 < enclosed_volume(ellipsoid.mesh()) < 25.1
    for sketch in (tube, prism, ellipsoid):
        assert not edge_uses(sketch.mesh()).any()


def test_a_pane_spans_two_corners() -> None:
    sketch = Sketch("static.manmade")
    sketch.pane((0, 1, 2), (3, 1, 4), "glass")
    corners = [(0, 1, 2), (3, 1, 2), (3, 1, 4), (0, 1, 4)]
    np.testing.assert_allclose(sketch.mesh().vertices, corners)


def test_copies_are_scaled_turned_and_moved() -> None:
    copies = place_copies(
        unit_box(),
        position=np.array([(0.0, 0, 0), (10, 20, 30)]),
        yaw=np.array([0.0, np.pi / 2]),
        scale=np.array([(1.0, 1, 1), (2, 1, 3)]),
        tint=np.array([(1.0, 1, 1), (0.5, 1, 1)]),
    )
    first, second = copies.vertices[:8], copies.vertices[8:]
    np.testing.assert_allclose(first, unit_box().vertices)
    # x in 0..2 becomes y, y in 0..1 becomes -x, z in 0..3.
    np.testing.assert_allclose(second.min(axis=0), (9, 20, 30), atol=1e-5)
    np.testing.assert_allclose(second.max(axis=0), (10, 22, 33), atol=1e-5)
    assert copies.triangles[12:].min() == 8
    np.testing.assert_allclose(copies.tint[[0, -1]], [(0.5, 0.25, 1.0), (0.25, 0.25, 1.0)])


def test_joined_meshes_keep_their_triangles() -> None:
    first, second = unit_box(), draw_fence("wall")
    both = join([first, second])
    np.testing.assert_array_equal(
        both.vertices[both.triangles],
        np.concatenate([each.vertices[each.triangles] for each in (first, second)]),
    )
    assert both.category[0] == first.category[0] and both.category[-1] == second.category[0]


def test_centring_puts_the_footprint_on_the_origin() -> None:
    sketch = Sketch("vehicle.car")
    sketch.box((3, -2, 1), (4, 2, 1.5), "paint")
    mesh, size_wlh = centre_on_footprint(sketch.mesh())
    assert size_wlh == pytest.approx((2, 4, 1.5))
    assert footprint_size(mesh) == pytest.approx((4, 2))
    np.testing.assert_allclose(mesh.vertices.min(axis=0), (-2, -1, 0), atol=1e-6)
    assert category_name(mesh) == "vehicle.car"


@pytest.mark.parametrize("kind", CAR_KINDS)
def test_cars_have_real_sizes_and_stand_on_their_wheels(kind: str) -> None:
    mesh = draw_car(np.random.default_rng(3), kind)
    length, width, height = np.ptp(mesh.vertices, axis=0)
    assert 3.5 < length < 5.5 and 1.5 < width < 2.4 and 1.3 < height < 2.4
    assert abs(mesh.vertices[:, 2].min()) < 0.05
    glass = mesh.material == MATERIAL_ID["glass"]
    assert 0 < glass.sum() < len(glass)


def test_an_unknown_fence_is_refused() -> None:
    with pytest.raises(ValueError, match="'picket'"):
        draw_fence("picket")
