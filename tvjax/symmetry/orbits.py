"""What do all pixels that a symmetry makes equal say together?

The orbit of a pixel is where the operations of a group take it. Over its valid members,

    mean = Σ_k w_k y_k / Σ_k w_k,

which for Poisson counts and moves by whole pixels is the sum of the counts over the
number of valid members: sufficient, zero counts included, and the total is kept.
"""

from typing import NamedTuple

import equinox as eqx
import jax
from jax import Array, lax, numpy as jnp
from jaxtyping import Bool, Float

from tvjax.symmetry.groups import find_group, Group, IDENTITY
from tvjax.symmetry.rings import find_rings, radial_profile
from tvjax.symmetry.transforms import (
    interpolate,
    move,
    Moved,
    Point,
    settle,
    stays,
)


class Partners(NamedTuple):
    """The image after each operation of a group, the identity first."""

    images: Float[Array, "operation height width"]  # zero where nothing valid arrived
    weights: Float[Array, "operation height width"]  # validity in [0, 1]
    factors: Float[Array, "operation height width"]  # variance over that of one pixel


class Orbit(NamedTuple):
    """The mean over each pixel's orbit, and how exact it is."""

    mean: Float[Array, "height width"]  # zero where no member is valid
    count: Float[Array, "height width"]  # valid members that are different pixels
    variance: Float[
        Array, "height width"
    ]  # of the mean; over that of one pixel if none given
    own: Float[Array, "height width"]  # share of the pixel's own value in the mean
    mask: Bool[Array, "height width"]  # True where a member is valid

    @property
    def freedom(self) -> Float[Array, "height width"]:
        """Variance of the pixel's difference to the mean over that of the pixel."""
        return jnp.maximum(1 - 2 * self.own + self.variance, 0)


def partners(
    y: Float[Array, "height width"],
    group: Group | str,
    centre: Point,
    mask: Bool[Array, "height width"] | None = None,
) -> Partners:
    """Apply each operation of a group about the beam centre.

    Flips and rotations that take pixels onto pixels only put the counts elsewhere;
    anything else is interpolated, see `tvjax.symmetry.transforms.move`.

    Args:
        y: Image, floating point.
        group: From `find_group`, or its name.
        centre: (y, x) in pixels; the first pixel's centre is 0. Numbers, or a traced
            array, which is always interpolated for.
        mask: True where a pixel is valid: from the detector, never from the counts.

    Raises:
        ValueError: For "azimuthal", whose operations are too many to list.
    """
    group = _as_group(group)
    if group.continuous:
        raise ValueError(
            "'azimuthal' has no list of partners; use `orbit_mean`, or a group of "
            "finitely many operations."
        )
    moved = [move(y, operation, centre, mask) for operation in group.operations]
    return Partners(*(jnp.stack(parts) for parts in zip(*moved, strict=True)))


def orbit_mean(
    y: Float[Array, "height width"],
    group: Group | str,
    centre: Point,
    mask: Bool[Array, "height width"] | None = None,
    variance: Float[Array, "height width"] | None = None,
) -> Orbit:
    """Average each pixel with what the symmetry makes equal to it.

        mean = Σ_k w_k y_k / Σ_k w_k,    w_k = validity_k / variance_k

    For "azimuthal" it is the radial profile at the pixel's radius, by weighted least
    squares over straight pieces of one pixel. Pure, linear in y; batches by `jax.vmap`.

    Args:
        y: Image, floating point.
        group: From `find_group`, or its name.
        centre: (y, x) in pixels; the first pixel's centre is 0.
        mask: True where a pixel is valid: from the detector, never from the counts.
        variance: Of each pixel, where it is known to differ between members for
            another reason than the signal: flat field, exposure. By default it does
            not. Never take it from the counts, which pulls the mean to the low ones.
    """
    group = _as_group(group)
    return _orbit_mean(y, group, settle(centre, group), mask, variance)


@eqx.filter_jit
def _orbit_mean(
    y: Array, group: Group, centre: Point, mask: Array | None, variance: Array | None
) -> Orbit:
    """A program of its own for each group, which all that averages shares."""
    unit = jnp.ones_like(y) if variance is None else variance
    if group.continuous:
        weights = None if variance is None else 1 / variance
        rings = find_rings(y.shape, centre, y.dtype)
        profile = radial_profile(y, rings, mask, weights)
        seen = profile.count > 0
        valid = seen if mask is None else mask
        own = jnp.where(valid, profile.factor / unit, 0)
        mean = jnp.where(seen, profile.image, 0)
        spread = jnp.where(seen, profile.factor, 0)
        count = jnp.where(seen, unit / jnp.where(seen, profile.factor, 1), 0)
        return Orbit(mean, count, spread, own, seen)

    def add(sums: _Sums, arrived: tuple[Moved, Array]) -> _Sums:
        moved, v = arrived
        w = moved.weight / v
        return _Sums(
            sums.total + w * moved.image,
            sums.weight + w,
            sums.spread + w**2 * moved.factor * v,
            sums.valid + moved.weight,
        )

    def known(moved: Moved, v: Array) -> Array:
        return jnp.where(moved.weight > 0, v, 1)

    sums = _Sums(*(jnp.zeros_like(y),) * 4)
    rest, own = [], jnp.zeros_like(y)
    for operation in group.operations:
        if not operation.turns_pixels_onto_pixels:
            rest.append(operation.matrix)
            continue
        moved = move(y, operation, centre, mask)
        v = unit if variance is None else move(variance, operation, centre, mask).image
        sums = add(sums, (moved, known(moved, v)))
        if operation == IDENTITY:
            own = sums.weight
    if rest:
        # one program for all of them, however many

        def visit(sums: _Sums, matrix: Array) -> tuple[_Sums, None]:
            moved = interpolate(y, matrix, centre, mask)
            v = unit
            if variance is not None:
                v = interpolate(variance, matrix, centre, mask).image
            return add(sums, (moved, known(moved, v))), None

        sums, _ = lax.scan(visit, sums, jnp.asarray(rest, y.dtype))
    same = _members_on_the_pixel(y, group, centre)
    some = sums.weight > 0
    safe = jnp.where(some, sums.weight, 1)
    return Orbit(
        jnp.where(some, sums.total / safe, 0),
        sums.valid / same,
        jnp.where(some, same * sums.spread / safe**2, 0),
        same * own / safe,
        some,
    )


class _Sums(NamedTuple):
    """Over the members of the orbits, so far."""

    total: Array
    weight: Array
    spread: Array
    valid: Array


def _members_on_the_pixel(y: Array, group: Group, centre: Point) -> Array:
    """How many operations leave a pixel where it is: those are no further data."""
    matrices = jnp.asarray([operation.matrix for operation in group.operations])
    same = jax.vmap(lambda matrix: stays(y.shape, matrix, centre, y.dtype))(
        matrices.astype(y.dtype)
    )
    return jnp.sum(same.astype(y.dtype), axis=0)


def _as_group(group: Group | str) -> Group:
    return find_group(group) if isinstance(group, str) else group
