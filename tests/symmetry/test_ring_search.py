import numpy as np
import pytest
from jax import numpy as jnp

from tvjax.simulate import scattering_pattern
from tvjax.symmetry.ring_search import search_rings

SHAPE = (128, 140)


@pytest.mark.parametrize("centre", [(61.3, 70.9), (-20.4, 50.2), (64.0, 160.0)])
def test_the_centre_of_rings_is_found_to_a_pixel_or_two(centre):
    pattern = scattering_pattern("powder", SHAPE, mean=5.0, centre=centre)
    y = jnp.where(pattern.mask, jnp.asarray(pattern.counts(0), jnp.float32), 0)
    found = search_rings(y, jnp.asarray(pattern.mask))
    np.testing.assert_allclose(found, centre, atol=2)


def test_a_few_bright_spots_do_not_decide():
    pattern = scattering_pattern("powder", SHAPE, mean=5.0, centre=(61.3, 70.9))
    y = np.where(pattern.mask, pattern.counts(0), 0).astype(np.float32)
    rng = np.random.default_rng(0)
    y[rng.integers(0, 128, 30), rng.integers(0, 140, 30)] = 1e4
    found = search_rings(jnp.asarray(y), jnp.asarray(pattern.mask))
    np.testing.assert_allclose(found, (61.3, 70.9), atol=2)


def test_the_centre_stays_within_the_frame_s_size_around_it():
    flat = jnp.asarray(np.random.default_rng(1).poisson(1.0, (48, 52)), jnp.float32)
    row, column = search_rings(flat, jnp.ones(flat.shape, bool))
    assert -48 <= row <= 95 and -52 <= column <= 103
