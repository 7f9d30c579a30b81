"""The derivatives of the solution of the ROF problem in its data and its strength.

The solution x(y, α) is differentiable almost everywhere, its Jacobian J = ∂x/∂y is
symmetric with 0 ≼ J ≼ I, and x is homogeneous of degree one in (y, α). Hence, with no
stored iterate,

    data          dx = J dy,              cotangent  J w
    scalar α      dx = dα (x − J y)/α     (Euler's identity)
    alpha map     dx = −J div(dα p)

(Bolte, Pauwels, Silveti-Falls 2022, arXiv 2212.07844.) J v is the fixed point of the
primal-dual iteration linearized at the solution: the same steps with v in place of
the data and the derivative of the projection in place of the projection. It
converges later than the image does, and has a tolerance of its own.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, NoReturn, TypeAlias

import equinox as eqx
import jax
from jax import Array, lax, numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Bool, Float, Int

from tvjax.solvers import pdhg, problem as rof
from tvjax.solvers.problem import Dual, Problem


class Accuracy(NamedTuple):
    """When a tangent is good enough.

    Attributes:
        tol: Greatest residual ‖w − (v + div dq)‖, relative to ‖v‖.
        max_steps: Greatest number of steps.
        steps_per_check: Number of steps from one look at the residual to the next.
    """

    tol: float = 1e-3
    max_steps: int = 2000
    steps_per_check: int = 10


DEFAULT_ACCURACY = Accuracy()


def differentiable_correction(
    problem: Problem, q: Dual, tangent_dual: Dual, accuracy: Accuracy
) -> tuple[Float[Array, " pixels"], Dual]:
    """The correction div q = x − y of a solved problem, as a differentiable function.

    Args:
        problem: The problem; differentiable in `data` and `alpha`.
        q: The dual field that solves it; constant.
        tangent_dual: The dual field from which the tangent solve for J y starts;
            constant.
        accuracy: The accuracy of the tangents.

    Returns:
        The correction, and the dual field of J y where a derivative in a scalar α was
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
        moved = rof.from_components([ratio * c for c in rof.to_components(q)])
        pull = rof.divergence(problem, moved)
        dot = dot + _jacobian(problem, linear, pull, accuracy)
    still = jax.tree.map(jnp.zeros_like, start)
    return (correction, start), (dot, still)


@jax.custom_jvp
def _once(constants: tuple[Any, ...]) -> tuple[Any, ...]:
    """The constants of the first derivative, which has no derivative itself."""
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
    x = problem.data + rof.divergence(problem, q)
    steps = rof.differences(problem, rof.pad_rows(problem, x))
    z = [c + size * d for c, d in zip(rof.to_components(q), steps, strict=True)]
    factors = rof.shrink_factors(problem, z)
    # |z| = α/m outside the ball, so that z m/α is the unit vector along z
    inverse = 1 / jnp.where(problem.alpha > 0, problem.alpha, 1)
    directions = [
        jnp.where(m < 1, c * m * inverse, 0) for c, m in zip(z, factors, strict=True)
    ]
    return Linearization(factors, directions)


# The state of the iteration, its residual ‖u − (v + div q)‖², and its number of steps.
_Carry: TypeAlias = tuple[pdhg.State, Float[Array, ""], Int[Array, ""]]


def tangent(
    problem: Problem,
    linear: Linearization,
    v: Float[Array, " pixels"],
    start: Dual,
    accuracy: Accuracy,
) -> tuple[Float[Array, " pixels"], Dual]:
    """The product J v, and the dual field dq with J v = v + div dq.

    Args:
        problem: A solved problem.
        linear: Its linearization.
        v: A direction of the data.
        start: The dual field to start from.
        accuracy: When to stop.
    """
    moved = eqx.tree_at(lambda p: p.data, problem, v)

    def project(_: Problem, z: list[Array]) -> list[Array]:
        inner = rof.inner_products(problem, linear.directions, z)
        parts = zip(linear.factors, z, linear.directions, inner, strict=True)
        return [m * (c - e * along) for m, c, e, along in parts]

    scale = jnp.vdot(v, v)

    def unfinished(carry: _Carry) -> Bool[Array, ""]:
        _, residual, num_steps = carry
        return (residual > accuracy.tol**2 * scale) & (num_steps < accuracy.max_steps)

    def advance(carry: _Carry) -> _Carry:
        state, _, num_steps = carry
        state = lax.fori_loop(
            0,
            accuracy.steps_per_check,
            lambda _, state: pdhg.advance(moved, state, pdhg.RELAXATION, project),
            state,
        )
        return state, _residual(moved, state), num_steps + accuracy.steps_per_check

    # the step size depends on the data, and not on the direction
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
    problem: Problem,
    linear: Linearization,
    v: Float[Array, " pixels"],
    accuracy: Accuracy,
) -> Float[Array, " pixels"]:
    """The product J v, linear and symmetric in v for JAX's transposition."""

    def solve(_: Callable[[Array], Array], v: Array) -> Array:
        return tangent(problem, linear, v, rof.zero_dual(problem), accuracy)[0]

    # JAX has symmetric linear maps only as the solutions of linear systems. The system
    # itself (J may be singular) is never applied, because nothing that it depends on
    # is differentiated.
    return lax.custom_linear_solve(lambda v: v, v, solve, solve, symmetric=True)


def _is_zero(tangent: Array | SymbolicZero) -> bool:
    return isinstance(tangent, SymbolicZero)
