"""The ROF problem in the memory layout that its solvers work in.

    min_x ½‖x − y‖² + Σ_i α_i |∇x|_i                (Rudin, Osher, Fatemi 1992)

Each solver works on a dual field q with |q|_i ≤ α_i, from which the image x follows
from the data y as x = y + div q; at the solution q = α ∇x/|∇x| wherever ∇x ≠ 0. Users
meet the scaled field p = −q/α in the unit ball, so that x = y − α div p.

The layout decides the speed on a CPU, where XLA gives every array it writes a kernel
of its own, and copies a loop-carried array that it cannot update in place:

* The pixels of an image lie on one line. The neighbor along an axis is then a slice
  with an offset, and what wraps around the end of a line is no valid difference.
* The dual field has one row of zeros in front, and the image that it is updated from
  one row on either side, so that no slice leaves its array.
* The first two components of the dual field are the real and the imaginary part of
  one array: one kernel writes both, and in place.

Channels are images that share their edges, |∇x|_i being the length over all of them
(Bresson and Chan 2008, 10.3934/ipi.2008.2.455). They lie one below the other, as one
tall image without differences from one to the next.

The solvers see the data without its level, which passes through the problem unchanged:
in single precision a pedestal of a hundred times the noise would cost the certificate
its last digits. They see it divided by the power of two next to its greatest value,
because squares leave the range of single precision at 1e±19; what such a division
changes is exponents, and no digit.
"""

import math
import operator
from collections.abc import Iterable
from functools import reduce
from typing import NamedTuple, TypeAlias

import equinox as eqx
from jax import Array, lax, numpy as jnp
from jaxtyping import Bool, Float

from tvjax.operators import Norm, valid_differences

# A complex array of two components, then real ones; the pixels on one line.
Dual: TypeAlias = tuple[Array, ...]

# The level of the data is the median of so many pixels, evenly spread: enough that it
# lies amid the data, and few enough to sort in no time.
LEVEL_SAMPLE = 1024


class Problem(eqx.Module):
    """Data, strength and differences of one ROF problem, laid out for the solvers.

    Data and strength are those of the user over `scale`. What is no problem, because a
    valid pixel is NaN or infinite or a strength is negative, has a scale of NaN, and so
    has all that is computed from it.
    """

    data: Float[Array, " pixels"]  # without its level, at most about one
    alpha: Float[Array, ""] | Float[Array, " padded"]  # a row of zeros, the pixels
    exists: tuple[Bool[Array, " padded"], ...]  # whether there is a difference
    flat: Float[Array, " pixels"]  # the mean of the data in every valid pixel
    num_valid: Float[Array, ""]
    scale: Float[Array, ""]  # a power of two
    shape: tuple[int, ...] = eqx.field(static=True)  # of all channels, as one image
    norm: Norm = eqx.field(static=True)
    num_channels: int = eqx.field(static=True)

    @property
    def row(self) -> int:
        """Number of pixels in one step along the first axis."""
        return self.data.size // self.shape[0]

    @property
    def offsets(self) -> tuple[int, ...]:
        """How far the successor of a pixel lies, along each axis."""
        sizes = (*self.shape[1:], 1)
        return tuple(math.prod(sizes[axis:]) for axis in range(len(self.shape)))


def lay_out(
    y: Float[Array, "*shape"],
    alpha: Float[Array, ""] | Float[Array, "*shape"],
    mask: Bool[Array, "*shape"] | None,
    norm: Norm,
    channels: bool,
) -> Problem:
    """Bring data, strength and mask into the solvers' layout; invalid pixels are 0.

    With `channels`, the leading axis counts them, and a map of strengths repeats itself
    along it.
    """
    num_valid = jnp.asarray(y.size if mask is None else jnp.sum(mask), y.dtype)
    axes = tuple(range(int(channels), y.ndim))
    y = zero_invalid(mask, y - _level(y, mask, channels))
    alpha = zero_invalid(mask, alpha) if alpha.ndim else alpha
    scale = jnp.where(jnp.all(alpha >= 0), power_of_two(y), jnp.nan)
    y = y / scale
    mean = jnp.mean(y, axes, keepdims=True, where=mask)
    flat = zero_invalid(mask, jnp.broadcast_to(mean, y.shape))
    num_channels, shape = 1, y.shape
    if channels:
        num_channels, shape = y.shape[0], (y.shape[0] * y.shape[1], *y.shape[2:])
    row = y.size // shape[0]
    exists = valid_differences(y.shape, mask)[int(channels) :]
    exists = tuple(jnp.pad(there.reshape(-1), (row, 0)) for there in exists)
    # |q_i| is never as great as this, which therefore is as good as infinity: what
    # flows over an edge of a level set of x is less than the whole of the data
    most = 2 * len(shape) * jnp.sum(jnp.abs(y))
    alpha = lay_out_strength(jnp.minimum(alpha / scale, most), row)
    return Problem(
        y.reshape(-1),
        alpha,
        exists,
        flat.reshape(-1),
        num_valid,
        scale,
        shape,
        norm,
        num_channels,
    )


def lay_out_strength(
    alpha: Float[Array, ""] | Float[Array, "*shape"], row: int
) -> Float[Array, ""] | Float[Array, " padded"]:
    """A map of strengths with a row of zeros in front; a scalar stays one."""
    return jnp.pad(alpha.reshape(-1), (row, 0)) if alpha.ndim else alpha


def power_of_two(values: Float[Array, "*shape"]) -> Float[Array, ""]:
    """The power of two next to the greatest magnitude; one where all are zero.

    NaN where a value is not finite.
    """
    largest = jnp.max(jnp.abs(values))
    # a number without a mantissa
    bits = jnp.finfo(largest.dtype).nexp
    power = lax.reduce_precision(largest, exponent_bits=bits, mantissa_bits=0)
    power = jnp.where(power == 0, 1, power)
    return jnp.where(jnp.isfinite(power), power, jnp.nan)


def zero_invalid(
    mask: Bool[Array, "*shape"] | None, y: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """The image, zero where it is invalid."""
    return y if mask is None else jnp.where(mask, y, 0)


def _level(
    y: Float[Array, "*shape"], mask: Bool[Array, "*shape"] | None, channels: bool
) -> Float[Array, "..."]:
    """A value amid the data of each channel, which no outlier moves.

    Any value would do but for the rounding. Of a mean, one pixel of 4e9 would make one
    that leaves no digit to the others.
    """
    known = y if mask is None else jnp.where(mask, y, jnp.nan)
    images = known.reshape(y.shape[0] if channels else 1, -1)
    # an odd stride meets all columns of an image of even width
    stride = max(images.shape[1] // LEVEL_SAMPLE, 1) | 1
    middle = jnp.nanmedian(images[:, ::stride], axis=1)
    # where the sample has no valid pixel
    middle = jnp.where(jnp.isnan(middle), jnp.nanmin(images, axis=1), middle)
    return jnp.nan_to_num(middle).reshape((-1,) + (1,) * (y.ndim - 1))


def zero_dual(problem: Problem) -> Dual:
    """The dual field of the data itself."""
    zero = jnp.zeros_like(problem.exists[0], dtype=problem.data.dtype)
    return from_components([zero] * len(problem.shape))


def to_components(q: Dual) -> list[Array]:
    """The components of a dual field, one array an axis."""
    if jnp.iscomplexobj(q[0]):
        return [lax.real(q[0]), lax.imag(q[0]), *q[1:]]
    return list(q)


def from_components(components: list[Array]) -> Dual:
    """The dual field of these components, the inverse of `to_components`."""
    if len(components) == 1:
        return tuple(components)
    return (lax.complex(components[0], components[1]), *components[2:])


def lay_out_dual(p: Float[Array, " ndim *shape"], channels: bool) -> Dual:
    """A dual field in the solvers' layout."""
    row = math.prod(p.shape[2 + int(channels) :])
    return from_components([jnp.pad(c.reshape(-1), (row, 0)) for c in p])


def dual_field(
    problem: Problem, p: Dual, shape: tuple[int, ...]
) -> Float[Array, " ndim *shape"]:
    """A dual field in the shape of the data, one component an axis."""
    rows = [component[problem.row :] for component in to_components(p)]
    return jnp.stack([row.reshape(shape) for row in rows])


def from_unit_ball(problem: Problem, p: Dual) -> Dual:
    """The dual field q = −α p, zero where there is no difference."""
    pairs = zip(to_components(p), problem.exists, strict=True)
    return from_components(
        [jnp.where(there, -problem.alpha * c, 0) for c, there in pairs]
    )


def to_unit_ball(problem: Problem, q: Dual) -> Dual:
    """The scaled field p = −q/α, and zero where α is zero."""
    positive = problem.alpha > 0
    inverse = jnp.where(positive, 1 / jnp.where(positive, problem.alpha, 1), 0)
    return from_components([-inverse * component for component in to_components(q)])


def pad_rows(
    problem: Problem, u: Float[Array, " pixels"]
) -> Float[Array, "padded_rows row"]:
    """The image with a row of zeros on either side, as (rows + 2, pixels in a row).

    The rows are an axis of their own here because only then is the padding decided
    once a row, and the kernel vectorized.
    """
    return jnp.pad(u.reshape(-1, problem.row), ((1, 1), (0, 0)))


def differences(
    problem: Problem, padded: Float[Array, "padded_rows row"]
) -> list[Array]:
    """The gradient ∇u from `pad_rows`, an array for each axis like a dual field."""
    u = padded.reshape(-1)
    size = u.size - problem.row
    ahead = [u[offset : offset + size] for offset in problem.offsets]
    steps = zip(ahead, problem.exists, strict=True)
    return [jnp.where(there, successor - u[:size], 0) for successor, there in steps]


def divergence(problem: Problem, q: Dual) -> Float[Array, " pixels"]:
    """The divergence of a dual field, div q = −∇ᵀq."""
    row = problem.row
    terms = [
        component[row:] - component[row - offset : component.size - offset]
        for component, offset in zip(to_components(q), problem.offsets, strict=True)
    ]
    return total(terms)


def inner_products(problem: Problem, a: list[Array], b: list[Array]) -> list[Array]:
    """The products ⟨a, b⟩ over all that is projected together, for each component.

    That is a component in all channels, and all components where the norm is isotropic.
    """
    products = [c * d for c, d in zip(a, b, strict=True)]
    if problem.norm == "isotropic":
        products = [total(products)]
    products = [_repeat(problem, sum_channels(problem, p)) for p in products]
    return products * (len(a) // len(products))


def total(terms: Iterable[Array]) -> Array:
    """The sum of a few arrays; unlike `sum`, it does not start from a zero."""
    return reduce(operator.add, terms)


def sum_channels(problem: Problem, values: Array) -> Array:
    """The sum over the channels; of many without the row in front."""
    if problem.num_channels == 1:
        return values
    return jnp.sum(values[problem.row :].reshape(problem.num_channels, -1), axis=0)


def _repeat(problem: Problem, values: Array) -> Array:
    """The same values for every channel, in the layout of a dual field."""
    if problem.num_channels == 1:
        return values
    return jnp.pad(jnp.tile(values, problem.num_channels), (problem.row, 0))


def first_channel(problem: Problem, values: Array) -> Array:
    """What is the same for all channels, in the layout of `sum_channels`."""
    if problem.num_channels == 1 or values.ndim == 0:
        return values
    return values[problem.row :][: problem.data.size // problem.num_channels]


def shrink_factors(problem: Problem, components: list[Array]) -> list[Array]:
    """What to multiply each component by to project on |q|_i ≤ α_i."""
    squares = inner_products(problem, components, components)
    tiny = jnp.finfo(problem.data.dtype).tiny
    return [jnp.minimum(1, problem.alpha * lax.rsqrt(s + tiny)) for s in squares]


def project_on_ball(problem: Problem, components: list[Array]) -> list[Array]:
    """The nearest field with |q|_i ≤ α_i (or every component, for anisotropic TV)."""
    factors = shrink_factors(problem, components)
    return [c * factor for c, factor in zip(components, factors, strict=True)]


def anywhere(problem: Problem) -> Array:
    """Where any difference exists, in the layout of `sum_channels`."""
    return first_channel(problem, reduce(operator.or_, problem.exists))


def lengths(problem: Problem, steps: list[Array]) -> Array:
    """The length |∇x|_i from the components of ∇x, in the layout of `sum_channels`."""
    if problem.norm == "isotropic":
        return jnp.sqrt(sum_channels(problem, total(step * step for step in steps)))
    if problem.num_channels == 1:
        return total(jnp.abs(step) for step in steps)
    return total(jnp.sqrt(sum_channels(problem, step * step)) for step in steps)


def dual_image(problem: Problem, q: Dual) -> Float[Array, "padded_rows row"]:
    """The image x = y + div q of a dual field, as from `pad_rows`."""
    return pad_rows(problem, problem.data + divergence(problem, q))


class Gap(NamedTuple):
    """What an image u and a dual field q tell of the solution x*.

    Attributes:
        gap: The duality gap G.
        objective: The primal objective P(u).
        distance: ‖y + div q − x*‖ is at most this.
    """

    gap: Float[Array, ""]
    objective: Float[Array, ""]
    distance: Float[Array, ""]


def duality_gap(problem: Problem, q: Dual, u: Float[Array, "padded_rows row"]) -> Gap:
    """The duality gap of a dual field q with |q|_i ≤ α_i and of any image u.

        G = ½‖u − x‖² + Σ_i (α_i |∇u|_i − q_i·∇u_i),   x = y + div q
        ½‖u − x*‖² + ½‖x − x*‖² ≤ G

    Every term of the sums is non-negative: nothing cancels, and the gap means
    something in float32, where the difference of the two objectives does not. The
    objective needs no such care: it is the gap and the dual objective.

    With d = ‖u − x‖ and H the second sum, ‖x − x*‖ ≤ (d + √(d² + 4H))/2, by
    ‖u − x*‖ ≥ d − ‖x − x*‖; this is √G where u is x.

    The constant image may do better than u: where the strength is beyond all structure
    it is the solution, and its gap is ½‖x − u‖², whatever the strength.
    """
    steps = differences(problem, u)
    pairs = zip(to_components(q), steps, strict=True)
    aligned = sum_channels(problem, total(c * step for c, step in pairs))
    alpha = first_channel(problem, problem.alpha)
    # The selection changes no value: it has XLA keep one array of terms for the sum in
    # place of one for each factor.
    length = lengths(problem, steps)
    # one by one, or the rounding of a bright pixel's would hide all others
    terms = jnp.where(anywhere(problem), jnp.maximum(alpha * length - aligned, 0), 0)
    slack = jnp.sum(terms)
    correction = divergence(problem, q)
    x = problem.data + correction
    off, off_flat = u[1:-1].reshape(-1) - x, problem.flat - x
    apart, apart_flat = jnp.sum(off * off), jnp.sum(off_flat * off_flat)
    dual_objective = -jnp.sum(correction * (x + problem.data)) / 2
    gap = apart / 2 + slack
    distance = (jnp.sqrt(apart) + jnp.sqrt(apart + 4 * slack)) / 2
    flatter = apart_flat / 2 < gap
    gap = jnp.where(flatter, apart_flat / 2, gap)
    distance = jnp.where(flatter, jnp.sqrt(apart_flat), distance)
    return Gap(gap, gap + dual_objective, distance)
