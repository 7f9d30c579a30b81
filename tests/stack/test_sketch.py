import jax
import numpy as np
import pytest

from tvjax.noise import Gaussian
from tvjax.simulate import nickel_energies, scale_to_bytes, xanes_stack
from tvjax.stack import fit_components, survey
from tvjax.stack.blocks import Blocks
from tvjax.stack.noise_levels import temporal_basis_of
from tvjax.stack.sketch import NUM_PASSES, sketch

SIGMA, SHAPE, ENERGIES = 30.0, (48, 48), 240
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def noisy():
    scene = xanes_stack(SHAPE, energies=nickel_energies(ENERGIES))
    sigma = SIGMA * np.linspace(0.5, 1.5, ENERGIES)[:, None, None]
    noise = sigma * np.random.default_rng(0).normal(size=(ENERGIES, *SHAPE))
    return (np.asarray(scale_to_bytes(scene).truth) + noise).astype(np.float32)


def blocks(stack, told=None):
    def progress(done, total):
        if told is not None:
            told.append((done, total))

    return Blocks(stack, None, 2**18, progress, NUM_PASSES)


@pytest.mark.parametrize("noise", [None, "known"])
def test_leading_components_and_levels_are_those_of_the_whole(noisy, noise):
    told, truth = [], SIGMA * np.linspace(0.5, 1.5, ENERGIES)
    known = None if noise is None else Gaussian(truth[:, None, None])
    sigma, found = sketch(blocks(noisy, told), known, KEY)
    assert told[-1] == (NUM_PASSES * SHAPE[0],) * 2
    # 2,300 pixels tell a deviation to 1.5 percent
    np.testing.assert_allclose(sigma, truth, rtol=1e-5 if noise else 0.07)
    whitened = noisy.reshape(ENERGIES, -1) / sigma[:, None]
    vectors, values = temporal_basis_of(whitened.astype(float) @ whitened.T)
    assert len(found.values) == len(values)
    np.testing.assert_allclose(found.values[:2], values[:2], rtol=1e-3)
    overlap = np.abs(np.sum(found.vectors[:, :2] * vectors[:, :2], axis=0))
    assert (overlap > 0.999).all()
    # the noise that is not computed is as it should be
    np.testing.assert_allclose(found.values[70:200], values[70:200], rtol=0.03)


@pytest.mark.slow
def test_result_is_that_of_the_gram_matrix(noisy, monkeypatch):
    exact = fit_components(noisy)
    monkeypatch.setattr(survey, "LARGE", 100)
    sketched = fit_components(noisy)
    assert sketched.rank == exact.rank
    assert sketched.relative_risk == pytest.approx(
        exact.relative_risk, abs=5e-3
    )  # of levels that differ
    one, other = (found.frames(0, ENERGIES) for found in (exact, sketched))
    with pytest.raises(ValueError, match="`rank` must be from 1 to 64 for a stack"):
        fit_components(noisy, rank=65)
    assert np.mean((one - other) ** 2) < 0.1 * np.mean((one - noisy) ** 2) * (
        exact.relative_risk
    )


def test_a_stack_without_low_rank_and_frames_that_are_bad_are_refused(noisy):
    rng = np.random.default_rng(1)
    many = noisy + 3e3 * rng.normal(size=(ENERGIES, 1, 80)) @ rng.normal(
        size=(ENERGIES, 80, 48)
    )
    with pytest.raises(ValueError, match="no low rank: register it"):
        sketch(blocks(many.astype(np.float32)), Gaussian(1.0), KEY)
    with pytest.raises(ValueError, match="frames 7 .* zero in every valid pixel"):
        dark = np.arange(ENERGIES) == 7
        sketch(blocks(np.where(dark[:, None, None], 0, noisy)), None, KEY)
