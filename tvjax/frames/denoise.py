"""Denoising of images by total variation, the strength chosen from the data."""

from collections.abc import Iterator
from functools import partial
from typing import cast, get_args

import jax
import numpy as np
from jax import Array, lax, numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Num, PRNGKeyArray

from tvjax.arguments import (
    as_image,
    as_mask,
    as_non_negative,
    check_choice,
    check_finite,
    check_noise,
    is_traced,
)
from tvjax.denoisers import TV
from tvjax.frames.result import Curve, Result
from tvjax.noise import estimate_noise, Noise
from tvjax.operators import Norm
from tvjax.solvers import Solution, solve
from tvjax.tuning.descent import Tuned
from tvjax.tuning.strength import choose_alpha, risks_at, Weights


def denoise(
    y: Num[ArrayLike, "*frame height width"],
    *,
    noise: Noise | None = None,
    alpha: ArrayLike | None = None,
    mask: Bool[ArrayLike, "*frame height width"] | None = None,
    per_frame: bool = False,
    weights: Weights = "uniform",
    norm: Norm = "isotropic",
    tol: float = 1e-4,
    max_steps: int = 10_000,
    curve_points: int = 0,
    key: PRNGKeyArray | None = None,
) -> Result:
    """Denoise an image, or a stack of images, by total variation.

        min_x ½‖x − y‖² + α TV(x)

    with α where the error against a held-out share of the data, an unbiased estimate
    of the error against the truth (`tvjax.risk.split`), is least.

    The function looks at the numbers of its data to choose, so that JAX cannot trace
    it: inside `jax.jit`, `jax.vmap` or `jax.grad` use `tvjax.solve` or a `tvjax.TV`.

    Rudin, Osher, Fatemi 1992 (10.1016/0167-2789(92)90242-F); for diffraction images
    Ichiyanagi et al. 2025.

    Args:
        y: One image (height, width), or frames along the first axis. Integers are
            counts.
        noise: Noise model of all frames; by default estimated, as counts times a gain
            for integers, as white noise for floating point.
        alpha: Strength in the unit of the data, a scalar or one a frame; by default
            chosen.
        mask: True where a pixel is valid, for all frames or for each. Invalid pixels
            take no part and come back as they are.
        per_frame: Choose a strength for each frame; by default one for all.
        weights: What the risk counts: "uniform" the squared error of every pixel,
            which in a photon image is mostly that of its brightest spots; "variance"
            the squared error over the expected variance around the pixel.
        norm: Length of a gradient: "isotropic" (Euclidean) or "anisotropic" (ℓ₁).
        tol: Relative duality gap to reach.
        max_steps: Greatest number of solver steps.
        curve_points: Number of strengths at which the risk is computed for a picture,
            from a quarter to four times the chosen one, at about a tenth of a solve
            each; by default only what the descent visited. Only where one strength is
            chosen for all.
        key: Key of the random split of the data; the same by default in every call.

    Returns:
        The image, its noise, strength, risk and certificate; NumPy's arrays but for
        the image, which is JAX's if the data were.

    Raises:
        ValueError: The data are no images or not finite under the mask, the mask leaves
            nothing, alpha is negative, or a word is unknown.
        TypeError: JAX traces the data.

    Example:
        >>> import numpy as np, tvjax
        >>> counts = np.random.default_rng(0).poisson(2.0, (64, 64))
        >>> result = tvjax.denoise(counts)
        >>> result.image.shape
        (64, 64)
        >>> bool(result.image.var() < counts.var() / 20)
        True
    """
    if is_traced(y):
        raise TypeError(
            "`tvjax.denoise` looks at the numbers to choose a strength, which JAX "
            "cannot trace: inside jit, vmap or grad use `tvjax.solve` or `tvjax.TV`."
        )
    in_numpy = not isinstance(y, jax.Array)
    frames, valid = _check_frames(y, mask)
    check_choice("weights", weights, get_args(Weights))
    check_choice("norm", norm, get_args(Norm))
    if noise is not None:
        check_noise(noise)

    tuned, curve = None, None
    if alpha is None:
        noise = estimate_noise(y, mask) if noise is None else noise
        tuned, curve = _choose(
            frames,
            noise,
            valid,
            per_frame=per_frame,
            weights=weights,
            norm=norm,
            curve_points=curve_points,
            key=jax.random.key(0) if key is None else key,
        )
        alpha = _alpha(tuned)
    strength = as_non_negative("alpha", alpha).astype(frames.dtype)
    if strength.shape not in ((), (len(frames),)):
        raise ValueError(
            f"`alpha` must be a scalar or one a frame, got shape {strength.shape}."
        )
    each = jnp.broadcast_to(strength, len(frames))
    solution = _solve_frames(
        frames, each, valid, norm=norm, tol=tol, max_steps=max_steps
    )

    single = np.ndim(y) == 2
    per_item = jax.tree.map(lambda a: a[0] if single else a, solution)
    x = per_item.image
    at_bound = np.asarray(False if tuned is None else tuned.at_bound)
    return Result(
        image=np.asarray(x) if in_numpy else x,
        noise=noise,
        risk=None if tuned is None else np.asarray(tuned.risk),
        warnings=tuple(_warnings(per_item.converged, at_bound)),
        alpha=np.asarray(strength),
        curve=curve,
        relative_gap=np.asarray(per_item.relative_gap),
        rmse=np.asarray(per_item.rmse),
        num_steps=np.asarray(per_item.num_steps),
        converged=np.asarray(per_item.converged),
        at_bound=at_bound,
    )


def _choose(
    frames: Float[Array, "frame height width"],
    noise: Noise,
    mask: Bool[Array, "frame height width"] | None,
    *,
    per_frame: bool,
    weights: Weights,
    norm: Norm,
    curve_points: int,
    key: PRNGKeyArray,
) -> tuple[Tuned, Curve]:
    """The strength of least risk, for all frames or for each, and the risk near it."""
    tuned = choose_alpha(
        frames,
        noise,
        mask=mask,
        per_frame=per_frame,
        weights=weights,
        norm=norm,
        key=key,
    )
    if per_frame or not curve_points:
        return tuned, _visited(tuned)
    alphas = _alpha(tuned) * jnp.geomspace(0.25, 4, curve_points)
    risks = risks_at(
        alphas, frames, noise, mask=mask, weights=weights, norm=norm, key=key
    )
    return tuned, Curve(np.asarray(alphas), np.asarray(risks))


def _alpha(tuned: Tuned) -> Float[Array, "*frame"]:
    """The chosen strength."""
    return cast(TV, tuned.denoiser).alpha


def _warnings(
    converged: Bool[Array, "*frame"], at_bound: Bool[np.ndarray, "*bound"]
) -> Iterator[str]:
    """Yield a sentence for each thing that deserves a second look."""
    if not np.all(converged):
        yield "not converged: raise `max_steps`"
    if np.any(at_bound):
        yield (
            "alpha ended at the end of its range: the risk has no minimum within; "
            "check the noise model and the mask"
        )


@partial(jax.jit, static_argnames=("norm", "tol", "max_steps"))
def _solve_frames(
    frames: Float[Array, "frame height width"],
    alphas: Float[Array, " frame"],
    mask: Bool[Array, "frame height width"] | None,
    *,
    norm: Norm,
    tol: float,
    max_steps: int,
) -> Solution:
    """Solve each frame: one after the other on a CPU, all at once elsewhere."""

    def one(item: tuple[Array, Array, Array | None]) -> Solution:
        frame, alpha, valid = item
        solution = solve(
            frame, alpha, mask=valid, norm=norm, tol=tol, max_steps=max_steps
        )
        return solution._replace(dual=None)

    items = (frames, alphas, mask)
    on_cpu = jax.default_backend() == "cpu"
    return lax.map(one, items) if on_cpu else jax.vmap(one)(items)


def _check_frames(
    y: Num[ArrayLike, "*frame height width"], mask: Bool[ArrayLike, "..."] | None
) -> tuple[
    Float[Array, "frame height width"], Bool[Array, "frame height width"] | None
]:
    """Frames (frame, height, width) in floating point and their masks."""
    shape = np.shape(y)
    image = as_image(y, ndim=(2, 3), remedy="for volumes use `tvjax.solve`")
    frames = image.reshape(-1, *image.shape[-2:])
    valid = as_mask(mask, *{frames.shape[1:]: 0, shape: 0})
    if valid is not None:
        valid = jnp.broadcast_to(valid, frames.shape)
        empty = int(jnp.sum(~jnp.any(valid, axis=(1, 2))))
        if empty:
            raise ValueError(
                f"`mask` leaves no valid pixel in {empty} of {len(frames)} images; "
                "True means valid."
            )
    check_finite(frames, valid)
    return frames, valid


def _visited(tuned: Tuned) -> Curve:
    """The risks that the descent computed, in ascending order of strength."""
    alphas, risks = np.exp(np.asarray(tuned.visited.log_alpha)), np.asarray(tuned.risks)
    order = np.argsort(alphas, axis=-1)  # NaN, where no step was needed, comes last
    alphas, risks = (np.take_along_axis(z, order, -1) for z in (alphas, risks))
    longest = int(np.max(tuned.num_steps))
    return Curve(alphas[..., :longest], risks[..., :longest])
