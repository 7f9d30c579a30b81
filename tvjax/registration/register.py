"""By how much did each frame of a stack move, and what does it look like at rest?"""

from functools import partial
from typing import Literal, NamedTuple

import jax
import numpy as np
from jax import Array, lax, numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Real

from tvjax.registration.arguments import (
    By,
    compared_by,
    frames_of,
    masks_of,
    search_of,
    StackMask,
)
from tvjax.registration.features import features_of, features_of_both, normalized
from tvjax.registration.pair import compare
from tvjax.registration.shifting import move_back, resample, shifted_mask

# The neighbors in energy that a frame is compared with.
STRIDES = (1, 2, 4)
# Pairs of frames that agree do so within this many pixels.
AGREEMENT = 0.5


class Registration(NamedTuple):
    """The displacements of the frames of a stack."""

    shifts: Float[Array, "energy 2"]  # (y, x) in pixels
    confidence: Float[Array, " energy"]  # as in `ShiftEstimate`; 0 where not found
    mask: Bool[Array, "height width"]  # True where every frame is valid once aligned


class Aligned(NamedTuple):
    """A stack at rest."""

    stack: Real[Array, "energy height width"]  # 0 where invalid
    mask: Bool[Array, "energy height width"]  # of each frame
    common: Bool[Array, "height width"]  # True where every frame is valid


def register(
    stack: Real[ArrayLike, "energy height width"],
    *,
    mask: StackMask | None = None,
    reference: Literal["neighbors", "mean"] | int = "neighbors",
    by: By = "gradient",
    num_rounds: int = 3,
    whole_pixels: bool = False,
    max_shift: int | None = None,
) -> Registration:
    """Find the displacements of all frames of a stack.

    Each frame is compared with those 1, 2 and 4 further on, where the contrast is still
    much the same, and the displacements dᵢⱼ between them are combined to

        min_s Σ wᵢⱼ ‖sⱼ − sᵢ − dᵢⱼ‖²,

    wᵢⱼ the confidence of the pair, which fades where it contradicts the others. Sums of
    differences drift, thus every round compares each frame with the mean of what is
    compared of all the *others*, aligned: with itself in the mean, it would stay where
    it is. Memory: the stack and a few frames.

    Args:
        stack: Frames, in any unit; denoised ones will do, their shifts can be applied
            to the raw ones.
        mask: True where a pixel is valid, for all frames or for each.
        reference: What a frame is first compared with: its neighbors in energy, the
            mean of the frames as they are, or the one frame of this index.
        by: What is compared, as in `estimate_shift`.
        num_rounds: Rounds against the mean.
        whole_pixels: Round the shifts.
        max_shift: Greatest displacement between two frames, as in `estimate_shift`.

    Returns:
        Displacements, confidence and common mask. The displacements have mean zero over
        the frames that were found, or are zero for the frame given as `reference`. A
        frame that was not found, since it has no contrast, has shift and confidence 0.

    Raises:
        ValueError: For fewer than two frames, shapes that do not match, a reference
            that does not exist, or a search beyond the frame.
    """
    stack = frames_of(stack)
    mask = masks_of(mask, stack.shape)
    index = _reference(reference, len(stack))
    if num_rounds < 0:
        raise ValueError(f"`num_rounds` must not be negative, got {num_rounds}.")
    max_shift = search_of(max_shift, stack.shape[1:])
    by = compared_by(by)
    if index == "neighbors":
        start = _from_neighbors(stack, mask, by, max_shift)
    elif index == "mean":
        dtype = jnp.promote_types(stack.dtype, jnp.float32)
        start = jnp.zeros((len(stack), 2), dtype), jnp.ones(len(stack), dtype)
    else:
        start = _from_frame(stack, mask, index, by, max_shift)
    shifts, confidence = start
    if num_rounds:
        shifts, confidence = _refine(stack, mask, *start, num_rounds, by, max_shift)
    shifts = _gauge(shifts, confidence, index)
    shifts = jnp.round(shifts) if whole_pixels else shifts
    return Registration(shifts, confidence, _meet(stack, mask, shifts))


def register_to(
    stack: Real[ArrayLike, "energy height width"],
    models: Real[ArrayLike, "energy height width"],
    *,
    mask: StackMask | None = None,
    models_mask: StackMask | None = None,
    by: By = "intensity",
    max_shift: int | None = None,
) -> Registration:
    """Find the displacement of each frame against a model of its own.

    A model that has the contrast of its frame and less noise, such as the same frame of
    a denoised stack, finds what frames that are noisy and unlike each other do not. Of
    the frame's own noise it must have little, or the frame stays where it is.

    Args:
        stack: Frames, in any unit.
        models: What each frame would show at rest.
        mask: True where a pixel of the frames is valid, for all or for each.
        models_mask: The same of the models.
        by: What is compared, as in `estimate_shift`.
        max_shift: Greatest displacement, as in `estimate_shift`.

    Returns:
        As `register`, with mean zero.

    Raises:
        ValueError: For shapes that do not match, or a search beyond the frame.
    """
    stack, models = frames_of(stack), jnp.asarray(models)
    if models.shape != stack.shape:
        raise ValueError(
            f"`models` must have the shape {stack.shape} of the stack, "
            f"got {models.shape}."
        )
    mask = masks_of(mask, stack.shape)
    models_mask = masks_of(models_mask, stack.shape)
    max_shift = search_of(max_shift, stack.shape[1:])
    shifts, confidence = _from_models(
        stack, mask, models, models_mask, compared_by(by), max_shift
    )
    shifts = _gauge(shifts, confidence, None)
    return Registration(shifts, confidence, _meet(stack, mask, shifts))


def align(
    stack: Real[ArrayLike, "energy height width"],
    registration: Registration,
    *,
    mask: StackMask | None = None,
    whole_pixels: bool = False,
) -> Aligned:
    """Undo the displacements of all frames, as `shift_image` does that of one.

    Args:
        stack: The frames, which need not be those that were compared.
        registration: Their displacements, from `register`.
        mask: True where a pixel is valid, for all frames or for each.
        whole_pixels: Round the shifts, and keep noise and type of the data.

    Raises:
        ValueError: For shapes that do not match.
    """
    stack = frames_of(stack)
    mask = masks_of(mask, stack.shape)
    shifts = jnp.asarray(registration.shifts)
    if shifts.shape != (len(stack), 2):
        raise ValueError(
            f"`registration` must have a shift for each of {len(stack)} frames, "
            f"got shape {shifts.shape}."
        )
    return _align(stack, shifts, mask, whole_pixels)


@partial(jax.jit, static_argnums=(3, 4))
def _from_frame(stack, mask, index, by, max_shift):
    """Shifts and confidence of all frames against one."""
    fixed = features_of(stack[index], mask[index], by)

    def one(frame):
        return compare(fixed, features_of(*frame, by), max_shift)

    shifts, confidence, _ = lax.map(one, (stack, mask))
    return shifts, confidence


@partial(jax.jit, static_argnums=(4, 5))
def _from_models(stack, mask, models, models_mask, by, max_shift):
    """Shifts and confidence of each frame against its model."""

    def one(item):
        frame, valid, model, known = item
        fixed = features_of(model, known, by)
        return compare(fixed, features_of(frame, valid, by), max_shift)

    shifts, confidence, _ = lax.map(one, (stack, mask, models, models_mask))
    return shifts, confidence


@partial(jax.jit, static_argnums=3)
def _align(stack, shifts, mask, whole_pixels):
    def one(item):
        return move_back(*item, whole_pixels)

    aligned, valid = lax.map(one, (stack, shifts, mask))
    return Aligned(aligned, valid, valid.all(0))


@partial(jax.jit, static_argnums=(2, 3))
def _from_neighbors(stack, mask, by, max_shift):
    """Shifts and confidence from pairs of frames that are near in energy."""
    count = len(stack)
    pairs = np.asarray([(i, i + d) for d in STRIDES for i in range(count - d)])

    def one(pair):
        return compare(*features_of_both(stack[pair], mask[pair], by), max_shift)

    found, trust, _ = lax.map(one, jnp.asarray(pairs))
    incidence = np.zeros((len(pairs), count))
    incidence[np.arange(len(pairs)), pairs[:, 0]] = -1
    incidence[np.arange(len(pairs)), pairs[:, 1]] = 1
    incidence = jnp.asarray(incidence, found.dtype)
    shifts, weight = _least_squares(incidence, found, trust, max_shift)
    touched = jnp.abs(incidence)
    return shifts, weight @ touched / touched.sum(0)


def _least_squares(incidence, found, trust, max_shift):
    """Absolute shifts from differences, of which some are far off.

    The tolerance of contradictions falls in steps from the search to `AGREEMENT`, so
    that the start, where wrong pairs still count, is not what the end depends on.
    """
    exact = lax.Precision.HIGHEST

    def solve(last, scale):
        shifts, _ = last
        residual = found - jnp.matmul(incidence, shifts, precision=exact)
        weight = trust / (1 + jnp.sum(residual**2, 1) / scale**2) ** 2
        weighted = incidence.T * weight
        normal = jnp.matmul(weighted, incidence, precision=exact)
        # A step from where we are: the damping, for frames that are tied to no other,
        # then biases no shift, and the rounding of one solve is mended by the next.
        damping = 1e-5 * jnp.max(jnp.diag(normal)) + jnp.finfo(found.dtype).tiny
        normal = normal + damping * jnp.eye(len(shifts), dtype=found.dtype)
        right = jnp.matmul(weighted, residual, precision=exact)
        return (shifts + jnp.linalg.solve(normal, right), weight), None

    scales = np.geomspace(max(max_shift, AGREEMENT), AGREEMENT, 8)
    start = jnp.zeros((incidence.shape[1], 2), found.dtype), trust
    return lax.scan(solve, start, jnp.asarray(scales, found.dtype))[0]


@partial(jax.jit, static_argnums=(5, 6))
def _refine(stack, mask, shifts, confidence, num_rounds, by, max_shift):
    """Rounds against the mean, from the shifts and confidence so far."""

    def one_round(_, found):
        return _against_mean(stack, mask, *found, by, max_shift)

    return lax.fori_loop(0, num_rounds, one_round, (shifts, confidence))


def _against_mean(stack, mask, shifts, confidence, by, max_shift):
    """Compare every frame with the mean of all others, at the shifts so far."""

    def features(i):
        return features_of(stack[i], mask[i], by)

    def at_rest(i):
        weight, values = features(i)
        both = jnp.stack([weight, weight * values])
        moved = jax.vmap(resample, (0, None))(both, shifts[i])
        return confidence[i] * moved

    def add(total, i):
        return total + at_rest(i), None

    indices = jnp.arange(len(shifts))
    empty = jax.tree.map(jnp.zeros_like, jax.eval_shape(at_rest, 0))
    total, _ = lax.scan(add, empty, indices)
    trust = jnp.sum(confidence)

    def one(i):
        others = total - at_rest(i)
        rest = jnp.maximum(trust - confidence[i], jnp.finfo(others.dtype).tiny)
        weight = jnp.maximum(others[0] / rest, 0)
        seen = weight > 1e-3
        values = jnp.where(seen, others[1] / rest / jnp.where(seen, weight, 1), 0)
        fixed = normalized(jnp.where(seen, weight, 0), values)
        return compare(fixed, features(i), max_shift)

    found, margin, _ = lax.map(one, indices)
    # All frames move at once: moved the whole way, two would change places forever.
    share = 1 - confidence / jnp.maximum(trust, jnp.finfo(trust.dtype).tiny)
    step = jnp.where(margin > 0, share, 0)[:, None]
    return shifts + step * (found - shifts), margin


@jax.jit
def _meet(stack, mask, shifts):
    """Where all frames are valid once aligned."""

    def add(common, frame):
        image, valid, shift = frame
        return common & shifted_mask(valid & jnp.isfinite(image), shift), None

    everywhere = jnp.ones(stack.shape[1:], bool)
    return lax.scan(add, everywhere, (stack, mask, shifts))[0]


def _gauge(shifts, confidence, index):
    """Zero at the reference frame, or on average; zero where nothing was found."""
    known = confidence > 0
    if isinstance(index, int):
        origin = jnp.where(known[index], shifts[index], 0)
    else:
        total = jnp.sum(jnp.where(known[:, None], shifts, 0), 0)
        origin = total / jnp.maximum(jnp.sum(known), 1)
    return jnp.where(known[:, None], shifts - origin, 0)


def _reference(reference, count):
    """The reference; a frame's index counted from the front."""
    if reference in ("neighbors", "mean"):
        return reference
    if isinstance(reference, str) or not -count <= reference < count:
        raise ValueError(
            '`reference` must be "neighbors", "mean" or the index of one of '
            f"{count} frames, got {reference!r}."
        )
    return int(reference) % count
