import equinox as eqx
import jax
import numpy as np
import pytest
from jax import numpy as jnp

import tvjax
from tvjax.simulate import scattering_pattern
from tvjax.symmetry import orbit_mean

SHAPE = (128, 140)
POISSON = tvjax.Poisson()


def mse(x, pattern):
    return np.mean((np.asarray(x) - pattern.truth)[pattern.mask] ** 2)


@pytest.fixture(scope="module")
def fibre():
    return scattering_pattern("fibre", SHAPE, mean=1.0)


@pytest.mark.slow
def test_symmetrized_denoises_the_orbit_mean(fibre):
    y = jnp.asarray(fibre.counts(0), jnp.float32)
    mask = jnp.asarray(fibre.mask)
    orbit = orbit_mean(y, group="2mm", centre=fibre.centre, mask=mask)
    tv = tvjax.TV(0.5, mask=orbit.mask)
    symmetrized = tvjax.Symmetrized(tv, group="2mm", centre=fibre.centre, mask=mask)
    np.testing.assert_array_equal(symmetrized(y), tv(orbit.mean))
    assert mse(symmetrized(y), fibre) < 0.7 * mse(tv(y), fibre)


@pytest.mark.slow
def test_symmetrized_is_a_denoiser_with_a_risk(fibre):
    y = jnp.asarray(fibre.counts(0), jnp.float32)
    mask = jnp.asarray(fibre.mask)
    given = {"group": "friedel", "centre": fibre.centre, "mask": mask}
    denoiser = tvjax.Symmetrized(lambda mean: 0.9 * mean, **given)
    risk = tvjax.sure(denoiser, y, POISSON, key=jax.random.key(0), mask=mask)
    truth = jnp.asarray(fibre.truth)
    error = jnp.mean((denoiser(y) - truth) ** 2, where=mask)
    # y's fluctuation moves both: Σ (noise² − y)/N has a deviation of √(3/N), 1.5 %
    np.testing.assert_allclose(risk, error, atol=0.06)
    batch = jax.vmap(denoiser)(jnp.stack([y, 2 * y]))
    np.testing.assert_allclose(batch[1], 2 * denoiser(y), rtol=1e-5)

    tv = tvjax.Symmetrized(tvjax.TV(0.5), **given)
    grads = eqx.filter_grad(lambda d: jnp.sum(d(y) ** 2))(tv)
    assert np.isfinite(grads.denoiser.log_alpha) and grads.denoiser.log_alpha != 0


def test_gaps_are_filled_by_partners_and_others_come_back():
    y = jnp.asarray(np.random.default_rng(0).poisson(2.0, (8, 9)), jnp.float32)
    mask = jnp.ones(y.shape, bool).at[1, 2].set(False).at[3, 4].set(False)
    mask = mask.at[4, 4].set(False)
    plain = tvjax.Symmetrized(lambda z: z, group="friedel", centre=(3.5, 4.0))
    found = plain.with_mask(mask)(y)
    assert found[1, 2] == y[6, 6] == found[6, 6]
    # both of an orbit are invalid
    assert found[3, 4] == y[3, 4] and found[4, 4] == y[4, 4]
    np.testing.assert_allclose(plain(y), (y + y[::-1, ::-1]) / 2)
    assert plain.mask is None


def test_symmetrized_compiles_as_it_is_and_joins_a_sequence():
    y = jnp.asarray(np.random.default_rng(1).poisson(2.0, (8, 9)), jnp.float32)
    mask = np.ones(y.shape, bool)
    symmetrized = tvjax.Symmetrized(
        tvjax.TV(0.5), group="2mm", centre=(3.5, 4.0), mask=mask
    )
    layers = eqx.nn.Sequential([symmetrized, eqx.nn.Lambda(jnp.sqrt)])
    expected = symmetrized(y)
    np.testing.assert_allclose(jax.jit(symmetrized)(y), expected, rtol=1e-5)
    np.testing.assert_allclose(layers(y), jnp.sqrt(expected), rtol=1e-5)
    slope = jax.grad(lambda d: jnp.sum(d(y) ** 2))(symmetrized)
    assert np.isfinite(slope.denoiser.log_alpha) and slope.denoiser.log_alpha < 0


def test_an_unknown_group_is_named():
    with pytest.raises(ValueError, match="`group` must be one of"):
        tvjax.Symmetrized(tvjax.TV(0.5), group="5", centre=(3.5, 4.0))
