import numpy as np
import pytest
from jax import numpy as jnp

import tvjax
from tvjax.simulate import scattering_pattern
from tvjax.symmetry import find_group
from tvjax.symmetry.centre_score import score_centre
from tvjax.symmetry.measurement import as_measurement

SHAPE = (96, 104)
POISSON = tvjax.Poisson()


def scores(pattern, group, centre, num):
    found = [
        score_centre(
            as_measurement(pattern.counts(seed), noise=POISSON, mask=pattern.mask),
            find_group(group),
            jnp.asarray(centre, jnp.float32),
        )
        for seed in range(num)
    ]
    return [np.stack([np.asarray(score[i]) for score in found]) for i in range(4)]


def test_the_score_has_mean_zero_at_the_centre_and_the_scatter_it_says():
    pattern = scattering_pattern("fibre", SHAPE, mean=2.0)
    score, _, covariance, scale = scores(pattern, "friedel", pattern.centre, 40)
    deviates = score / np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    # of 40 draws: 4 standard errors of the mean, and 4 of 11 % of the deviation
    assert np.all(np.abs(deviates.mean(0)) < 4 / 40**0.5)
    np.testing.assert_allclose(deviates.std(0), 1, atol=0.45)
    # the degrees of freedom are some 5000 orbits
    np.testing.assert_allclose(scale.mean(), 1, atol=0.05)


@pytest.mark.parametrize("shift", [(0.4, 0.0), (0.0, -0.3)])
def test_the_system_tells_a_small_shift(shift):
    pattern = scattering_pattern("fibre", SHAPE, mean=20.0)
    centre = np.add(pattern.centre, shift)
    score, information, _, _ = scores(pattern, "friedel", centre, 4)
    found = np.linalg.solve(information, score[..., None])[..., 0].mean(0)
    # the slope of the smoothed pattern is too small, so that a shift comes out large
    assert 0.7 < -found @ shift / np.dot(shift, shift) < 2
    across = found @ shift[::-1] / np.dot(shift, shift)
    assert abs(across) < 0.3
