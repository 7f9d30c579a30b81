"""Solve the ROF problem to a certified tolerance."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, Protocol

import jax
from jax import Array, core, lax, numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Int

from tvjax.operators import check_norm, Norm
from tvjax.solvers import chambolle, fgp, pdhg, problem as rof
from tvjax.solvers.derivative import (
    Accuracy,
    DEFAULT_ACCURACY,
    differentiable_correction,
)
from tvjax.solvers.problem import Dual, Problem


class Solver(Protocol):
    """What an algorithm's module provides: three pure functions over its state."""

    init: Callable[[Problem, Dual], Any]
    step: Callable[[Problem, Any, Array], Any]  # to a feasible `q` if told it is last


SOLVERS: dict[str, Solver] = {"pdhg": pdhg, "fgp": fgp, "chambolle": chambolle}


class Solution(NamedTuple):
    """A denoised image and the certificate of how exact it is."""

    image: Float[Array, "*shape"]
    dual: Float[Array, " ndim *shape"]  # p in the unit ball, y = x − α div p
    gap: Float[Array, ""]  # ‖y − y*‖² ≤ gap, summed over the valid pixels
    relative_gap: Float[Array, ""]  # gap over the primal objective
    rmse: Float[Array, ""]  # √(gap / valid pixels), bounds the error to y*
    num_steps: Int[Array, ""]
    converged: Bool[Array, ""]


class Stop(NamedTuple):
    """When to end: as soon as one of the two tolerances is met, or at `max_steps`."""

    relative_gap: float = 1e-4
    rmse: float | Array = 0.0  # in the unit of the image
    max_steps: int = 10_000
    steps_per_check: int = 10  # how often to look


def solve(
    x: Float[ArrayLike, "*shape"],
    alpha: Float[ArrayLike, ""] | Float[ArrayLike, "*shape"],
    *,
    mask: Bool[ArrayLike, "*shape"] | None = None,
    dual: Float[Array, " ndim *shape"] | None = None,
    tol: float = 1e-4,
    rmse: float | Array = 0.0,
    norm: Norm = "isotropic",
    channels: bool = False,
    solver: str = "pdhg",
    max_steps: int = 10_000,
    steps_per_check: int = 10,
    tangent: Accuracy = DEFAULT_ACCURACY,
) -> Solution:
    """Solve min_y ½‖y − x‖² + Σ_i α_i |∇y|_i for one image or volume.

    The solution is differentiable in `x` and `alpha`, forward and reverse, without
    stored iterates; everything else in the `Solution` is constant. Under `jax.vmap`
    each item stops on its own.

    Args:
        x: Data, in its own unit. Integers are converted by value.
        alpha: Strength ≥ 0, in the unit of the data; a scalar or one per pixel.
        mask: True where a pixel is valid. No difference touches an invalid pixel, and
            the image has the data there.
        dual: Where to start, from a `Solution` of a similar problem; else zero.
        tol: Stop when the duality gap over the objective is at most this. Below 1e-6
            single precision cannot follow.
        rmse: Or stop when the certified root-mean-square distance to the solution, in
            the unit of the data, is at most this: a twentieth of the noise, say.
        norm: "isotropic" (Euclidean length of a gradient) or "anisotropic" (ℓ₁).
        channels: Whether the leading axis of `x` counts images that share their edges:
            |∇y|_i is the length over all of them, and `alpha` and `mask` are for all
            (Bresson and Chan 2008, 10.3934/ipi.2008.2.455).
        solver: "pdhg", "fgp" or "chambolle"; all three reach the same solution.
        max_steps: Give up after so many steps, with `converged` False.
        steps_per_check: How often to compute the gap, which costs about two steps.
        tangent: Accuracy of the derivatives.

    Raises:
        ValueError: For an empty image, a negative or misshapen `alpha`, a mask or dual
            of another shape, or an unknown norm or solver.
    """
    x, alpha, mask = _check(x, alpha, mask, norm, channels, solver)
    dual_shape = (x.ndim - channels, *x.shape)
    if dual is not None and dual.shape != dual_shape:
        raise ValueError(f"`dual` must have shape {dual_shape}, got {dual.shape}.")
    return _solve(
        x,
        alpha,
        mask,
        dual,
        Stop(tol, rmse, max_steps, steps_per_check),
        norm=norm,
        channels=channels,
        solver=solver,
        tangent=tangent,
    )


class Memory(NamedTuple):
    """What one solve leaves for the next similar one, in the solvers' layout."""

    p: Dual  # the dual field, in the unit ball
    tangent: Dual  # the dual field of J x


def blank_memory(x: Float[Array, "*shape"], *, channels: bool = False) -> Memory:
    """The memory of a solver that has not solved anything."""
    zero = jnp.zeros((x.ndim - channels, *x.shape), as_floating(x).dtype)
    zero = rof.lay_out_dual(zero, channels)
    return Memory(zero, zero)


def resume(
    x: Float[ArrayLike, "*shape"],
    alpha: Float[ArrayLike, ""] | Float[ArrayLike, "*shape"],
    memory: Memory,
    *,
    mask: Bool[ArrayLike, "*shape"] | None = None,
    tol: float = 1e-4,
    norm: Norm = "isotropic",
    channels: bool = False,
    max_steps: int = 10_000,
    steps_per_check: int = 10,
    tangent: Accuracy = DEFAULT_ACCURACY,
) -> tuple[Solution, Memory]:
    """Like `solve`, from where a similar problem ended, its derivative included.

    The memory is constant to derivatives. Where a derivative in a scalar `alpha` is
    taken, the memory that comes back holds its dual field, too, so that the next
    derivative of the same image begins there.
    """
    x, alpha, mask = _check(x, alpha, mask, norm, channels, "pdhg")
    return _resume(
        x,
        alpha,
        mask,
        memory,
        Stop(tol, 0.0, max_steps, steps_per_check),
        norm=norm,
        channels=channels,
        solver="pdhg",
        tangent=tangent,
    )


class Certificate(NamedTuple):
    """What the gap of a dual field certifies."""

    gap: Float[Array, ""]
    relative_gap: Float[Array, ""]
    rmse: Float[Array, ""]
    num_steps: Int[Array, ""]
    converged: Bool[Array, ""]


_compiled = partial(jax.jit, static_argnames=("norm", "channels", "solver", "tangent"))


@_compiled
def _solve(
    x: Array,
    alpha: Array,
    mask: Array | None,
    dual: Array | None,
    stop: Stop,
    *,
    channels: bool,
    **options: Any,
) -> Solution:
    """Start from a dual field in the shape of the image, if any."""
    memory = None
    if dual is not None:
        p = rof.lay_out_dual(dual.astype(x.dtype), channels)
        memory = Memory(p, jax.tree.map(jnp.zeros_like, p))
    return _run(x, alpha, mask, memory, stop, channels=channels, **options)[0]


def _run(
    x: Array,
    alpha: Array,
    mask: Array | None,
    memory: Memory | None,
    stop: Stop,
    *,
    norm: Norm,
    channels: bool,
    solver: str,
    tangent: Accuracy,
) -> tuple[Solution, Memory]:
    """Enter the solvers' layout, iterate, attach the derivatives, and leave it."""
    problem = rof.lay_out(x, alpha, mask, norm, channels)
    constant = lax.stop_gradient(problem)
    start = before = rof.zero_dual(constant)
    if memory is not None:
        start = rof.from_unit_ball(constant, lax.stop_gradient(memory.p))
        before = lax.stop_gradient(memory.tangent)
    q, certificate = iterate(constant, start, SOLVERS[solver], stop)
    correction, along = differentiable_correction(problem, q, before, tangent)
    image = x + correction.reshape(x.shape)
    p = rof.to_unit_ball(constant, q)
    solution = Solution(
        # no cotangent enters through an invalid pixel, NaN or not
        image=image if mask is None else jnp.where(mask, image, x),
        dual=rof.dual_field(constant, p, x.shape),
        gap=certificate.gap,
        relative_gap=certificate.relative_gap,
        rmse=certificate.rmse,
        num_steps=certificate.num_steps,
        converged=certificate.converged,
    )
    return solution, Memory(p, along)


_resume = _compiled(_run)


def iterate(
    problem: Problem, start: Dual, solver: Solver, stop: Stop
) -> tuple[Dual, Certificate]:
    """Run a solver until its gap meets the tolerance."""

    def certify(q: Dual, num_steps: Array) -> Certificate:
        gap, objective = rof.gap_and_objective(problem, q)
        rmse = jnp.sqrt(gap / problem.num_valid)
        met = (gap <= stop.relative_gap * objective) | (rmse <= stop.rmse)
        relative_gap = gap / jnp.maximum(objective, jnp.finfo(gap.dtype).tiny)
        return Certificate(gap, relative_gap, rmse, num_steps, met)

    def unfinished(carry: tuple[Any, Certificate]) -> Array:
        _, certificate = carry
        return ~certificate.converged & (certificate.num_steps < stop.max_steps)

    def advance(carry: tuple[Any, Certificate]) -> tuple[Any, Certificate]:
        state, certificate = carry
        last = stop.steps_per_check - 1
        state = lax.fori_loop(
            0, last + 1, lambda i, s: solver.step(problem, s, i == last), state
        )
        num_steps = certificate.num_steps + stop.steps_per_check
        return state, certify(state.q, num_steps)

    unknown = jnp.full((), jnp.inf, problem.data.dtype)
    none = jnp.zeros((), jnp.int32)
    first = Certificate(unknown, unknown, unknown, none, jnp.zeros((), bool))
    carry = solver.init(problem, start), first
    state, certificate = lax.while_loop(unfinished, advance, carry)
    return state.q, certificate


def _check(
    x: ArrayLike,
    alpha: ArrayLike,
    mask: ArrayLike | None,
    norm: str,
    channels: bool,
    solver: str,
) -> tuple[Array, Array, Array | None]:
    """Arrays of one floating-point type, or a sentence that says what is wrong.

    Maps of strengths and masks come back in the shape of the data.
    """
    check_norm(norm)
    if solver not in SOLVERS:
        raise ValueError(f"`solver` must be one of {tuple(SOLVERS)}, got {solver!r}.")
    x = as_floating(x)
    if x.ndim == 0 or x.size == 0:
        raise ValueError(f"`x` must be a non-empty image, got shape {x.shape}.")
    if channels and x.ndim == 1:
        raise ValueError(
            f"`x` must have an axis of channels and those of the image, got {x.shape}."
        )
    shape = x.shape[int(channels) :]
    alpha = jnp.asarray(alpha, dtype=x.dtype)
    if alpha.shape not in ((), shape):
        raise ValueError(
            f"`alpha` must be a scalar or have the image's shape {shape}, "
            f"got shape {alpha.shape}."
        )
    # a traced value has no sign to look at
    if not isinstance(alpha, core.Tracer) and not bool(jnp.all(alpha >= 0)):
        raise ValueError(f"`alpha` must not be negative, got {jnp.min(alpha)}.")
    if channels and alpha.ndim:
        alpha = jnp.broadcast_to(alpha[None], x.shape)
    if mask is None:
        return x, alpha, None
    mask = jnp.asarray(mask, dtype=bool)
    if mask.shape != shape:
        raise ValueError(
            f"`mask` must have the image's shape {shape}, got {mask.shape}."
        )
    if channels:
        mask = jnp.broadcast_to(mask[None], x.shape)
    return x, alpha, mask


def as_floating(x: ArrayLike) -> Array:
    """The same values in floating point, at least single precision."""
    x = jnp.asarray(x)
    if jnp.iscomplexobj(x):
        raise ValueError("the image must be real, got complex values.")
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
