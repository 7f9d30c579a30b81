"""The solution of the ROF problem to a certified tolerance."""

from collections.abc import Callable
from functools import partial
from typing import Any, get_args, NamedTuple, Protocol, runtime_checkable

import jax
from jax import Array, lax, numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Int, Num

from tvjax.arguments import (
    as_floating,
    as_full_mask,
    as_non_negative,
    check_choice,
    check_finite,
)
from tvjax.operators import Norm
from tvjax.solvers import chambolle, fgp, pdhg, problem as rof
from tvjax.solvers.derivative import (
    Accuracy,
    DEFAULT_ACCURACY,
    differentiable_correction,
    Solved,
)
from tvjax.solvers.problem import Dual, Problem


@runtime_checkable
class Solver(Protocol):
    """Three pure functions over a state with a dual field `q`; modules provide them.

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

    @property
    def image(self) -> Callable[[Problem, Any], Float[Array, "padded_rows row"]]:
        """The image that is certified with `q`, y + div q or a better one."""
        ...


SOLVERS: dict[str, Solver] = {"pdhg": pdhg, "fgp": fgp, "chambolle": chambolle}


class Solution(NamedTuple):
    """A denoised image x and the certificate of how near it is to the solution x*.

    Where there is nothing to solve, because a valid pixel is NaN or infinite or a
    strength is negative and JAX traces the values, image and certificate are NaN, and
    `converged` is False.

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
            components, then those of the image. A strength beyond all structure counts
            here as one that is just so; its solution is the same.
        gap: The duality gap of p and of the best image known, summed over the valid
            pixels, in the unit of the data squared: ‖x − x*‖² ≤ 2 gap. It is infinite
            (or zero) where that unit is beyond the range of the numbers.
        relative_gap: The gap divided by the primal objective.
        rmse: The root-mean-square distance to x* over the valid pixels is no greater,
            in the unit of the data; at most √(2 gap / number of valid pixels).
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
    stored iterates; everything else in the `Solution` is constant. A derivative is NaN
    where the solution did not converge, or the tangent did not (`Accuracy.strict`). At
    α = 0 it is the one towards greater strengths, if no two neighbors are equal: where
    ∇y is zero, it is taken as if it stayed so. Under `jax.vmap` each item stops on its
    own.

    The unit of the data does not matter, from 1e-30 to 1e30 in single precision.

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
        alpha: Strength ≥ 0, in the unit of the data; a scalar or one per pixel. An
            infinite one gives the mean of each connected valid region.
        mask: True where a pixel is valid. No difference touches an invalid pixel, and
            the image has the data there.
        dual: Dual field to start from, taken from the `Solution` of a similar problem;
            zero by default.
        tol: Stop when the duality gap over the objective is at most this. Below 1e-6
            single precision cannot follow. A pixel that is brighter than all others
            together rules the objective: mask it, or ask for an `rmse` instead.
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
        ValueError: For an empty image, one with valid pixels that are NaN or infinite,
            a negative or misshapen `alpha`, a mask or dual of another shape, or an
            unknown norm or solver.
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
    problem = rof.lay_out(*lax.stop_gradient((y, alpha)), mask, norm, channels)
    start = before = rof.zero_dual(problem)
    if memory is not None:
        start = rof.from_unit_ball(problem, lax.stop_gradient(memory.p))
        before = lax.stop_gradient(memory.tangent)
    q, certificate = iterate(problem, start, SOLVERS[solver], stop)
    correction, along = differentiable_correction(
        rof.zero_invalid(mask, y).reshape(-1),
        rof.lay_out_strength(alpha, problem.row),
        Solved(problem, q, certificate.converged, before),
        tangent,
    )
    x = y + correction.reshape(y.shape)
    p = rof.to_unit_ball(problem, q)
    solution = Solution(
        # no cotangent enters through an invalid pixel, NaN or not
        image=x if mask is None else jnp.where(mask, x, y),
        dual=rof.dual_field(problem, p, y.shape),
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
    """Run a solver until its gap meets the tolerance.

    It ends at once where the problem is none, with a certificate of NaN.
    """
    scale = problem.scale

    def certify(state: Any, num_steps: Int[Array, ""]) -> Certificate:
        found = rof.duality_gap(problem, state.q, solver.image(problem, state))
        tiny = jnp.finfo(found.gap.dtype).tiny
        # each factor by itself: the square of the scale may be beyond all numbers
        gap = found.gap * scale * scale
        rmse = scale * found.distance / jnp.sqrt(jnp.maximum(problem.num_valid, 1))
        met = (found.gap <= stop.relative_gap * found.objective) | (rmse <= stop.rmse)
        relative_gap = found.gap / jnp.maximum(found.objective, tiny)
        return Certificate(gap, relative_gap, rmse, num_steps, met)

    def unfinished(carry: tuple[Any, Certificate]) -> Bool[Array, ""]:
        _, certificate = carry
        more = ~certificate.converged & (certificate.num_steps < stop.max_steps)
        return more & ~jnp.isnan(certificate.rmse)

    def advance(carry: tuple[Any, Certificate]) -> tuple[Any, Certificate]:
        state, certificate = carry
        last = stop.steps_per_check - 1
        state = lax.fori_loop(
            0, last + 1, lambda i, s: solver.step(problem, s, i == last), state
        )
        num_steps = certificate.num_steps + stop.steps_per_check
        return state, certify(state, num_steps)

    # infinite, or NaN where there is nothing to solve
    unknown = jnp.inf * scale
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
    if mask is not None:
        # it may be False everywhere: the image is then the data
        mask = jnp.broadcast_to(as_full_mask(mask, shape), y.shape)
    check_finite(y, mask)
    return y, alpha, mask
