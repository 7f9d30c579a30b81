"""The derivatives of the solution of the ROF problem in its data and its strength.

The solution x(y, α) is differentiable almost everywhere, its Jacobian J = ∂x/∂y is
symmetric with 0 ≼ J ≼ I, and x is homogeneous of degree one in (y, α). Hence, with no
stored iterate,

    data          dx = J dy,              cotangent  J w
    scalar α      dx = dα (x − J y)/α     (Euler's identity)
    alpha map     dx = −J div(dα p)
    α = 0         dx = −div(dα p),        p = −∇x/|∇x|, zero where ∇x is

(Bolte, Pauwels, Silveti-Falls 2022, arXiv 2212.07844.) J v is the fixed point of the
primal-dual iteration linearized at the solution: the same steps with v in place of
the data and the derivative of the projection in place of the projection. It
converges later than the image does, and has a tolerance of its own.

None of this depends on the unit of data and strength: the products are taken at the
solution in the solvers' scale, of directions in the user's.
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
        strict: Whether a derivative is NaN where the image or the tangent did not
            reach its tolerance. Without, it is what the last step left, and nothing
            tells it from a good one.
    """

    tol: float = 1e-3
    max_steps: int = 2000
    steps_per_check: int = 10
    strict: bool = True


DEFAULT_ACCURACY = Accuracy()


class Solved(NamedTuple):
    """A problem and its solution, constants of the derivative.

    Attributes:
        problem: The problem.
        q: The dual field that solves it.
        converged: Whether it does to its tolerance.
        start: The dual field from which the tangent solve for J y starts.
    """

    problem: Problem
    q: Dual
    converged: Bool[Array, ""]
    start: Dual


def differentiable_correction(
    data: Float[Array, " pixels"],
    alpha: Float[Array, ""] | Float[Array, " padded"],
    solved: Solved,
    accuracy: Accuracy,
) -> tuple[Float[Array, " pixels"], Dual]:
    """The correction x − y of a solved problem, as a differentiable function.

    Args:
        data: The data that the problem was made of, in their own unit.
        alpha: Its strength, likewise.
        solved: The problem and its solution.
        accuracy: The accuracy of the tangents.

    Returns:
        The correction in the unit of the data, and the dual field of J y where a
        derivative in a scalar α was taken, else `solved.start`: a warm start for the
        next derivative nearby.
    """
    return _correction(accuracy, data, alpha, solved)


# Everything is an argument, and nothing closed over: JAX may trace the rule long after
# the trace that called the function has ended.
@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _correction(
    accuracy: Accuracy, data: Array, alpha: Array, solved: Solved
) -> tuple[Array, Dual]:
    del accuracy, data, alpha
    problem = solved.problem
    return problem.scale * rof.divergence(problem, solved.q), solved.start


@partial(_correction.defjvp, symbolic_zeros=True)
def _correction_jvp(
    accuracy: Accuracy, primals: tuple[Any, ...], tangents: tuple[Any, ...]
) -> tuple[tuple[Array, Dual], tuple[Array, Dual]]:
    data, alpha, (problem, q, converged, start) = _once(primals)
    data_dot, alpha_dot, _ = tangents
    linear = linearize(problem, q)
    correction = rof.divergence(problem, q)
    jacobian = partial(_jacobian, problem, linear, accuracy)

    dot = jnp.zeros_like(data)
    if not _is_zero(data_dot):
        dot = dot + jacobian(data_dot) - data_dot
    if not _is_zero(alpha_dot):
        # in the solvers' scale, like everything but the directions
        strength, x = problem.alpha, problem.data + correction
        slope = rof.divergence(problem, _along(problem, q, x, alpha_dot))
        if alpha.ndim == 0:
            along, start, met = tangent(problem, linear, problem.data, start, accuracy)
            positive = strength > 0
            euler = alpha_dot * (x - along) / jnp.where(positive, strength, 1)
            slope = jnp.where(positive, _trusted(euler, met, accuracy), slope)
        else:
            slope = jacobian(slope)
        dot = dot + slope
    dot = _trusted(dot, converged, accuracy)
    still = jax.tree.map(jnp.zeros_like, start)
    return (problem.scale * correction, start), (dot, still)


def _along(
    problem: Problem, q: Dual, x: Float[Array, " pixels"], alpha_dot: Array
) -> Dual:
    """How the dual field q = −α p moves with α while p does not, −dα p.

    Where α is zero the field has no direction yet; it begins along ∇x/|∇x|.
    """
    positive = problem.alpha > 0
    steps = rof.differences(problem, rof.pad_rows(problem, x))
    squares = rof.inner_products(problem, steps, steps)
    units = [
        jnp.where(square > 0, step / jnp.sqrt(jnp.where(square > 0, square, 1)), 0)
        for step, square in zip(steps, squares, strict=True)
    ]
    ratio = alpha_dot / jnp.where(positive, problem.alpha, 1)
    pairs = zip(rof.to_components(q), units, strict=True)
    return rof.from_components(
        [jnp.where(positive, ratio * c, alpha_dot * unit) for c, unit in pairs]
    )


def _trusted(dot: Array, met: Bool[Array, ""], accuracy: Accuracy) -> Array:
    """A derivative that is NaN where it is not known to its tolerance."""
    return (
        dot * jnp.where(met, 1, jnp.nan).astype(dot.dtype) if accuracy.strict else dot
    )


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
) -> tuple[Float[Array, " pixels"], Dual, Bool[Array, ""]]:
    """The product J v, the dual field dq with J v = v + div dq, whether it is accurate.

    Args:
        problem: A solved problem.
        linear: Its linearization.
        v: A direction of the data, in any unit.
        start: The dual field to start from.
        accuracy: When to stop.
    """
    unit = rof.power_of_two(v)
    moved = eqx.tree_at(lambda p: p.data, problem, v / unit)
    start = jax.tree.map(lambda c: c / unit, start)

    def project(_: Problem, z: list[Array]) -> list[Array]:
        inner = rof.inner_products(problem, linear.directions, z)
        parts = zip(linear.factors, z, linear.directions, inner, strict=True)
        return [m * (c - e * along) for m, c, e, along in parts]

    goal = accuracy.tol**2 * jnp.sum(moved.data**2)

    def unfinished(carry: _Carry) -> Bool[Array, ""]:
        _, residual, num_steps = carry
        return (residual > goal) & (num_steps < accuracy.max_steps)

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
    carry = (state, jnp.full_like(goal, jnp.inf), jnp.zeros((), jnp.int32))
    state, residual, _ = lax.while_loop(unfinished, advance, carry)
    dq = pdhg.advance(moved, state, 1.0, project).q
    dq = jax.tree.map(lambda c: unit * c, dq)
    return v + rof.divergence(moved, dq), dq, residual <= goal


def _residual(problem: Problem, state: pdhg.State) -> Float[Array, ""]:
    """‖u − (v + div q)‖², zero at the fixed point."""
    u = state.u[1:-1].reshape(-1)
    off = u - problem.data - rof.divergence(problem, state.q)
    return jnp.sum(off * off)


def _jacobian(
    problem: Problem,
    linear: Linearization,
    accuracy: Accuracy,
    v: Float[Array, " pixels"],
) -> Float[Array, " pixels"]:
    """The product J v, linear and symmetric in v for JAX's transposition."""

    def solve(_: Callable[[Array], Array], v: Array) -> Array:
        found = tangent(problem, linear, v, rof.zero_dual(problem), accuracy)
        product, _dual, met = found
        return _trusted(product, met, accuracy)

    # JAX has symmetric linear maps only as the solutions of linear systems. The system
    # itself (J may be singular) is never applied, because nothing that it depends on
    # is differentiated.
    return lax.custom_linear_solve(lambda v: v, v, solve, solve, symmetric=True)


def _is_zero(tangent: Array | SymbolicZero) -> bool:
    return isinstance(tangent, SymbolicZero)
