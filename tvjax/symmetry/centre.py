"""Where is the beam centre of a symmetric pattern, and how surely?

First to a pixel, by the largest normalized correlation of the pattern with its own
image after an operation of the group, or by the curvature of rings; then by least
squares of the orbit differences.
"""

from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import numpy as np
from jax import Array, numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Bool, Float

from tvjax.noise import estimate_noise, Noise
from tvjax.symmetry.beside import bin_pixels, search_rings
from tvjax.symmetry.groups import find_group, Group, MIRROR_X, MIRROR_Y, Operation
from tvjax.symmetry.moves import move
from tvjax.symmetry.offset import determined, find_offset
from tvjax.symmetry.smoothing import blur

MAX_STEPS = 12
# Frames longer than this are binned for the search, which is to within a pixel.
LONGEST = 640
# Of the possible overlap, that an offset must have to be compared at all.
LEAST_OVERLAP = 0.2


class Centre(NamedTuple):
    """A beam centre in pixels; the first pixel's center is 0."""

    y: float
    x: float
    error: tuple[float, float]  # standard deviations; infinite where undetermined


def find_centre(
    y: Float[ArrayLike, "y x"],
    mask: Bool[ArrayLike, "y x"] | None = None,
    *,
    group: Group | str = "friedel",
    start: tuple[float, float] | None = None,
    noise: Noise | None = None,
) -> Centre:
    """Find the centre of symmetry to a fraction of a pixel.

    Each step solves A δ = −Σ G e / v for the shift δ, with e the differences from the
    orbit mean, G what a shift adds to them and v their variance (Gauss–Newton). The
    error is the curvature's, times √(chi-squared over its freedom) where that is above
    one.

    Args:
        y: Image.
        mask: True where a pixel is valid.
        group: From `find_group`, or its name. A mirror fixes the centre along one axis
            only; along the other it stays where it began, with an infinite error.
        start: (y, x) within about two pixels; by default the offset of the largest
            mask-normalized correlation (Padfield 2012, 10.1109/TIP.2011.2181402), or
            for "azimuthal" where the rings are even, if those agree better there.
        noise: By default estimated.

    Raises:
        ValueError: For a start outside the image, or values that are not finite under
            the mask.
    """
    group = find_group(group) if isinstance(group, str) else group
    noise = estimate_noise(y, mask) if noise is None else noise
    y, valid = check_pattern(y, mask)
    if start is None:
        start = _search(y, valid, group)
        if group.continuous:
            starts = start, search_rings(y, valid)
            start = min(starts, key=partial(_disagreement, y, valid, group, noise))
    check_centre(start, y.shape, group)
    centre, errors = _refine(y, valid, group, jnp.asarray(start, y.dtype), noise)
    place, errors = np.asarray(centre, float), np.asarray(errors, float)
    return Centre(
        float(place[0]), float(place[1]), (float(errors[0]), float(errors[1]))
    )


def check_centre(
    centre: tuple[float, float], shape: tuple[int, int], group: Group
) -> None:
    """Raise a `ValueError` unless the centre lies in the image.

    Rings about a beam that passes beside the detector, by its size at most, are rings.
    """
    beside = float(group.continuous)
    if len(centre) != 2 or not all(
        -0.5 - beside * size <= c <= (1 + beside) * size - 0.5
        for c, size in zip(centre, shape, strict=True)
    ):
        raise ValueError(
            f"`centre` must lie in the image of shape {shape}, got "
            f"{tuple(map(float, centre))}; give (y, x) in pixels, the first one's "
            "center being 0, or take 'azimuthal' if the beam passes beside."
        )


def check_pattern(
    y: Float[ArrayLike, "y x"], mask: Bool[ArrayLike, "y x"] | None
) -> tuple[Array, Array]:
    """The image in floating point and its mask, or a sentence on what is wrong."""
    y = jnp.asarray(y)
    if jnp.iscomplexobj(y) or y.ndim != 2 or y.size == 0:
        raise ValueError(
            f"expected an image (y, x) of real numbers, got shape {y.shape} of "
            f"{y.dtype}; take the frames of a series one by one."
        )
    y = y.astype(jnp.promote_types(y.dtype, jnp.float32))
    valid = jnp.ones(y.shape, bool) if mask is None else jnp.asarray(mask, bool)
    if valid.shape != y.shape:
        raise ValueError(f"`mask` has shape {valid.shape}, but the image {y.shape}.")
    if not bool(jnp.any(valid)):
        raise ValueError("`mask` leaves no valid pixel; True means valid.")
    bad = int(jnp.sum(~jnp.isfinite(y) & valid))
    if bad:
        raise ValueError(
            f"{bad} pixels are NaN or infinite under a valid mask; mark them invalid "
            "with mask=numpy.isfinite(image)."
        )
    return jnp.where(valid, y, 0), valid


@eqx.filter_jit
def _chi_squared(
    y: Array, mask: Array, group: Group, noise: Noise, centre: Array
) -> Array:
    return find_offset(y, group, centre, mask, noise).scale


def _disagreement(
    y: Array, mask: Array, group: Group, noise: Noise, centre: tuple[float, float]
) -> float:
    """Chi-squared of the orbit differences over its freedom."""
    return float(_chi_squared(y, mask, group, noise, jnp.asarray(centre, y.dtype)))


@eqx.filter_jit
def _refine(
    y: Array, mask: Array, group: Group, start: Array, noise: Noise
) -> tuple[Array, Array]:
    """Gauss–Newton steps of at most a pixel, and the errors of the last."""
    fixed = jnp.asarray(determined(group))
    size = jnp.asarray(y.shape, y.dtype)
    beside = float(group.continuous) * size

    def system(centre: Array) -> tuple[Array, Array]:
        offset = find_offset(y, group, centre, mask, noise)
        both = fixed[:, None] & fixed[None, :]
        information = jnp.where(both, offset.information, jnp.eye(2, dtype=y.dtype))
        score = jnp.where(fixed, offset.score, 0)
        inverse = jnp.linalg.inv(information)
        spread = inverse @ offset.covariance @ inverse * jnp.maximum(offset.scale, 1)
        variance = jnp.diagonal(spread)
        known = (
            fixed & (jnp.diagonal(information) > 0) & (jnp.linalg.det(information) > 0)
        )
        errors = jnp.where(known, jnp.sqrt(jnp.where(known, variance, 1)), jnp.inf)
        step = jnp.where(jnp.all(jnp.isfinite(errors) | ~fixed), inverse @ score, 0)
        return jnp.clip(step, -1, 1), errors

    def unfinished(carry: tuple[Array, Array, Array, Array]) -> Array:
        _, errors, step, count = carry
        small = jnp.max(jnp.abs(step) / jnp.minimum(errors, 1))
        return (count < MAX_STEPS) & (small > 0.02)

    def advance(carry: tuple[Array, Array, Array, Array]) -> tuple[Array, ...]:
        centre, _, _, count = carry
        step, errors = system(centre)
        return (
            jnp.clip(centre + step, -beside, size - 1 + beside),
            errors,
            step,
            count + 1,
        )

    unknown = jnp.full(2, jnp.inf, y.dtype)
    carry = start, unknown, jnp.ones(2, y.dtype), jnp.zeros((), jnp.int32)
    centre, errors, _, _ = jax.lax.while_loop(unfinished, advance, carry)
    return centre, errors


def _search(y: Array, mask: Array, group: Group) -> tuple[float, float]:
    """The centre to about a pixel, by correlation with the moved image."""
    step = -(-max(y.shape) // LONGEST)
    image, valid = (
        bin_pixels(z, step) for z in (jnp.where(mask, y, 0), mask.astype(y.dtype))
    )
    operation = _telling_operation(group)
    lag = np.asarray(_largest_correlation(image, valid, operation), float)
    middle = (np.asarray(image.shape) - 1) / 2
    # y(r) = y(c + R (r − c)) and moved(r) = y(m + R (r − m)): R lag = (I − R)(c − m)
    matrix = operation.matrix
    place = middle + np.linalg.pinv(np.eye(2) - matrix) @ matrix @ lag
    place = np.clip(step * place + (step - 1) / 2, 0, np.asarray(y.shape) - 1.0)
    return float(place[0]), float(place[1])


def _telling_operation(group: Group) -> Operation:
    """The operation that says most of the centre: two-fold where there is one."""
    two_fold = find_group("friedel")
    if group.contains(two_fold):
        return two_fold.operations[1]
    return group.operations[1]


@eqx.filter_jit
def _largest_correlation(y: Array, weight: Array, operation: Operation) -> Array:
    """The lag at which the moved image is most like the image, in its own range."""
    valid = weight > 0.5 * jnp.max(weight)
    smooth = blur(y / jnp.where(valid, weight, 1), valid, 1.5)
    # the root evens out the counts' noise and lets no bright pixel decide alone
    root = jnp.sign(smooth) * jnp.sqrt(jnp.abs(smooth))
    root = root - jnp.mean(root, where=valid)
    middle = tuple((size - 1) / 2 for size in y.shape)
    moved = move(root, operation, middle, valid)
    there = (moved.weight > 0.5).astype(y.dtype)
    lengths = tuple(2 * size for size in y.shape)

    def spectrum(z: Array) -> Array:
        return jnp.fft.rfft2(z, lengths)

    here, image = valid.astype(y.dtype), jnp.where(valid, root, 0)
    other = there * moved.image
    fixed = [jnp.conj(spectrum(z)) for z in (here, image, image**2)]
    moving = [spectrum(z) for z in (there, other, other**2)]

    def overlap(a: int, b: int) -> Array:
        return jnp.fft.irfft2(fixed[a] * moving[b], lengths)

    pixels = jnp.maximum(overlap(0, 0), 1)
    first, second = overlap(1, 0), overlap(0, 1)
    joint = overlap(1, 1) - first * second / pixels
    spread = [
        jnp.maximum(square - mean**2 / pixels, 0)
        for square, mean in ((overlap(2, 0), first), (overlap(0, 2), second))
    ]
    norm = jnp.sqrt(spread[0] * spread[1])
    correlation = jnp.where(norm > 1e-4 * jnp.max(norm), joint / (norm + 1e-30), 0)
    score = correlation * jnp.sqrt(pixels)  # what chance would give is of unit size
    score = jnp.where(pixels > LEAST_OVERLAP * jnp.max(pixels), score, -jnp.inf)
    if operation in (MIRROR_X, MIRROR_Y):
        # nothing is to be learned along the mirror
        still = 0 if operation == MIRROR_X else 1
        line = jnp.arange(lengths[still]) == 0
        score = jnp.where(jnp.expand_dims(line, 1 - still), score, -jnp.inf)
    best = jnp.stack(jnp.unravel_index(jnp.argmax(score), lengths))
    size = jnp.asarray(lengths)
    return jnp.where(best >= size // 2, best - size, best)
