import equinox as eqx
import jax
import numpy as np
import pytest
from jax import numpy as jnp

import tvjax
from tvjax.denoisers import AbstractDenoiser, Resumable
from tvjax.denoisers.protocol import as_pytree, FixedMask, hold_mask

MASK = np.random.default_rng(0).random((5, 4)) < 0.5


class Doubled(AbstractDenoiser):
    """Nothing to tune and no mask."""

    def __call__(self, y, *, key=None):
        return 2 * y


def test_fixed_masks_are_compared_by_their_pixels():
    first, second = hold_mask(MASK), hold_mask(jnp.asarray(MASK))
    assert isinstance(first, FixedMask) and isinstance(second, FixedMask)
    assert first.array is not second.array
    assert first == second and hash(first) == hash(second)
    assert first != hold_mask(~MASK)
    # the same bits in another shape are another mask
    assert first != hold_mask(MASK.reshape(4, 5)) and first != hold_mask(MASK.ravel())
    assert first != MASK.tobytes()


def test_a_known_mask_is_structure_and_a_traced_one_a_leaf():
    known = hold_mask(MASK)
    assert jax.tree.leaves(known) == []
    assert jax.tree.structure(known) == jax.tree.structure(hold_mask(MASK.copy()))
    assert hold_mask(None) is None

    @jax.jit
    def trace(mask):
        # known inside of a trace as well
        assert hold_mask(MASK) == known
        held = hold_mask(mask)
        assert not isinstance(held, FixedMask)
        return tvjax.TV(1.0, mask=held)

    back = trace(MASK)
    assert len(jax.tree.leaves(back)) == 2
    np.testing.assert_array_equal(back.mask, MASK)


def test_masks_of_a_batch_are_a_leaf_each():
    masks = jnp.stack([jnp.asarray(MASK), ~jnp.asarray(MASK)])
    y = jnp.asarray(np.random.default_rng(1).normal(size=(2, 5, 4)), jnp.float32)
    many = jax.vmap(lambda mask: tvjax.TV(0.5, mask=mask))(masks)
    assert many.mask.shape == masks.shape
    together = eqx.filter_vmap(lambda tv, y: tv(y))(many, y)
    for image, mask, noisy in zip(together, masks, y, strict=True):
        # roundings of the steps, in another order
        np.testing.assert_allclose(image, tvjax.TV(0.5, mask=mask)(noisy), atol=1e-4)


def test_one_mask_serves_a_batch_of_strengths():
    tvs = jax.vmap(lambda alpha: tvjax.TV(alpha, mask=MASK))(jnp.asarray([0.2, 2.0]))
    assert tvs.mask.shape == MASK.shape
    y = jnp.asarray(np.random.default_rng(1).normal(size=(5, 4)), jnp.float32)
    images = eqx.filter_vmap(lambda tv: tv(y))(tvs)
    np.testing.assert_allclose(images[1], tvjax.TV(2.0, mask=MASK)(y), atol=1e-4)


def test_a_known_mask_is_not_computed_with_at_compile_time():
    y = jnp.zeros(MASK.shape, jnp.float32)
    program = jax.jit(tvjax.TV(1.0, mask=MASK)).lower(y).as_text()
    assert program.count("optimization_barrier") == 1
    assert "optimization_barrier" not in jax.jit(tvjax.TV(1.0)).lower(y).as_text()


def test_only_the_mask_changes_with_it():
    tv = tvjax.TV(0.3, tol=1e-2, norm="anisotropic")
    masked = tv.with_mask(MASK)
    assert isinstance(masked, tvjax.TV) and masked.norm == "anisotropic"
    assert masked.log_alpha is tv.log_alpha and masked.tol == 1e-2
    assert tv.mask is None


def test_denoisers_are_equal_only_to_themselves():
    first, second = tvjax.TV(1.0), tvjax.TV(1.0)
    assert first == first and first != second
    assert len({first, second, first}) == 2
    assert eqx.tree_equal(first, second)


def test_a_plain_function_becomes_a_pytree_without_leaves():
    wrapped = as_pytree(jnp.tanh)
    assert jax.tree.leaves(wrapped) == []
    assert jax.tree.structure(wrapped) == jax.tree.structure(as_pytree(jnp.tanh))
    np.testing.assert_allclose(wrapped(jnp.ones(3)), np.tanh(1), rtol=1e-6)
    tv = tvjax.TV(1.0)
    assert as_pytree(tv) is tv
    doubled = Doubled()
    assert as_pytree(doubled) is doubled


def test_a_denoiser_without_a_call_cannot_be_made():
    class Idle(AbstractDenoiser):
        pass

    with pytest.raises(TypeError, match="__call__"):
        Idle()
    assert not isinstance(Doubled(), Resumable)
    assert isinstance(tvjax.TV(1.0), Resumable)
