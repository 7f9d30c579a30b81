"""The ROF problem in the memory layout that its solvers work in.

    min_y ½‖y − x‖² + Σ_i α_i |∇y|_i                (Rudin, Osher, Fatemi 1992)

Each solver works on a dual field q with |q|_i ≤ α_i, from which the image follows as
y = x + div q; at the solution q = α ∇y/|∇y| wherever ∇y ≠ 0. Users meet the scaled
field p = −q/α in the unit ball, so that y = x − α div p.

The layout decides the speed on a CPU, where XLA gives every array it writes a kernel
of its own, and copies a loop-carried array that it cannot update in place:

* The pixels of an image lie on one line. The neighbor along an axis is then a slice
  with an offset, and what wraps around the end of a line meets an absent edge.
* The dual field has one row of zeros in front, and the image that it is updated from
  one row on either side, so that no slice leaves its array.
* The first two components of the dual field are the real and the imaginary part of
  one array: one kernel writes both, and in place.

Channels are images that share their edges, |∇y|_i being the length over all of them
(Bresson and Chan 2008, 10.3934/ipi.2008.2.455). They lie one below the other, as one
tall image without edges from one to the next.

The solvers see the data without its mean, which passes through the problem unchanged:
in single precision a pedestal of a hundred times the noise would cost the certificate
its last digits.
"""

import math
import operator
from functools import reduce
from typing import TypeAlias

import equinox as eqx
from jax import Array, lax, numpy as jnp
from jaxtyping import Bool, Float

from tvjax.operators import Norm, valid_edges

# A complex array of two components, then real ones; the pixels on one line.
Dual: TypeAlias = tuple[Array, ...]


class Problem(eqx.Module):
    """Data, strength and edges of one ROF problem, laid out for the solvers."""

    data: Float[Array, " pixels"]  # of mean zero
    alpha: Float[Array, ""] | Float[Array, " row+pixels"]
    edges: tuple[Bool[Array, " row+pixels"], ...]
    num_valid: Float[Array, ""]
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
    x: Float[Array, "*shape"],
    alpha: Float[Array, ""] | Float[Array, "*shape"],
    mask: Bool[Array, "*shape"] | None,
    norm: Norm,
    channels: bool,
) -> Problem:
    """Bring data, strength and mask into the solvers' layout; invalid pixels are 0.

    With `channels`, the leading axis counts them, and a map of strengths repeats itself
    along it.
    """
    num_valid = jnp.asarray(x.size if mask is None else jnp.sum(mask), x.dtype)
    # any constant does: the derivative in it is zero
    axes = tuple(range(int(channels), x.ndim))
    level = lax.stop_gradient(jnp.mean(x, axes, keepdims=True, where=mask))
    x = x - level if mask is None else jnp.where(mask, x - level, 0)
    num_channels, shape = 1, x.shape
    if channels:
        num_channels, shape = x.shape[0], (x.shape[0] * x.shape[1], *x.shape[2:])
    row = x.size // shape[0]
    edges = valid_edges(x.shape, mask)[int(channels) :]
    edges = [jnp.pad(edge.reshape(-1), (row, 0)) for edge in edges]
    if alpha.ndim:
        alpha = jnp.pad(alpha.reshape(-1), (row, 0))
    data = x.reshape(-1)
    return Problem(data, alpha, tuple(edges), num_valid, shape, norm, num_channels)


def zero_dual(problem: Problem) -> Dual:
    """The dual field of the data itself."""
    zero = jnp.zeros_like(problem.edges[0], dtype=problem.data.dtype)
    return join([zero] * len(problem.shape))


def split(q: Dual) -> list[Array]:
    """The components of a dual field, one array an axis."""
    if jnp.iscomplexobj(q[0]):
        return [lax.real(q[0]), lax.imag(q[0]), *q[1:]]
    return list(q)


def join(components: list[Array]) -> Dual:
    """The dual field of these components."""
    if len(components) == 1:
        return tuple(components)
    return (lax.complex(components[0], components[1]), *components[2:])


def lay_out_dual(p: Float[Array, " ndim *shape"], channels: bool) -> Dual:
    """A dual field in the solvers' layout."""
    row = math.prod(p.shape[2 + int(channels) :])
    return join([jnp.pad(component.reshape(-1), (row, 0)) for component in p])


def dual_field(
    problem: Problem, p: Dual, shape: tuple[int, ...]
) -> Float[Array, " ndim *shape"]:
    """A dual field in the shape of the data, one component an axis."""
    rows = [component[problem.row :] for component in split(p)]
    return jnp.stack([row.reshape(shape) for row in rows])


def from_unit_ball(problem: Problem, p: Dual) -> Dual:
    """q = −α p, zero where there is no edge."""
    on = zip(split(p), problem.edges, strict=True)
    return join([jnp.where(edge, -problem.alpha * c, 0) for c, edge in on])


def to_unit_ball(problem: Problem, q: Dual) -> Dual:
    """p = −q/α, and zero where α is zero."""
    positive = problem.alpha > 0
    inverse = jnp.where(positive, 1 / jnp.where(positive, problem.alpha, 1), 0)
    return join([-inverse * component for component in split(q)])


def pad_rows(problem: Problem, u: Float[Array, " pixels"]) -> Array:
    """The image with a row of zeros on either side, as (rows + 2, pixels in a row).

    The rows are an axis of their own here because only then is the padding decided
    once a row, and the kernel vectorized.
    """
    return jnp.pad(u.reshape(-1, problem.row), ((1, 1), (0, 0)))


def differences(problem: Problem, padded: Array) -> list[Array]:
    """∇u from `pad_rows`, one array an axis, in the layout of a dual field."""
    u = padded.reshape(-1)
    size = u.size - problem.row
    ahead = [u[offset : offset + size] for offset in problem.offsets]
    steps = zip(ahead, problem.edges, strict=True)
    return [jnp.where(edge, successor - u[:size], 0) for successor, edge in steps]


def divergence(problem: Problem, q: Dual) -> Float[Array, " pixels"]:
    """div q = −∇ᵀq."""
    row = problem.row
    terms = [
        component[row:] - component[row - offset : component.size - offset]
        for component, offset in zip(split(q), problem.offsets, strict=True)
    ]
    return sum(terms[1:], start=terms[0])


def inner_products(problem: Problem, a: list[Array], b: list[Array]) -> list[Array]:
    """⟨a, b⟩ over all that is projected together, for each component.

    That is a component in all channels, and all components where the norm is isotropic.
    """
    products = [c * d for c, d in zip(a, b, strict=True)]
    if problem.norm == "isotropic":
        products = [sum(products)]
    products = [_repeat(problem, sum_channels(problem, p)) for p in products]
    return products * (len(a) // len(products))


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


def project(problem: Problem, components: list[Array]) -> list[Array]:
    """The nearest field with |q|_i ≤ α_i (or every component, for anisotropic TV)."""
    factors = shrink_factors(problem, components)
    return [c * factor for c, factor in zip(components, factors, strict=True)]


def anywhere(problem: Problem) -> Array:
    """Where is any edge? In the layout of `sum_channels`."""
    return first_channel(problem, reduce(operator.or_, problem.edges))


def lengths(problem: Problem, steps: list[Array]) -> Array:
    """|∇y|_i from the components of ∇y, in the layout of `sum_channels`."""
    if problem.norm == "isotropic":
        return jnp.sqrt(sum_channels(problem, sum(step * step for step in steps)))
    if problem.num_channels == 1:
        return sum(jnp.abs(step) for step in steps)
    return sum(jnp.sqrt(sum_channels(problem, step * step)) for step in steps)


def gap_and_objective(
    problem: Problem, q: Dual
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The duality gap of y = x + div q, and the primal objective at y.

        G = Σ_i α_i |∇y|_i − q_i·∇y_i ≥ 0,   ‖y − y*‖² ≤ G

    Every term of the sum is non-negative: nothing cancels, and the gap means
    something in float32, where the difference of the two objectives does not. The
    objective needs no such care: it is the gap and the dual objective.
    """
    padded = pad_rows(problem, problem.data + divergence(problem, q))
    steps = differences(problem, padded)
    aligned = sum(c * step for c, step in zip(split(q), steps, strict=True))
    aligned = sum_channels(problem, aligned)
    alpha = first_channel(problem, problem.alpha)
    # The selection changes no value: it has XLA keep one array of terms for the sum in
    # place of one for each factor.
    length = lengths(problem, steps)
    terms = jnp.where(anywhere(problem), alpha * length - aligned, 0)
    gap = jnp.maximum(jnp.sum(terms), 0)
    # from the padded image, so that no further array is written
    y = padded[1:-1].reshape(-1)
    dual_objective = -jnp.sum((y - problem.data) * (y + problem.data)) / 2
    return gap, gap + dual_objective
