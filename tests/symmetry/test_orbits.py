import jax
import numpy as np
import pytest
from jax import numpy as jnp
from jax.test_util import check_grads

from tvjax.symmetry import find_group, orbit_mean, partners

SHAPE = (11, 14)
EXACT = {
    "friedel": (4.5, 7.0),
    "mirror-x": (3.3, 6.5),
    "mirror-y": (6.0, 2.7),
    "2mm": (5.0, 6.5),
    "4": (5.5, 6.5),
    "4mm": (5.0, 6.0),
}


@pytest.fixture
def counts():
    return np.random.default_rng(0).poisson(0.7, SHAPE).astype(np.float32)


@pytest.fixture
def mask():
    return np.random.default_rng(1).random(SHAPE) > 0.15


def members(name, centre, mask):
    """For each pixel, the places that its orbit has on the valid part of the frame."""
    for r in np.ndindex(SHAPE):
        found = set()
        for operation in find_group(name).operations:
            place = centre + operation.matrix @ (np.asarray(r) - centre)
            place = tuple(np.rint(place).astype(int))
            if all(0 <= p < n for p, n in zip(place, SHAPE, strict=True)):
                found |= {place} if mask[place] else set()
        yield r, found


@pytest.mark.parametrize("name", EXACT)
def test_orbit_of_whole_counts_is_their_sum_over_their_number(name, counts, mask):
    centre = np.asarray(EXACT[name])
    orbit = orbit_mean(counts, group=name, centre=EXACT[name], mask=mask)
    for r, found in members(name, centre, mask):
        assert orbit.mask[r] == bool(found)
        np.testing.assert_allclose(orbit.num_members[r], len(found), rtol=1e-6)
        if found:
            mean = sum(float(counts[place]) for place in found) / len(found)
            np.testing.assert_allclose(orbit.mean[r], mean, rtol=1e-6)
            np.testing.assert_allclose(orbit.variance[r], 1 / len(found), rtol=1e-6)
            own = 1 / len(found) if r in found else 0
            np.testing.assert_allclose(orbit.own[r], own, rtol=1e-6)
    valid = np.where(mask, counts, 0)
    kept = np.where(mask, orbit.mean, 0).sum()
    np.testing.assert_allclose(kept, valid.sum(), rtol=1e-6)


def test_whole_moves_put_counts_elsewhere_and_change_none(counts):
    images, weights, factors = partners(counts, group="friedel", centre=(5.0, 6.5))
    np.testing.assert_array_equal(images[0], counts)
    np.testing.assert_array_equal(images[1], counts[::-1, ::-1])
    np.testing.assert_array_equal(weights, 1)
    np.testing.assert_array_equal(factors, 1)


def test_a_traced_centre_agrees_with_the_exact_move(counts, mask):
    centre = jnp.asarray(EXACT["2mm"])
    y, valid = jnp.asarray(counts), jnp.asarray(mask)
    exact = orbit_mean(y, group="2mm", centre=EXACT["2mm"], mask=valid)
    traced = jax.jit(lambda c: orbit_mean(y, group="2mm", centre=c, mask=valid))(centre)
    for one, other in zip(exact, traced, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-6)


def test_interpolation_leaves_the_variance_that_it_says(mask):
    noise = np.random.default_rng(2).normal(size=(4000, *SHAPE)).astype(np.float32)
    centre = (5.13, 6.31)
    orbit = jax.vmap(lambda y: orbit_mean(y, group="friedel", centre=centre, mask=mask))
    result = orbit(jnp.asarray(noise))
    far = np.hypot(*(np.indices(SHAPE) - np.reshape(centre, (2, 1, 1)))) > 2
    ratio = np.var(result.mean, axis=0)[far] / result.variance[0][far]
    valid = np.isfinite(ratio) & np.asarray(result.mask[0])[far]
    # a variance of 4000 draws has a relative error of 2.2 %
    np.testing.assert_allclose(ratio[valid], 1, atol=0.12)
    np.testing.assert_allclose(ratio[valid].mean(), 1, atol=0.01)


def test_interpolation_is_exact_on_a_plane():
    rows, columns = np.indices(SHAPE, np.float32)
    plane, centre = 2 + 0.3 * rows - 0.2 * columns, np.asarray((5.2, 6.4))
    images, weights, _ = partners(plane, group="3", centre=tuple(centre))
    for operation, image, weight in zip(
        find_group("3").operations, images, weights, strict=True
    ):
        offset = np.stack([rows, columns], -1) - centre
        source = centre + offset @ operation.matrix.T
        expected = 2 + source @ np.asarray([0.3, -0.2])
        whole = np.asarray(weight) > 1 - 1e-5
        np.testing.assert_allclose(image[whole], expected[whole], atol=1e-5)


def test_known_variances_weigh_the_members():
    y = jnp.asarray([[1.0, 4.0]])
    variance = jnp.asarray([[1.0, 2.0]])
    orbit = orbit_mean(y, group="mirror-x", centre=(0.0, 0.5), variance=variance)
    np.testing.assert_allclose(orbit.mean, [[2.0, 2.0]], rtol=1e-6)
    np.testing.assert_allclose(orbit.variance, [[2 / 3, 2 / 3]], rtol=1e-6)


def test_masked_values_enter_nowhere(counts, mask):
    bad = np.where(mask, counts, np.nan)
    for name in ("2mm", "3", "azimuthal"):
        orbit = orbit_mean(bad, group=name, centre=(5.0, 6.5), mask=mask)
        assert all(bool(jnp.all(jnp.isfinite(part))) for part in orbit)


@pytest.mark.parametrize("name", ["azimuthal", "friedel", "mirror-x", "4mm"])
def test_orbit_mean_has_gradients_and_batches(name, counts, mask, double):
    y, valid = jnp.asarray(counts, float), jnp.asarray(mask)
    centre = (5.0, 6.5)

    @jax.jit
    def mean(y):
        return orbit_mean(y, group=name, centre=centre, mask=valid).mean

    check_grads(mean, (y,), order=1, modes=["fwd", "rev"])
    batch = jax.vmap(mean)(jnp.stack([y, 2 * y]))
    np.testing.assert_allclose(batch[1], 2 * mean(y), rtol=1e-10)


def test_rings_have_no_list_of_partners(counts):
    with pytest.raises(ValueError, match="use `orbit_mean`"):
        partners(counts, group="azimuthal", centre=(5.0, 6.0))


def test_bad_input_is_named(counts):
    given = {"group": "friedel", "centre": (5.0, 6.5)}
    with pytest.raises(ValueError, match="`y` must be an image.*jax.vmap"):
        orbit_mean(np.stack([counts, counts]), **given)
    with pytest.raises(ValueError, match=r"`mask` must have the shape \(11, 14\)"):
        partners(counts, mask=np.ones((3, 3), bool), **given)
    with pytest.raises(ValueError, match="`group` must be one of"):
        orbit_mean(counts, group="5", centre=(5.0, 6.5))
