"""Chambolle's iteration, as used for diffraction images by Ichiyanagi et al. 2025.

With g = ∇(div p − y/α), τ = 1/8 and p = 0 at the start,

    p ← (p + τ g) / (1 + τ |g|)

and x = y − α div p; |g| is the length in each pixel. Chambolle 2004
(10.1023/B:JMIV.0000011325.36760.1e), where τ ≤ 1/8 is proven to converge in two
dimensions. Equation (2) of Ichiyanagi et al. prints ∇(div p) − y/α in place of g: an
image subtracted from a vector field, which does not converge. It is a baseline: it
needs 3 to 50 times the steps of the others.
"""

from typing import NamedTuple

from jax import Array, lax, numpy as jnp
from jaxtyping import Bool, Float

from tvjax.solvers import problem as rof
from tvjax.solvers.problem import Dual, Problem


class State(NamedTuple):
    """One iterate."""

    q: Dual  # −α p


def init(problem: Problem, q: Dual) -> State:
    """Start from a dual field."""
    return State(q)


def step(problem: Problem, state: State, last: Bool[Array, ""]) -> State:
    """One semi-implicit gradient step of the dual problem; always feasible."""
    # q = −α p turns α g into −∇(y + div q), and |g| into |∇(y + div q)| / α
    size = 1 / (4 * len(problem.shape))
    steps = rof.differences(problem, rof.dual_image(problem, state.q))
    lengths = map(jnp.sqrt, rof.inner_products(problem, steps, steps))
    components = zip(rof.to_components(state.q), steps, lengths, strict=True)
    return State(
        rof.from_components([_move(problem.alpha, size, *c) for c in components])
    )


def image(problem: Problem, state: State) -> Float[Array, "padded_rows row"]:
    """The image of the dual field."""
    return rof.dual_image(problem, state.q)


def _move(alpha: Array, size: float, q: Array, g: Array, length: Array) -> Array:
    """One component of (q + τ g) / (1 + τ |g| / α), and zero where α is zero."""
    denominator = alpha + size * length
    positive = denominator > 0
    return jnp.where(
        positive,
        alpha
        * (q + size * g)
        / lax.select(positive, denominator, jnp.ones_like(denominator)),
        0,
    )
