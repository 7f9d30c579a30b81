import numpy as np
import pytest

from tvjax.io.invalid_values import InvalidValues


@pytest.mark.parametrize(
    ("values", "dtype", "valid"),
    [
        ([0, 7, 2**16 - 1], np.uint16, [True, True, False]),
        ([0, 7, 2**16 - 1], np.uint32, [True, True, True]),
        ([-1, 0, -2], np.int32, [False, True, False]),
        ([-1, 0, -3], np.int32, [True, True, True]),  # a pedestal
        ([-5.0, np.nan, np.inf], np.float32, [True, False, False]),
    ],
)
def test_a_type_and_the_first_frame_tell_what_is_no_reading(values, dtype, valid):
    data = np.array([values], dtype)
    found = InvalidValues.of(data).valid(data)
    np.testing.assert_array_equal(found, [valid])


def test_the_first_frame_decides_for_all():
    counts = np.array([[0, -1]], np.int32)
    pedestal = np.array([[0, -9]], np.int32)
    assert InvalidValues.of(counts).valid(pedestal).tolist() == [[True, False]]
    assert InvalidValues.of(pedestal).valid(counts).all()


def test_unsigned_and_empty_data_have_no_negative_values():
    assert not InvalidValues.of(np.zeros((1, 2), np.uint8)).negative
    assert not InvalidValues.of(np.zeros((0, 2), np.int32)).negative
