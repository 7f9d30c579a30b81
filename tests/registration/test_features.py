import numpy as np
import pytest
from jax import numpy as jnp

from tests.registration.scenes import band_limited
from tvjax.registration.features import features_of, features_of_both, with_unit_power

SHAPE = (48, 56)
EVERYWHERE = jnp.ones(SHAPE, bool)


@pytest.fixture(scope="module")
def image():
    return jnp.asarray(band_limited((0, 0), shape=SHAPE))


@pytest.mark.parametrize("by", ["intensity", "gradient"])
def test_features_have_unit_power_whatever_pedestal_and_gain(image, by):
    weight, values = features_of(image, EVERYWHERE, by)
    np.testing.assert_allclose(jnp.sum(weight * values**2) / jnp.sum(weight), 1, 1e-5)
    other = features_of(7 * image + 3, EVERYWHERE, by)
    # the rounding of float32 on a pedestal of half the deviation
    np.testing.assert_allclose(other.values, values, atol=1e-4)


def test_intensities_follow_the_sign_and_gradients_do_not(image):
    same, reverse = (features_of(z, EVERYWHERE, "gradient") for z in (image, -image))
    np.testing.assert_allclose(same.values, reverse.values, atol=1e-5)  # float32
    same, reverse = (features_of(z, EVERYWHERE, "intensity") for z in (image, -image))
    np.testing.assert_allclose(same.values, -reverse.values, atol=1e-5)


def test_pixels_near_invalid_ones_do_not_count(image):
    mask = EVERYWHERE.at[20, 30].set(False)
    spoiled = image.at[20, 30].set(jnp.nan)
    found = features_of(spoiled, EVERYWHERE, "gradient")
    np.testing.assert_array_equal(found.weight, features_of(image, mask, "gradient")[0])
    # one pixel takes 1/(2π 2²) = 0.04 of the smoothed mask, of the 0.15 that may lack
    assert found.weight[20, 30] == 0
    np.testing.assert_allclose(found.weight[20, 31], 1 - 0.04 / 0.15, atol=0.1)
    # at the border half of the smoothed mask lies outside
    assert not found.weight[0].any() and not found.weight[:, -1].any()
    assert found.weight[10, 10] == 1
    assert np.isfinite(found.values).all()


def test_a_flat_image_has_no_features():
    flat = jnp.full(SHAPE, 1234.5)
    for by in ("intensity", "gradient"):
        np.testing.assert_array_equal(features_of(flat, EVERYWHERE, by).values, 0)
    zero = with_unit_power(jnp.ones(SHAPE), jnp.zeros(SHAPE))
    np.testing.assert_array_equal(zero.values, 0)


def test_features_of_both_are_those_of_each(image):
    frames, masks = jnp.stack([image, -image]), jnp.stack([EVERYWHERE] * 2)
    for found, frame in zip(
        features_of_both(frames, masks, "intensity"), frames, strict=True
    ):
        expected = features_of(frame, EVERYWHERE, "intensity")
        np.testing.assert_allclose(found.values, expected.values, atol=1e-5)  # float32
