"""Denoise with every strength chosen from the data: what most users call."""

from dataclasses import dataclass
from functools import partial
from typing import Any, get_args, Literal

import equinox as eqx
import jax
import numpy as np
from jax import Array, lax, numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, PRNGKeyArray

from tvjax.denoisers import TV
from tvjax.noise import Gaussian, Noise, Poisson
from tvjax.operators import Norm
from tvjax.risk import couple, held_out_error, thin
from tvjax.solvers import Accuracy, blank_memory, Memory, Solution, solve
from tvjax.tuning import secant, tune, Tuned

# The risk of so many pixels has its least value within a few percent of the truth's.
SAMPLE = 2**18
TILE = 128
# A strength further than this from the noise is no denoising, or no image.
RANGE = (1e-3, 1e3)
# The risk is flat at its minimum: and the last step of a secant is.
ALPHA_TOLERANCE = 0.06
MAX_MOVES = 10
# Of the exposure that the strength is chosen on; the rest judges.
FRACTION = 0.9
TUNING_GAP = 1e-3
TUNING_TANGENT = Accuracy(tol=0.05, max_steps=500)

Weights = Literal["uniform", "variance"]


@dataclass(frozen=True, eq=False)
class Curve:
    """The risk at the strengths that the descent visited, in order."""

    alphas: np.ndarray
    risks: np.ndarray


@dataclass(frozen=True, eq=False)
class Result:
    """A denoised image or stack, and how it came about.

    For a stack, `gap`, `rmse`, `num_steps` and `converged` have one entry a frame; so
    have `alpha`, `risk` and `at_bound` where each frame has its own strength.
    """

    image: Any  # NumPy for NumPy, JAX for JAX
    alpha: np.ndarray  # unit of the data
    noise: Noise
    risk: np.ndarray | None  # estimated mean squared error; None for a given alpha
    curve: Curve | None
    gap: np.ndarray  # relative duality gap
    rmse: np.ndarray  # certified distance to the exact solution, unit of the data
    num_steps: np.ndarray
    converged: np.ndarray
    at_bound: np.ndarray  # the strength wanted to leave its range

    def asdict(self) -> dict[str, Any]:
        """Everything but the image, in types that JSON knows."""
        noise = {name: _plain(value) for name, value in vars(self.noise).items()}
        return {
            "alpha": _plain(self.alpha),
            "noise": {"model": type(self.noise).__name__, **noise},
            "risk": None if self.risk is None else _plain(self.risk),
            "curve": None
            if self.curve is None
            else {
                "alphas": _plain(self.curve.alphas),
                "risks": _plain(self.curve.risks),
            },
            "relative_gap": _plain(self.gap),
            "certified_rmse": _plain(self.rmse),
            "num_steps": _plain(self.num_steps),
            "converged": _plain(self.converged),
            "alpha_at_bound": _plain(self.at_bound),
        }

    def report(self) -> str:
        """The same in sentences."""
        parameters = ", ".join(
            f"{name} {_short(value)}" for name, value in vars(self.noise).items()
        )
        lines = [
            f"noise      {type(self.noise).__name__} ({parameters})",
            f"alpha      {_short(self.alpha)}"
            + (" (given)" if self.risk is None else " (chosen by the risk)"),
        ]
        if self.risk is not None:
            lines.append(f"risk       {_short(self.risk)}, the estimated squared error")
        lines += [
            f"exactness  relative gap {_short(self.gap)}, within {_short(self.rmse)} "
            "rms of the exact minimizer",
            f"steps      {_short(self.num_steps)}",
        ]
        if not np.all(self.converged):
            lines.append("WARNING    not converged: raise `max_steps`")
        if np.any(self.at_bound):
            lines.append(
                "WARNING    alpha ended at the end of its range: the risk has no "
                "minimum within; check the noise model and the mask"
            )
        return "\n".join(lines)


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
    key: PRNGKeyArray | None = None,
) -> Result:
    """Denoise an image, or a stack of images, by total variation.

        min_x ½‖x − y‖² + α TV(x)

    with α where the unbiased risk of the result, Stein's with SUGAR's gradient, is
    least.

    Args:
        image: One image, or frames along the first axis. Integers are counts.
        noise: How noisy the data is; by default estimated, as counts times a gain for
            integers, as white noise for floating point.
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
        key: Of the random probe in the risk; the same by default in every call.

    Raises:
        ValueError: For anything but images, values that are not finite under the mask,
            a mask that leaves nothing, a negative alpha.
    """
    in_numpy = not isinstance(image, jax.Array)
    frames, valid = _check_frames(image, mask)
    noise = _estimate(image, frames, valid) if noise is None else noise
    key = jax.random.key(0) if key is None else key
    if weights not in get_args(Weights):
        raise ValueError(f"`weights` must be one of {get_args(Weights)}.")

    tuned = None
    if alpha is None:
        tuned = choose_alpha(
            frames,
            noise,
            mask=valid,
            per_frame=per_frame,
            weights=weights,
            norm=norm,
            key=key,
        )
        alpha = tuned.denoiser.alpha
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
        curve=None if tuned is None else _curve(tuned),
        gap=np.asarray(per_item.relative_gap),
        rmse=np.asarray(per_item.rmse),
        num_steps=np.asarray(per_item.num_steps),
        converged=np.asarray(per_item.converged),
        at_bound=np.asarray(False if tuned is None else tuned.at_bound),
    )


def choose_alpha(
    frames: Float[Array, "frame height width"],
    noise: Noise,
    *,
    mask: Bool[Array, "frame height width"] | None = None,
    per_frame: bool = False,
    weights: Weights = "uniform",
    norm: Norm = "isotropic",
    key: PRNGKeyArray,
) -> Tuned:
    """The strength of least risk, for all frames or for each.

    The descent begins on tiles spread over the frames. It ends there where the tiles
    hold enough pixels, else with a step or two on everything.

    Returns:
        A `Tuned` whose denoiser is a `TV`, with a leading axis where `per_frame`.
    """
    if per_frame:
        masks = [None] * len(frames) if mask is None else list(mask)
        each = [
            choose_alpha(
                frame[None],
                noise,
                mask=None if valid is None else valid[None],
                weights=weights,
                norm=norm,
                key=key,
            )
            for frame, valid in zip(frames, masks, strict=True)
        ]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)

    counts = _are_whole_counts(frames, noise, mask)
    scene = _divide(frames, noise, mask, weights, counts, key)
    start = TV(0.8, tol=TUNING_GAP, norm=norm, tangent=TUNING_TANGENT)
    start = eqx.tree_at(lambda tv: tv.log_alpha, start, _first_log_alpha(scene))
    sample = _sample(scene)
    tuned = _descend(start, _mosaic(sample))
    if sample.seen.size < min(SAMPLE, scene.seen.size):
        tuned = _descend(tuned.denoiser, _mosaic(scene))
    # the noise falls as the root of the exposure, and the strength with it
    return eqx.tree_at(
        lambda t: (t.denoiser.log_alpha, t.path.log_alpha),
        tuned,
        replace_fn=lambda log_alpha: log_alpha + 0.5 * np.log(FRACTION),
    )


class _Scene(eqx.Module):
    """Two independent measurements of the same images: to denoise and to judge by."""

    seen: Float[Array, "image height width"]
    held_out: Float[Array, "image height width"]
    variance: Float[Array, "image height width"]  # of `held_out`
    mask: Bool[Array, "image height width"] | None
    weights: Float[Array, "image height width"] | None


@eqx.filter_jit
def _divide(
    frames: Array,
    noise: Noise,
    mask: Array | None,
    weights: Weights,
    whole_counts: bool,
    key: PRNGKeyArray,
) -> _Scene:
    """Deal the data out to a scene."""
    y = frames if mask is None else jnp.where(mask, frames, 0)
    smooth = jnp.maximum(noise.variance(_local_mean(y, mask)), 0)
    weight = None
    if weights == "variance":
        # where no photon fell around a pixel, its variance is that of few, not zero
        floor = 0.05 * jnp.mean(smooth, where=mask)
        weight = 1 / jnp.maximum(smooth, jnp.where(floor > 0, floor, 1))
        weight = weight / jnp.mean(weight, where=mask)
    if whole_counts:
        seen, held_out = thin(y, noise, key=key, fraction=FRACTION)
        variance = noise.variance(held_out)
    else:
        seen, held_out = couple(y, smooth, key=key, fraction=FRACTION)
        variance = smooth
    return _Scene(seen, held_out, variance / (1 - FRACTION), mask, weight)


@eqx.filter_jit
def _descend(start: TV, scene: _Scene) -> Tuned:
    """Tune one strength on the risk of a scene of one image."""
    one = jax.tree.map(lambda z: z[0], scene)
    start = eqx.tree_at(
        lambda tv: tv.mask, start, one.mask, is_leaf=lambda m: m is None
    )

    def loss(tv: TV, key: PRNGKeyArray, memory: Memory) -> tuple[Array, Memory]:
        del key
        f, memory = tv.resume(one.seen, memory)
        risk = held_out_error(f, one.held_out, one.variance, one.mask, one.weights)
        return risk, memory

    limits = jnp.log(jnp.asarray(RANGE, one.seen.dtype)) + start.log_alpha
    return tune(
        start,
        loss,
        optimizer=secant(first_step=0.15, max_step=0.7),
        num_steps=MAX_MOVES,
        key=jax.random.key(0),
        memory=blank_memory(one.seen),
        tol=ALPHA_TOLERANCE,
        bounds=(limits[0], limits[1]),
    )._replace(memory=None)


@eqx.filter_jit
def _mosaic(scene: _Scene) -> _Scene:
    """All images of a scene in one, below each other, apart by an invalid row.

    One image has one certificate, for the sum that the risk is, and no kernel waits
    for the slowest of many.
    """
    images, height, width = scene.seen.shape
    if images == 1:
        return scene
    mask = jnp.ones_like(scene.seen, bool) if scene.mask is None else scene.mask
    apart = eqx.tree_at(lambda s: s.mask, scene, mask, is_leaf=lambda m: m is None)
    return jax.tree.map(
        lambda z: jnp.pad(z, ((0, 0), (0, 1), (0, 0))).reshape(1, -1, width), apart
    )


@eqx.filter_jit
def _first_log_alpha(scene: _Scene) -> Array:
    """α = 0.8 times the root of the mean variance, as the weights see it."""
    weights = 1 if scene.weights is None else scene.weights
    variance = (1 - FRACTION) * jnp.mean(weights * scene.variance, where=scene.mask)
    tiny = jnp.finfo(scene.seen.dtype).tiny
    return jnp.log(0.8 * jnp.sqrt(jnp.maximum(variance, tiny)))


def _are_whole_counts(frames: Array, noise: Noise, mask: Array | None) -> bool:
    """Can photons be dealt out one by one?"""
    if not isinstance(noise, Poisson) or not bool(noise.gain > 0):
        return False
    counts = frames / noise.gain.astype(frames.dtype)
    whole = (counts >= 0) & (jnp.abs(counts - jnp.round(counts)) < 1e-3)
    return bool(jnp.all(whole, where=mask))


def _local_mean(y: Array, mask: Array | None, side: int = 9) -> Array:
    """The mean of the valid pixels in a square around each pixel."""
    window = (1, side, side)

    def total(z: Array) -> Array:
        return lax.reduce_window(z, 0.0, lax.add, window, (1, 1, 1), "SAME")

    valid = jnp.ones_like(y) if mask is None else mask.astype(y.dtype)
    return total(y) / jnp.maximum(total(valid), 1)


def _sample(scene: _Scene) -> _Scene:
    """Tiles evenly spread over the images: a quarter of the pixels, or `SAMPLE`."""
    size = min(scene.seen.size // 4, SAMPLE)
    side = TILE if size > 2**16 else TILE // 2
    count = size // side**2
    if count < 4 or min(scene.seen.shape[1:]) < side:
        return scene
    images, height, width = scene.seen.shape
    axes = (
        np.arange(images),
        np.arange(0, height - side + 1, side),
        np.arange(0, width - side + 1, side),
    )
    corners = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    if scene.mask is not None:
        share = np.asarray(_cut(scene.mask.astype(jnp.float32), corners, side))
        share = share.mean((1, 2))
        corners = corners[share > min(0.5, share.max() / 2)]
    chosen = corners[np.linspace(0, len(corners) - 1, count).astype(int)]
    return jax.tree.map(lambda z: _cut(z, chosen, side), scene)


@partial(jax.jit, static_argnames="side")
def _cut(z: Array, corners: Array, side: int) -> Array:
    """Squares out of images."""
    return jax.vmap(lambda corner: lax.dynamic_slice(z, corner, (1, side, side))[0])(
        corners
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


def _estimate(image: ArrayLike, frames: Array, mask: Array | None) -> Noise:
    """Counts times a gain for integers, white noise for floating point."""
    if not jnp.issubdtype(jnp.asarray(image).dtype, jnp.integer):
        return Gaussian.estimate(frames, mask)
    poisson = Poisson.estimate(frames, mask)
    # a counting detector has a gain of exactly one
    return Poisson(1.0) if abs(float(poisson.gain) - 1) < 0.1 else poisson


def _curve(tuned: Tuned) -> Curve:
    """The risks that were computed, without the places that were not needed."""
    alphas = np.exp(np.asarray(tuned.path.log_alpha))
    risks = np.asarray(tuned.risks)
    if risks.ndim == 1:
        alphas, risks = alphas[: tuned.num_steps], risks[: tuned.num_steps]
    return Curve(alphas, risks)


def _plain(value: ArrayLike) -> Any:
    return np.asarray(value).tolist()


def _short(value: ArrayLike) -> str:
    """A number, or the range of several."""
    value = np.asarray(value)
    if value.size == 1:
        return f"{value.item():.4g}"
    return f"{value.min():.4g} to {value.max():.4g}"
