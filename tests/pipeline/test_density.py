import numpy as np
import pytest

from tvjax.io import read_flats, save_stack, stack_of
from tvjax.noise import Gaussian, Poisson
from tvjax.pipeline.density import density_noise, density_of, UNIT


@pytest.fixture
def light(tmp_path):
    """Counts without the sample, which fade from left to right, and without light."""
    flat = np.broadcast_to(np.linspace(2000, 500, 44), (40, 44)).astype(np.float32)
    save_stack(tmp_path / "flat.h5", stack_of(np.stack([flat + 100] * 2)))
    save_stack(tmp_path / "dark.h5", stack_of(np.full((2, 40, 44), 100.0)))
    return flat


def opened(tmp_path, counts):
    flat, dark = (
        read_flats(str(tmp_path / f"{name}.h5"), counts) for name in ("flat", "dark")
    )
    return flat, dark


def test_repeats_of_a_flat_have_the_bias_of_their_mean(tmp_path, scene):
    rng, photons = np.random.default_rng(0), 40.0
    sample = rng.poisson(photons * np.exp(-scene.truth)).astype(np.float32)
    flats = rng.poisson(photons, (5, *scene.truth.shape[1:])).astype(np.float32)
    save_stack(tmp_path / "flats.h5", stack_of(flats))
    counts = stack_of(sample, scene.energies)
    density = density_of(counts, read_flats(str(tmp_path / "flats.h5"), counts))
    # as one exposure, the light would seem greater by 0.4 photons
    assert abs(np.mean(density[:] - scene.truth)) < 0.3 * 0.4 / photons


def test_counts_without_noise_give_the_truth_but_for_the_bias_of_noise(
    tmp_path, scene, light
):
    counts = stack_of(
        (light * np.exp(-scene.truth) + 100).astype(np.float32), scene.energies
    )
    density = density_of(counts, *opened(tmp_path, counts))
    assert density.unit == UNIT
    # by half the relative variance, logarithms of noisy counts are lifted
    behind = light * np.exp(-scene.truth)
    lift, flat_lift = (behind + 100) / (2 * behind**2), (light + 100) / (4 * light**2)
    expected = scene.truth + np.log1p(flat_lift) - np.log1p(lift)
    # counts are in single precision, some hundred of them after the dark is taken off
    np.testing.assert_allclose(density[:], expected, atol=1e-5)


def test_a_part_of_the_density_is_that_part(tmp_path, scene, light):
    counts = stack_of(
        (light * np.exp(-scene.truth) + 100).astype(np.float32), scene.energies
    )
    density = density_of(counts, *opened(tmp_path, counts))
    whole = density[:]
    np.testing.assert_allclose(density[3:5, 10:20], whole[3:5, 10:20], rtol=1e-6)
    frame = next(density.series.frames(4))
    np.testing.assert_allclose(frame.data, whole[4], rtol=1e-6)


def test_a_pixel_behind_which_no_light_is_left_has_no_density(tmp_path, scene, light):
    sample = (light * np.exp(-scene.truth) + 100).astype(np.float32)
    sample[2, 5, 7] = 90
    counts = stack_of(sample, scene.energies)
    density = density_of(counts, *opened(tmp_path, counts))
    frame = next(density.series.frames(2))
    assert np.isnan(frame.data[5, 7]) and not frame.mask[5, 7]
    assert frame.mask.sum() == frame.mask.size - 1


def test_noise_of_the_density_follows_from_that_of_the_counts(tmp_path, scene, light):
    counts = stack_of(
        (light * np.exp(-scene.truth) + 100).astype(np.float32), scene.energies
    )
    flat, _ = opened(tmp_path, counts)
    mask = np.ones(light.shape, bool)
    mask[:3] = False
    # white noise of the counts, without the dark: var = σ²/S² + σ²/2F²
    sample, empty = light * np.exp(-scene.truth) + 100, light + 100
    noise = density_noise(counts, mask, Gaussian(3.0), flat)
    variance = 9 / sample**2 + 9 / (flat.num_exposures * empty**2)
    levels = np.sqrt(variance[:, mask].mean(axis=1))
    np.testing.assert_allclose(noise.levels, levels, rtol=1e-3)
    pixels = np.sqrt((variance / levels[:, None, None] ** 2).mean(axis=0))
    np.testing.assert_allclose(noise.pixels[mask], pixels[mask], rtol=1e-3)
    np.testing.assert_array_equal(noise.pixels[~mask], 1)


def test_counts_without_noise_weigh_within_bounds(tmp_path, scene, light):
    counts = stack_of(
        (light * np.exp(-scene.truth) + 100).astype(np.float32), scene.energies
    )
    mask = np.ones(light.shape, bool)
    flat, _ = opened(tmp_path, counts)
    noise = density_noise(counts, mask, Gaussian(0.0), flat)
    assert np.isfinite(noise.levels).all()
    np.testing.assert_allclose(noise.pixels, np.sqrt(1e-3), rtol=1e-6)
    photons = density_noise(counts, mask, Poisson(1.0), flat)
    # where less light arrives there is more noise
    assert photons.pixels[:, -1].min() > photons.pixels[:, 0].max()
