"""Shifts of the frames of a stack: against one, models, neighbors, or their mean."""

from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from jax import Array, lax, numpy as jnp
from jaxtyping import Bool, Float, Int, Real

from tvjax.registration.features import (
    By,
    features_of,
    features_of_both,
    WeightedImage,
    with_unit_power,
)
from tvjax.registration.pair import compare
from tvjax.registration.shifting import resample

# A frame is compared with those that are so many energies further on: near enough for
# the contrast to be much the same, and several, to average their errors.
STRIDES = (1, 2, 4)
# Displacements of pairs of frames that differ from the others by more than this many
# pixels are taken as wrong, and count for less.
AGREEMENT = 0.5


class StackShifts(NamedTuple):
    """Shifts and confidence of all frames."""

    shifts: Float[Array, "energy 2"]
    confidence: Float[Array, " energy"]


@partial(jax.jit, static_argnums=(3, 4))
def shifts_from_frame(
    stack: Real[Array, "energy height width"],
    mask: Bool[Array, "energy height width"],
    index: int | Int[Array, ""],
    by: By,
    max_shift: int,
) -> StackShifts:
    """Shifts of all frames against one."""
    fixed = features_of(stack[index], mask[index], by)

    def one(item: tuple[Array, Array]) -> StackShifts:
        frame, valid = item
        shift, confidence, _ = compare(fixed, features_of(frame, valid, by), max_shift)
        return StackShifts(shift, confidence)

    return lax.map(one, (stack, mask))


@partial(jax.jit, static_argnums=(4, 5))
def shifts_from_models(
    stack: Real[Array, "energy height width"],
    mask: Bool[Array, "energy height width"],
    models: Real[Array, "energy height width"],
    models_mask: Bool[Array, "energy height width"],
    by: By,
    max_shift: int,
) -> StackShifts:
    """Shifts of each frame against its model."""

    def one(item: tuple[Array, Array, Array, Array]) -> StackShifts:
        frame, valid, model, known = item
        fixed = features_of(model, known, by)
        shift, confidence, _ = compare(fixed, features_of(frame, valid, by), max_shift)
        return StackShifts(shift, confidence)

    return lax.map(one, (stack, mask, models, models_mask))


@partial(jax.jit, static_argnums=(2, 3))
def shifts_from_neighbors(
    stack: Real[Array, "energy height width"],
    mask: Bool[Array, "energy height width"],
    by: By,
    max_shift: int,
) -> StackShifts:
    """Shifts from pairs of frames that are near in energy."""
    count = len(stack)
    pairs = np.asarray([(i, i + d) for d in STRIDES for i in range(count - d)])

    def one(pair: Array) -> StackShifts:
        fixed, moving = features_of_both(stack[pair], mask[pair], by)
        shift, confidence, _ = compare(fixed, moving, max_shift)
        return StackShifts(shift, confidence)

    found, trust = lax.map(one, jnp.asarray(pairs))
    signs = np.zeros((len(pairs), count))
    signs[np.arange(len(pairs)), pairs[:, 0]] = -1
    signs[np.arange(len(pairs)), pairs[:, 1]] = 1
    incidence = jnp.asarray(signs, found.dtype)
    shifts, weight = _least_squares(incidence, found, trust, max_shift)
    touched = jnp.abs(incidence)
    return StackShifts(shifts, weight @ touched / touched.sum(0))


def _least_squares(
    incidence: Float[Array, "pair energy"],
    found: Float[Array, "pair 2"],
    trust: Float[Array, " pair"],
    max_shift: int,
) -> tuple[Float[Array, "energy 2"], Float[Array, " pair"]]:
    """Absolute shifts from differences, of which some are far off.

    The tolerance of contradictions falls in steps from the range of the search to
    `AGREEMENT`, so that the result does not depend on the start, where wrong pairs
    still count.
    """
    exact = lax.Precision.HIGHEST

    def solve(
        last: tuple[Array, Array], scale: Array
    ) -> tuple[tuple[Array, Array], None]:
        shifts, _ = last
        residual = found - jnp.matmul(incidence, shifts, precision=exact)
        weight = trust / (1 + jnp.sum(residual**2, 1) / scale**2) ** 2
        weighted = incidence.T * weight
        normal = jnp.matmul(weighted, incidence, precision=exact)
        # The damping is for frames that are tied to no other. It biases no shift,
        # since only the step from the last shifts is solved for, and the next solve
        # corrects the rounding of this one.
        damping = 1e-5 * jnp.max(jnp.diag(normal)) + jnp.finfo(found.dtype).tiny
        normal = normal + damping * jnp.eye(len(shifts), dtype=found.dtype)
        right = jnp.matmul(weighted, residual, precision=exact)
        return (shifts + jnp.linalg.solve(normal, right), weight), None

    scales = np.geomspace(max(max_shift, AGREEMENT), AGREEMENT, 8)
    start = jnp.zeros((incidence.shape[1], 2), found.dtype), trust
    return lax.scan(solve, start, jnp.asarray(scales, found.dtype))[0]


@partial(jax.jit, static_argnums=(4, 5))
def refine_shifts(
    stack: Real[Array, "energy height width"],
    mask: Bool[Array, "energy height width"],
    found: StackShifts,
    num_rounds: int | Int[Array, ""],
    by: By,
    max_shift: int,
) -> StackShifts:
    """Rounds against the mean, from the shifts found so far."""

    def one_round(_: Array, found: StackShifts) -> StackShifts:
        return _against_mean(stack, mask, found, by, max_shift)

    return lax.fori_loop(0, num_rounds, one_round, found)


def _against_mean(
    stack: Real[Array, "energy height width"],
    mask: Bool[Array, "energy height width"],
    last: StackShifts,
    by: By,
    max_shift: int,
) -> StackShifts:
    """Compare every frame with the mean of all others, at the shifts so far."""
    shifts, confidence = last

    def features(i: Array) -> WeightedImage:
        return features_of(stack[i], mask[i], by)

    def at_rest(i: Array) -> Array:
        weight, values = features(i)
        both = jnp.stack([weight, weight * values])
        moved = jax.vmap(resample, (0, None))(both, shifts[i])
        return confidence[i] * moved

    def add(total: Array, i: Array) -> tuple[Array, None]:
        return total + at_rest(i), None

    indices = jnp.arange(len(shifts))
    empty = jax.tree.map(jnp.zeros_like, jax.eval_shape(at_rest, indices[0]))
    total, _ = lax.scan(add, empty, indices)
    trust = jnp.sum(confidence)

    def one(i: Array) -> StackShifts:
        others = total - at_rest(i)
        rest = jnp.maximum(trust - confidence[i], jnp.finfo(others.dtype).tiny)
        weight = jnp.maximum(others[0] / rest, 0)
        seen = weight > 1e-3
        values = jnp.where(seen, others[1] / rest / jnp.where(seen, weight, 1), 0)
        fixed = with_unit_power(jnp.where(seen, weight, 0), values)
        shift, margin, _ = compare(fixed, features(i), max_shift)
        return StackShifts(shift, margin)

    found, margin = lax.map(one, indices)
    # all frames move at once: moved the whole way, two would change places forever
    share = 1 - confidence / jnp.maximum(trust, jnp.finfo(trust.dtype).tiny)
    step = jnp.where(margin > 0, share, 0)[:, None]
    return StackShifts(shifts + step * (found - shifts), margin)
