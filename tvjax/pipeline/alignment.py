"""How is a stack brought to rest that moved while it was measured?"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool

from tvjax.io import FileError, Stack, stack_of
from tvjax.pipeline.stack_outcome import Shifts

COPIES = 4
"""Copies of the stack that are held at a time."""

ROUNDS = 4
"""Of registration at most."""

SETTLED = 0.1
"""Root mean square in pixels of the shifts after which no further round is needed."""

Mask = Bool[np.ndarray, "y x"]


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
    denoise: Callable[[Stack, Mask, int | None], object],
    *,
    rank: int | None,
    whole_pixels: bool,
) -> tuple[Stack, Mask, object, Shifts]:
    """The stack with its jitter undone, its components, and the shifts.

    Shifts are found in the denoised frames, and applied to the frames as they came.
    Components are too few to follow all of the jitter, so that denoised frames move
    less than the frames did: what is left is found in the next round. The first has a
    rank of its own, as a stack that moves needs more components than one at rest.
    """
    from tvjax.registration import align, register, Registration  # loads jax

    num_energies = stack.shape[0]
    raw = stack[:]
    shifts = np.zeros((num_energies, 2), np.float32)
    rested, common = stack, mask
    components = denoise(stack, mask, None)
    for _ in range(ROUNDS):
        found = register(
            components.frames(0, num_energies), mask=common, whole_pixels=whole_pixels
        )
        step = np.asarray(found.shifts)
        shifts = shifts + step
        total = Registration(shifts, found.confidence, found.mask)
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
        components = denoise(rested, common, rank)
        if np.sqrt(np.mean(step**2)) < SETTLED:
            break
    return rested, common, components, Shifts(shifts, np.asarray(found.confidence))
