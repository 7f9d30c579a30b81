"""Denoising of images by total variation, the strength chosen from the data."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import get_args

import jax
import numpy as np
from jax import Array, lax, numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Int, Num, PRNGKeyArray

from tvjax.arguments import (
    as_image,
    as_mask,
    as_non_negative,
    check_choice,
    check_finite,
    check_noise,
    check_share,
    is_traced,
)
from tvjax.frames.choice import choose_strengths, dealers_of, warnings_of
from tvjax.frames.protection import (
    no_protection,
    protect as protect_spots,
    Protection,
)
from tvjax.frames.result import Result
from tvjax.noise import (
    diagnose_noise,
    diagnose_repeats,
    Noise,
    NoiseReport,
    Poisson,
    PoissonGaussian,
)
from tvjax.noise.lone import lone_pixels
from tvjax.operators import Norm
from tvjax.solvers import Solution, solve
from tvjax.tuning.draws import ChosenStrength
from tvjax.tuning.weights import Weights

# Noise models of counts: errors are weighed by their variance, and spots stand clear.
_COUNTED = (Poisson, PoissonGaussian)


def denoise(
    y: Num[ArrayLike, "*frame height width"],
    *,
    noise: Noise | None = None,
    alpha: ArrayLike | None = None,
    mask: Bool[ArrayLike, "*frame height width"] | None = None,
    per_frame: bool = False,
    repeats: bool = False,
    weights: Weights | None = None,
    protect: bool | float | None = None,
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
    stand clear in counts it is lowered where that brings less error. Frames that are
    `repeats` of one scene judge each other, whatever their noise.

    Pixels far above or below all their neighbors, which no optics can make
    (`tvjax.noise.lone`), are taken for defects: they take no part, come back as they
    are, and a warning names them.

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
        repeats: Whether the frames are exposures of one scene: each is then judged by
            the mean of the others, and no noise model is relied on.
        weights: What the risk counts: "uniform" the squared error of every pixel,
            which in a photon image is mostly that of its brightest spots; "variance"
            the squared error over the expected variance around the pixel. By default
            "variance" for counts, where it keeps weak spots, else "uniform".
        protect: Whether spots that stand clear in counts get a lower strength, where
            that lowers their error; by default where the strength is chosen here. A
            number is the multiple of the strength that they get. Other noise than that
            of counts has no spots to protect.
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
            nothing, alpha is negative, a word is unknown, or there are no two frames to
            judge each other.
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
    protect = bool(protect) if isinstance(protect, np.bool_) else protect
    _check_options(frames, noise, alpha, weights, norm, per_frame, repeats, protect)

    random = jax.random.key(0) if key is None else key
    choices, curve, report = [], None, None
    protecting = alpha is None if protect is None else protect is not False
    if noise is None and (alpha is None or protecting):
        report = diagnose_repeats(y, mask) if repeats else diagnose_noise(y, mask)
        noise = report.noise
    valid, lone = _without_lone(frames, valid, noise)
    if alpha is None:
        assert noise is not None
        weights = weights or ("variance" if isinstance(noise, _COUNTED) else "uniform")
        choices, curve = choose_strengths(
            dealers_of(frames, noise, valid, per_frame=per_frame, repeats=repeats),
            weights=weights,
            norm=norm,
            curve_points=curve_points,
            key=random,
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
    spots = None
    if protecting:
        spots = _protected(frames, noise, valid, each, protect, norm, random)
        if spots.kept.any():
            each = each[:, None, None] * spots.factor
    solution = _solve_frames(
        frames, each, valid, norm=norm, tol=tol, max_steps=max_steps
    )

    single = np.ndim(y) == 2
    per_item = jax.tree.map(lambda a: a[0] if single else a, solution)
    x = per_item.image
    warnings = _warnings(report, choices, per_item.converged, frames, lone)
    return Result(
        image=np.asarray(x) if in_numpy else x,
        noise=noise,
        risk=_each([choice.risk for choice in choices], per_frame),
        warnings=tuple(warnings),
        diagnosis=report,
        alpha=np.asarray(strength),
        alpha_error=_each([choice.error for choice in choices], per_frame),
        kept=None if spots is None else spots.kept[0] if single else spots.kept,
        protection=None if spots is None else spots.multiple,
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


def _check_options(
    frames: Float[Array, "frame height width"],
    noise: Noise | None,
    alpha: ArrayLike | None,
    weights: Weights | None,
    norm: Norm,
    per_frame: bool,
    repeats: bool,
    protect: bool | float | None,
) -> None:
    """Refuse what makes no sense, or not together."""
    if weights is not None:
        check_choice("weights", weights, get_args(Weights))
    check_choice("norm", norm, get_args(Norm))
    if noise is not None:
        check_noise(noise)
    if protect is not None:
        check_share(
            "protect",
            protect,
            "a truth value, or a multiple of the strength between 0 and 1",
        )
    if not repeats:
        return
    if len(frames) < 2:
        raise ValueError(
            "`repeats` judge each other and must be two frames or more "
            f"(frame, height, width), got {len(frames)}."
        )
    if per_frame or alpha is not None:
        raise ValueError(
            "`repeats` choose one strength for all frames: drop "
            f"`{'per_frame' if per_frame else 'alpha'}`."
        )


def _without_lone(
    frames: Float[Array, "frame height width"],
    mask: Bool[Array, "frame height width"] | None,
    noise: Noise | None,
) -> tuple[Bool[Array, "frame height width"] | None, Int[np.ndarray, "pixel 3"]]:
    """The mask without pixels that stand alone, and where these are."""
    valid = np.ones(frames.shape, bool) if mask is None else np.asarray(mask)
    step = float(np.mean(getattr(noise, "gain", 0.0)))
    lone = lone_pixels(np.asarray(frames), valid, step)
    if lone.any():
        mask = jnp.asarray(valid & ~lone)
    return mask, np.argwhere(lone)


def _each(values: list[float], per_frame: bool) -> np.ndarray | None:
    """One value a frame, or one for all; None where there are none."""
    if not values:
        return None
    return np.asarray(values if per_frame else values[0])


def _protected(
    frames: Float[Array, "frame height width"],
    noise: Noise | None,
    mask: Bool[Array, "frame height width"] | None,
    alpha: Float[Array, " frame"],
    protect: bool | float | None,
    norm: Norm,
    key: PRNGKeyArray,
) -> Protection:
    """Where the strength is lower, and by how much."""
    if not isinstance(noise, _COUNTED):
        return no_protection(frames)
    multiple = None if protect is None or protect is True else float(protect)
    return protect_spots(
        frames, noise, mask, alpha, multiple=multiple, norm=norm, key=key
    )


def _warnings(
    report: NoiseReport | None,
    choices: Sequence[ChosenStrength],
    converged: Bool[Array, "*frame"],
    frames: Float[Array, "frame height width"],
    lone: Int[np.ndarray, "pixel 3"],
) -> Iterator[str]:
    """Yield a sentence for each thing that deserves a second look."""
    if report is not None:
        yield from report.warnings
    if len(lone):
        frame, row, column = lone[0]
        value = float(frames[frame, row, column])
        pixels = "1 pixel" if len(lone) == 1 else f"{len(lone)} pixels, one of them"
        yield (
            f"{pixels} at frame {frame}, row {row}, column {column} ({value:.6g}), far "
            "from all neighbors: taken for defects, without a part in the choice, and "
            "left as they are; mask them"
        )
    if not np.all(converged):
        yield "not converged: raise `max_steps`"
    yield from warnings_of(choices)


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
