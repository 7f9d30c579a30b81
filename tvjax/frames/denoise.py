"""Denoise with every strength chosen from the data: what most users call."""

from functools import partial
from typing import get_args

import jax
import numpy as np
from jax import Array, lax, numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, PRNGKeyArray

from tvjax.frames.result import Curve, Result
from tvjax.noise import estimate_noise, Noise
from tvjax.operators import Norm
from tvjax.solvers import Solution, solve
from tvjax.tuning import Tuned
from tvjax.tuning.strength import choose_alpha, risks_at, Weights


def denoise(
    image: Float[ArrayLike, "*frame height width"],
    *,
    noise: Noise | None = None,
    alpha: float | ArrayLike | None = None,
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

    Args:
        image: One image, or frames along the first axis. Integers are counts.
        noise: How noisy the data is, all frames alike; by default estimated, as counts
            times a gain for integers, as white noise for floating point.
        alpha: Strength in the unit of the data, a scalar or one a frame; by default
            chosen.
        mask: True where a pixel is valid, for all frames or for each. Invalid pixels
            take no part and come back as they are.
        per_frame: Choose a strength for each frame; by default one for all.
        weights: What the risk counts: "uniform" the squared error of every pixel,
            which in a photon image is mostly that of its brightest spots; "variance"
            the squared error over the expected variance around the pixel.
        norm: "isotropic" or "anisotropic".
        tol: Relative duality gap to reach.
        max_steps: Of the solver, at most.
        curve_points: Of the curve of risk against strength, from a quarter to four
            times the chosen one, at about a tenth of a solve each; by default only
            what the descent visited. For one strength for all.
        key: Of the random split of the data; the same by default in every call.

    Raises:
        ValueError: For anything but images, values that are not finite under the mask,
            a mask that leaves nothing, a negative alpha.
    """
    in_numpy = not isinstance(image, jax.Array)
    frames, valid = _check_frames(image, mask)
    if noise is None and alpha is None:
        noise = estimate_noise(image, mask)
    key = jax.random.key(0) if key is None else key
    if weights not in get_args(Weights):
        raise ValueError(f"`weights` must be one of {get_args(Weights)}.")

    tuned, curve = None, None
    if alpha is None:
        judge = {"mask": valid, "weights": weights, "norm": norm, "key": key}
        tuned = choose_alpha(frames, noise, per_frame=per_frame, **judge)
        alpha, curve = tuned.denoiser.alpha, _visited(tuned)
        if curve_points and not per_frame:
            alphas = alpha * jnp.geomspace(0.25, 4, curve_points)
            risks = risks_at(alphas, frames, noise, **judge)
            curve = Curve(np.asarray(alphas), np.asarray(risks))
    alpha = jnp.asarray(alpha, frames.dtype)
    if alpha.shape not in ((), (len(frames),)):
        raise ValueError(
            f"`alpha` must be a scalar or one a frame, got shape {alpha.shape}."
        )
    if not bool(jnp.all(alpha >= 0)):
        raise ValueError(f"`alpha` must not be negative, got {jnp.min(alpha)}.")
    each = jnp.broadcast_to(alpha, len(frames))
    solution = _solve_frames(
        frames, each, valid, norm=norm, tol=tol, max_steps=max_steps
    )

    single = np.ndim(image) == 2
    per_item = jax.tree.map(lambda a: a[0] if single else a, solution)
    out = per_item.image
    return Result(
        image=np.asarray(out) if in_numpy else out,
        alpha=np.asarray(alpha),
        noise=noise,
        risk=None if tuned is None else np.asarray(tuned.risk),
        curve=curve,
        gap=np.asarray(per_item.relative_gap),
        rmse=np.asarray(per_item.rmse),
        num_steps=np.asarray(per_item.num_steps),
        converged=np.asarray(per_item.converged),
        at_bound=np.asarray(False if tuned is None else tuned.at_bound),
    )


@partial(jax.jit, static_argnames=("norm", "tol", "max_steps"))
def _solve_frames(
    frames: Array,
    alphas: Array,
    mask: Array | None,
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
    return lax.map(one, items) if _on_cpu() else jax.vmap(one)(items)


def _on_cpu() -> bool:
    return jax.default_backend() == "cpu"


def _check_frames(
    image: ArrayLike, mask: ArrayLike | None
) -> tuple[Array, Array | None]:
    """Frames (frame, y, x) in floating point and their masks."""
    frames = jnp.asarray(image)
    if jnp.iscomplexobj(frames) or frames.ndim not in (2, 3) or frames.size == 0:
        raise ValueError(
            "expected an image (y, x) or frames (frame, y, x) of real numbers, got "
            f"shape {frames.shape} of {frames.dtype}; for volumes use `tvjax.solve`."
        )
    frames = frames.astype(jnp.promote_types(frames.dtype, jnp.float32))
    frames = frames.reshape(-1, *frames.shape[-2:])
    valid = None
    if mask is not None:
        valid = jnp.asarray(mask, dtype=bool)
        if valid.shape not in (frames.shape[1:], jnp.shape(image)):
            raise ValueError(
                f"`mask` has shape {valid.shape}, but the image {jnp.shape(image)}."
            )
        valid = jnp.broadcast_to(valid, frames.shape)
        empty = ~jnp.any(valid, axis=(1, 2))
        if bool(jnp.any(empty)):
            raise ValueError(
                f"`mask` leaves no valid pixel in {int(jnp.sum(empty))} of "
                f"{len(frames)} images; True means valid."
            )
    bad = ~jnp.isfinite(frames) if valid is None else ~jnp.isfinite(frames) & valid
    if bool(jnp.any(bad)):
        raise ValueError(
            f"{int(jnp.sum(bad))} pixels are NaN or infinite; mark them invalid with "
            "mask=numpy.isfinite(image)."
        )
    return frames, valid


def _visited(tuned: Tuned) -> Curve:
    """The risks that the descent computed, in ascending order of strength."""
    alphas, risks = np.exp(np.asarray(tuned.path.log_alpha)), np.asarray(tuned.risks)
    order = np.argsort(alphas, axis=-1)  # NaN, where no step was needed, comes last
    alphas, risks = (np.take_along_axis(z, order, -1) for z in (alphas, risks))
    longest = int(np.max(tuned.num_steps))
    return Curve(alphas[..., :longest], risks[..., :longest])
