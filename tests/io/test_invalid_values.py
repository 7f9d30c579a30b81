import numpy as np
import pytest

from tvjax.io.invalid_values import Declared, find_invalid_values, InvalidValues


def valid_shares(frames, declared=None):
    """The share of valid pixels of each frame, and what is doubtful."""
    found, doubts = find_invalid_values([*frames], declared)
    return [float(found.valid(frame).mean()) for frame in frames], doubts


def pedestal(mean, sigma, dtype=np.int32):
    values = np.random.default_rng(0).normal(mean, sigma, (3, 40, 50))
    return np.rint(values).astype(dtype)


def counts(dtype, mean=5.0, num_frames=3):
    return np.random.default_rng(0).poisson(mean, (num_frames, 40, 50)).astype(dtype)


@pytest.mark.parametrize(
    ("values", "dtype", "valid"),
    [
        ([0, 7, 2**16 - 1], np.uint16, [True, True, False]),
        ([0, 7, 2**16 - 2], np.uint16, [True, True, False]),
        ([0, 7, 2**16 - 1], np.uint32, [True, True, True]),
        ([0, 2**32 - 2, 2**32 - 1], np.uint32, [True, False, False]),
        ([0, 2**64 - 2, 2**64 - 1], np.uint64, [True, False, False]),
        ([-1, 0, -2], np.int32, [False, True, False]),
        ([-1, 0, -3], np.int32, [True, True, True]),  # a pedestal
        ([-1, 0, -(2**31)], np.int32, [False, True, False]),
        ([-5.0, np.nan, np.inf], np.float32, [True, False, False]),
    ],
)
def test_a_type_and_a_frame_tell_what_is_no_reading(values, dtype, valid):
    data = np.array([values], dtype)
    found, doubts = find_invalid_values([data])
    np.testing.assert_array_equal(found.valid(data), [valid])
    assert not doubts


@pytest.mark.parametrize("odd", [-(2**31), -7])
def test_an_odd_pixel_leaves_gaps_as_they_are(odd):
    frames = counts(np.int32)
    frames[:, :, :10] = -1
    frames[:, 5, 20] = odd
    shares, _ = valid_shares(frames)
    assert shares == pytest.approx([0.8 - 1 / 2000] * 3)


@pytest.mark.parametrize("sigma", [1, 2, 30])
def test_the_noise_of_a_pedestal_is_readings(sigma):
    frames = np.rint(np.random.default_rng(0).normal(0, sigma, (3, 40, 50))).astype(
        np.int32
    )
    assert valid_shares(frames) == ([1.0] * 3, ())


def test_a_pedestal_may_have_gaps_that_stay():
    frames = np.rint(np.random.default_rng(0).normal(2, 6, (3, 40, 50))).astype(
        np.int32
    )
    frames[frames == -1] = 0
    frames[:, :, :10] = -1
    assert valid_shares(frames)[0] == [0.8] * 3


def test_a_later_frame_can_show_the_pedestal():
    frames = np.rint(np.random.default_rng(0).normal(0, 9, (3, 40, 50))).astype(
        np.int16
    )
    frames[0] = np.maximum(frames[0], -2)
    assert valid_shares(frames)[0][1:] == [1.0] * 2


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.int32])
def test_the_declared_depth_has_two_marks(dtype):
    frames = counts(dtype)
    frames[:, :, :10], frames[:, 7, 30] = 2**16 - 1, 2**16 - 2
    shares, doubts = valid_shares(frames, Declared(bit_depth=16))
    assert shares == pytest.approx([0.8 - 1 / 2000] * 3) and not doubts


def test_a_declared_depth_that_readings_exceed_is_doubted():
    frames = counts(np.uint32, mean=2e5)
    frames[0, 0, 0] = 2**16 - 1
    shares, (doubt,) = valid_shares(frames, Declared(bit_depth=16))
    assert shares == [1.0] * 3 and "declares 16 bits" in doubt


def test_readouts_may_be_summed_to_more_than_their_depth():
    frames = counts(np.uint32, mean=2e5)
    frames[0, 0, 0] = 2**16 - 1
    assert valid_shares(frames, Declared(readout_depth=16)) == ([1.0] * 3, ())
    frames = counts(np.uint32)
    frames[:, :, :10] = 2**16 - 1
    assert valid_shares(frames, Declared(readout_depth=16)) == ([0.8] * 3, ())


def test_in_eight_bits_a_mark_keeps_its_place_or_is_declared():
    frames = counts(np.uint8)
    frames[0, 7, 30] = 254
    assert valid_shares(frames)[0] == [1.0] * 3
    assert valid_shares(frames, Declared(bit_depth=8))[0][0] < 1
    frames[:, 7, 30] = 254
    assert valid_shares(frames)[0] == [1 - 1 / 2000] * 3


def test_a_mark_may_be_beyond_the_type():
    for dtype, value in ((np.uint8, -10), (np.uint16, 1e5), (np.float32, 1e300)):
        shares, _ = valid_shares(counts(dtype), Declared(marks=((value, value),)))
        assert shares == [1.0] * 3


def test_the_tail_of_a_saturated_spot_is_readings():
    frames = np.linspace(60_000, 65_534, 2000).astype(np.uint16).reshape(1, 40, 50)
    assert valid_shares(frames)[0] == [1.0]


def test_a_full_range_that_a_conversion_kept_is_doubted():
    frames = counts(np.uint32)
    frames[:, :, :10] = 2**16 - 1
    shares, (doubt,) = valid_shares(frames)
    assert shares == [1.0] * 3
    assert "400 pixels of exactly 65535" in doubt and "--mask" in doubt


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_what_is_declared_counts_in_any_type(dtype):
    frames = counts(dtype)
    frames[:, :, :10] = -10
    shares, doubts = valid_shares(frames, Declared(marks=((-10.1, -9.9),)))
    assert shares == [0.8] * 3 and not doubts


def test_below_the_declared_lowest_value_is_no_reading():
    frames = np.random.default_rng(0).normal(0, 5, (3, 40, 50)).astype(np.float32)
    frames[:, :, :10] = -1000
    shares, _ = valid_shares(frames, Declared(lowest=-50))
    assert shares == [0.8] * 3


def test_averaged_gaps_are_found_and_told():
    frames = counts(np.float32) / 3
    frames[:, :, :10], frames[:, 20, 20] = -1, -2
    shares, (told,) = valid_shares(frames)
    assert shares == pytest.approx([0.8 - 1 / 2000] * 3) and "−1" in told


@pytest.mark.parametrize("value", [-1.0, -10.0, 65535.0, 4294967295.0])
def test_a_value_that_many_floats_share_is_doubted(value):
    frames = np.random.default_rng(0).normal(0, 0.5, (3, 40, 50)).astype(np.float32)
    frames[:, :, :10] = value
    shares, (doubt,) = valid_shares(frames)
    assert shares == [1.0] * 3
    assert f"exactly {np.float32(value):.10g} " in doubt and "--mask" in doubt


def test_unsigned_and_empty_data_have_no_negative_values():
    assert find_invalid_values([np.zeros((1, 2), np.uint8)])[0].lowest is None
    assert find_invalid_values([np.zeros((0, 2), np.int32)])[0].lowest == 0


def test_a_type_alone_has_its_greatest_value_or_its_least():
    data = np.array([[0, 2**32 - 1]], np.uint32)
    found = InvalidValues.of_type(data.dtype).valid(data)
    assert found.tolist() == [[True, False]]
    least = np.array([[0, -(2**15)]], np.int16)
    found = InvalidValues.of_type(least.dtype).valid(least)
    assert found.tolist() == [[True, False]]
