"""How does the solution of the ROF problem move with its data and its strength?

y(x, α) is differentiable almost everywhere, its Jacobian J = ∂y/∂x is symmetric with
0 ≼ J ≼ I, and y is homogeneous of degree one in (x, α). Hence, with no stored iterate,

    data          dy = J dx,              cotangent  J w
    scalar α      dy = dα (y − J x)/α     (Euler's identity)
    alpha map     dy = −J div(dα p)

(Bolte, Pauwels, Silveti-Falls 2022, arXiv 2212.07844.) J v is the fixed point of the
primal-dual iteration linearized at the solution: the same steps with v in place of
the data and the derivative of the projection in place of the projection. It
converges later than the image does, and has a tolerance of its own.
"""

from functools import partial
from typing import Any, NamedTuple, NoReturn

import equinox as eqx
import jax
from jax import Array, lax, numpy as jnp
from jaxtyping import Float

from tvjax.solvers import pdhg, problem as rof
from tvjax.solvers.problem import Dual, Problem


class Accuracy(NamedTuple):
    """When a tangent is good enough."""

    tol: float = 1e-3  # of the residual ‖w − (v + div dq)‖ relative to ‖v‖
    max_steps: int = 2000
    steps_per_check: int = 10


DEFAULT_ACCURACY = Accuracy()


def differentiable_correction(
    problem: Problem, q: Dual, tangent_dual: Dual, accuracy: Accuracy
) -> tuple[Float[Array, " pixels"], Dual]:
    """div q = y − x of a solved problem, with the derivatives of the solution map.

    Args:
        problem: Differentiable in `data` and `alpha`.
        q: Its solution; constant.
        tangent_dual: Where to start the tangent solve for J x; constant.
        accuracy: Of the tangents.

    Returns:
        The correction, and the dual field of J x where a derivative in a scalar α was
        taken, else `tangent_dual`: a warm start for the next derivative nearby.
    """
    return _correction(accuracy, problem, q, tangent_dual)


# Everything is an argument, and nothing closed over: JAX may trace the rule long after
# the trace that called the function has ended.
@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _correction(
    accuracy: Accuracy, problem: Problem, q: Dual, start: Dual
) -> tuple[Array, Dual]:
    del accuracy
    return rof.divergence(problem, q), start


@partial(_correction.defjvp, symbolic_zeros=True)
def _correction_jvp(
    accuracy: Accuracy, primals: tuple[Any, ...], tangents: tuple[Any, ...]
) -> tuple[tuple[Array, Dual], tuple[Array, Dual]]:
    problem, q, start = _once(primals)
    data, alpha = problem.data, problem.alpha
    data_dot, alpha_dot = tangents[0].data, tangents[0].alpha
    linear = linearize(problem, q)
    correction = rof.divergence(problem, q)

    dot = jnp.zeros_like(data)
    if not _is_zero(data_dot):
        dot = dot + _jacobian(problem, linear, data_dot, accuracy) - data_dot
    if not _is_zero(alpha_dot) and alpha.ndim == 0:
        along, start = tangent(problem, linear, data, start, accuracy)
        dot = dot + alpha_dot * (data + correction - along) / alpha
    elif not _is_zero(alpha_dot):
        positive = alpha > 0
        ratio = jnp.where(positive, alpha_dot / jnp.where(positive, alpha, 1), 0)
        moved = rof.join([ratio * component for component in rof.split(q)])
        pull = rof.divergence(problem, moved)
        dot = dot + _jacobian(problem, linear, pull, accuracy)
    still = jax.tree.map(jnp.zeros_like, start)
    return (correction, start), (dot, still)


@jax.custom_jvp
def _once(constants: tuple[Any, ...]) -> tuple[Any, ...]:
    """What the first derivative depends on, and no second derivative knows."""
    return constants


@partial(_once.defjvp, symbolic_zeros=True)
def _twice(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> NoReturn:
    raise NotImplementedError(
        "the solution of the ROF problem has first derivatives only: of a risk that "
        "holds a derivative take the finite form (`tvjax.sugar`, `tvjax.risk.split`), "
        "for a Hessian differences of gradients."
    )


class Linearization(NamedTuple):
    """The derivative of the projection at the solution, z ↦ m (z − e ⟨e, z⟩)."""

    factors: list[Array]  # m
    directions: list[Array]  # e, zero inside the ball


def linearize(problem: Problem, q: Dual) -> Linearization:
    """Differentiate the projection at the fixed point of the primal-dual iteration."""
    size = pdhg.dual_size(problem, pdhg.primal_size(problem))
    y = problem.data + rof.divergence(problem, q)
    steps = rof.differences(problem, rof.pad_rows(problem, y))
    z = [c + size * d for c, d in zip(rof.split(q), steps, strict=True)]
    factors = rof.shrink_factors(problem, z)
    # |z| = α/m outside the ball, so that z m/α is the unit vector along z
    inverse = 1 / jnp.where(problem.alpha > 0, problem.alpha, 1)
    directions = [
        jnp.where(m < 1, c * m * inverse, 0) for c, m in zip(z, factors, strict=True)
    ]
    return Linearization(factors, directions)


def tangent(
    problem: Problem,
    linear: Linearization,
    v: Float[Array, " pixels"],
    start: Dual,
    accuracy: Accuracy,
) -> tuple[Float[Array, " pixels"], Dual]:
    """J v, and the dual field dq with J v = v + div dq."""
    moved = eqx.tree_at(lambda p: p.data, problem, v)

    def project(_, z):
        inner = rof.inner_products(problem, linear.directions, z)
        parts = zip(linear.factors, z, linear.directions, inner, strict=True)
        return [m * (c - e * along) for m, c, e, along in parts]

    scale = jnp.vdot(v, v)

    def unfinished(carry):
        _, residual, num_steps = carry
        return (residual > accuracy.tol**2 * scale) & (num_steps < accuracy.max_steps)

    def advance(carry):
        state, _, num_steps = carry
        state = lax.fori_loop(
            0,
            accuracy.steps_per_check,
            lambda _, state: pdhg.advance(moved, state, pdhg.RELAXATION, project),
            state,
        )
        return state, _residual(moved, state), num_steps + accuracy.steps_per_check

    # The step size belongs to the data, not to the direction.
    state = pdhg.init(moved, start)._replace(size=pdhg.primal_size(problem))
    carry = (state, jnp.full_like(scale, jnp.inf), jnp.zeros((), jnp.int32))
    state, _, _ = lax.while_loop(unfinished, advance, carry)
    dq = pdhg.advance(moved, state, 1.0, project).q
    return v + rof.divergence(moved, dq), dq


def _residual(problem: Problem, state: pdhg.State) -> Float[Array, ""]:
    """‖u − (v + div q)‖², zero at the fixed point."""
    u = state.u[1:-1].reshape(-1)
    off = u - problem.data - rof.divergence(problem, state.q)
    return jnp.vdot(off, off)


def _jacobian(
    problem: Problem, linear: Linearization, v: Array, accuracy: Accuracy
) -> Array:
    """J v, linear and symmetric in v for JAX's transposition."""

    def solve(_, v):
        return tangent(problem, linear, v, rof.zero_dual(problem), accuracy)[0]

    # JAX knows a symmetric linear map only as the solution of a linear system. The
    # system itself (J may be singular) is never applied: nothing it depends on is
    # differentiated.
    return lax.custom_linear_solve(lambda v: v, v, solve, solve, symmetric=True)


def _is_zero(tangent: Array) -> bool:
    return isinstance(tangent, jax.custom_derivatives.SymbolicZero)
