import json

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from tests import reference
from tvjax.noise import (
    describe_noise,
    Gaussian,
    Poisson,
    PoissonGaussian,
)

SHAPE = (128, 128)


def white(sigma, seed=0, shape=SHAPE):
    return sigma * np.random.default_rng(seed).normal(size=shape)


def test_variance_follows_from_the_value(dtype):
    y = np.asarray([[0, 1], [4, 10]], dtype)
    for noise, expected in (
        (Gaussian(3.0), np.full((2, 2), 9)),
        (Gaussian(np.asarray([[1, 2], [3, 4]])), [[1, 4], [9, 16]]),
        (Poisson(), y),
        (Poisson(2.5), 2.5 * y),
        (PoissonGaussian(2.0, 3.0, 1.0), 2 * (y - 1) + 9),
    ):
        variance = noise.variance(y)
        assert variance.dtype == dtype and variance.shape == y.shape
        np.testing.assert_array_equal(variance, expected)


@pytest.mark.parametrize("sigma", [0.05, 1.0, 40.0])
def test_white_noise_is_estimated_on_any_plane(sigma):
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    image = sigma * (0.2 * x - 0.1 * y + 50) + white(sigma)
    estimate = Gaussian.estimate(image).sigma
    # 970 squares that count, at 2 deviations: 4.5 % of their variance
    np.testing.assert_allclose(estimate, sigma, rtol=0.04)


def test_edges_and_spots_are_not_taken_for_noise():
    image = 50 * reference.scene(*SHAPE) + white(2.0)
    rng = np.random.default_rng(1)
    image[tuple(rng.integers(0, 128, (2, 20)))] += 5000
    np.testing.assert_allclose(Gaussian.estimate(image).sigma, 2, rtol=0.1)


@pytest.mark.parametrize("rate", [0.05, 0.5, 5.0, 300.0])
@pytest.mark.parametrize("gain", [1.0, 4.0])
def test_gain_is_estimated_at_any_rate(rate, gain):
    counts = np.random.default_rng(2).poisson(rate, SHAPE).astype(float)
    counts[60:63, 70:73] += 1000 * rate  # a spot
    # the variance of 4096 squares: relative √((2 + 1/(4 λ)) / 4096), at 4 deviations
    rtol = 4 * np.sqrt((2 + 1 / (4 * rate)) / 4096)
    np.testing.assert_allclose(Poisson.estimate(gain * counts).gain, gain, rtol=rtol)


def test_mixed_noise_is_a_line_of_variance_against_mean():
    y, x = np.mgrid[:256, :256]
    level = 5 + 95 * x / 255
    rng = np.random.default_rng(3)
    image = 10 + 2 * rng.poisson(level) + 4 * rng.normal(size=level.shape)
    noise = PoissonGaussian.estimate(image, offset=10.0)
    assert noise.offset == 10
    np.testing.assert_allclose(noise.gain, 2, rtol=0.1)
    # at the typical value the variance is what matters
    np.testing.assert_allclose(
        noise.variance(jnp.asarray(110.0)), 2 * 100 + 16, rtol=0.05
    )


@pytest.mark.parametrize("model", [Gaussian, Poisson, PoissonGaussian])
def test_invalid_pixels_are_not_looked_at(model):
    rng = np.random.default_rng(4)
    counts = rng.poisson(20 + 60 * (np.mgrid[:128, :128][1] > 64)).astype(np.float32)
    mask = np.ones(SHAPE, bool)
    mask[:, 60:68] = mask[20:30] = False
    expected = model.estimate(np.where(mask, counts, 0), mask)
    for junk in (np.nan, 1e9):
        found = model.estimate(np.where(mask, counts, junk), mask)
        jax.tree.map(np.testing.assert_array_equal, found, expected)


@pytest.mark.parametrize("model", [Gaussian, Poisson, PoissonGaussian])
def test_integers_are_taken_by_value(model):
    counts = np.random.default_rng(5).poisson(30, (64, 64))
    expected = model.estimate(counts.astype(np.float32))
    for kind in (np.uint16, np.int32, np.uint32):
        found = model.estimate(counts.astype(kind))
        jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_repeats_give_the_noise_whatever_the_scene():
    rng = np.random.default_rng(6)
    scene = 40 * rng.random((48, 48))
    repeats = (20, 48, 48)
    # 20 x 2304 values: half a percent of a deviation
    sigma = Gaussian.from_repeats(scene + 3 * rng.normal(size=repeats)).sigma
    np.testing.assert_allclose(sigma, 3, rtol=0.02)
    counts = 2 * rng.poisson(scene, repeats)
    np.testing.assert_allclose(Poisson.from_repeats(counts).gain, 2, rtol=0.04)
    mixed = counts + 5 * rng.normal(size=repeats) + 7
    noise = PoissonGaussian.from_repeats(mixed, offset=7.0)
    np.testing.assert_allclose(noise.gain, 2, rtol=0.05)
    np.testing.assert_allclose(noise.sigma, 5, rtol=0.1)


def test_a_constant_image_has_no_noise():
    assert Gaussian.estimate(np.full((32, 32), 7.0)).sigma == 0


def test_an_image_without_counts_has_the_gain_of_a_counting_detector():
    assert Poisson.estimate(np.zeros((32, 32), np.uint32)).gain == 1


@pytest.mark.parametrize("model", [Gaussian, Poisson, PoissonGaussian])
def test_what_cannot_be_estimated_is_refused(model):
    for shape in ((5,), (1, 9), (9, 1)):
        with pytest.raises(ValueError, match="needs images of at least 2 x 2"):
            model.estimate(np.ones(shape))
    with pytest.raises(ValueError, match="`mask` leaves no valid pixel"):
        model.estimate(np.ones((9, 9)), np.zeros((9, 9), bool))
    with pytest.raises(ValueError, match=r"at least two exposures .*, got 1"):
        model.from_repeats(np.ones((1, 9, 9)))


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: Gaussian(-1.0), "sigma"),
        (lambda: Gaussian(np.nan), "sigma"),
        (lambda: Poisson(-1.0), "gain"),
        (lambda: PoissonGaussian(1.0, -2.0), "sigma"),
    ],
)
def test_a_negative_parameter_is_named(make, name):
    with pytest.raises(ValueError, match=f"`{name}` must not be negative, got"):
        make()


def test_text_shows_the_numbers():
    assert repr(Gaussian(2.5)) == str(Gaussian(2.5)) == "Gaussian(sigma=2.5)"
    assert repr(Poisson()) == "Poisson(gain=1)"
    mixed = PoissonGaussian(2.0, 3.0, 100.0)
    assert repr(mixed) == "PoissonGaussian(gain=2, sigma=3, offset=100)"
    each = Gaussian(np.asarray([[1.0, 2.0], [3.0, 4.0]]))
    assert repr(each) == "Gaussian(sigma=[1 to 4, shape (2, 2)])"


def test_text_of_what_has_no_number_yet_is_no_error():
    seen = []

    @jax.jit
    def traced(sigma):
        seen.append(repr(Gaussian(sigma)))
        return sigma

    traced(2.0)
    assert len(seen) == 1 and seen[0].startswith("Gaussian(sigma=")


def test_description_goes_through_json_and_makes_the_model_again():
    for noise in (
        Gaussian(np.asarray([[1.0, 2.0]])),
        Poisson(2.5),
        PoissonGaussian(2.0, 3.0, 100.0),
    ):
        told = json.loads(json.dumps(describe_noise(noise)))
        model = {"Gaussian": Gaussian, "Poisson": Poisson}
        kind = model.get(told.pop("model"), PoissonGaussian)
        again = kind(**{name: jnp.asarray(value) for name, value in told.items()})
        assert type(again) is type(noise)
        jax.tree.map(np.testing.assert_array_equal, again, noise)


def test_a_map_is_described_by_its_range():
    told = describe_noise(Gaussian(np.linspace(1, 3, 400).reshape(20, 20)))
    assert told["sigma"] == {
        "least": 1.0,
        "median": pytest.approx(2.0),
        "most": 3.0,
        "shape": [20, 20],
    }


def test_an_offset_is_found_where_the_line_meets_zero():
    level = 5 + 95 * np.mgrid[:256, :256][1] / 255
    rng = np.random.default_rng(9)
    noise = PoissonGaussian.estimate(40 + 2 * rng.poisson(level))
    np.testing.assert_allclose(noise.offset, 40, atol=6)
    np.testing.assert_allclose(noise.gain, 2, rtol=0.1)
    # negative readings of a camera are no pedestal: there is read-out noise at zero
    read = 2 * rng.poisson(level / 10) + 4 * rng.normal(size=level.shape)
    noise = PoissonGaussian.estimate(read)
    assert noise.offset == 0
    np.testing.assert_allclose(noise.variance(10.0), 20 + 16, rtol=0.1)


@pytest.mark.parametrize("sigma", [0.1, 0.3])
def test_texture_hardly_hides_noise(sigma):
    """Waves of a few pixels that are twice as strong, with flat gaps in between."""
    rows, columns = np.mgrid[:256, :256]
    waves = np.sin(rows / 1.5) * np.sin(columns / 2 + rows / 9)
    scene = waves * (np.sin(rows / 40) * np.sin(columns / 30) > 0.3)
    estimate = Gaussian.estimate(scene + sigma * white(1.0, 10, (256, 256))).sigma
    np.testing.assert_allclose(estimate, sigma, rtol=0.06)


def test_one_mask_serves_all_images():
    images = np.random.default_rng(8).normal(size=(3, 64, 64))
    mask = np.ones((64, 64), bool)
    mask[20:30] = False
    shared = Gaussian.estimate(images, mask)
    each = Gaussian.estimate(images, np.broadcast_to(mask, images.shape))
    np.testing.assert_array_equal(shared.sigma, each.sigma)
    with pytest.raises(ValueError, match="`mask` must have the shape"):
        Gaussian.estimate(images, mask[1:])


def test_whole_numbers_have_the_variance_of_their_values():
    variance = Poisson(2.5).variance(np.asarray([[3, 4]], np.uint16))
    np.testing.assert_array_equal(variance, [[7.5, 10]])
