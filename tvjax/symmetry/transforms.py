"""What does a pattern look like after an operation about its beam centre?

The moved image at r is the image at c + R (r − c). Where the move takes pixels onto
pixels the counts are only put elsewhere; anywhere else they are interpolated.
"""

from typing import NamedTuple, TypeAlias

import jax
import numpy as np
from jax import Array, numpy as jnp
from jaxtyping import Bool, Float, Int

from tvjax.symmetry.groups import Group, IDENTITY, Operation

# (y, x) in pixels; the first pixel's centre is 0
Point: TypeAlias = tuple[float, float] | Float[Array, "2"]

# A centre closer than this to one that needs no interpolation is taken for it.
WHOLE = 1e-6


class Moved(NamedTuple):
    """A moved image, how valid each pixel is, and what is left of its noise."""

    image: Float[Array, "height width"]  # zero where nothing valid arrived
    weight: Float[Array, "height width"]  # validity in [0, 1]
    factor: Float[Array, "height width"]  # variance over that of one pixel, in [0, 1]


def move(
    y: Float[Array, "height width"],
    operation: Operation,
    centre: Point,
    mask: Bool[Array, "height width"] | None = None,
) -> Moved:
    """Apply an operation about a centre.

    Without interpolation where c − R c is whole and R takes pixels onto pixels; else
    bilinear over the valid ones of the four pixels around, with coefficients b:

        image = Σ b y / Σ b,    weight = Σ b,    factor = Σ b² / (Σ b)²

    The first is decided for numbers only; a centre in JAX's arrays is interpolated
    for. The image is zero, and so is the weight, outside the frame and under the mask.

    Args:
        y: Image.
        operation: What to apply.
        centre: (y, x) in pixels; the first pixel's centre is 0.
        mask: True where a pixel is valid.
    """
    offset = whole_offset(operation, centre)
    valid = jnp.ones(y.shape, bool) if mask is None else mask
    if offset is not None:
        return _put(jnp.where(valid, y, 0), valid, operation, offset)
    if operation.turns_pixels_onto_pixels:
        return _shift(jnp.where(valid, y, 0), valid, operation, centre)
    return interpolate(y, jnp.asarray(operation.matrix, y.dtype), centre, mask)


def positions(
    shape: tuple[int, int], centre: Point, dtype: np.dtype
) -> tuple[Float[Array, "y 1"], Float[Array, "1 x"]]:
    """Offsets of the pixels from the centre, by row and by column."""
    rows, columns = (
        jnp.arange(size, dtype=dtype) - jnp.asarray(c, dtype)
        for size, c in zip(shape, centre, strict=True)
    )
    return rows[:, None], columns[None, :]


def stays(
    shape: tuple[int, int],
    matrix: Float[Array, "2 2"],
    centre: Point,
    dtype: np.dtype,
) -> Bool[Array, "height width"]:
    """Whether a pixel stays where it is: moves by less than half a pixel."""
    rows, columns = positions(shape, centre, dtype)
    (a, b), (c, d) = matrix
    moved = jnp.hypot((a - 1) * rows + b * columns, c * rows + (d - 1) * columns)
    return moved < 0.5


def whole_offset(operation: Operation, centre: Point) -> tuple[int, int] | None:
    """c − R c, if pixels go onto pixels; None where they do not, or none can tell."""
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


def settle(centre: Point, group: Group) -> Point:
    """The centre as numbers where they spare interpolation, else to be traced.

    Numbers make a program of their own for each centre.
    """
    if _is_array(centre):
        return jnp.asarray(centre)
    moving = [operation for operation in group.operations if operation != IDENTITY]
    whole = [whole_offset(operation, centre) for operation in moving]
    if any(offset is not None for offset in whole):
        return float(centre[0]), float(centre[1])
    return jnp.asarray(centre, float)


def _is_array(centre: Point) -> bool:
    return isinstance(centre, jax.Array) or any(
        isinstance(c, jax.Array) for c in centre
    )


def _put(
    y: Array, valid: Array, operation: Operation, offset: tuple[int, int]
) -> Moved:
    """Gather rows and columns, which may change places."""
    steps, turned = _steps(y.shape, operation)
    sources = [step + shift for step, shift in zip(steps, offset, strict=True)]
    rows, columns = (
        np.clip(s, 0, size - 1) for s, size in zip(sources, y.shape, strict=True)
    )
    inside = np.outer(rows == sources[0], columns == sources[1])
    weight = jnp.asarray(inside) & valid[rows][:, columns]
    image = jnp.where(weight, y[rows][:, columns], 0)
    if turned:
        image, weight = image.T, weight.T
    weight = weight.astype(y.dtype)
    return Moved(image, weight, weight)


def _steps(
    shape: tuple[int, int], operation: Operation
) -> tuple[list[Int[np.ndarray, " pixel"]], bool]:
    """How the source's row and column follow the target's, and if they change places.

    Up to a shift; for operations that turn pixels onto pixels.
    """
    (a, b), (c, d) = operation.rows
    turned = a == 0
    along = (shape[1], shape[0]) if turned else shape
    signs = (b, c) if turned else (a, d)
    steps = [int(sign) * np.arange(n) for sign, n in zip(signs, along, strict=True)]
    return steps, turned


def _shift(y: Array, valid: Array, operation: Operation, centre: Point) -> Moved:
    """`interpolate` for what turns pixels onto pixels: by rows, then by columns.

    The same shift for all pixels makes the coefficients products, which is many times
    faster.
    """
    steps, turned = _steps(y.shape, operation)
    place = jnp.stack([jnp.asarray(c, y.dtype) for c in centre])
    offset = place - jnp.asarray(operation.matrix, y.dtype) @ place
    whole = jnp.floor(offset)
    beyond = offset - whole

    def resample(z: Array, power: int) -> Array:
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
    return _divide(resample(y, 1), resample(known, 1), resample(known, 2))


def _divide(total: Array, weight: Array, squares: Array) -> Moved:
    some = weight > 0
    safe = jnp.where(some, weight, 1)
    return Moved(
        jnp.where(some, total / safe, 0), weight, jnp.where(some, squares / safe**2, 0)
    )


def interpolate(
    y: Float[Array, "height width"],
    matrix: Float[Array, "2 2"],
    centre: Point,
    mask: Bool[Array, "height width"] | None = None,
) -> Moved:
    """`move` by bilinear interpolation over what is valid, for any matrix."""
    valid = jnp.ones(y.shape, bool) if mask is None else mask
    y = jnp.where(valid, y, 0)
    rows, columns = positions(y.shape, centre, y.dtype)
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
            share = jnp.where(inside & valid[row, column], share, 0)
            total += share * y[row, column]
            weight += share
            squares += share**2
    return _divide(total, weight, squares)
