import numpy as np
import pytest

from tvjax.io import fit_scale, Frame
from tvjax.io.encoding import Encoding
from tvjax.io.invalid_values import find_invalid_values

ALL = np.ones((1, 40, 50), bool)


def test_sixteen_is_enough_where_values_are_spread():
    image = np.random.default_rng(0).uniform(1, 2, (1, 40, 50))
    assert fit_scale(image, ALL, largest=1e6) == 16


@pytest.mark.parametrize("value", [0.3, 0.013, 0.0007])
def test_the_total_of_a_plateau_survives_its_rounding(value):
    image = np.full((1, 1000, 1000), value)
    scale = fit_scale(image, np.ones(image.shape, bool), largest=100)
    assert np.rint(scale * value) / scale == pytest.approx(value, rel=1e-3)
    assert np.log2(scale) % 1 == 0


def test_the_scale_leaves_room_for_the_largest_count():
    image = np.full((1, 400, 500), 0.0007)
    scale = fit_scale(image, np.ones(image.shape, bool), largest=1e6)
    assert 1e6 * scale <= 2**31 - 3 < 2e6 * scale


def test_invalid_pixels_have_no_say_in_the_scale():
    image = np.where(np.arange(50) < 25, 1.0, 0.013)[None] * np.ones((1, 40, 1))
    assert fit_scale(image, image == 1, largest=100) == 16


@pytest.mark.parametrize(
    ("source", "mark", "dtype", "stored"),
    [
        (np.uint32, 2**32 - 1, "uint32", 2**32 - 1),
        (np.uint16, 2**16 - 1, "uint32", 2**32 - 1),
        (np.uint16, 2**16 - 1, "int32", -1),
        (np.int32, -1, "int32", -1),
        (np.int32, -2, "int32", -2),
        (np.int32, -2, "uint32", 2**32 - 1),
        (np.float32, np.nan, "uint32", 2**32 - 1),
        (np.float32, np.nan, "int32", -1),
        (np.uint32, 2**32 - 1, "float32", np.nan),
        (np.uint16, 2**16 - 2, "uint32", 2**32 - 1),
        (np.uint32, 2**32 - 2, "float32", np.nan),
        (np.int32, -(2**31), "int32", -1),
    ],
)
def test_a_mark_becomes_the_mark_of_the_output(source, mark, dtype, stored):
    data = np.array([[3, mark]], dtype=source)
    invalid_values = find_invalid_values([data])[0]
    frame = Frame(0, data, invalid_values.valid(data))
    encoded, tally = Encoding(np.dtype(dtype), 1).encode(
        data / 3, frame, invalid_values
    )
    np.testing.assert_array_equal(encoded, np.array([[1, stored]], dtype=dtype))
    assert (tally.counts_in, tally.counts_out) == (3, 1)


@pytest.mark.parametrize("source", ["uint8", "uint16", "int16", "uint32", "int32"])
@pytest.mark.parametrize("dtype", ["uint32", "int32"])
@pytest.mark.parametrize("saturation", [None, 60.0, 150.0])
@pytest.mark.parametrize("kind", ["whole", "gaps", "masked", "large", "negative"])
def test_counts_that_are_left_are_stored_as_others_are(source, dtype, saturation, kind):
    data = np.random.default_rng(0).poisson(40, (30, 40)).astype(source)
    top = np.iinfo(source).max
    if kind == "gaps":
        data[5:9] = top if data.dtype.kind == "u" else -1
    if kind == "large":
        data[3, 4] = top - 7
    if kind == "negative":
        data[data > 41] = top - 3 if data.dtype.kind == "u" else -3
    invalid_values = find_invalid_values([data])[0]
    mask = invalid_values.valid(data)
    if kind == "masked":
        mask[10] = False
    frame = Frame(0, data, mask)
    encoding = Encoding(np.dtype(dtype), 16, saturation)
    stored, tally = encoding.encode(data, frame, invalid_values)
    # as a number of another type, it goes by way of floating point
    expected, told = encoding.encode(data.astype(float), frame, invalid_values)
    np.testing.assert_array_equal(stored, expected)
    assert stored.dtype == expected.dtype and tally == told


def test_whole_numbers_need_no_larger_scale():
    image = np.zeros((1, 40, 50), np.int32)
    image[0, 0, 0] = 1
    assert fit_scale(image, ALL, largest=10) == 16
