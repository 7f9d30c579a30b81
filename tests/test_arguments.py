import jax
import numpy as np
import pytest
from jax import numpy as jnp

import tvjax
from tvjax.arguments import (
    as_array,
    as_floating,
    as_full_mask,
    as_image,
    as_mask,
    as_non_negative,
    as_numpy,
    as_positive,
    check_choice,
    check_finite,
    check_noise,
    check_share,
    is_traced,
)
from tvjax.denoisers import Mixture, Network, Wavelet
from tvjax.noise import Gaussian, Poisson, PoissonGaussian
from tvjax.risk import pure, split, sugar, sure


def test_values_become_floating_point_of_their_own_precision(double):
    for given, expected in (
        (np.uint16, np.float32),
        (np.float16, np.float32),
        (np.float32, np.float32),
        (np.float64, np.float64),
    ):
        found = as_floating(np.asarray([0, 3], given))
        assert found.dtype == expected and found.tolist() == [0, 3]


def test_complex_values_are_refused():
    with pytest.raises(ValueError, match="`dark` must be real, got complex"):
        as_floating(np.asarray([1j]), name="dark")


def test_images_are_told_from_what_is_none():
    assert as_image(np.ones((2, 3), np.uint8)).dtype == np.float32
    assert as_image(np.ones((4, 2, 3)), ndim=(2, 3)).shape == (4, 2, 3)
    for wrong in (
        np.ones(3),
        np.ones((4, 2, 3)),
        np.ones((0, 3)),
        1j * np.ones((2, 3)),
    ):
        with pytest.raises(ValueError, match="must be an image .* got shape"):
            as_image(wrong)
    sentence = r"`flat` must be an image \(height, width\) or frames .*; average it\."
    with pytest.raises(ValueError, match=sentence):
        as_image(np.ones(3), name="flat", ndim=(2, 3), remedy="average it")


def test_masks_fit_one_of_the_shapes():
    assert as_mask(None, (2, 3)) is None
    mask = as_mask(np.asarray([[1, 0, 1]]), (1, 3), (2, 1, 3))
    assert mask.dtype == bool and mask.tolist() == [[True, False, True]]
    with pytest.raises(ValueError, match=r"shape \(2, 3\) or \(3,\), got \(3, 2\)"):
        as_mask(np.ones((3, 2)), (2, 3), (3,))
    with pytest.raises(ValueError, match="`valid` leaves no valid pixel"):
        as_mask(np.zeros((2, 3)), (2, 3), name="valid")


def test_a_full_mask_has_the_shape_and_may_be_empty():
    assert as_full_mask(None, (2, 3)).all()
    row = np.asarray([True, False, True])
    found = as_full_mask(row, (2, 3), (3,))
    np.testing.assert_array_equal(found, [row, row])
    assert not as_full_mask(np.zeros((2, 3)), (2, 3)).any()
    with pytest.raises(ValueError, match="`mask` must have the shape"):
        as_full_mask(row, (2, 3))


def test_only_valid_pixels_have_to_be_finite():
    y = jnp.asarray([1.0, jnp.nan, jnp.inf])
    check_finite(y, jnp.asarray([True, False, False]))
    with pytest.raises(ValueError, match="1 valid pixels of `x` are NaN or infinite"):
        check_finite(y, jnp.asarray([True, False, True]), name="x")
    with pytest.raises(ValueError, match="2 valid pixels of `y`"):
        check_finite(y, None)


def test_signs_of_numbers():
    assert as_non_negative("sigma", [0, 2]).tolist() == [0, 2]
    assert as_positive("gain", 3) == 3
    for value in (-1.0, np.nan, [1.0, -2.0]):
        with pytest.raises(ValueError, match="`sigma` must not be negative, got"):
            as_non_negative("sigma", value)
    for value in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="`gain` must be positive, got"):
            as_positive("gain", value)


def test_what_jax_traces_is_not_looked_at():
    def all_checks(y, mask, alpha):
        assert is_traced(y)
        check_finite(y, as_mask(mask, (2, 2)))
        return as_image(y) + as_non_negative("a", alpha) + as_positive("b", alpha)

    y, mask = jnp.full((2, 2), jnp.nan), jnp.zeros((2, 2), bool)
    assert jax.jit(all_checks)(y, mask, -1.0).shape == (2, 2)
    assert not is_traced(y)


def test_known_values_inside_jit_are_taken():
    # inside `jax.jit` a comparison of known numbers is traced as well
    @jax.jit
    def inside(y):
        return y + as_positive("alpha", np.float32(2)) * as_mask(np.ones(3), (3,))

    assert inside(jnp.zeros(3)).tolist() == [2, 2, 2]


def test_noise_models_are_told_from_numbers():
    check_noise(Gaussian(1.0))
    with pytest.raises(
        ValueError, match="must be a noise model, got float; a standard"
    ):
        check_noise(2.0)


def test_words_are_one_of_the_choices():
    check_choice("norm", "isotropic", ("isotropic", "anisotropic"))
    with pytest.raises(ValueError, match=r"`norm` must be one of \('l1', 'l2'\), got"):
        check_choice("norm", "l3", ("l1", "l2"))


KEY = jax.random.key(0)


@pytest.mark.parametrize("kind", [np.int64, np.uint64])
def test_integers_of_64_bits_keep_their_value(kind):
    values = np.asarray([2**31, 2**33 + 2**20, 2**62], kind)
    for given in (values, values[1]):
        expected = np.asarray(given).astype(np.float32)
        found = as_floating(given)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, expected)
    image = as_image(values[None])
    np.testing.assert_array_equal(image[0], values.astype(np.float32))
    negative = as_floating(np.asarray([-(2**40)]))
    assert negative[0] == -(2.0**40)


@pytest.mark.parametrize("kind", [np.int64, np.uint64])
def test_integers_of_64_bits_stay_integers_where_32_bits_hold_them(kind):
    values = np.asarray([0, 7, 2**31 - 1], kind)
    found = as_array(values)
    assert jnp.issubdtype(found.dtype, jnp.integer)
    np.testing.assert_array_equal(found, values)
    beyond = np.asarray([0, 7, 2**33], kind)
    assert as_array(beyond).dtype == np.float32
    np.testing.assert_array_equal(as_array(beyond), beyond.astype(np.float32))
    assert as_array(np.zeros(0, kind)).size == 0


LEVEL = 2.0**31

FACES = {
    "solve": lambda y: tvjax.solve(y, LEVEL).image,
    "TV": lambda y: tvjax.TV(LEVEL)(y),
    "Wavelet": lambda y: Wavelet(LEVEL)(y),
    "Mixture": lambda y: Mixture([tvjax.TV(LEVEL)], [0.5])(y),
    "SUM": lambda y: tvjax.SUM(2.0, max_rank=3)(np.stack([y, 2 * y, 3 * y, y[::-1]])),
    "Network": lambda y: Network((4, 6), (1, 1), key=KEY)(y),
    "Gaussian": lambda y: Gaussian.estimate(y).sigma,
    "Poisson": lambda y: Poisson.estimate(y).gain,
    "variance": lambda y: PoissonGaussian(2.0, 1.0).variance(y),
    **{
        risk.__name__: lambda y, risk=risk: risk(
            tvjax.TV(LEVEL), y, Poisson(LEVEL), key=KEY
        )
        for risk in (sure, sugar, pure, split)
    },
}


@pytest.mark.parametrize("face", FACES.values(), ids=FACES)
def test_every_integer_is_taken_by_value(face):
    # beyond 2³¹ in steps of 2³¹: single precision holds them to the digit
    steps = np.random.default_rng(0).integers(0, 4, (24, 24))
    expected = face((LEVEL * (steps + 5)).astype(np.float32))
    for kind in (np.int64, np.uint64):
        found = face((2**31 * (steps + 5)).astype(kind))
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, expected)
    expected = face(steps.astype(np.float32))
    for kind in (np.uint8, np.uint16, np.uint32, np.int32):
        found = face(steps.astype(kind))
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, expected)


NUMBERS = np.arange(12, dtype=np.int32).reshape(3, 4)


@pytest.mark.parametrize("kind", [">i4", ">u2", ">f4", ">f8", np.longdouble])
def test_numbers_of_any_byte_order_and_width_are_the_same_numbers(kind):
    assert np.array_equal(as_image(NUMBERS.astype(kind)), NUMBERS)
    assert as_numpy(NUMBERS.astype(kind)).dtype.isnative


def test_nothing_masked_is_an_array_and_a_mask_is_asked_for():
    assert np.array_equal(as_image(np.ma.array(NUMBERS)), NUMBERS)
    with pytest.raises(ValueError, match="`y` has masked values: pass y.data, and"):
        as_image(np.ma.masked_equal(NUMBERS, 3))


@pytest.mark.parametrize(
    "y",
    [
        *("abc", b"abc", None, {1, 2}, [[1, 2], [3]], NUMBERS.astype("M8[s]")),
        *(NUMBERS.astype(object), NUMBERS.astype(str)),
    ],
)
def test_what_is_no_array_of_numbers_is_one_sentence(y):
    with pytest.raises(ValueError, match="`y` must be an array of numbers"):
        as_image(y)


def test_of_a_structured_array_a_field_is_asked_for():
    fields = np.zeros(3, [("a", "f4"), ("b", "i4")])
    with pytest.raises(ValueError, match="choose one of its fields"):
        as_image(fields)


@pytest.mark.parametrize("value", ["auto", None, 1j, object()])
def test_a_word_in_the_place_of_a_number_is_one_sentence(value):
    with pytest.raises(ValueError, match="`alpha` must be a number, got"):
        as_non_negative("alpha", value)


@pytest.mark.parametrize(("noise", "got"), [("poisson", "'poisson'"), (Poisson, "<cl")])
def test_a_name_is_no_noise_model(noise, got):
    with pytest.raises(ValueError, match=f"`noise` must be a noise model, got {got}"):
        check_noise(noise)


@pytest.mark.parametrize("value", ["x", 2, None, -0.1, float("nan")])
def test_a_share_lies_between_0_and_1(value):
    check_share("protect", True, "a share")
    with pytest.raises(ValueError, match="`protect` must be a share, got"):
        check_share("protect", value, "a share")
