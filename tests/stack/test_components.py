import numpy as np
import pytest

from tvjax.noise import Gaussian
from tvjax.stack import Components

SHAPE, ENERGIES = (6, 7), 5


def components(coefficients, rank, mask=None):
    """As many components as there are rows of coefficients, of random images."""
    rng = np.random.default_rng(0)
    num = len(coefficients)
    images = rng.normal(size=(num, *SHAPE)).astype(np.float32)
    return Components(
        noise=Gaussian(1.0),
        rank=rank,
        sigma=np.ones(ENERGIES),
        risk=np.asarray(0.1),
        relative_risk=0.1,
        relative_risks=np.linspace(0.3, 0.1, num),
        alphas=np.ones(num),
        coefficients=np.asarray(coefficients, float),
        singular_values=np.arange(ENERGIES, 0.0, -1),
        spectra=rng.normal(size=(num, ENERGIES)),
        images=images,
        denoised=images,
        mask=mask,
    )


def test_frames_are_sums_of_spectra_times_images_up_to_the_rank():
    mask = np.ones(SHAPE, bool)
    mask[2, 3] = False
    found = components([[1.0, 0.0]] * 3, 2, mask)
    expected = np.einsum("ke,kyx->eyx", found.spectra[:2], found.denoised[:2])
    expected[:, 2, 3] = 0
    frames = found.frames(1, 4)
    assert frames.dtype == np.float32
    np.testing.assert_allclose(frames, expected[1:4], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("coefficients", "word"),
    [
        ([0.2, 0.75], "kept"),
        ([0.0, 0.6], "shrunk"),
        ([0.9, 0.3], "shrunk"),
        ([0.02, -0.02], "dropped"),
        # images that nearly cancel are in use
        ([0.5, -0.5], "shrunk"),
    ],
)
def test_verdict_follows_the_sum_of_the_coefficients(coefficients, word):
    assert components([coefficients], 1).verdict() == [word]


def test_what_is_beyond_the_rank_is_dropped():
    found = components([[0.0, 1.0]] * 3, 2)
    assert found.verdict() == ["kept", "kept", "dropped"]
    assert repr(found) == "<Components rank 2 of 5 x 6 x 7>"
