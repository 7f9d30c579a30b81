"""Displacements of all frames of a stack, and the stack at rest."""

from functools import partial
from typing import get_args, Literal, NamedTuple, TypeAlias

import jax
import numpy as np
from jax import Array, lax, numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Real

from tvjax.arguments import as_array, as_full_mask, check_choice
from tvjax.registration.features import (
    By,
)
from tvjax.registration.pair import search_range
from tvjax.registration.shifting import (
    Mask,
    move_back,
    Shifted,
    shifted_mask,
)
from tvjax.registration.stack_shifts import (
    refine_shifts,
    shifts_from_frame,
    shifts_from_models,
    shifts_from_neighbors,
    StackShifts,
)

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
    stack = as_array(y)
    valid = as_full_mask(mask, stack.shape, stack.shape[1:])
    index = _reference(reference, len(stack))
    if num_rounds < 0:
        raise ValueError(f"`num_rounds` must not be negative, got {num_rounds}.")
    check_choice("by", by, get_args(By))
    reach = search_range(max_shift, stack.shape[1:])
    if index == "neighbors":
        found = shifts_from_neighbors(stack, valid, by, reach)
    elif index == "mean":
        dtype = jnp.promote_types(stack.dtype, jnp.float32)
        found = StackShifts(
            jnp.zeros((len(stack), 2), dtype), jnp.ones(len(stack), dtype)
        )
    else:
        found = shifts_from_frame(stack, valid, index, by, reach)
    if num_rounds:
        found = refine_shifts(stack, valid, found, num_rounds, by, reach)
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
    stack, models = as_array(y), as_array(models)
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
    found = shifts_from_models(stack, valid, models, known, by, reach)
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
    stack = as_array(y)
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


def _with_origin(
    found: StackShifts, index: Start | int | None
) -> Float[Array, "energy 2"]:
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
