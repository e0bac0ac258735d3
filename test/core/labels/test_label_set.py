import re

import pytest

from occ_core.labels.label_set import LabelSet
from occ_core.labels.sets import LABEL_SETS, NUSCENES, OCC3D, SURROUNDOCC


def test_colours_that_are_not_given_are_spread_over_the_hues():
    """Hues of 0, 1/3 and 2/3 at saturation 0.8 and value 0.9: 0.9 * 255 = 229.5, which rounds to
    230, and 0.9 * (1 - 0.8) * 255 = 45.9. The empty class, here the last one, is black.
    """
    labels = LabelSet(("car", "road", "air"), empty=2)
    assert labels.palette == ((230, 46, 46), (46, 230, 46), (0, 0, 0))


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"names": ("empty",)}, "2 to 255 classes"),
        ({"names": ("empty", "car"), "empty": 2}, "empty = 2"),
        ({"names": ("empty", "car", "car")}, r"\['car'\] more than once"),
        ({"names": ("empty", "car"), "palette": ((0, 0, 0),)}, "for each of 2 classes"),
        ({"names": ("empty", "car"), "palette": ((0, 0, 0), (0, 0, 256))}, "0..255"),
        ({"names": ("empty", "car"), "ground": ("road",)}, r"ground names no .*\['road'\]"),
        ({"names": ("empty", "car"), "drivable": ("empty",)}, r"drivable names no .*\['empty'\]"),
    ],
)
def test_nonsense_is_refused_by_name(fields: dict, why: str):
    with pytest.raises(ValueError, match=why):
        LabelSet(**fields)


def test_every_set_has_a_colour_and_a_role_for_its_classes():
    for name, labels in LABEL_SETS.items():
        assert labels.name == name
        assert len(labels.palette) == len(labels.names)
        drawn = [labels.palette[label] for label in labels.occupied]
        assert len(set(drawn)) == len(drawn), name
        assert set(labels.drivable) <= set(labels.ground) <= set(labels.static), name


def test_the_ids_of_two_sets_are_compared_by_their_classes():
    assert NUSCENES.same_ids(SURROUNDOCC) and not NUSCENES.same_ids(OCC3D)
    assert OCC3D.ids(("others", "vegetation", "free")) == [0, 16, 17]
    with pytest.raises(ValueError, match=re.escape("'occ3d' has no class ['empty']")):
        OCC3D.ids(("empty",))
