import numpy as np
import pytest

from tvjax.simulate import add_spot, scattering_pattern

KINDS = ("powder", "saxs", "fibre", "crystal")


@pytest.mark.parametrize("kind", KINDS)
def test_truth_has_its_symmetry_and_its_mean(kind):
    pattern = scattering_pattern(kind, (81, 91), mean=0.7, centre=(40.0, 45.0))
    truth = pattern.truth
    np.testing.assert_allclose(truth, truth[::-1, ::-1], rtol=1e-9)
    if pattern.group != "friedel":
        np.testing.assert_allclose(truth, truth[:, ::-1], rtol=1e-9)
    np.testing.assert_allclose(truth[pattern.mask].mean(), 0.7)
    counts = pattern.counts(0)
    assert np.all(counts[~pattern.mask] == 0)
    # the mean of 6,000 counts of 0.7, within 4 standard errors
    assert abs(counts[pattern.mask].mean() - 0.7) < 4 * (0.7 / 6000) ** 0.5


def test_a_spot_adds_its_counts():
    plain = scattering_pattern("saxs", (60, 64))
    spot = add_spot(plain, (30, 20), 50.0, 1.0).truth - plain.truth
    np.testing.assert_allclose(spot.sum(), 50)
    assert np.unravel_index(spot.argmax(), spot.shape) == (30, 20)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="`kind` must be one of"):
        scattering_pattern("glass", (8, 8))
    with pytest.raises(ValueError, match="`mean` must be positive, got 0"):
        scattering_pattern("saxs", (8, 8), mean=0)
