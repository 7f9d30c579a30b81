import numpy as np
import pytest

import tvjax
from tvjax.simulate import scattering_pattern
from tvjax.symmetry import find_centre

TRUE = (61.3, 70.9)


@pytest.mark.parametrize("kind", ["crystal", "saxs"])
def test_centre_is_found_within_its_error(kind):
    pattern = scattering_pattern(kind, (128, 140), centre=TRUE)
    found = [
        find_centre(pattern.counts(seed), mask=pattern.mask, noise=tvjax.Poisson())
        for seed in range(8)
    ]
    deviation = np.asarray([(c.y, c.x) for c in found]) - TRUE
    errors = np.asarray([c.error for c in found])
    assert np.all(errors < 0.2)
    # conservative on sharp patterns, whose slope is taken from a blurred one
    assert 0.1 < np.sqrt(np.mean((deviation / errors) ** 2)) < 1.5


def test_a_mirror_fixes_one_coordinate():
    pattern = scattering_pattern("fibre", (128, 140), mean=5.0, centre=TRUE)
    found = find_centre(
        pattern.counts(0), noise=tvjax.Poisson(), group="mirror-x", mask=pattern.mask
    )
    assert found.error[0] == np.inf
    assert abs(found.x - TRUE[1]) < 4 * found.error[1] < 1.0


def test_noise_has_no_centre():
    y = np.random.default_rng(0).poisson(1.0, (64, 64))
    assert max(find_centre(y, noise=tvjax.Poisson()).error) > 0.5


def test_bad_input_is_named():
    y = np.ones((20, 30))
    with pytest.raises(ValueError, match="`centre` must lie in the image of shape"):
        find_centre(y, start=(25.0, 3.0), noise=tvjax.Gaussian(1.0))
    y[3, 4] = np.nan
    with pytest.raises(ValueError, match="1 valid pixels of `y` are NaN"):
        find_centre(y, mask=np.ones(y.shape, bool), noise=tvjax.Gaussian(1.0))


def test_rings_whose_beam_passes_beside_the_frame_have_a_centre():
    pattern = scattering_pattern("powder", (128, 140), centre=(-20.4, 50.2))
    found = find_centre(
        pattern.counts(0), noise=tvjax.Poisson(), group="azimuthal", mask=pattern.mask
    )
    assert abs(found.y + 20.4) < 4 * found.error[0] < 2.0
    assert abs(found.x - 50.2) < 4 * found.error[1] < 2.0
