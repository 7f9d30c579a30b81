"""Gradient descent on a risk, for the parameters that serve the data best."""

from collections.abc import Callable
from typing import Any, cast, NamedTuple, TypeAlias

import equinox as eqx
import jax
import optax
from jax import Array, lax, numpy as jnp
from jaxtyping import Bool, Float, Int, PRNGKeyArray, PyTree

# A loss takes a denoiser and a key, then, if it keeps one, a memory of its last call.
Loss: TypeAlias = Callable[..., Any]


class Tuned(NamedTuple):
    """The tuned denoiser, and the way there.

    Attributes:
        denoiser: The denoiser where the last step led, or, if the steps never became
            short, the best of those visited.
        risk: The least risk on the way.
        visited: The parameters that were visited, one row a step; NaN past the end.
        risks: The risk of each.
        num_steps: Number of steps.
        converged: Whether the last step was shorter than the tolerance.
        at_bound: Whether a parameter ended at the end of its range.
        memory: What the loss kept of its last call.
        state: Last state of the optimizer.
    """

    denoiser: PyTree
    risk: Float[Array, ""]
    visited: PyTree
    risks: Float[Array, " steps"]
    num_steps: Int[Array, ""]
    converged: Bool[Array, ""]
    at_bound: Bool[Array, ""]
    memory: Any
    state: PyTree


def tune(
    denoiser: PyTree,
    loss: Loss,
    *,
    optimizer: optax.GradientTransformation | None = None,
    num_steps: int = 20,
    key: PRNGKeyArray,
    memory: Any = None,
    tol: float = 0.02,
    bounds: tuple[PyTree, PyTree] | None = None,
) -> Tuned:
    """Descend on a risk over the floating-point arrays of a denoiser.

        min_θ risk(f_θ)

    Runs under `jit`, and under `vmap` for one set of parameters an item. A strength
    held as a logarithm moves by factors: `tol` is then a relative accuracy. Descends by
    differences of gradients (`secant`): Barzilai, Borwein 1988
    (10.1093/imanum/8.1.141).

    Args:
        denoiser: The denoiser f_θ to start from; its floating-point arrays are θ.
        loss: `loss(denoiser, key) -> risk`, or with a memory, for warm starts,
            `loss(denoiser, key, memory) -> (risk, memory)`.
        optimizer: An optimizer of optax; by default `secant()`.
        num_steps: Greatest number of steps.
        key: Given to every call of the loss: the same random probe makes one smooth
            function to descend on.
        memory: What the first call of the loss gets; None for a loss without memory.
        tol: Stop when no parameter moves further than this.
        bounds: Least and greatest parameters, as pytrees like the denoiser's
            parameters or scalars for all; `Tuned.at_bound` says when they bind.

    Returns:
        The tuned denoiser, its risk and the way there.

    Example:
        >>> import jax, tvjax
        >>> key = jax.random.key(0)
        >>> y = 5 + jax.random.normal(key, (16, 16))
        >>> def loss(tv, key):
        ...     return tvjax.sugar(tv, y, tvjax.Gaussian(1.0), key=key)
        >>> tuned = tvjax.tune(tvjax.TV(0.5), loss, key=key, bounds=(-5.0, 5.0))
        >>> bool(tuned.denoiser.alpha > 1)
        True
    """
    optimizer = secant() if optimizer is None else optimizer
    params, static = eqx.partition(denoiser, eqx.is_inexact_array)
    lower, upper = (_like(bound, params) for bound in (bounds or (-jnp.inf, jnp.inf)))

    def risk_of(params: PyTree, memory: Any) -> tuple[Array, Any]:
        denoiser = eqx.combine(params, static)
        if memory is None:
            return loss(denoiser, key), None
        return loss(denoiser, key, memory)

    def advance(carry: _Carry) -> _Carry:
        (risk, memory), gradient = jax.value_and_grad(risk_of, has_aux=True)(
            carry.params, carry.memory
        )
        updates, state = optimizer.update(gradient, carry.state, carry.params)
        moved = optax.apply_updates(carry.params, updates)
        moved = optax.projections.projection_box(moved, lower, upper)
        step = optax.tree.norm(optax.tree.sub(moved, carry.params), ord=jnp.inf)
        better = risk < carry.risk
        return _Carry(
            params=moved,
            state=state,
            memory=memory,
            best=optax.tree.where(better, carry.params, carry.best),
            risk=jnp.where(better, risk, carry.risk),
            visited=_record(carry.visited, carry.num_steps, carry.params),
            risks=carry.risks.at[carry.num_steps].set(risk),
            num_steps=carry.num_steps + 1,
            converged=step <= tol,
        )

    def unfinished(carry: _Carry) -> Array:
        return ~carry.converged & (carry.num_steps < num_steps)

    nothing = jnp.full((num_steps,), jnp.nan)
    risk_type = jax.eval_shape(risk_of, params, memory)[0].dtype
    first = _Carry(
        params=params,
        state=optimizer.init(params),
        memory=memory,
        best=params,
        risk=jnp.full((), jnp.inf, risk_type),
        visited=jax.tree.map(
            lambda p: jnp.full((num_steps, *p.shape), jnp.nan, p.dtype), params
        ),
        risks=nothing.astype(risk_type),
        num_steps=jnp.zeros((), jnp.int32),
        converged=jnp.zeros((), bool),
    )
    last = lax.while_loop(unfinished, advance, first)
    final = optax.tree.where(last.converged, last.params, last.best)
    return Tuned(
        denoiser=eqx.combine(final, static),
        risk=last.risk,
        visited=last.visited,
        risks=last.risks,
        num_steps=last.num_steps,
        converged=last.converged,
        at_bound=_touches(final, lower) | _touches(final, upper),
        memory=last.memory,
        state=last.state,
    )


def risk_path(
    denoisers: PyTree, loss: Loss, *, key: PRNGKeyArray
) -> Float[Array, " points"]:
    """The risk of each of many denoisers, with the same random probe.

        R(θ₁), R(θ₂), …

    Args:
        denoisers: One denoiser whose floating-point arrays have a leading axis, as
            from `jax.vmap(tvjax.TV)(alphas)`.
        loss: `loss(denoiser, key) -> risk`.
        key: Given to every call of the loss.

    Returns:
        One risk a denoiser, in the unit of the data squared.

    Example:
        >>> import jax, tvjax
        >>> from jax import numpy as jnp
        >>> key = jax.random.key(0)
        >>> y = 5 + jax.random.normal(key, (16, 16))
        >>> def loss(tv, key):
        ...     return tvjax.sure(tv, y, tvjax.Gaussian(1.0), key=key)
        >>> alphas = jnp.asarray([0.1, 1.0])
        >>> risks = tvjax.risk_path(jax.vmap(tvjax.TV)(alphas), loss, key=key)
        >>> bool(risks[1] < risks[0])
        True
    """
    params, static = eqx.partition(denoisers, eqx.is_inexact_array)
    return lax.map(lambda p: loss(eqx.combine(p, static), key), params)


class SecantState(NamedTuple):
    """What `secant` knows of each parameter.

    Attributes:
        gradient: Gradient at the last point.
        step: Step from there; zero before the first.
        curvature: Curvature of the risk there; zero while unknown.
    """

    gradient: PyTree
    step: PyTree
    curvature: PyTree


def secant(
    first_step: float = 0.3,
    max_step: float = 1.0,
    curvature: PyTree = None,
    *,
    fading: float = 0.0,
) -> optax.GradientTransformation:
    """Descend by the secant of the last two gradients, for each parameter on its own.

    The step −g Δp/Δg of Barzilai and Borwein 1988 (10.1093/imanum/8.1.141): for a
    single parameter Newton's method without second derivatives. Where the risk is not
    convex between the last two points, which a rough gradient may feign, the curvature
    is the last one known; before any is, the step is `max_step` downhill.

    The slope of a risk whose curvature fades as e^(-k p) is a - b e^(-k p): two of them
    tell a and b, and thus where the slope is zero.

    Args:
        first_step: Length of the first step, where no curvature is given.
        max_step: Length of the longest step; for a logarithm, 1 is a factor e.
        curvature: Curvature of the risk where the descent begins, as
            `SecantState.curvature` of an earlier one.
        fading: The rate k at which the curvature fades along each parameter.
    """

    def init(params: PyTree) -> SecantState:
        zero = jax.tree.map(jnp.zeros_like, params)
        return SecantState(zero, zero, zero if curvature is None else curvature)

    def bend(gradient: Array, previous: Array, step: Array, known: Array) -> Array:
        rise = gradient - previous
        convex = rise * step > 0
        # ∫ e^(k p) dp over the step, seen from its end
        length = jnp.expm1(fading * step) / fading if fading else step
        faded = known * jnp.exp(-fading * step)
        return jnp.where(convex, rise / jnp.where(convex, length, 1), faded)

    def move(gradient: Array, step: Array, curvature: Array) -> Array:
        known = curvature > 0
        newton = -gradient / jnp.where(known, curvature, 1)
        if fading:
            # without end where the slope is never zero
            newton = -jnp.log(jnp.maximum(1 - fading * newton, 0)) / fading
        downhill = -jnp.sign(gradient) * jnp.where(step == 0, first_step, max_step)
        return jnp.clip(jnp.where(known, newton, downhill), -max_step, max_step)

    def update(
        updates: optax.Updates,
        state: optax.OptState,
        params: optax.Params | None = None,
    ) -> tuple[optax.Updates, optax.OptState]:
        del params
        last = cast(SecantState, state)
        curvature = jax.tree.map(bend, updates, *last)
        step = jax.tree.map(move, updates, last.step, curvature)
        return step, SecantState(updates, step, curvature)

    return optax.GradientTransformation(init, update)


class _Carry(NamedTuple):
    params: PyTree
    state: optax.OptState
    memory: Any
    best: PyTree
    risk: Array
    visited: PyTree
    risks: Array
    num_steps: Array
    converged: Array


def _record(rows: PyTree, index: Int[Array, ""], params: PyTree) -> PyTree:
    return jax.tree.map(lambda rows, p: rows.at[index].set(p), rows, params)


def _like(bound: PyTree, params: PyTree) -> PyTree:
    """One bound a parameter: a scalar serves them all."""
    if jax.tree.structure(bound) == jax.tree.structure(params):
        return bound
    return jax.tree.map(lambda p: jnp.full_like(p, bound), params)


def _touches(params: PyTree, bound: PyTree) -> Bool[Array, ""]:
    """Whether any parameter lies on its bound."""
    touching = jax.tree.map(lambda p, b: jnp.any(p == b), params, bound)
    return jnp.any(jnp.stack(jax.tree.leaves(touching)))
