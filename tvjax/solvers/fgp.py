"""Fast gradient projection on the dual, with restart.

    q⁺ = P(r + s ∇(y + div r)),   s = 1/‖∇‖²
    r  = q⁺ + (t − 1)/t⁺ (q⁺ − q),   t⁺ = (1 + √(1 + 4t²))/2

Beck and Teboulle 2009 (10.1109/TIP.2009.2028250); the momentum is dropped where it
points uphill, O'Donoghue and Candès 2015 (10.1007/s10208-013-9150-3). Its steps are
not stationary, so that derivatives are never taken along them.
"""

from typing import NamedTuple

from jax import Array, numpy as jnp
from jaxtyping import Bool, Float

from tvjax.solvers import problem as rof
from tvjax.solvers.problem import Dual, Problem


class State(NamedTuple):
    """One iterate."""

    q: Dual
    previous: Dual
    weight: Float[Array, ""]  # momentum of the coming step
    t: Float[Array, ""]


def init(problem: Problem, q: Dual) -> State:
    """Start from a dual field, at rest."""
    zero = jnp.zeros((), problem.data.dtype)
    return State(q, q, zero, zero + 1)


def step(problem: Problem, state: State, last: Bool[Array, ""]) -> State:
    """One projected gradient step from the extrapolated point; always feasible."""
    pairs = zip(state.q, state.previous, strict=True)
    extrapolated = tuple(q + state.weight * (q - before) for q, before in pairs)
    q = rof.from_components(rof.project_on_ball(problem, ascend(problem, extrapolated)))
    t = (1 + jnp.sqrt(1 + 4 * state.t**2)) / 2
    fields = map(rof.to_components, (extrapolated, q, state.q))
    uphill = rof.total(
        jnp.sum((r - new) * (new - old)) for r, new, old in zip(*fields, strict=True)
    )
    restart = uphill > 0
    weight = jnp.where(restart, 0, (state.t - 1) / t)
    return State(q, state.q, weight, jnp.where(restart, 1, t))


def image(problem: Problem, state: State) -> Float[Array, "padded_rows row"]:
    """The image of the dual field."""
    return rof.dual_image(problem, state.q)


def ascend(problem: Problem, q: Dual) -> list[Array]:
    """Take q + s ∇(y + div q), a gradient step of the dual problem; ‖∇‖² < 4 ndim."""
    size = 1 / (4 * len(problem.shape))
    steps = rof.differences(problem, rof.dual_image(problem, q))
    return [c + size * d for c, d in zip(rof.to_components(q), steps, strict=True)]
