import numpy as np
import pytest

from tvjax.simulate import count, illumination, nickel_energies, xanes_stack

ENERGIES = nickel_energies(40)
# Every pixel of a frame is alike.
PLAIN = xanes_stack(thickness=np.ones((64, 64)), energies=ENERGIES, num_states=1)


@pytest.fixture(scope="module", params=["regions", "random", "gradient"])
def stack(request):
    return xanes_stack((64, 72), energies=ENERGIES, arrangement=request.param, seed=3)


def test_counts_have_the_mean_and_the_variance_stated():
    light, dark, spread = 50.0, 7.5, 3.0
    counts = count(
        PLAIN,
        photons=light,
        flat=np.full((64, 64), 3.0),
        dark=dark,
        read_noise=spread,
        num_flats=4,
    )
    assert counts.sample.dtype == np.int32
    expected = light * np.exp(-PLAIN.truth.astype(float))
    rounding = 1 / 12
    for drawn, mean, variance in (
        (counts.sample, expected + dark, expected + spread**2 + rounding),
        (counts.flat, light + dark, (light + spread**2) / 4),
    ):
        z = (drawn - mean) / np.sqrt(variance)
        assert abs(z.mean()) < 4 / np.sqrt(z.size)
        # The fourth moment of z is at most 3 + 1/λ, with λ ≥ 5 here.
        assert abs(np.mean(z**2) - 1) < 4 * np.sqrt(2.2 / z.size)


def test_counts_without_light_are_the_dark_counts():
    flat = np.ones((64, 64))
    flat[:8] = 0
    counts = count(PLAIN, photons=1e3, flat=flat, dark=12)
    assert np.all(counts.sample[:, :8] == 12) and np.all(counts.flat[:, :8] == 12)


def test_optical_density_is_recovered_without_bias_at_high_counts(stack):
    photons, dark = 1e6, 100.0
    counts = count(stack, photons=photons, dark=dark, num_flats=5)
    density = -np.log((counts.sample - dark) / (counts.flat - dark))
    light = photons * illumination(ENERGIES, (64, 72)).astype(float)
    deviation = np.sqrt((np.exp(stack.truth) + 1 / 5) / light)
    z = (density - stack.truth) / deviation
    # Four standard errors; the bias of the logarithm, e^(t/2) / 2√I, is below 0.003.
    assert abs(z.mean()) < 4 / np.sqrt(z.size) + 0.003
    assert abs(np.mean(z**2) - 1) < 4 * np.sqrt(2 / z.size) + 0.003


def test_illumination_has_mean_one_and_changes_with_energy_and_place():
    light = illumination(ENERGIES, (30, 40)).astype(float)
    np.testing.assert_allclose(light.mean(), 1, rtol=1e-6)  # float32
    assert light.min() > 0.4
    assert np.ptp(light.mean(axis=(1, 2))) > 0.1 and np.ptp(light.mean(axis=0)) > 0.3


def test_the_same_seed_counts_the_same():
    first, again, other = (count(PLAIN, photons=100, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.sample, again.sample)
    np.testing.assert_array_equal(first.flat, again.flat)
    assert np.any(first.sample != other.sample)
    assert np.any(first.flat != other.flat)


@pytest.mark.parametrize(
    ("misuse", "sentence"),
    [
        (lambda: count(PLAIN, photons=0), "`photons` must be positive"),
        (lambda: count(PLAIN, photons=1, dark=-2), "must not be negative, got -2"),
        (lambda: count(PLAIN, photons=1, num_flats=0), "at least 1, got 0"),
        (
            lambda: count(PLAIN, photons=1, flat=np.ones(3)),
            r"shape of a frame or of the stack.*got \(3,\)",
        ),
        (
            lambda: count(PLAIN, photons=1, flat=np.zeros((64, 64))),
            "`flat` must be finite",
        ),
    ],
)
def test_misuse_is_told_in_a_sentence(misuse, sentence):
    with pytest.raises(ValueError, match=sentence):
        misuse()
