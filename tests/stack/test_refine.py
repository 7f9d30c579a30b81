import numpy as np
import pytest
from jax import numpy as jnp
from scipy.ndimage import gaussian_filter

from tvjax.risk.singular import basis_response, Response
from tvjax.stack.refine import refine

SHAPE, NUM = (64, 64), 60


@pytest.fixture(scope="module")
def sample():
    """How much there is, in the middle of the frame."""
    y, x = np.indices(SHAPE) - 31.5
    return np.sqrt(np.maximum(1 - (x**2 + y**2) / 20**2, 0))


def directions(rng, num):
    return np.linalg.qr(rng.normal(size=(NUM, num)))[0]


def refined(stack, rng, **options):
    """All directions are candidates, the first that of the leading component."""
    rows = stack.reshape(NUM, -1)
    squares, vectors = np.linalg.eigh(rows @ rows.T)
    vectors = vectors[:, ::-1]
    values = np.sqrt(squares[::-1])
    first = Response(
        *(z[0] for z in basis_response(jnp.asarray(values), rows.shape[1]))
    )
    images = np.tensordot(vectors.T, stack, 1)
    draws = rng.normal(size=(24, *SHAPE))
    settings = {"variance": None, "num_energies": NUM, "least": 0, "surplus": 1}
    found = refine(images, draws, first, mask=None, **settings | options)
    return found, vectors


@pytest.mark.parametrize("smooth", [True, False])
def test_a_faint_component_is_found_that_the_stack_hides(sample, smooth):
    gains = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        states = rng.normal(size=SHAPE)
        if smooth:
            states = gaussian_filter(states, 5)
        image = sample * states / np.sqrt(np.mean((sample * states) ** 2))
        leading, faint = directions(rng, 2).T
        # below what stands clear of noise: of less power than (energies/pixels)^(1/2)
        power = 0.1 if smooth else 0.16
        stack = (
            30 * leading[:, None, None] * sample
            + power**0.5 * faint[:, None, None] * image
            + rng.normal(size=(NUM, *SHAPE))
        )
        found, vectors = refined(stack, rng)
        assert [part.clear for part in found] == [True, True, False]
        overlap = (faint @ vectors @ found[1].rotation) ** 2
        assert overlap > 0.5
        assert (found[1].binning.side > 1) == smooth
        assert found[1].binning.weight is not None or smooth
        gains.append(overlap - (faint @ vectors[:, 1]) ** 2)
    assert np.mean(gains) > 0.2


def test_nothing_is_found_in_noise(sample):
    for seed in range(4):
        rng = np.random.default_rng(seed)
        leading = directions(rng, 1)[:, :, None] * 30 * sample
        found, _ = refined(leading + rng.normal(size=(NUM, *SHAPE)), rng)
        assert [part.clear for part in found] == [True, False]


def test_components_are_orthonormal_and_as_many_as_asked(sample):
    rng = np.random.default_rng(0)
    leading = directions(rng, 1)[:, :, None] * 30 * sample
    found, _ = refined(leading + rng.normal(size=(NUM, *SHAPE)), rng, least=9)
    rotation = np.stack([part.rotation for part in found])
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(9), atol=1e-9)


def test_noise_that_is_correlated_has_fewer_pixels(sample):
    # of smoothed noise, which would stand clear of white noise
    rng = np.random.default_rng(1)
    size = (0, 0.8, 0.8)
    scale = np.std(gaussian_filter(rng.normal(size=(9, *SHAPE)), size))
    noise = gaussian_filter(rng.normal(size=(NUM, *SHAPE)), size) / scale
    leading = directions(rng, 1)[:, :, None] * 30 * sample
    rows = (leading + noise).reshape(NUM, -1)
    vectors = np.linalg.eigh(rows @ rows.T)[1][:, ::-1]
    images = np.tensordot(vectors.T, leading + noise, 1)
    draws = gaussian_filter(rng.normal(size=(24, *SHAPE)), size) / scale
    first = Response(0.0, 0.0, 0.0)
    found = refine(
        images,
        draws,
        first,
        variance=None,
        num_energies=NUM,
        least=0,
        surplus=1,
        mask=None,
    )
    assert len(found) == 2
