"""Gradient descent on a risk: which parameters of a denoiser serve this data best?"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import optax
from jax import Array, lax, numpy as jnp
from jaxtyping import Bool, Float, Int, PRNGKeyArray, PyTree

# A denoiser and a key, then a memory of the last call where the loss keeps one.
Loss = Callable[..., Any]


class Tuned(NamedTuple):
    """The tuned denoiser, and the way there.

    The denoiser is where the last step led, or, if the steps never became short, the
    best of those visited.
    """

    denoiser: PyTree
    risk: Float[Array, ""]  # the least on the way
    path: PyTree  # of the parameters, one row a step; NaN past the end
    risks: Float[Array, " steps"]
    num_steps: Int[Array, ""]
    converged: Bool[Array, ""]  # the last step was shorter than `tol`
    at_bound: Bool[Array, ""]  # a parameter ended at the end of its range
    memory: Any  # of the last call of the loss
    state: PyTree  # of the optimizer


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

    Runs under `jit`, and under `vmap` for one set of parameters an item. A strength
    held as a logarithm moves by factors: `tol` is then a relative accuracy.

    Args:
        denoiser: Where to start.
        loss: `loss(denoiser, key) -> risk`, or with a memory, for warm starts,
            `loss(denoiser, key, memory) -> (risk, memory)`.
        optimizer: Of optax; by default `secant()`.
        num_steps: At most so many steps.
        key: Given to every call of the loss: the same random probe makes one smooth
            function to descend on.
        memory: Of the first call; None for a loss without one.
        tol: Stop when no parameter moves further than this.
        bounds: Least and greatest parameters, as pytrees like the denoiser's
            parameters or scalars for all; `Tuned.at_bound` says when they bind.
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
            path=_record(carry.path, carry.num_steps, carry.params),
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
        path=jax.tree.map(
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
        path=last.path,
        risks=last.risks,
        num_steps=last.num_steps,
        converged=last.converged,
        at_bound=_touches(final, lower) | _touches(final, upper),
        memory=last.memory,
        state=last.state,
    )


def path(
    denoisers: PyTree, loss: Loss, *, key: PRNGKeyArray
) -> Float[Array, " points"]:
    """The risk of each of many denoisers, with the same random probe.

    Args:
        denoisers: One denoiser whose floating-point arrays have a leading axis, as
            from `jax.vmap(tvjax.TV)(alphas)`.
        loss: `loss(denoiser, key) -> risk`.
        key: Given to every call.
    """
    params, static = eqx.partition(denoisers, eqx.is_inexact_array)
    return lax.map(lambda p: loss(eqx.combine(p, static), key), params)


class SecantState(NamedTuple):
    """What `secant` knows of each parameter."""

    gradient: PyTree  # at the last point
    step: PyTree  # from there; zero before the first
    curvature: PyTree  # of the risk; zero while unknown


def secant(
    first_step: float = 0.3, max_step: float = 1.0, curvature: PyTree = None
) -> optax.GradientTransformation:
    """Descend by the secant of the last two gradients, for each parameter on its own.

    The step −g Δp/Δg of Barzilai and Borwein 1988 (10.1093/imanum/8.1.141): for a
    single parameter Newton's method without second derivatives. Where the risk is not
    convex between the last two points, the step is `max_step` downhill.

    Args:
        first_step: Length of the first step, where no curvature is given.
        max_step: No step is longer; with parameters in logarithms, 1 is a factor e.
        curvature: Of the risk where the descent begins, as `SecantState.curvature` of
            an earlier one.
    """

    def init(params: PyTree) -> SecantState:
        zero = jax.tree.map(jnp.zeros_like, params)
        return SecantState(zero, zero, zero if curvature is None else curvature)

    def bend(gradient: Array, previous: Array, step: Array, known: Array) -> Array:
        rise = gradient - previous
        convex = rise * step > 0
        return jnp.where(
            step == 0, known, jnp.where(convex, rise / jnp.where(convex, step, 1), 0)
        )

    def move(gradient: Array, step: Array, curvature: Array) -> Array:
        known = curvature > 0
        newton = -gradient / jnp.where(known, curvature, 1)
        downhill = -jnp.sign(gradient) * jnp.where(step == 0, first_step, max_step)
        return jnp.clip(jnp.where(known, newton, downhill), -max_step, max_step)

    def update(
        gradients: PyTree, state: SecantState, params: PyTree = None
    ) -> tuple[PyTree, SecantState]:
        del params
        curvature = jax.tree.map(bend, gradients, *state)
        step = jax.tree.map(move, gradients, state.step, curvature)
        return step, SecantState(gradients, step, curvature)

    return optax.GradientTransformation(init, update)


class _Carry(NamedTuple):
    params: PyTree
    state: optax.OptState
    memory: Any
    best: PyTree
    risk: Array
    path: PyTree
    risks: Array
    num_steps: Array
    converged: Array


def _record(rows: PyTree, index: Array, params: PyTree) -> PyTree:
    return jax.tree.map(lambda rows, p: rows.at[index].set(p), rows, params)


def _like(bound: PyTree, params: PyTree) -> PyTree:
    """One bound a parameter: a scalar serves them all."""
    if jax.tree.structure(bound) == jax.tree.structure(params):
        return bound
    return jax.tree.map(lambda p: jnp.full_like(p, bound), params)


def _touches(params: PyTree, bound: PyTree) -> Array:
    """Does any parameter lie on its bound?"""
    touching = jax.tree.map(lambda p, b: jnp.any(p == b), params, bound)
    return jnp.any(jnp.stack(jax.tree.leaves(touching)))
