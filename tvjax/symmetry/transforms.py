"""Images after an operation about the beam centre.

The image g that an operation R about the centre c makes of f is g(r) = f(c + R (r −
c)). Where R takes pixels onto pixels the counts are only put elsewhere; otherwise they
are interpolated.
"""

from typing import NamedTuple, TypeAlias

import jax
import numpy as np
from jax import Array, numpy as jnp
from jaxtyping import Bool, Float, Int

from tvjax.symmetry.groups import Group, IDENTITY, Operation

# The row and column of a point, in pixels; the first pixel's centre is 0.
Point: TypeAlias = tuple[float, float] | Float[Array, "2"]

# A centre this close to one that needs no interpolation is taken for that one; in
# pixels. It is above the rounding of float64 and far below what any pattern tells.
WHOLE = 1e-6


class Transformed(NamedTuple):
    """An image after an operation, how valid each pixel is, and its noise.

    Attributes:
        image: The image, zero where nothing valid arrived.
        weight: Validity of each pixel, in [0, 1].
        factor: Variance of each pixel over that of a measured one, in [0, 1].
    """

    image: Float[Array, "height width"]
    weight: Float[Array, "height width"]
    factor: Float[Array, "height width"]


def transform(
    y: Float[Array, "height width"],
    operation: Operation,
    centre: Point,
    mask: Bool[Array, "height width"],
) -> Transformed:
    """Apply an operation about a centre.

    Without interpolation where c − R c is whole and R takes pixels onto pixels; else
    bilinear over the valid ones of the four pixels around, with coefficients b:

        image = Σ b y / Σ b,    weight = Σ b,    factor = Σ b² / (Σ b)²

    Only a centre in Python's numbers can be found to need no interpolation; for one in
    JAX's arrays it is always done. Image and weight are zero outside the frame and
    where no valid pixel arrives.

    Args:
        y: Image.
        operation: Operation to apply.
        centre: Beam centre (y, x) in pixels; the first pixel's centre is 0.
        mask: True where a pixel is valid.
    """
    shift = _whole_shift(operation, centre)
    if shift is not None:
        return _rearrange(jnp.where(mask, y, 0), mask, operation, shift)
    if operation.turns_pixels_onto_pixels:
        return _resample(jnp.where(mask, y, 0), mask, operation, centre)
    return interpolate(y, jnp.asarray(operation.matrix, y.dtype), centre, mask)


def offsets_from(
    centre: Point, shape: tuple[int, ...], dtype: np.dtype
) -> tuple[Float[Array, "height 1"], Float[Array, "1 width"]]:
    """Offsets of the pixels from the centre, along rows and along columns."""
    rows, columns = (
        jnp.arange(size, dtype=dtype) - jnp.asarray(c, dtype)
        for size, c in zip(shape, centre, strict=True)
    )
    return rows[:, None], columns[None, :]


def count_fixing(
    group: Group, centre: Point, shape: tuple[int, ...], dtype: np.dtype
) -> Float[Array, "height width"]:
    """The number of operations that move a pixel by less than half a pixel."""
    rows, columns = offsets_from(centre, shape, dtype)

    def fixes(matrix: Float[Array, "2 2"]) -> Float[Array, "height width"]:
        (a, b), (c, d) = matrix
        moved = jnp.hypot((a - 1) * rows + b * columns, c * rows + (d - 1) * columns)
        return (moved < 0.5).astype(dtype)

    matrices = jnp.asarray([operation.matrix for operation in group.operations], dtype)
    return jnp.sum(jax.vmap(fixes)(matrices), axis=0)


def _whole_shift(operation: Operation, centre: Point) -> tuple[int, int] | None:
    """The whole numbers c − R c; None where they are not whole, or c is traced."""
    if operation == IDENTITY:
        return 0, 0
    if _is_array(centre) or not operation.turns_pixels_onto_pixels:
        return None
    place = np.asarray(centre, np.float64)
    offset = place - operation.matrix @ place
    whole = np.rint(offset)
    if np.any(np.abs(offset - whole) > WHOLE):
        return None
    return int(whole[0]), int(whole[1])


def specialize_centre(centre: Point, group: Group) -> Point:
    """The centre as numbers where these spare interpolation, else as an array.

    JAX compiles a program for each centre in numbers, and one for all in arrays.
    """
    if _is_array(centre):
        return jnp.asarray(centre)
    moving = [operation for operation in group.operations if operation != IDENTITY]
    whole = [_whole_shift(operation, centre) for operation in moving]
    if any(offset is not None for offset in whole):
        return float(centre[0]), float(centre[1])
    return jnp.asarray(centre, float)


def _is_array(centre: Point) -> bool:
    """Whether the centre, or a part of it, is one of JAX's arrays."""
    return isinstance(centre, jax.Array) or any(
        isinstance(c, jax.Array) for c in centre
    )


def _rearrange(
    y: Float[Array, "height width"],
    valid: Bool[Array, "height width"],
    operation: Operation,
    shift: tuple[int, int],
) -> Transformed:
    """Take whole rows and columns, which may change places."""
    steps, turned = _steps(y.shape, operation)
    sources = [step + ahead for step, ahead in zip(steps, shift, strict=True)]
    rows, columns = (
        np.clip(s, 0, size - 1) for s, size in zip(sources, y.shape, strict=True)
    )
    inside = np.outer(rows == sources[0], columns == sources[1])
    weight = jnp.asarray(inside) & valid[rows][:, columns]
    image = jnp.where(weight, y[rows][:, columns], 0)
    if turned:
        image, weight = image.T, weight.T
    weight = weight.astype(y.dtype)
    return Transformed(image, weight, weight)


def _steps(
    shape: tuple[int, ...], operation: Operation
) -> tuple[list[Int[np.ndarray, " _"]], bool]:
    """The source's row and column for each target's, and whether they change places.

    The rows and columns are without their shift, and for operations that turn pixels
    onto pixels.
    """
    (a, b), (c, d) = operation.rows
    turned = a == 0
    along = (shape[1], shape[0]) if turned else shape
    signs = (b, c) if turned else (a, d)
    steps = [int(sign) * np.arange(n) for sign, n in zip(signs, along, strict=True)]
    return steps, turned


def _resample(
    y: Float[Array, "height width"],
    valid: Bool[Array, "height width"],
    operation: Operation,
    centre: Point,
) -> Transformed:
    """Interpolate for a flip or a turn by a right angle, by rows, then by columns.

    All pixels are shifted alike, so that the coefficients are products of one along
    each axis: many times faster than `interpolate`.
    """
    steps, turned = _steps(y.shape, operation)
    place = jnp.stack([jnp.asarray(c, y.dtype) for c in centre])
    offset = place - jnp.asarray(operation.matrix, y.dtype) @ place
    whole = jnp.floor(offset)
    beyond = offset - whole

    def along_both(z: Array, power: int) -> Array:
        for axis in (0, 1):
            source = steps[axis] + whole[axis].astype(jnp.int32)
            total = 0
            for ahead, share in ((0, 1 - beyond[axis]), (1, beyond[axis])):
                inside = (source + ahead >= 0) & (source + ahead < z.shape[axis])
                weight = jnp.expand_dims(jnp.where(inside, share**power, 0), 1 - axis)
                there = jnp.clip(source + ahead, 0, z.shape[axis] - 1)
                total += weight * jnp.take(z, there, axis=axis)
            z = total
        return z.T if turned else z

    known = valid.astype(y.dtype)
    return _divide(along_both(y, 1), along_both(known, 1), along_both(known, 2))


def _divide(
    total: Float[Array, "height width"],
    weight: Float[Array, "height width"],
    squares: Float[Array, "height width"],
) -> Transformed:
    """The weighted mean and its variance from sums, zero where no weight is."""
    some = weight > 0
    safe = jnp.where(some, weight, 1)
    return Transformed(
        jnp.where(some, total / safe, 0), weight, jnp.where(some, squares / safe**2, 0)
    )


def interpolate(
    y: Float[Array, "height width"],
    matrix: Float[Array, "2 2"],
    centre: Point,
    mask: Bool[Array, "height width"],
) -> Transformed:
    """Apply any matrix by bilinear interpolation over the valid pixels."""
    y = jnp.where(mask, y, 0)
    rows, columns = offsets_from(centre, y.shape, y.dtype)
    source = [
        jnp.asarray(c, y.dtype) + row[0] * rows + row[1] * columns
        for c, row in zip(centre, matrix, strict=True)
    ]
    floors = [jnp.floor(s) for s in source]
    beyond = [s - f for s, f in zip(source, floors, strict=True)]
    corner = [f.astype(jnp.int32) for f in floors]
    total = weight = squares = jnp.zeros_like(y)
    for step_y in (0, 1):
        for step_x in (0, 1):
            row, column = corner[0] + step_y, corner[1] + step_x
            share = jnp.abs(1 - step_y - beyond[0]) * jnp.abs(1 - step_x - beyond[1])
            inside = (row >= 0) & (row < y.shape[0])
            inside &= (column >= 0) & (column < y.shape[1])
            row = jnp.clip(row, 0, y.shape[0] - 1)
            column = jnp.clip(column, 0, y.shape[1] - 1)
            share = jnp.where(inside & mask[row, column], share, 0)
            total += share * y[row, column]
            weight += share
            squares += share**2
    return _divide(total, weight, squares)
