"""Orbits of pixels that a symmetry makes equal, and the mean over them.

The orbit of a pixel is the set of places that the operations of a group take it to.
Over its valid members,

    mean = Σ_k w_k y_k / Σ_k w_k,

which for Poisson counts and operations that take pixels onto pixels is the sum of the
counts over the number of valid members: sufficient, zero counts included, and the total
is kept.
"""

from typing import NamedTuple

import equinox as eqx
from jax import Array, lax, numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Num

from tvjax.arguments import as_image, as_mask
from tvjax.symmetry.groups import as_group, Group, IDENTITY
from tvjax.symmetry.rings import radial_profile
from tvjax.symmetry.transforms import (
    count_fixing,
    interpolate,
    Point,
    specialize_centre,
    transform,
    Transformed,
)


class Partners(NamedTuple):
    """The image after each operation of a group, the identity first.

    Attributes:
        images: The images, zero where nothing valid arrived.
        weights: Validity of each pixel, in [0, 1].
        factors: Variance of each pixel over that of a measured one.
    """

    images: Float[Array, "operation height width"]
    weights: Float[Array, "operation height width"]
    factors: Float[Array, "operation height width"]


class Orbit(NamedTuple):
    """The mean over each pixel's orbit, and how exact it is.

    Attributes:
        mean: The mean, zero where no member is valid.
        num_members: Number of valid members that are different pixels.
        variance: Variance of the mean; over that of one pixel where no variances were
            given.
        own: Share of the pixel's own value in the mean.
        mask: True where a member is valid.
    """

    mean: Float[Array, "height width"]
    num_members: Float[Array, "height width"]
    variance: Float[Array, "height width"]
    own: Float[Array, "height width"]
    mask: Bool[Array, "height width"]

    @property
    def freedom(self) -> Float[Array, "height width"]:
        """Variance of the pixel's difference to the mean over that of the pixel."""
        return jnp.maximum(1 - 2 * self.own + self.variance, 0)


def partners(
    y: Num[ArrayLike, "height width"],
    *,
    group: Group | str,
    centre: Point,
    mask: Bool[ArrayLike, "height width"] | None = None,
) -> Partners:
    """Apply each operation of a group about the centre of a pattern.

    Flips and rotations that take pixels onto pixels only put the counts elsewhere;
    under all others the image is interpolated bilinearly over its valid pixels.

    Args:
        y: Image (height, width).
        group: A group from `find_group`, or its name.
        centre: Beam centre (y, x) in pixels; the first pixel's centre is 0.
            Numbers, or a traced array, for which the image is always interpolated.
        mask: True where a pixel is valid: from the detector, never from the counts.

    Raises:
        ValueError: The group is "azimuthal", whose operations are too many to list, or
            unknown, `y` is no image, or the mask has another shape.
    """
    group = as_group(group)
    if group.continuous:
        raise ValueError(
            "'azimuthal' has no list of partners; use `orbit_mean`, or a group of "
            "finitely many operations."
        )
    y, valid = _check(y, mask)
    moved = [transform(y, operation, centre, valid) for operation in group.operations]
    return Partners(*(jnp.stack(parts) for parts in zip(*moved, strict=True)))


def orbit_mean(
    y: Num[ArrayLike, "height width"],
    *,
    group: Group | str,
    centre: Point,
    mask: Bool[ArrayLike, "height width"] | None = None,
    variance: Float[ArrayLike, "height width"] | None = None,
) -> Orbit:
    """Average each pixel with those that the symmetry makes equal to it.

        mean = Σ_k w_k y_k / Σ_k w_k,    w_k = validity_k / variance_k

    For "azimuthal" it is the radial profile at the pixel's radius, by weighted least
    squares over straight pieces of one pixel. Pure, linear in y; batches by `jax.vmap`.

    Args:
        y: Image (height, width).
        group: A group from `find_group`, or its name.
        centre: Beam centre (y, x) in pixels; the first pixel's centre is 0.
        mask: True where a pixel is valid: from the detector, never from the counts.
        variance: Variance of each pixel, where it is known to differ between members
            for another reason than the signal: flat field, exposure. By default it
            does not. Never take it from the counts, which pulls the mean to the low
            ones.

    Raises:
        ValueError: The group is unknown, `y` is no image, or the mask has another
            shape.
    """
    group = as_group(group)
    y, valid = _check(y, mask)
    spread = None if variance is None else jnp.asarray(variance, y.dtype)
    return mean_over_orbits(y, group, specialize_centre(centre, group), valid, spread)


def _check(
    y: Num[ArrayLike, "height width"], mask: Bool[ArrayLike, "height width"] | None
) -> tuple[Float[Array, "height width"], Bool[Array, "height width"]]:
    """The image in floating point and a mask that is always there."""
    y = as_image(y, remedy="batches are made by jax.vmap")
    valid = as_mask(mask, y.shape)
    return y, jnp.ones(y.shape, bool) if valid is None else valid


@eqx.filter_jit
def mean_over_orbits(
    y: Float[Array, "height width"],
    group: Group,
    centre: Point,
    mask: Bool[Array, "height width"],
    variance: Float[Array, "height width"] | None = None,
) -> Orbit:
    """`orbit_mean` of checked arguments, the centre from `specialize_centre`.

    It is a program of its own for each group, which all that averages shares.
    """
    unit = jnp.ones_like(y) if variance is None else variance
    if group.continuous:
        weights = None if variance is None else 1 / variance
        profile = radial_profile(y, centre, mask, weights)
        seen = profile.num_pixels > 0
        own = jnp.where(mask, profile.factor / unit, 0)
        mean = jnp.where(seen, profile.image, 0)
        spread = jnp.where(seen, profile.factor, 0)
        count = jnp.where(seen, unit / jnp.where(seen, profile.factor, 1), 0)
        return Orbit(mean, count, spread, own, seen)

    def add(sums: _Sums, arrived: tuple[Transformed, Array]) -> _Sums:
        moved, v = arrived
        w = moved.weight / v
        return _Sums(
            sums.total + w * moved.image,
            sums.weight + w,
            sums.spread + w**2 * moved.factor * v,
            sums.valid + moved.weight,
        )

    def known(moved: Transformed, v: Array) -> Array:
        return jnp.where(moved.weight > 0, v, 1)

    sums = _Sums(*(jnp.zeros_like(y),) * 4)
    rest, own = [], jnp.zeros_like(y)
    for operation in group.operations:
        if not operation.turns_pixels_onto_pixels:
            rest.append(operation.matrix)
            continue
        moved = transform(y, operation, centre, mask)
        v = unit
        if variance is not None:
            v = transform(variance, operation, centre, mask).image
        sums = add(sums, (moved, known(moved, v)))
        if operation == IDENTITY:
            own = sums.weight
    if rest:
        # one program serves all of them, however many

        def visit(sums: _Sums, matrix: Array) -> tuple[_Sums, None]:
            moved = interpolate(y, matrix, centre, mask)
            v = unit
            if variance is not None:
                v = interpolate(variance, matrix, centre, mask).image
            return add(sums, (moved, known(moved, v))), None

        sums, _ = lax.scan(visit, sums, jnp.asarray(rest, y.dtype))
    # operations that leave a pixel in place add no data
    same = count_fixing(group, centre, y.shape, y.dtype)
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
    """Sums over the members of the orbits.

    Attributes:
        total: Sum of w y.
        weight: Sum of w.
        spread: Sum of w² times the variance of the member.
        valid: Sum of the validity.
    """

    total: Float[Array, "height width"]
    weight: Float[Array, "height width"]
    spread: Float[Array, "height width"]
    valid: Float[Array, "height width"]
