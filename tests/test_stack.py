import jax
import numpy as np
import pytest
from jax import numpy as jnp

from tvjax.denoisers import Mixture, SUM
from tvjax.denoisers.mixture import identity
from tvjax.metrics import mse
from tvjax.simulate import nickel_energies, scale_to_bytes, xanes_stack
from tvjax.stack import denoise_stack, rank_risks

SIGMA, SHAPE, ENERGIES = 40.0, (48, 56), 24


@pytest.fixture(scope="module")
def truth():
    scene = xanes_stack(SHAPE, energies=nickel_energies(ENERGIES))
    return np.asarray(scale_to_bytes(scene).truth, np.float32)


@pytest.fixture(scope="module")
def noisy(truth):
    rng = np.random.default_rng(0)
    return (truth + SIGMA * rng.normal(size=truth.shape)).astype(np.float32)


@pytest.fixture(scope="module")
def denoised(noisy):
    return denoise_stack(noisy)


def truncation_errors(y, truth):
    u, d, vt = np.linalg.svd(y.reshape(len(y), -1).T, full_matrices=False)
    images = ((u[:, :k] * d[:k]) @ vt[:k] for k in range(1, 9))
    return [mse(x.T.reshape(y.shape), truth) for x in images]


def test_error_is_half_that_of_the_best_truncation(noisy, truth, denoised):
    assert mse(denoised.image, truth) < 0.5 * min(truncation_errors(noisy, truth))


def test_noise_of_each_energy_is_found(denoised):
    # 2,700 pixels tell a deviation to 1.4 percent; a faint component beyond the rank of
    # least risk, strongest at the edge, is taken for noise
    np.testing.assert_allclose(denoised.sigma, SIGMA, rtol=0.1)
    np.testing.assert_allclose(denoised.sigma.mean(), SIGMA, rtol=0.02)


def test_noise_that_differs_between_energies_is_found(truth):
    sigma = np.geomspace(10, 80, ENERGIES)
    rng = np.random.default_rng(1)
    y = truth + sigma[:, None, None] * rng.normal(size=truth.shape)
    found = denoise_stack(y.astype(np.float32), rank=1)
    np.testing.assert_allclose(found.sigma, sigma, rtol=0.1)


def test_mean_of_the_risk_is_the_error_at_every_rank(truth):
    num, repeats = 5, 24
    model = Mixture((identity, identity), np.full((num, 2), 0.4))

    @jax.jit
    def both(key):
        of_noise, of_probe = jax.random.split(key)
        y = truth / SIGMA + jax.random.normal(of_noise, truth.shape)
        risks = rank_risks(model, y, num, key=of_probe)
        ranks = jnp.arange(1.0, num + 1)
        images = jax.lax.map(lambda r: SUM(r, denoiser=model, max_rank=num)(y), ranks)
        errors = jnp.mean((images - truth / SIGMA) ** 2, axis=(1, 2, 3))
        # the energy of the noise itself is common to risk and error
        return risks - errors - jnp.mean((y - truth / SIGMA) ** 2) + 1, errors

    off, errors = jax.lax.map(both, jax.random.split(jax.random.key(2), repeats))
    scatter = np.std(off, axis=0) / repeats**0.5
    bound = 4 * scatter + 0.02 * np.mean(errors, axis=0)  # the probe is finite
    assert (np.abs(np.mean(off, axis=0)) < bound).all()


def test_invalid_pixels_come_back_and_take_no_part(noisy):
    mask = np.random.default_rng(3).random(SHAPE) < 0.9
    clean = denoise_stack(np.where(mask, noisy, 0), rank=1, mask=mask)
    spoiled = denoise_stack(np.where(mask, noisy, np.nan), rank=1, mask=mask)
    np.testing.assert_array_equal(spoiled.image[:, mask], clean.image[:, mask])
    assert np.isnan(spoiled.image[:, ~mask]).all()


def test_result_tells_what_became_of_each_component(denoised, noisy):
    assert len(denoised.verdict()) == len(denoised.risks) == len(denoised.alphas)
    assert denoised.verdict()[0] == "kept"
    assert denoised.risk == denoised.risks[denoised.rank - 1] == denoised.risks.min()
    assert set(denoised.verdict()[denoised.rank :]) <= {"dropped"}
    given = denoise_stack(jnp.asarray(noisy), rank=1)
    assert isinstance(given.image, jax.Array) and given.rank == 1


@pytest.mark.parametrize(
    ("change", "options", "sentence"),
    [
        (lambda y: y[0], {}, r"expected a stack \(energy, y, x\)"),
        (lambda y: y[:1], {}, "two energies or more"),
        (lambda y: np.where(y > y.mean(), np.nan, y), {}, "NaN or infinite at some"),
        (lambda y: y, {"rank": 0}, "`rank` must be from 1 to 24, got 0"),
        (lambda y: y, {"mask": np.zeros(SHAPE, bool)}, "a valid pixel"),
        (
            lambda y: y,
            {"mask": np.ones((3, 3), bool)},
            r"must have the shape \(48, 56\)",
        ),
    ],
)
def test_misuse_gets_a_sentence(noisy, change, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        denoise_stack(change(noisy), **options)
