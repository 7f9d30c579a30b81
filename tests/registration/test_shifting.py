import jax
import numpy as np
import pytest
from jax import numpy as jnp
from jax.test_util import check_grads

from tests.registration.scenes import band_limited, masked, SHAPE, SHIFTS
from tvjax.registration import estimate_shift, shift_image
from tvjax.registration.shifting import correlate_along

SCENE, STACK = np.zeros((16, 16)), np.zeros((3, 16, 16))


def test_interpolation_keeps_a_smooth_scene():
    # below 0.15 cycles a pixel Lanczos' kernel of 5 errs by 0.003 of the deviation
    truth = band_limited((0, 0), cutoff=0.15)
    for shift in SHIFTS:
        image, mask = shift_image(band_limited(shift, cutoff=0.15), shift)
        inner = (slice(20, -20), slice(20, -20))
        assert mask[inner].all()
        assert np.std(np.asarray(image - truth)[inner]) < 0.01


def test_a_constant_stays_one_up_to_gap_and_border():
    image, mask = masked(np.full(SHAPE, 7.0))
    moved = shift_image(image, (1.3, -2.6), mask=mask)
    # the sums of up to 121 terms in float32
    np.testing.assert_allclose(moved.image[moved.mask], 7, rtol=1e-5)
    np.testing.assert_array_equal(moved.image[~moved.mask], 0)


@pytest.mark.parametrize("whole_pixels", [False, True])
def test_whole_pixels_are_copied_exactly(whole_pixels):
    image = np.random.default_rng(7).poisson(1e4, SHAPE).astype(np.int32)
    moved = shift_image(image, (3.0, -5.0), whole_pixels=whole_pixels)
    np.testing.assert_array_equal(moved.image[:-3, 5:], image[3:, :-5])
    expected = np.zeros(SHAPE, bool)
    expected[:-3, 5:] = True
    np.testing.assert_array_equal(moved.mask, expected)
    assert moved.image.dtype == (image.dtype if whole_pixels else np.float32)


@pytest.mark.parametrize("kind", [np.int64, np.uint64])
@pytest.mark.parametrize("whole_pixels", [False, True])
def test_integers_beyond_32_bits_keep_their_value(kind, whole_pixels):
    image = (2**31 * np.random.default_rng(8).integers(1, 9, SHAPE)).astype(kind)
    moved = shift_image(image, (3.0, -5.0), whole_pixels=whole_pixels)
    np.testing.assert_array_equal(moved.image[:-3, 5:], image[3:, :-5].astype(float))


def test_rounding_is_to_the_nearest_pixel():
    image = np.arange(SHAPE[0] * SHAPE[1]).reshape(SHAPE)
    moved = shift_image(image, (2.6, -5.4), whole_pixels=True)
    np.testing.assert_array_equal(moved.image[:-3, 5:], image[3:, :-5])


def test_a_pixel_is_valid_between_four_valid_ones():
    mask = np.ones(SHAPE, bool)
    mask[50, 60] = False
    moved = shift_image(np.zeros(SHAPE), (0.3, -1.6), mask=mask).mask
    rows, columns = np.nonzero(~np.asarray(moved[2:-2, 3:-3]))
    # r + s is between rows 49 and 50, 50 and 51; columns 59 and 60, 60 and 61
    assert {*(rows + 2)} == {49, 50} and {*(columns + 3)} == {61, 62}
    assert not moved[-1].any() and moved[0, 2:].all() and not moved[:, :2].any()


@pytest.mark.parametrize("junk", [np.nan, 1e30])
def test_what_is_masked_never_leaks(junk):
    image, mask = masked(band_limited((0, 0)))
    spoiled = np.where(mask, image, junk).astype(np.float32)
    for shift, whole_pixels in (((1.3, -2.6), False), ((2.0, 3.0), True)):
        expected = shift_image(image, shift, mask=mask, whole_pixels=whole_pixels)
        found = shift_image(spoiled, shift, mask=mask, whole_pixels=whole_pixels)
        jax.tree.map(np.testing.assert_array_equal, found, expected)
    expected = estimate_shift(image, image, mask=mask)
    found = estimate_shift(spoiled, spoiled, mask=mask)
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    if not np.isfinite(junk):
        moved = shift_image(spoiled, (1.3, -2.6))
        assert np.isfinite(moved.image).all() and not moved.mask.all()


def test_derivatives_in_image_and_shift_are_those_of_differences():
    with jax.enable_x64():
        image = jnp.asarray(band_limited((0, 0), shape=(24, 24)), float)
        weights = jnp.asarray(band_limited((0, 0), 1, (24, 24)), float)

        def loss(image, shift):
            return jnp.sum(weights * shift_image(image, shift).image ** 2)

        # differences of float64 with steps of 1e-6 keep six digits
        for shift in ((0.3, -1.2), (2.45, 0.01)):
            check_grads(loss, (image, jnp.asarray(shift)), 1, ["rev"], 1e-5, 1e-5)


def test_correlation_along_an_axis_is_that_of_numpy():
    image = np.random.default_rng(9).normal(size=(7, 9)).astype(np.float32)
    weights = np.asarray([1.0, -2.0, 0.5], np.float32)
    for axis in (0, 1):
        found = correlate_along(jnp.asarray(image), jnp.asarray(weights), axis)
        expected = np.apply_along_axis(np.correlate, axis, image, weights, "valid")
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)  # float32


@pytest.mark.parametrize(
    ("misuse", "message"),
    [
        (lambda: shift_image(STACK, (0, 0)), "`y` must have two axes"),
        (lambda: shift_image(SCENE, 1.0), r"`shift` must be a pair \(row, column\)"),
    ],
)
def test_misuse_gets_a_sentence(misuse, message):
    with pytest.raises(ValueError, match=message):
        misuse()
