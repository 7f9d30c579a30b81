"""Displacements of all frames of a stack, and the stack at rest."""

from functools import partial
from typing import get_args, Literal, NamedTuple, TypeAlias

import jax
import numpy as np
from jax import Array, lax, numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Int, Real

from tvjax.arguments import as_full_mask, check_choice
from tvjax.registration.features import (
    By,
    features_of,
    features_of_both,
    WeightedImage,
    with_unit_power,
)
from tvjax.registration.pair import compare, search_range
from tvjax.registration.shifting import (
    Mask,
    move_back,
    resample,
    Shifted,
    shifted_mask,
)

# A frame is compared with those that are so many energies further on: near enough for
# the contrast to be much the same, and several, to average their errors.
STRIDES = (1, 2, 4)
# Displacements of pairs of frames that differ from the others by more than this many
# pixels are taken as wrong, and count for less.
AGREEMENT = 0.5

StackMask: TypeAlias = Mask | Bool[ArrayLike, "energy height width"]
Start: TypeAlias = Literal["neighbors", "mean"]


class Registration(NamedTuple):
    """The displacements of the frames of a stack."""

    shifts: Float[Array, "energy 2"]  # (row, column) in pixels
    confidence: Float[Array, " energy"]  # as in `ShiftEstimate`; 0 where not found
    mask: Bool[Array, "height width"]  # True where every frame is valid once aligned


class Aligned(NamedTuple):
    """A stack at rest."""

    stack: Real[Array, "energy height width"]  # 0 where invalid
    mask: Bool[Array, "energy height width"]  # of each frame
    common: Bool[Array, "height width"]  # True where every frame is valid


def register(
    y: Real[ArrayLike, "energy height width"],
    *,
    mask: StackMask | None = None,
    reference: Start | int = "neighbors",
    by: By = "gradient",
    num_rounds: int = 3,
    whole_pixels: bool = False,
    max_shift: int | None = None,
) -> Registration:
    """Find the displacements of all frames of a stack.

    Each frame is compared with those 1, 2 and 4 further on, where the contrast is still
    much the same, and the displacements dᵢⱼ between them are combined to

        min_s Σ wᵢⱼ ‖sⱼ − sᵢ − dᵢⱼ‖²,

    wᵢⱼ being the confidence of the pair, which fades where it contradicts the others.
    Sums of differences drift, so that every round compares each frame with the mean of
    all the *others*, aligned: with itself in the mean, it would stay where it is. Needs
    memory for the stack and a few frames.

    Args:
        y: Frames, in any unit. They may be denoised, and their shifts applied to the
            raw ones.
        mask: True where a pixel is valid, for all frames or for each.
        reference: What a frame is first compared with: its neighbors in energy, the
            mean of the frames as they are, or the one frame of this index.
        by: What is compared, as in `estimate_shift`.
        num_rounds: Number of rounds against the mean.
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
    check_frames(y)
    stack = jnp.asarray(y)
    valid = as_full_mask(mask, stack.shape, stack.shape[1:])
    index = _reference(reference, len(stack))
    if num_rounds < 0:
        raise ValueError(f"`num_rounds` must not be negative, got {num_rounds}.")
    check_choice("by", by, get_args(By))
    reach = search_range(max_shift, stack.shape[1:])
    if index == "neighbors":
        found = _from_neighbors(stack, valid, by, reach)
    elif index == "mean":
        dtype = jnp.promote_types(stack.dtype, jnp.float32)
        found = _Found(jnp.zeros((len(stack), 2), dtype), jnp.ones(len(stack), dtype))
    else:
        found = _from_frame(stack, valid, index, by, reach)
    if num_rounds:
        found = _refine(stack, valid, found, num_rounds, by, reach)
    shifts = _with_origin(found, index)
    shifts = jnp.round(shifts) if whole_pixels else shifts
    return Registration(shifts, found.confidence, _common(stack, valid, shifts))


def register_to(
    y: Real[ArrayLike, "energy height width"],
    models: Real[ArrayLike, "energy height width"],
    *,
    mask: StackMask | None = None,
    models_mask: StackMask | None = None,
    by: By = "intensity",
    max_shift: int | None = None,
) -> Registration:
    """Find the displacement of each frame against a model of its own.

    A model that has the contrast of its frame and less noise, such as the same frame of
    a denoised stack, shows shifts that cannot be seen between frames that are noisy and
    unlike each other. The model must have little of the frame's own noise, or the frame
    stays where it is.

    Args:
        y: Frames, in any unit.
        models: What each frame would show at rest.
        mask: True where a pixel of the frames is valid, for all or for each.
        models_mask: True where a pixel of the models is valid, for all or for each.
        by: What is compared, as in `estimate_shift`.
        max_shift: Greatest displacement, as in `estimate_shift`.

    Returns:
        Displacements of mean zero, confidence and common mask, as of `register`.

    Raises:
        ValueError: For shapes that do not match, or a search beyond the frame.
    """
    check_frames(y)
    stack, models = jnp.asarray(y), jnp.asarray(models)
    if models.shape != stack.shape:
        raise ValueError(
            f"`models` must have the shape {stack.shape} of the stack, "
            f"got {models.shape}."
        )
    shapes = stack.shape, stack.shape[1:]
    valid = as_full_mask(mask, *shapes)
    known = as_full_mask(models_mask, *shapes, name="models_mask")
    check_choice("by", by, get_args(By))
    reach = search_range(max_shift, stack.shape[1:])
    found = _from_models(stack, valid, models, known, by, reach)
    shifts = _with_origin(found, None)
    return Registration(shifts, found.confidence, _common(stack, valid, shifts))


def align(
    y: Real[ArrayLike, "energy height width"],
    registration: Registration,
    *,
    mask: StackMask | None = None,
    whole_pixels: bool = False,
) -> Aligned:
    """Undo the displacements of all frames, as `shift_image` does that of one.

    Args:
        y: The frames, which need not be those that were compared.
        registration: Their displacements, from `register`.
        mask: True where a pixel is valid, for all frames or for each.
        whole_pixels: Round the shifts, and keep noise and type of the data.

    Raises:
        ValueError: For shapes that do not match.
    """
    check_frames(y)
    stack = jnp.asarray(y)
    valid = as_full_mask(mask, stack.shape, stack.shape[1:])
    shifts = jnp.asarray(registration.shifts)
    if shifts.shape != (len(stack), 2):
        raise ValueError(
            f"`registration` must have a shift for each of {len(stack)} frames, "
            f"got shape {shifts.shape}."
        )
    return _align(stack, shifts, valid, whole_pixels)


def check_frames(y: Real[ArrayLike, "energy height width"]) -> None:
    """Refuse what is no stack of two frames or more.

    Raises:
        ValueError: There are other axes than energy, height and width, or one frame.
    """
    shape = np.shape(y)
    if len(shape) != 3 or shape[0] < 2:
        raise ValueError(
            "`y` must have the axes (energy, height, width) and at least two frames, "
            f"got shape {shape}."
        )


class _Found(NamedTuple):
    """Shifts and confidence of all frames."""

    shifts: Float[Array, "energy 2"]
    confidence: Float[Array, " energy"]


@partial(jax.jit, static_argnums=(3, 4))
def _from_frame(
    stack: Real[Array, "energy height width"],
    mask: Bool[Array, "energy height width"],
    index: int | Int[Array, ""],
    by: By,
    max_shift: int,
) -> _Found:
    """Shifts of all frames against one."""
    fixed = features_of(stack[index], mask[index], by)

    def one(item: tuple[Array, Array]) -> _Found:
        frame, valid = item
        shift, confidence, _ = compare(fixed, features_of(frame, valid, by), max_shift)
        return _Found(shift, confidence)

    return lax.map(one, (stack, mask))


@partial(jax.jit, static_argnums=(4, 5))
def _from_models(
    stack: Real[Array, "energy height width"],
    mask: Bool[Array, "energy height width"],
    models: Real[Array, "energy height width"],
    models_mask: Bool[Array, "energy height width"],
    by: By,
    max_shift: int,
) -> _Found:
    """Shifts of each frame against its model."""

    def one(item: tuple[Array, Array, Array, Array]) -> _Found:
        frame, valid, model, known = item
        fixed = features_of(model, known, by)
        shift, confidence, _ = compare(fixed, features_of(frame, valid, by), max_shift)
        return _Found(shift, confidence)

    return lax.map(one, (stack, mask, models, models_mask))


@partial(jax.jit, static_argnums=3)
def _align(
    stack: Real[Array, "energy height width"],
    shifts: Float[Array, "energy 2"],
    mask: Bool[Array, "energy height width"],
    whole_pixels: bool,
) -> Aligned:
    """The frames moved back one after another."""

    def one(item: tuple[Array, Array, Array]) -> Shifted:
        frame, shift, valid = item
        return move_back(frame, shift, valid, whole_pixels)

    aligned, valid = lax.map(one, (stack, shifts, mask))
    return Aligned(aligned, valid, valid.all(0))


@partial(jax.jit, static_argnums=(2, 3))
def _from_neighbors(
    stack: Real[Array, "energy height width"],
    mask: Bool[Array, "energy height width"],
    by: By,
    max_shift: int,
) -> _Found:
    """Shifts from pairs of frames that are near in energy."""
    count = len(stack)
    pairs = np.asarray([(i, i + d) for d in STRIDES for i in range(count - d)])

    def one(pair: Array) -> _Found:
        fixed, moving = features_of_both(stack[pair], mask[pair], by)
        shift, confidence, _ = compare(fixed, moving, max_shift)
        return _Found(shift, confidence)

    found, trust = lax.map(one, jnp.asarray(pairs))
    signs = np.zeros((len(pairs), count))
    signs[np.arange(len(pairs)), pairs[:, 0]] = -1
    signs[np.arange(len(pairs)), pairs[:, 1]] = 1
    incidence = jnp.asarray(signs, found.dtype)
    shifts, weight = _least_squares(incidence, found, trust, max_shift)
    touched = jnp.abs(incidence)
    return _Found(shifts, weight @ touched / touched.sum(0))


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
def _refine(
    stack: Real[Array, "energy height width"],
    mask: Bool[Array, "energy height width"],
    found: _Found,
    num_rounds: int | Int[Array, ""],
    by: By,
    max_shift: int,
) -> _Found:
    """Rounds against the mean, from the shifts found so far."""

    def one_round(_: Array, found: _Found) -> _Found:
        return _against_mean(stack, mask, found, by, max_shift)

    return lax.fori_loop(0, num_rounds, one_round, found)


def _against_mean(
    stack: Real[Array, "energy height width"],
    mask: Bool[Array, "energy height width"],
    last: _Found,
    by: By,
    max_shift: int,
) -> _Found:
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

    def one(i: Array) -> _Found:
        others = total - at_rest(i)
        rest = jnp.maximum(trust - confidence[i], jnp.finfo(others.dtype).tiny)
        weight = jnp.maximum(others[0] / rest, 0)
        seen = weight > 1e-3
        values = jnp.where(seen, others[1] / rest / jnp.where(seen, weight, 1), 0)
        fixed = with_unit_power(jnp.where(seen, weight, 0), values)
        shift, margin, _ = compare(fixed, features(i), max_shift)
        return _Found(shift, margin)

    found, margin = lax.map(one, indices)
    # all frames move at once: moved the whole way, two would change places forever
    share = 1 - confidence / jnp.maximum(trust, jnp.finfo(trust.dtype).tiny)
    step = jnp.where(margin > 0, share, 0)[:, None]
    return _Found(shifts + step * (found - shifts), margin)


@jax.jit
def _common(
    stack: Real[Array, "energy height width"],
    mask: Bool[Array, "energy height width"],
    shifts: Float[Array, "energy 2"],
) -> Bool[Array, "height width"]:
    """Where all frames are valid once aligned."""

    def add(common: Array, frame: tuple[Array, Array, Array]) -> tuple[Array, None]:
        image, valid, shift = frame
        return common & shifted_mask(valid & jnp.isfinite(image), shift), None

    everywhere = jnp.ones(stack.shape[1:], bool)
    return lax.scan(add, everywhere, (stack, mask, shifts))[0]


def _with_origin(found: _Found, index: Start | int | None) -> Float[Array, "energy 2"]:
    """Shifts that are zero at the reference frame, or on average.

    The shift of a frame that was not found is zero.
    """
    shifts, confidence = found
    known = confidence > 0
    if isinstance(index, int):
        origin = jnp.where(known[index], shifts[index], 0)
    else:
        total = jnp.sum(jnp.where(known[:, None], shifts, 0), 0)
        origin = total / jnp.maximum(jnp.sum(known), 1)
    return jnp.where(known[:, None], shifts - origin, 0)


def _reference(reference: Start | int, count: int) -> Start | int:
    """The reference; a frame's index counted from the front."""
    if reference == "neighbors" or reference == "mean":
        return reference
    if isinstance(reference, str) or not -count <= reference < count:
        raise ValueError(
            '`reference` must be "neighbors", "mean" or the index of one of '
            f"{count} frames, got {reference!r}."
        )
    return int(reference) % count
