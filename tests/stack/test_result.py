import json

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from tvjax.noise import Gaussian, Poisson
from tvjax.result import AbstractResult
from tvjax.stack import Components, denoise_stack, StackResult


@pytest.fixture(scope="module")
def noisy():
    rng = np.random.default_rng(0)
    spectra, amounts = rng.uniform(1, 2, (6, 2)), rng.uniform(0, 9, (2, 20, 24))
    return (np.tensordot(spectra, amounts, 1) + rng.normal(size=(6, 20, 24))).astype(
        np.float32
    )


@pytest.fixture(scope="module")
def result(noisy):
    return denoise_stack(noisy, noise=Gaussian(1.0), rank=2)


def test_a_result_has_the_shape_of_all_results(result, noisy):
    assert isinstance(result, AbstractResult) and isinstance(result, Components)
    assert isinstance(result.image, np.ndarray) and result.image.shape == noisy.shape
    assert result.warnings == ()
    given = denoise_stack(jnp.asarray(noisy), noise=Gaussian(1.0), rank=2)
    assert isinstance(given.image, jax.Array)
    np.testing.assert_array_equal(given.image, result.image)


def test_numbers_survive_json(result):
    numbers = json.loads(json.dumps(result.asdict()))
    assert numbers["noise"] == {"model": "Gaussian", "sigma": 1.0}
    assert numbers["risk"] == pytest.approx(float(result.risk))
    assert numbers["rank"] == 2 and numbers["verdict"] == result.verdict()
    assert np.shape(numbers["coefficients"]) == result.coefficients.shape
    assert numbers["warnings"] == []


def test_the_report_says_what_was_done(result):
    text = result.report()
    assert "Gaussian, deviation 1 over the energies" in text
    assert "2 of 6" in text and "1 kept, 1 shrunk, 0 dropped" in text
    assert f"{result.relative_risk:.3g} of the variance of the noise" in text
    assert repr(result).startswith("<StackResult 6 x 20 x 24, risk 0.")
    assert "<th>rank</th><td>2 of 6</td>" in result._repr_html_()


@pytest.mark.slow
def test_the_noise_is_the_one_that_was_given_or_found(noisy):
    counts = np.random.default_rng(1).poisson(np.maximum(noisy, 0)).astype(np.int32)
    model = Poisson(1.0)
    assert denoise_stack(counts, noise=model, rank=1).noise is model
    estimated = denoise_stack(noisy, rank=1)
    assert isinstance(estimated.noise, Gaussian)
    np.testing.assert_allclose(
        estimated.noise.sigma, estimated.sigma[:, None, None], rtol=1e-6
    )


def test_warnings_are_told(result):
    told = StackResult(**vars(result) | {"warnings": ("look at the residual",)})
    assert "WARNING" in told.report() and "look at the residual" in told.report()
