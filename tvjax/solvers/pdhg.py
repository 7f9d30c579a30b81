"""The over-relaxed primal-dual hybrid gradient method, the default.

    ũ = (u + τ (div q + y)) / (1 + τ)
    q̃ = P(q + s ∇(2ũ − u)),   s = 1 / (‖∇‖² τ)
    (u, q) ← (u, q) + ρ ((ũ, q̃) − (u, q)),   ρ = 1.9

Condat 2013 (10.1007/s10957-012-0245-9), Chambolle and Pock 2016
(10.1017/S096249291600009X). The relaxed iterates approach the solution only as
|1 − ρ|^k and may leave the feasible set; image and dual field are therefore read after
a step with ρ = 1.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from jax import Array, numpy as jnp
from jaxtyping import Bool, Float

from tvjax.solvers import problem as rof
from tvjax.solvers.problem import Dual, Problem

Projection: TypeAlias = Callable[[Problem, list[Array]], list[Array]]

# A step goes this many times as far as the unrelaxed one, ρ above; the iteration
# converges for 0 < ρ < 2, in the fewest steps near the upper end.
RELAXATION = 1.9


class State(NamedTuple):
    """One iterate."""

    u: Float[Array, "padded_rows row"]  # image, with a row on either side
    q: Dual
    size: Float[Array, ""]  # primal step τ


def init(problem: Problem, q: Dual) -> State:
    """Start from a dual field and the image that belongs to it."""
    return State(rof.dual_image(problem, q), q, primal_size(problem))


def step(problem: Problem, state: State, last: Bool[Array, ""]) -> State:
    """Descend in the image, ascend in the dual, and go 1.9 times as far.

    The last step before the dual is read goes no further than the feasible point.
    """
    relaxation = jnp.where(last, 1, RELAXATION).astype(problem.data.dtype)
    return advance(problem, state, relaxation, rof.project_on_ball)


def image(problem: Problem, state: State) -> Float[Array, "padded_rows row"]:
    """The image u of the iteration.

    Its gap falls in half the steps of that of y + div q, because its gradient holds
    less of the rounding and of the ripple of q; it does not stall in single precision.
    """
    return state.u


def advance(
    problem: Problem, state: State, relaxation: Array | float, project: Projection
) -> State:
    """Move to (u, q) + ρ ((ũ, q̃) − (u, q)).

    Args:
        problem: The problem to solve.
        state: The iterate (u, q).
        relaxation: The factor ρ in (0, 2).
        project: The projection that is applied to the ascended dual field; another one
            than that on the feasible set gives the linearized iteration of
            `derivative`.
    """
    ahead = _look_ahead(problem, state)
    size = dual_size(problem, state.size)
    q = rof.to_components(state.q)
    steps = zip(q, rof.differences(problem, ahead), strict=True)
    projected = project(problem, [c + size * d for c, d in steps])
    pairs = zip(q, projected, strict=True)
    return State(
        u=state.u + (relaxation / 2) * (ahead - state.u),
        q=rof.from_components(
            [(1 - relaxation) * c + relaxation * p for c, p in pairs]
        ),
        size=state.size,
    )


def dual_size(problem: Problem, primal_size: Array) -> Array:
    """The dual step s; ‖∇‖² < 4 ndim."""
    return 1 / (4 * len(problem.shape) * primal_size)


def primal_size(problem: Problem) -> Float[Array, ""]:
    """The primal step that needs the fewest steps to a relative gap of 1e-4.

    τ = 0.05 (σ/α)^1.2, fitted on photographs and diffraction images with α from
    0.15 σ to 2.5 σ, where σ is √(π)/2 times the mean length of the data's gradient:
    the standard deviation where white noise rules.
    """
    steps = rof.differences(problem, rof.pad_rows(problem, problem.data))
    # one kernel for both components, as in the gap
    length = jnp.sqrt(rof.sum_channels(problem, rof.total(d * d for d in steps)))
    length = jnp.where(rof.anywhere(problem), length, 0)
    num_pixels = problem.num_valid / problem.num_channels
    sigma = 0.56 * jnp.sum(length) / jnp.maximum(num_pixels, 1)
    # the limits keep zero and infinity out of the power, and are harmless themselves
    alpha = problem.alpha
    if alpha.ndim:
        alpha = jnp.mean(alpha[problem.row :])
    ratio = jnp.clip(sigma / jnp.maximum(alpha, 1e-30), 0.1, 10)
    return jnp.clip(0.05 * ratio**1.2, 0.01, 0.5)


def _look_ahead(problem: Problem, state: State) -> Float[Array, "padded_rows row"]:
    """The image 2ũ − u, with a row of zeros on either side.

    As a step from u: where it has become the image y + div q, it stays so to the digit.
    """
    u = state.u[1:-1].reshape(-1)
    weight = 2 * state.size / (1 + state.size)
    off = rof.divergence(problem, state.q) + (problem.data - u)
    return rof.pad_rows(problem, u + weight * off)
