import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from occ_core.labels.raw_ids import KITTI_360_RAW, SEMANTIC_KITTI_RAW, RawIds


@pytest.mark.parametrize("raw_ids", [SEMANTIC_KITTI_RAW, KITTI_360_RAW])
def test_every_raw_id_has_one_meaning(raw_ids: RawIds):
    """34 raw ids in the annotation, 0 (nothing measured) among them."""
    raws = [raw for group in raw_ids.of_class.values() for raw in group]
    assert len(raws) == len(set(raws)) and not set(raws) & set(raw_ids.ignored)
    assert len(raws) + len(raw_ids.ignored) + 1 == 34
    assert set(raw_ids.of_class) == set(raw_ids.labels.occupied_names)


def test_what_the_data_sets_make_of_the_same_raw_ids():
    """Moving cars are cars; SemanticKITTI ignores structures (52) and objects (99), which KITTI-360
    counts; KITTI-360 ignores bicyclists (31) and trunks (71).
    """
    raw = np.array([0, 252, 60, 52, 99, 31, 71, 1], dtype=np.uint16)
    assert SEMANTIC_KITTI_RAW.to_ids(raw).tolist() == [0, 1, 9, 255, 255, 7, 16, 255]
    assert KITTI_360_RAW.to_ids(raw).tolist() == [0, 1, 7, 17, 18, 255, 255, 255]


@given(st.sampled_from([SEMANTIC_KITTI_RAW, KITTI_360_RAW]), st.integers(0, 10_000))
def test_predictions_come_back(raw_ids: RawIds, seed: int):
    ids = np.random.default_rng(seed).integers(0, len(raw_ids.labels.names), (3, 4, 5))
    raw = raw_ids.to_raw(ids.astype(np.uint8))
    assert raw.dtype == np.uint16
    np.testing.assert_array_equal(raw_ids.to_ids(raw), ids)


def test_unknown_ids_are_refused():
    with pytest.raises(ValueError, match=r"raw label ids \[7\] are not in semantic_kitti"):
        SEMANTIC_KITTI_RAW.to_ids(np.array([0, 7, 10]))
    with pytest.raises(ValueError, match="0 to 19 of semantic_kitti, got 1 to 20"):
        SEMANTIC_KITTI_RAW.to_raw(np.array([1, 20]))
