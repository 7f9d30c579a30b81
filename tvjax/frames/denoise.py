"""Denoising of images by total variation, the strength chosen from the data."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import get_args

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
from tvjax.frames.protection import protect as protect_spots
from tvjax.frames.result import Curve, Result
from tvjax.noise import (
    diagnose_noise,
    Noise,
    Poisson,
    PoissonGaussian,
)
from tvjax.operators import Norm
from tvjax.solvers import Solution, solve
from tvjax.tuning.draws import choose_by_draws, ChosenStrength, noise_of_frame
from tvjax.tuning.strength import risks_at
from tvjax.tuning.weights import Weights

# A strength that is known no better than to this share of itself deserves a warning.
UNSURE = 0.5
# A curve for a picture is drawn for so many splits of the data.
CURVES = 3


def denoise(
    y: Num[ArrayLike, "*frame height width"],
    *,
    noise: Noise | None = None,
    alpha: ArrayLike | None = None,
    mask: Bool[ArrayLike, "*frame height width"] | None = None,
    per_frame: bool = False,
    weights: Weights | None = None,
    protect: bool | None = None,
    norm: Norm = "isotropic",
    tol: float = 1e-4,
    max_steps: int = 10_000,
    curve_points: int = 0,
    key: PRNGKeyArray | None = None,
) -> Result:
    """Denoise an image, or a stack of images, by total variation.

        min_x ½‖x − y‖² + α TV(x)

    with α where the error against a held-out share of the data, an unbiased estimate
    of the error against the truth (`tvjax.risk.split`), is least: the weakest of those
    that the data cannot tell from the best. It comes with an error bar. On spots that
    stand clear in counts it is lowered where that brings less error.

    The function looks at the numbers of its data to choose, so that JAX cannot trace
    it: inside `jax.jit`, `jax.vmap` or `jax.grad` use `tvjax.solve` or a `tvjax.TV`.

    Rudin, Osher, Fatemi 1992 (10.1016/0167-2789(92)90242-F); for diffraction images
    Ichiyanagi et al. 2025.

    Args:
        y: One image (height, width), or frames along the first axis. Integers are
            counts.
        noise: Noise model of all frames; by default recognised from the data
            (`tvjax.diagnose_noise`), with a warning where it is not what it seems.
        alpha: Strength in the unit of the data, a scalar or one a frame; by default
            chosen.
        mask: True where a pixel is valid, for all frames or for each. Invalid pixels
            take no part and come back as they are.
        per_frame: Choose a strength for each frame; by default one for all.
        weights: What the risk counts: "uniform" the squared error of every pixel,
            which in a photon image is mostly that of its brightest spots; "variance"
            the squared error over the expected variance around the pixel. By default
            "variance" for counts, where it keeps weak spots, else "uniform".
        protect: Whether spots that stand clear in counts get a lower strength, where
            that lowers their error; by default where the strength is chosen here.
            Other noise than that of counts has no spots to protect.
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
    if weights is not None:
        check_choice("weights", weights, get_args(Weights))
    check_choice("norm", norm, get_args(Norm))
    if noise is not None:
        check_noise(noise)

    random = jax.random.key(0) if key is None else key
    choices, curve, report = [], None, None
    if noise is None and (alpha is None or protect):
        report = diagnose_noise(y, mask)
        noise = report.noise
    if alpha is None:
        assert noise is not None
        counted = isinstance(noise, Poisson | PoissonGaussian)
        weights = weights or ("variance" if counted else "uniform")
        choices = _choose(frames, noise, valid, per_frame, weights, norm, random)
        curve = _visited(choices)
        if curve_points and not per_frame:
            curve = _curves(
                choices[0], frames, noise, valid, weights, norm, curve_points, random
            )
        alphas = np.asarray([choice.alpha for choice in choices])
        strength = as_non_negative("alpha", alphas if per_frame else alphas[0])
    else:
        strength = as_non_negative("alpha", alpha)
    strength = strength.astype(frames.dtype)
    if strength.shape not in ((), (len(frames),)):
        raise ValueError(
            f"`alpha` must be a scalar or one a frame, got shape {strength.shape}."
        )
    each = jnp.broadcast_to(strength, len(frames))
    kept = None
    if bool(choices) if protect is None else protect:
        kept, each = _protected(frames, noise, valid, each, norm, random)
    solution = _solve_frames(
        frames, each, valid, norm=norm, tol=tol, max_steps=max_steps
    )

    single = np.ndim(y) == 2
    per_item = jax.tree.map(lambda a: a[0] if single else a, solution)
    x = per_item.image
    warnings = _warnings(per_item.converged, choices)
    return Result(
        image=np.asarray(x) if in_numpy else x,
        noise=noise,
        risk=_each([choice.risk for choice in choices], per_frame),
        warnings=(*(() if report is None else report.warnings), *warnings),
        diagnosis=report,
        alpha=np.asarray(strength),
        alpha_error=_each([choice.error for choice in choices], per_frame),
        kept=None if kept is None else kept[0] if single else kept,
        curve=curve,
        relative_gap=np.asarray(per_item.relative_gap),
        rmse=np.asarray(per_item.rmse),
        num_steps=np.asarray(per_item.num_steps),
        converged=np.asarray(per_item.converged),
        at_bound=np.asarray(
            [choice.at_bound for choice in choices]
            if per_frame and choices
            else any(choice.at_bound for choice in choices)
        ),
    )


def _each(values: list[float], per_frame: bool) -> np.ndarray | None:
    """One value a frame, or one for all; None where there are none."""
    if not values:
        return None
    return np.asarray(values if per_frame else values[0])


def _choose(
    frames: Float[Array, "frame height width"],
    noise: Noise,
    mask: Bool[Array, "frame height width"] | None,
    per_frame: bool,
    weights: Weights,
    norm: Norm,
    key: PRNGKeyArray,
) -> list[ChosenStrength]:
    """The strength of least risk, one for all frames or one for each."""
    if not per_frame:
        return [
            choose_by_draws(
                frames, noise, mask=mask, weights=weights, norm=norm, key=key
            )
        ]
    return [
        choose_by_draws(
            frames[i][None],
            noise_of_frame(noise, i, frames.shape),
            mask=None if mask is None else mask[i][None],
            weights=weights,
            norm=norm,
            key=key,
        )
        for i in range(len(frames))
    ]


def _protected(
    frames: Float[Array, "frame height width"],
    noise: Noise | None,
    mask: Bool[Array, "frame height width"] | None,
    alpha: Float[Array, " frame"],
    norm: Norm,
    key: PRNGKeyArray,
) -> tuple[Bool[np.ndarray, "frame height width"], Float[Array, "..."]]:
    """Where the strength is lower, and the strength of each frame or each pixel."""
    if not isinstance(noise, Poisson | PoissonGaussian):
        return np.zeros(frames.shape, bool), alpha
    found = protect_spots(frames, noise, mask, alpha, norm=norm, key=key)
    kept = np.asarray(found.kept)
    return kept, alpha[:, None, None] * found.factor if kept.any() else alpha


def _warnings(
    converged: Bool[Array, "*frame"], choices: Sequence[ChosenStrength]
) -> Iterator[str]:
    """Yield a sentence for each thing that deserves a second look."""
    if not np.all(converged):
        yield "not converged: raise `max_steps`"
    ended = [choice for choice in choices if choice.at_bound]
    if any(choice.alpha > 1.01 * choice.visited.min() for choice in ended):
        yield (
            "alpha ended at the end of its range: the risk has no minimum within; "
            "check the noise model and the mask"
        )
    elif ended:
        yield (
            "alpha ended at the least of its range, and the image comes back nearly as "
            "it was: its pixels differ by far more than their noise, as those of a "
            "camera's fixed pattern do, in a dark frame for one; subtract the dark, or "
            "check the noise model and the mask"
        )
    # of a strength at an end, that is all there is to say
    within = [choice for choice in choices if not choice.at_bound]
    stopped = sum(not choice.converged for choice in within)
    if stopped:
        yield (
            "the descent on the risk did not settle"
            + (f" in {stopped} of {len(choices)} frames" if len(choices) > 1 else "")
            + ": the strength is only roughly known; give more frames, or alpha"
        )
    unsure = [choice.error for choice in within if choice.error > UNSURE]
    if unsure:
        known = f"to {max(unsure):.0%}" if np.isfinite(max(unsure)) else "hardly"
        yield (
            f"alpha is {known} known, because the splits of the data disagree or the "
            "risk is flat: give more frames, or look at other strengths"
        )


@partial(jax.jit, static_argnames=("norm", "tol", "max_steps"))
def _solve_frames(
    frames: Float[Array, "frame height width"],
    alphas: Float[Array, " frame"] | Float[Array, "frame height width"],
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


def _visited(choices: Sequence[ChosenStrength]) -> Curve:
    """The risks that the descent computed, in ascending order of strength."""
    longest = max(len(choice.visited) for choice in choices)
    rows = []
    for choice in choices:
        order = np.argsort(choice.visited)
        room = np.full(longest - len(order), np.nan)
        rows.append([[*z[order], *room] for z in (choice.visited, choice.risks)])
    alphas, risks = np.moveaxis(np.asarray(rows), 1, 0)
    return Curve(alphas, risks) if len(choices) > 1 else Curve(alphas[0], risks[0])


def _curves(
    choice: ChosenStrength,
    frames: Float[Array, "frame height width"],
    noise: Noise,
    mask: Bool[Array, "frame height width"] | None,
    weights: Weights,
    norm: Norm,
    points: int,
    key: PRNGKeyArray,
) -> Curve:
    """The risk from a quarter to four times a strength, by several splits."""
    alphas = choice.alpha * jnp.geomspace(0.25, 4, points)
    each = [
        risks_at(
            alphas, frames, noise, mask=mask, weights=weights, norm=norm, key=split
        )
        for split in jax.random.split(key, CURVES)
    ]
    splits = np.asarray(jnp.stack(each))
    return Curve(np.asarray(alphas), splits.mean(0), splits)
