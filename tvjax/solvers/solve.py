"""The solution of the ROF problem to a certified tolerance."""

from collections.abc import Callable
from functools import partial
from typing import Any, get_args, NamedTuple, Protocol, runtime_checkable

import jax
from jax import Array, lax, numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Int, Num

from tvjax.arguments import as_floating, as_full_mask, as_non_negative, check_choice
from tvjax.operators import Norm
from tvjax.solvers import chambolle, fgp, pdhg, problem as rof
from tvjax.solvers.derivative import (
    Accuracy,
    DEFAULT_ACCURACY,
    differentiable_correction,
)
from tvjax.solvers.problem import Dual, Problem


@runtime_checkable
class Solver(Protocol):
    """Two pure functions over a state with a dual field `q`; modules provide them.

    The state is `Any` because each solver has a type of its own for it.
    """

    @property
    def init(self) -> Callable[[Problem, Dual], Any]:
        """Start from a dual field."""
        ...

    @property
    def step(self) -> Callable[[Problem, Any, Bool[Array, ""]], Any]:
        """Go one step, to a feasible `q` if told that it is the last."""
        ...


SOLVERS: dict[str, Solver] = {"pdhg": pdhg, "fgp": fgp, "chambolle": chambolle}


class Solution(NamedTuple):
    """A denoised image x and the certificate of how near it is to the solution x*.

    Example:
        >>> import numpy as np, tvjax
        >>> y = np.random.default_rng(0).normal(size=(32, 32))
        >>> solution = tvjax.solve(y, 1.0)
        >>> bool(solution.converged), solution.dual.shape
        (True, (2, 32, 32))

        The next, similar problem starts from the dual field, and takes fewer steps.

        >>> again = tvjax.solve(y, 1.01, dual=solution.dual)
        >>> bool(again.num_steps < solution.num_steps)
        True

    Attributes:
        image: The denoised image x, in the unit of the data.
        dual: The dual field p in the unit ball, with x = y − α div p: an axis for the
            components, then those of the image.
        gap: The duality gap, ‖x − x*‖² ≤ gap, summed over the valid pixels, in the unit
            of the data squared.
        relative_gap: The gap divided by the primal objective.
        rmse: √(gap / number of valid pixels), in the unit of the data: the
            root-mean-square distance to x* is no greater.
        num_steps: How many steps it took.
        converged: Whether a tolerance was met before `max_steps`.
    """

    image: Float[Array, "*shape"]
    dual: Float[Array, " ndim *shape"]
    gap: Float[Array, ""]
    relative_gap: Float[Array, ""]
    rmse: Float[Array, ""]
    num_steps: Int[Array, ""]
    converged: Bool[Array, ""]


class Stop(NamedTuple):
    """When to end: as soon as one of the two tolerances is met, or at `max_steps`.

    Attributes:
        relative_gap: Greatest duality gap, divided by the objective.
        rmse: Greatest certified distance to the solution, in the unit of the image.
        max_steps: Greatest number of steps.
        steps_per_check: Number of steps from one look at the gap to the next.
    """

    relative_gap: Num[ArrayLike, ""] = 1e-4
    rmse: Num[ArrayLike, ""] = 0.0
    max_steps: Int[ArrayLike, ""] = 10_000
    steps_per_check: Int[ArrayLike, ""] = 10


def solve(
    y: Num[ArrayLike, "*shape"] | Bool[ArrayLike, "*shape"],
    alpha: Num[ArrayLike, ""] | Num[ArrayLike, "*pixels"],
    *,
    mask: Bool[ArrayLike, "..."] | None = None,
    dual: Float[ArrayLike, " ndim *shape"] | None = None,
    tol: Num[ArrayLike, ""] = 1e-4,
    rmse: Num[ArrayLike, ""] = 0.0,
    norm: Norm = "isotropic",
    channels: bool = False,
    solver: str = "pdhg",
    max_steps: Int[ArrayLike, ""] = 10_000,
    steps_per_check: Int[ArrayLike, ""] = 10,
    tangent: Accuracy = DEFAULT_ACCURACY,
) -> Solution:
    """Solve min_x ½‖x − y‖² + Σ_i α_i |∇x|_i for one image, volume or line.

    The solution is differentiable in `y` and `alpha`, forward and reverse, without
    stored iterates; everything else in the `Solution` is constant. Under `jax.vmap`
    each item stops on its own.

    Rudin, Osher, Fatemi 1992 (10.1016/0167-2789(92)90242-F).

    Example:
        A step between plateaus of three pixels shrinks by α/3 on either side.

        >>> import numpy as np, tvjax
        >>> step = np.repeat([1.0, 5.0], 3)
        >>> print(tvjax.solve(step, 1.5, tol=1e-6).image.round(2))
        [1.5 1.5 1.5 4.5 4.5 4.5]

    Args:
        y: Noisy data, an image of any number of axes in its own unit. Integers are
            converted by value.
        alpha: Strength ≥ 0, in the unit of the data; a scalar or one per pixel.
        mask: True where a pixel is valid. No difference touches an invalid pixel, and
            the image has the data there.
        dual: Dual field to start from, taken from the `Solution` of a similar problem;
            zero by default.
        tol: Stop when the duality gap over the objective is at most this. Below 1e-6
            single precision cannot follow.
        rmse: Or stop when the certified root-mean-square distance to the solution, in
            the unit of the data, is at most this: a twentieth of the noise, say.
        norm: "isotropic" (Euclidean length of a gradient) or "anisotropic" (ℓ₁).
        channels: Whether the leading axis of `y` counts images that share their edges:
            |∇x|_i is the length over all of them, and `alpha` and `mask` are for all
            (Bresson and Chan 2008, 10.3934/ipi.2008.2.455).
        solver: "pdhg", "fgp" or "chambolle"; all three reach the same solution.
        max_steps: Give up after so many steps, with `converged` False.
        steps_per_check: How often to compute the gap, which costs about two steps.
        tangent: Accuracy of the derivatives.

    Raises:
        ValueError: For an empty image, a negative or misshapen `alpha`, a mask or dual
            of another shape, or an unknown norm or solver.
    """
    check_choice("solver", solver, tuple(SOLVERS))
    y, alpha, mask = _check(y, alpha, mask, norm, channels)
    dual_shape = (y.ndim - channels, *y.shape)
    if dual is not None and jnp.shape(dual) != dual_shape:
        raise ValueError(
            f"`dual` must have the shape {dual_shape}, got {jnp.shape(dual)}."
        )
    return _solve(
        y,
        alpha,
        mask,
        None if dual is None else jnp.asarray(dual, y.dtype),
        Stop(tol, rmse, max_steps, steps_per_check),
        norm=norm,
        channels=channels,
        solver=solver,
        tangent=tangent,
    )


class Memory(NamedTuple):
    """What one solve leaves for the next similar one, in the solvers' layout.

    Attributes:
        p: The dual field, in the unit ball.
        tangent: The dual field of J y, where a derivative was taken.
    """

    p: Dual
    tangent: Dual


def blank_memory(
    y: Num[ArrayLike, "*shape"] | Bool[ArrayLike, "*shape"], *, channels: bool = False
) -> Memory:
    """The memory of a solver that has not solved anything.

    Args:
        y: Data of the shape and type that is to be solved for.
        channels: Whether the leading axis counts images that share their edges.
    """
    y = as_floating(y)
    zero = rof.lay_out_dual(jnp.zeros((y.ndim - channels, *y.shape), y.dtype), channels)
    return Memory(zero, zero)


def resume(
    y: Num[ArrayLike, "*shape"] | Bool[ArrayLike, "*shape"],
    alpha: Num[ArrayLike, ""] | Num[ArrayLike, "*pixels"],
    memory: Memory,
    *,
    mask: Bool[ArrayLike, "..."] | None = None,
    tol: Num[ArrayLike, ""] = 1e-4,
    norm: Norm = "isotropic",
    channels: bool = False,
    max_steps: Int[ArrayLike, ""] = 10_000,
    steps_per_check: Int[ArrayLike, ""] = 10,
    tangent: Accuracy = DEFAULT_ACCURACY,
) -> tuple[Solution, Memory]:
    """Solve like `solve`, from where a similar problem ended, its derivative included.

    The memory is constant to derivatives. Where a derivative in a scalar `alpha` is
    taken, the memory that comes back holds its dual field, too, so that the next
    derivative of the same image begins there.

    Args:
        y: Noisy data, as for `solve`.
        alpha: Strength ≥ 0, as for `solve`.
        memory: The memory of a similar problem, or `blank_memory`.
        mask: True where a pixel is valid.
        tol: Stop when the duality gap over the objective is at most this.
        norm: "isotropic" or "anisotropic".
        channels: Whether the leading axis of `y` counts images that share their edges.
        max_steps: Greatest number of steps.
        steps_per_check: Number of steps from one look at the gap to the next.
        tangent: Accuracy of the derivatives.

    Raises:
        ValueError: For the same mistakes as `solve`.
    """
    y, alpha, mask = _check(y, alpha, mask, norm, channels)
    return _resume(
        y,
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
    """What the gap of a dual field certifies; the fields are those of `Solution`."""

    gap: Float[Array, ""]
    relative_gap: Float[Array, ""]
    rmse: Float[Array, ""]
    num_steps: Int[Array, ""]
    converged: Bool[Array, ""]


_compiled = partial(jax.jit, static_argnames=("norm", "channels", "solver", "tangent"))


@_compiled
def _solve(
    y: Float[Array, "*shape"],
    alpha: Float[Array, ""] | Float[Array, "*shape"],
    mask: Bool[Array, "*shape"] | None,
    dual: Float[Array, " ndim *shape"] | None,
    stop: Stop,
    *,
    norm: Norm,
    channels: bool,
    solver: str,
    tangent: Accuracy,
) -> Solution:
    """Start from a dual field in the shape of the image, if any."""
    memory = None
    if dual is not None:
        p = rof.lay_out_dual(dual, channels)
        memory = Memory(p, jax.tree.map(jnp.zeros_like, p))
    solution, _ = _run(
        y,
        alpha,
        mask,
        memory,
        stop,
        norm=norm,
        channels=channels,
        solver=solver,
        tangent=tangent,
    )
    return solution


def _run(
    y: Float[Array, "*shape"],
    alpha: Float[Array, ""] | Float[Array, "*shape"],
    mask: Bool[Array, "*shape"] | None,
    memory: Memory | None,
    stop: Stop,
    *,
    norm: Norm,
    channels: bool,
    solver: str,
    tangent: Accuracy,
) -> tuple[Solution, Memory]:
    """Enter the solvers' layout, iterate, attach the derivatives, and leave it."""
    problem = rof.lay_out(y, alpha, mask, norm, channels)
    constant = lax.stop_gradient(problem)
    start = before = rof.zero_dual(constant)
    if memory is not None:
        start = rof.from_unit_ball(constant, lax.stop_gradient(memory.p))
        before = lax.stop_gradient(memory.tangent)
    q, certificate = iterate(constant, start, SOLVERS[solver], stop)
    correction, along = differentiable_correction(problem, q, before, tangent)
    x = y + correction.reshape(y.shape)
    p = rof.to_unit_ball(constant, q)
    solution = Solution(
        # no cotangent enters through an invalid pixel, NaN or not
        image=x if mask is None else jnp.where(mask, x, y),
        dual=rof.dual_field(constant, p, y.shape),
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

    def certify(q: Dual, num_steps: Int[Array, ""]) -> Certificate:
        gap, objective = rof.gap_and_objective(problem, q)
        rmse = jnp.sqrt(gap / problem.num_valid)
        met = (gap <= stop.relative_gap * objective) | (rmse <= stop.rmse)
        relative_gap = gap / jnp.maximum(objective, jnp.finfo(gap.dtype).tiny)
        return Certificate(gap, relative_gap, rmse, num_steps, met)

    def unfinished(carry: tuple[Any, Certificate]) -> Bool[Array, ""]:
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
    y: Num[ArrayLike, "*shape"] | Bool[ArrayLike, "*shape"],
    alpha: Num[ArrayLike, ""] | Num[ArrayLike, "*pixels"],
    mask: Bool[ArrayLike, "..."] | None,
    norm: str,
    channels: bool,
) -> tuple[
    Float[Array, "*shape"],
    Float[Array, ""] | Float[Array, "*shape"],
    Bool[Array, "*shape"] | None,
]:
    """Arrays of one floating-point type, or a sentence that says what is wrong.

    Maps of strengths and masks come back in the shape of the data.
    """
    check_choice("norm", norm, get_args(Norm))
    y = as_floating(y)
    if y.ndim == 0 or y.size == 0:
        raise ValueError(f"`y` must be a non-empty image, got shape {y.shape}.")
    if channels and y.ndim == 1:
        raise ValueError(
            f"`y` must have an axis of channels and those of the image, got {y.shape}."
        )
    shape = y.shape[int(channels) :]
    alpha = as_non_negative("alpha", alpha).astype(y.dtype)
    if alpha.shape not in ((), shape):
        raise ValueError(
            f"`alpha` must be a scalar or have the image's shape {shape}, "
            f"got shape {alpha.shape}."
        )
    if channels and alpha.ndim:
        alpha = jnp.broadcast_to(alpha[None], y.shape)
    if mask is None:
        return y, alpha, None
    # it may be False everywhere: the image is then the data
    mask = as_full_mask(mask, shape)
    return y, alpha, jnp.broadcast_to(mask, y.shape)
