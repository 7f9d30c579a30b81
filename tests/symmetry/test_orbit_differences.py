import jax
import numpy as np
import pytest
from jax import numpy as jnp

from tvjax.noise import Gaussian, Poisson
from tvjax.symmetry.groups import find_group
from tvjax.symmetry.measurement import as_measurement
from tvjax.symmetry.orbit_differences import _blocks, _rarity, BLOCK, compare_orbits
from tvjax.symmetry.orbits import mean_over_orbits

FRIEDEL, CENTRE = find_group("friedel"), (23.5, 23.5)


def measured(y, noise):
    return as_measurement(np.asarray(y, np.float32), noise=noise, mask=None)


def test_noise_alone_has_chi_squared_of_its_freedom():
    y = np.random.default_rng(0).normal(size=(48, 48))
    found = compare_orbits(measured(y, Gaussian(1.0)), FRIEDEL, CENTRE, shaded=False)
    freedom = float(np.sum(found.rings.freedom))
    # two members of each orbit share one mean: half of the pixels are free
    assert freedom == pytest.approx(48**2 / 2, rel=1e-3)
    spread = np.sqrt(float(np.sum(found.rings.variance)))
    assert spread == pytest.approx(np.sqrt(2 * freedom), rel=1e-3)
    # the two differences of a pair are one number: twice its square
    assert abs(float(np.sum(found.rings.chi_squared)) - freedom) < 4 * spread * 2**0.5
    assert found.share is None and found.shading is None


def test_a_smooth_difference_shows_more_in_blocks_than_in_pixels():
    rng, step, in_pixels, in_blocks = np.random.default_rng(1), 0.35, [], []
    for _ in range(10):
        y = rng.normal(size=(48, 48))
        y[:24] += step
        data = measured(y, Gaussian(1.0))
        found = compare_orbits(data, FRIEDEL, CENTRE, shaded=False)
        rings, (chi_squared, freedom, _) = found.rings, found.blocks
        in_pixels.append(np.sum(rings.chi_squared) / np.sum(rings.freedom))
        in_blocks.append(chi_squared / freedom)
    # each pixel is half a step from the mean; one draw scatters by 0.06
    assert np.mean(in_pixels) == pytest.approx(1 + step**2 / 2, abs=0.08)
    # 64 pixels of one sign count 64 times as much; one draw of 18 pairs scatters by 1
    assert np.mean(in_blocks) == pytest.approx(1 + 64 * step**2 / 2, abs=1.3)


def test_sums_over_blocks_are_those_of_a_loop():
    rng = np.random.default_rng(2)
    difference, level = rng.normal(size=(2, 20, 27))
    level, freedom = np.square(level) + 0.1, rng.random((20, 27))
    with jax.enable_x64(True):
        found = _blocks(*(jnp.asarray(z) for z in (difference, level, freedom)))
    chi_squared = share = 0.0
    for i in range(0, 16, BLOCK):
        for j in range(0, 24, BLOCK):
            block = slice(i, i + BLOCK), slice(j, j + BLOCK)
            chi_squared += difference[block].sum() ** 2 / level[block].sum()
            share += (level * freedom)[block].sum() / level[block].sum()
    np.testing.assert_allclose(found, [chi_squared, share, 2 * share])


def test_scatter_falls_by_one_over_the_photons_of_an_orbit():
    y = jnp.full((8, 8), 6.0)
    orbit = mean_over_orbits(y, FRIEDEL, (3.5, 3.5), jnp.ones(y.shape, bool))
    # two members of six counts, of a gain of two: six photons
    np.testing.assert_allclose(_rarity(orbit, Poisson(2.0)), 1 / 6, rtol=1e-6)
    np.testing.assert_array_equal(_rarity(orbit, Gaussian(1.0)), 0)
