"""A stack brought to rest that moved while it was measured."""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
from jax import numpy as jnp
from jaxtyping import Bool, Float

from tvjax.io import FileError, Stack, stack_of
from tvjax.pipeline.stack_outcome import Shifts
from tvjax.registration import (
    align,
    register,
    register_to,
    Registration,
    remaining_shifts,
)
from tvjax.stack import Components

# Copies of the stack that are held at a time.
COPIES = 4

# Rounds in which each frame is searched for in a model of one component.
SEARCHES = 2

# Numbers of components in the rounds that follow. With as many as stand out, those
# that jitter makes would be kept, and the jitter with them.
LOW_RANKS = 1, 2, 3

# Greatest number of rounds at the rank that is chosen.
ROUNDS = 4

# No further round is needed once the root mean square of the shifts is below this, in
# pixels.
SETTLED = 0.02

# A frame is moved by no more than this in a round, in pixels: the gradients of an image
# tell nothing of what lies further away.
FARTHEST = 1.0

Mask: TypeAlias = Bool[np.ndarray, "height width"]

# What finds the components of a stack, from its mask and the rank, None to choose it.
FindComponents: TypeAlias = Callable[[Stack, Mask, int | None], Components]


class Rested(NamedTuple):
    """A stack with its jitter undone."""

    stack: Stack
    mask: Mask  # True where a pixel is valid in all frames
    components: Components
    shifts: Shifts


def check_memory(stack: Stack, memory: int) -> None:
    """Raise `FileError` if a stack is too large to be registered."""
    needed = COPIES * 4 * int(np.prod(stack.shape))
    if needed > memory:
        raise FileError(
            f"{stack.series.names[0]} is too large to be registered in "
            f"{memory / 1e9:.3g} GB: all of it is compared, which takes "
            f"{needed / 1e9:.3g} GB. Pass a larger --memory, or register a part."
        )


def at_rest(
    stack: Stack,
    mask: Mask,
    denoise: FindComponents,
    *,
    rank: int | None,
    whole_pixels: bool,
) -> Rested:
    """The stack with its jitter undone, its components, and the shifts.

    The first shifts are those between denoised frames, which move less than the frames
    did, as far as components follow the jitter at all. Then each frame as it came is
    compared with what one component makes of it, which hardly follows. The rest is
    solved for in all frames at once, from the components of what is aligned so far: of
    one, then of two and three, and in the end as many as there are. Frames are always
    interpolated as they came, once.

    Args:
        stack: Frames that moved.
        mask: True where a pixel is valid at all energies.
        denoise: Finds the components of a stack.
        rank: Number of components; None chooses it.
        whole_pixels: Whether frames are moved by whole pixels.

    Returns:
        The stack at rest, its mask, components and shifts.

    Raises:
        FileError: No pixel is common to all frames once they are aligned.
    """
    num_energies, raw = stack.shape[0], stack[:]
    found = register(denoise(stack, mask, None).frames(0, num_energies), mask=mask)
    shifts, confidence = np.asarray(found.shifts), np.asarray(found.confidence)
    for _ in range(SEARCHES):
        rested, common = _aligned(stack, raw, mask, shifts)
        models = denoise(rested, common, 1).frames(0, num_energies)
        found = register_to(raw, models, mask=mask, models_mask=common)
        seen = np.asarray(found.confidence) > 0
        shifts = np.where(seen[:, None], found.shifts, shifts)
        confidence = np.where(seen, found.confidence, confidence)
    most = rank or num_energies
    for low in [*LOW_RANKS, *(rank,) * ROUNDS]:
        rested, common = _aligned(stack, raw, mask, shifts)
        components = denoise(rested, common, low and min(low, most))
        used = slice(components.rank)
        step = remaining_shifts(
            rested[:],
            components.denoised[used],
            components.spectra[used],
            mask=common,
            sigma=components.sigma,
        )
        length = np.linalg.norm(step, axis=1, keepdims=True)
        step *= np.minimum(1, FARTHEST / np.maximum(length, FARTHEST))
        shifts = _centred(shifts + step, confidence)
        if low == rank and np.sqrt(np.mean(step**2)) < SETTLED:
            break
    rested, common = _aligned(stack, raw, mask, shifts, whole_pixels)
    shifts = np.round(shifts) if whole_pixels else shifts
    return Rested(
        rested,
        common,
        denoise(rested, common, rank),
        Shifts(shifts.astype(np.float32), confidence),
    )


def _centred(
    shifts: Float[np.ndarray, "energy 2"], confidence: Float[np.ndarray, " energy"]
) -> Float[np.ndarray, "energy 2"]:
    """Mean zero over the frames that were found, zero where one was not."""
    seen = confidence > 0
    if not seen.any():
        return np.zeros_like(shifts)
    return np.where(seen[:, None], shifts - shifts[seen].mean(axis=0), 0)


def _aligned(
    stack: Stack,
    raw: Float[np.ndarray, "energy height width"],
    mask: Mask,
    shifts: Float[np.ndarray, "energy 2"],
    whole_pixels: bool = False,
) -> tuple[Stack, Mask]:
    """The stack with its frames moved back, and where all of them are known."""
    total = Registration(
        jnp.asarray(shifts, jnp.float32), jnp.ones(len(raw)), jnp.asarray(mask)
    )
    aligned = align(raw, total, mask=mask, whole_pixels=whole_pixels)
    common = np.asarray(aligned.common)
    if not common.any():
        raise FileError(
            f"{stack.series.names[0]} has no pixel in common to all frames once "
            "they are aligned: check the shifts, or leave --register out."
        )
    rested = stack_of(
        np.where(aligned.mask, aligned.stack, np.nan).astype(np.float32),
        stack.energies,
        mask=np.ones(mask.shape, bool),
        like=stack.series,
        unit=stack.unit,
    )
    return rested, common
