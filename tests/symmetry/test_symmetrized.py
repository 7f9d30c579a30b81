import equinox as eqx
import jax
import numpy as np
import pytest
from jax import numpy as jnp

import tvjax
from tvjax.simulate import add_spot, scattering_pattern
from tvjax.symmetry import orbit_mean

pytestmark = pytest.mark.slow

SHAPE = (128, 140)
POISSON = tvjax.Poisson()


def mse(x, pattern):
    return np.mean((np.asarray(x) - pattern.truth)[pattern.mask] ** 2)


@pytest.fixture(scope="module")
def fibre():
    return scattering_pattern("fibre", SHAPE, mean=1.0)


def test_symmetrized_denoises_the_orbit_mean(fibre):
    y = jnp.asarray(fibre.counts(0), jnp.float32)
    mask = jnp.asarray(fibre.mask)
    orbit = orbit_mean(y, "2mm", fibre.centre, mask)
    tv = tvjax.TV(0.5, mask=orbit.mask)
    symmetrized = tvjax.Symmetrized(tv, "2mm", fibre.centre, mask)
    np.testing.assert_array_equal(symmetrized(y), tv(orbit.mean))
    assert mse(symmetrized(y), fibre) < 0.7 * mse(tv(y), fibre)


def test_symmetrized_is_a_denoiser_with_a_risk(fibre):
    y = jnp.asarray(fibre.counts(0), jnp.float32)
    mask = jnp.asarray(fibre.mask)
    denoiser = tvjax.Symmetrized(lambda mean: 0.9 * mean, "friedel", fibre.centre, mask)
    risk = tvjax.sure(denoiser, y, POISSON, key=jax.random.key(0), mask=mask)
    truth = jnp.asarray(fibre.truth)
    error = jnp.mean((denoiser(y) - truth) ** 2, where=mask)
    # y's fluctuation moves both: Σ (noise² − y)/N has a deviation of √(3/N), 1.5 %
    np.testing.assert_allclose(risk, error, atol=0.06)
    batch = jax.vmap(denoiser)(jnp.stack([y, 2 * y]))
    np.testing.assert_allclose(batch[1], 2 * denoiser(y), rtol=1e-5)

    tv = tvjax.Symmetrized(tvjax.TV(0.5), "friedel", fibre.centre, mask)
    grads = eqx.filter_grad(lambda d: jnp.sum(d(y) ** 2))(tv)
    assert np.isfinite(grads.denoiser.log_alpha) and grads.denoiser.log_alpha != 0


@pytest.mark.parametrize("judge", ["data", "orbits"])
def test_orbit_and_tv_beat_tv_alone(fibre, judge):
    y = fibre.counts(1)
    own = tvjax.denoise(y, noise=POISSON, mask=fibre.mask)
    both = tvjax.denoise_symmetric(
        y, "2mm", fibre.centre, POISSON, fibre.mask, judge=judge
    )
    # four members leave a quarter of the variance; TV alone gains less from each
    assert mse(both.image, fibre) < 10**-0.15 * mse(own.image, fibre)
    assert both.group == "2mm" and both.judge == judge
    assert both.converged and not both.at_bound
    assert "2mm about" in both.report()


def test_mean_is_kept_where_most_pixels_hold_no_photon():
    pattern = scattering_pattern("saxs", SHAPE, mean=0.2)
    y = pattern.counts(0)
    both = tvjax.denoise_symmetric(y, "friedel", pattern.centre, POISSON, pattern.mask)
    kept = both.image[both.mask].sum() / both.orbit[both.mask].sum()
    np.testing.assert_allclose(kept, 1, atol=1e-3)
    everywhere = orbit_mean(
        jnp.asarray(y, jnp.float32),
        "friedel",
        pattern.centre,
        jnp.asarray(pattern.mask),
    ).mean
    np.testing.assert_allclose(
        np.sum(everywhere[pattern.mask]), y[pattern.mask].sum(), rtol=1e-5
    )


def test_a_spot_without_a_partner_survives(fibre):
    place = (40, 20)
    square = (slice(38, 43), slice(18, 23))
    level = fibre.truth[square].sum()
    pattern = add_spot(fibre, place, 12 * level**0.5, 1.2)
    y = pattern.counts(0)
    both = tvjax.denoise_symmetric(y, "2mm", fibre.centre, POISSON, fibre.mask)
    left = (both.image[square].sum() - level) / (y[square].sum() - level)
    assert left > 0.9
    ghost = tuple(int(2 * c - p) for c, p in zip(fibre.centre, place, strict=True))
    assert both.image[ghost] < 3 * fibre.truth[ghost] + 1


def test_what_the_data_refuse_is_named(fibre):
    y, x = fibre.centre
    counts = 8 * fibre.counts(2)  # a gain that sharpens nothing but is no excuse
    with pytest.raises(ValueError, match="the data refuse '2mm'.*off by"):
        tvjax.denoise_symmetric(
            counts, "2mm", (y + 2, x), tvjax.Poisson(8.0), fibre.mask
        )
    with pytest.raises(ValueError, match="must lie in the image"):
        tvjax.denoise_symmetric(counts, "2mm", (500.0, x), POISSON)
    with pytest.raises(ValueError, match="must be one of"):
        tvjax.denoise_symmetric(counts, "5mm", (y, x), POISSON)
    with pytest.raises(ValueError, match="NaN or infinite under a valid mask"):
        tvjax.denoise_symmetric(np.full(SHAPE, np.nan), "2mm", (y, x), POISSON)
    with pytest.raises(ValueError, match="one by one"):
        tvjax.denoise_symmetric(np.ones((2, 8, 8)), "2mm", (4.0, 4.0), POISSON)


def test_rings_are_recognized():
    pattern = scattering_pattern("saxs", SHAPE, mean=2.0, centre=(61.0, 70.5))
    result = tvjax.denoise_symmetric(
        pattern.counts(0), noise=POISSON, mask=pattern.mask
    )
    assert result.group == "azimuthal"
    assert np.hypot(result.centre.y - 61, result.centre.x - 70.5) < 0.3
