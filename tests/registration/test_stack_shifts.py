import numpy as np
import pytest
from jax import numpy as jnp
from scipy.ndimage import gaussian_filter, shift as shift_of

from tvjax.registration.stack_shifts import (
    _least_squares,
    refine_shifts,
    shifts_from_frame,
    shifts_from_models,
    shifts_from_neighbors,
    StackShifts,
    STRIDES,
)

SHIFTS = np.asarray([[0, 0], [2, -1], [-1, 3], [1, 1], [3, 0]], np.float32)
BY, REACH = "intensity", 6


@pytest.fixture(scope="module")
def stack():
    """One scene, moved by whole pixels and a little noisy."""
    rng = np.random.default_rng(0)
    scene = gaussian_filter(rng.normal(size=(48, 56)), 2) * 20
    moved = np.stack([shift_of(scene, s, order=0, mode="wrap") for s in SHIFTS])
    return jnp.asarray(moved + 0.05 * rng.normal(size=moved.shape), jnp.float32)


@pytest.fixture(scope="module")
def mask(stack):
    return jnp.ones(stack.shape, bool)


def apart(found, index=0):
    """Shifts against those of one frame."""
    return np.asarray(found.shifts) - np.asarray(found.shifts)[index]


def test_frames_are_found_against_any_one(stack, mask):
    for index in (0, 2):
        found = shifts_from_frame(stack, mask, index, BY, REACH)
        # noise of a hundredth of the contrast moves the peak by less
        np.testing.assert_allclose(found.shifts, SHIFTS - SHIFTS[index], atol=0.1)
        assert (found.confidence > 0).all()


def test_frames_are_found_against_models_of_their_own(stack, mask):
    models = jnp.stack([stack[0]] * len(stack))
    found = shifts_from_models(stack, mask, models, mask, BY, REACH)
    np.testing.assert_allclose(found.shifts, SHIFTS, atol=0.1)


def test_neighbors_tell_the_differences(stack, mask):
    found = shifts_from_neighbors(stack, mask, BY, REACH)
    np.testing.assert_allclose(apart(found), SHIFTS, atol=0.1)


def test_rounds_against_the_mean_keep_what_is_right(stack, mask):
    right = StackShifts(jnp.asarray(SHIFTS), jnp.ones(len(SHIFTS)))
    found = refine_shifts(stack, mask, right, 2, BY, REACH)
    np.testing.assert_allclose(apart(found), SHIFTS, atol=0.1)


def test_a_pair_that_contradicts_all_others_counts_for_nothing():
    count = len(SHIFTS)
    pairs = [(i, i + d) for d in STRIDES for i in range(count - d)]
    incidence = np.zeros((len(pairs), count), np.float32)
    for row, (first, second) in enumerate(pairs):
        incidence[row, first], incidence[row, second] = -1, 1
    found = incidence @ SHIFTS
    found[1] += 5  # one pair is far off
    shifts, weight = _least_squares(
        *(jnp.asarray(z) for z in (incidence, found)), jnp.ones(len(pairs)), REACH
    )
    # its weight at the last tolerance of half a pixel is 1/(1 + 50/0.25)²
    assert float(weight[1]) < 1e-4 < 0.9 < float(jnp.min(jnp.delete(weight, 1)))
    np.testing.assert_allclose(shifts - shifts[0], SHIFTS, atol=1e-2)
