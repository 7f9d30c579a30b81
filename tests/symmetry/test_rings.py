import jax
import numpy as np
from jax import numpy as jnp

from tvjax.symmetry import orbit_mean
from tvjax.symmetry.rings import (
    NUM_RINGS,
    number_rings,
    radial_profile,
    ring_position,
    STIFFNESS,
)


def test_radial_profile_of_straight_pieces_is_found_exactly():
    centre, shape = (20.3, 17.8), (48, 40)
    radius = np.hypot(*(np.indices(shape) - np.reshape(centre, (2, 1, 1))))
    knots = np.random.default_rng(3).uniform(1, 5, 60)
    y = np.interp(radius, np.arange(60), knots)
    with jax.enable_x64(True):
        orbit = orbit_mean(y, group="azimuthal", centre=centre)
    # all but the stiffness against masked rings
    inner = (radius > 2) & (radius < 18)
    np.testing.assert_allclose(orbit.mean[inner], y[inner], rtol=5e-3)


def test_rings_keep_the_total_and_know_their_variance():
    shape = (40, 44)
    noise = np.random.default_rng(4).normal(size=(2000, *shape)).astype(np.float32)
    valid = jnp.asarray(np.random.default_rng(5).random(shape) > 0.3)
    orbit = jax.vmap(
        lambda y: orbit_mean(y, group="azimuthal", centre=(19.0, 21.4), mask=valid)
    )(jnp.asarray(noise))
    kept = np.where(valid, orbit.mean, 0).sum((1, 2))
    np.testing.assert_allclose(
        kept, np.where(valid, noise, 0).sum((1, 2)), rtol=0, atol=2e-3
    )
    seen = np.asarray(orbit.mask[0]) & (np.asarray(orbit.num_members[0]) > 8)
    ratio = np.var(orbit.mean, axis=0)[seen] / orbit.variance[0][seen]
    np.testing.assert_allclose(np.median(ratio), 1, atol=0.02)


def test_a_constant_is_its_own_profile_whatever_is_masked():
    shape = (30, 32)
    valid = np.random.default_rng(6).random(shape) > 0.5
    valid[np.hypot(*(np.indices(shape) - 12)) < 4] = False  # whole rings are missing
    profile = radial_profile(
        jnp.full(shape, 3.0), jnp.asarray([12.0, 12.0]), jnp.asarray(valid)
    )
    np.testing.assert_allclose(profile.image, 3, rtol=1e-5)


def test_a_profile_and_its_variance_are_those_of_least_squares(double):
    """Against the dense normal equations."""
    shape, centre = (9, 8), (3.7, 4.2)
    valid = np.random.default_rng(7).random(shape) > 0.2
    y = np.random.default_rng(8).normal(size=shape)
    found = radial_profile(jnp.asarray(y), jnp.asarray(centre), jnp.asarray(valid))
    radius = np.hypot(*(np.indices(shape) - np.reshape(centre, (2, 1, 1)))).ravel()
    knots = np.arange(27)  # as many as twice the diagonal holds
    design = np.maximum(1 - np.abs(radius[:, None] - knots), 0)
    inside = design * valid.ravel()[:, None]
    steps = np.diff(np.eye(len(knots)), axis=0)
    normal = inside.T @ inside + STIFFNESS * steps.T @ steps
    fitted = design @ np.linalg.solve(normal, inside.T @ y.ravel())
    factor = np.sum(design @ np.linalg.inv(normal) * design, axis=1)
    np.testing.assert_allclose(found.image.ravel(), fitted, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.factor.ravel(), factor, rtol=1e-9)


def test_rings_of_equal_width_reach_the_farthest_corner():
    shape, centre = (40, 50), (10.0, 12.0)
    ring, radius = number_rings(jnp.asarray(centre), shape, np.dtype("float32"))
    assert ring[10, 12] == 0 and ring[39, 49] == NUM_RINGS - 1 == jnp.max(ring)
    np.testing.assert_allclose(np.diff(radius), radius[1] - radius[0], rtol=1e-4)
    position, width = ring_position(centre, shape, np.dtype("float32"))
    corner = np.hypot(29, 37)
    np.testing.assert_allclose(position[39, 49] * width, corner, rtol=1e-5)
    np.testing.assert_allclose(width, corner / NUM_RINGS, rtol=1e-5)
