"""Denoising of a pattern by its own symmetry, the strength chosen from the data."""

from collections.abc import Iterator, Sequence
from typing import get_args, Literal, NamedTuple

import jax
import numpy as np
from jax import Array, numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Num, PRNGKeyArray

from tvjax.arguments import as_floating, check_choice, is_traced
from tvjax.noise import Correlated, Noise, NoiseReport, Poisson
from tvjax.operators import Norm
from tvjax.risk.splitting import deal, Split
from tvjax.solvers import Solution, solve
from tvjax.symmetry.average import Average, average_by, Averaged, no_average
from tvjax.symmetry.choice import (
    as_wanted,
    find_symmetry,
    refuse_symmetry,
    Symmetry,
)
from tvjax.symmetry.fallback import certainty, Fallback, find_fallback, noise_weight
from tvjax.symmetry.groups import Group
from tvjax.symmetry.measurement import as_diagnosed, Measurement
from tvjax.symmetry.result import SymmetricResult
from tvjax.symmetry.rings import ring_position
from tvjax.symmetry.splits import average_split, split_orbits
from tvjax.tuning.strength import choose_alpha_between
from tvjax.tuning.tiles import SAMPLE

Judge = Literal["auto", "data", "orbits"]

# Share of the strength in a spot that is kept as measured; zero has no logarithm.
KEPT = 1e-3
# Greatest number of splits of the data that the strength of a small image is chosen on:
# the few pixels that one holds out have noise enough to mislead.
MOST_SPLITS = 6
# TV of means over rings must lower their error by more than so many standard
# deviations; otherwise it is left out.
SURE_OF_TV = 1.0


class _Options(NamedTuple):
    """Options of the solver."""

    norm: Norm
    tol: float
    max_steps: int


def denoise_symmetric(
    y: Num[ArrayLike, "height width"],
    *,
    noise: Noise | None = None,
    group: Group | str = "auto",
    centre: tuple[float, float] | str = "auto",
    mask: Bool[ArrayLike, "height width"] | None = None,
    judge: Judge = "auto",
    norm: Norm = "isotropic",
    tol: float = 1e-4,
    max_steps: int = 10_000,
    key: PRNGKeyArray | None = None,
) -> SymmetricResult:
    """Average a pattern over its own symmetry, then denoise it by total variation.

        m = λ mean over the orbits + (1 − λ) own,    min_x ½‖x − m‖² + Σ_i α_i |∇x|_i

    λ is one where the symmetry holds, of least estimated risk around each pixel where
    it is imperfect, zero in orbits that differ in a spot; a spot without a partner is
    kept as measured. α_i = α √(variance left) with α of least error between two
    independent halves of the data.

    Where the symmetry is imperfect, the mean has a smooth factor if that lowers the
    risk (`tvjax.symmetry.shading`), and the estimate falls back on TV of the image
    alone, by ring, as far as data that neither has seen ask for it
    (`tvjax.symmetry.fallback`).

    Looks at the numbers of its data to choose, so that JAX cannot trace it: inside
    `jax.jit`, `jax.vmap` or `jax.grad` take a `tvjax.Symmetrized`.

    The mean over orbits of Poisson counts is sufficient; networks that learn from the
    same symmetry: Zhou et al. 2024 (10.1107/S1600576724002899).

    Args:
        y: One image (height, width). Integers are counts.
        noise: Noise model; by default recognised from the data
            (`tvjax.diagnose_noise`), with a warning where it is not what it seems.
        group: A group from `tvjax.symmetry.find_group`, its name, or "auto" for the
            largest group that the data do not refuse, if any.
        centre: Beam centre (y, x) in pixels, the first pixel's centre being 0, or
            "auto".
        mask: True where a pixel is valid: from the detector, never from the counts.
            Where a partner is valid, the pixel is filled in.
        judge: What is split in two to choose α: the "data", photon by photon where
            they are whole counts, which needs the noise; or the "orbits", half of the
            members against the other half, for any noise, correlated and unknown. By
            default the latter where data that are no counts, or whose noise is found to
            be correlated, come without a noise model.
        norm: "isotropic" or "anisotropic".
        tol: Relative duality gap to reach.
        max_steps: Greatest number of solver steps.
        key: Key of the random split of the data; the same by default in every call.

    Raises:
        Refused: A named symmetry is refused by the data or brings nothing, or all of
            its orbits are masked; it is a `ValueError`.
        ValueError: `y` is anything but one image, the centre is outside it, a valid
            pixel is not finite, or a word is unknown.
        TypeError: JAX traces the data.

    Example:
        >>> import numpy as np, tvjax
        >>> counts = np.random.default_rng(0).poisson(2.0, (24, 24))
        >>> result = tvjax.denoise_symmetric(
        ...     counts, noise=tvjax.Poisson(), group="friedel", centre=(11.5, 11.5)
        ... )
        >>> result.group, result.image.shape
        ('friedel', (24, 24))
    """
    if is_traced(y):
        raise TypeError(
            "`tvjax.denoise_symmetric` looks at the numbers to choose symmetry and "
            "strength, which JAX cannot trace: inside jit, vmap or grad use "
            "`tvjax.Symmetrized`."
        )
    check_choice("judge", judge, get_args(Judge))
    check_choice("norm", norm, get_args(Norm))
    measured, report = as_diagnosed(y, noise=noise, mask=mask)
    wanted = as_wanted(group, centre, measured)
    symmetry = find_symmetry(measured, *wanted)
    if judge == "auto":
        judge = "data" if symmetry is None or _is_known(report) else "orbits"
    options = _Options(norm, tol, max_steps)
    fallback = own = None
    if judge == "orbits":
        found = _judged_by_orbits(measured, symmetry, options)
    else:
        splits = _split_data(measured, key)
        found = _judged_by_data(measured, _average(measured, symmetry), splits, options)
        if symmetry is not None and symmetry.agreement.shading is not None:
            alone = no_average(measured.mask)
            own = _judged_by_data(measured, alone, splits, options)
            fallback = _fall_back(measured, symmetry, found, own, options)
            if not fallback.helps:
                if wanted[0] is not None:
                    refuse_symmetry(
                        symmetry,
                        "its mean brings nothing over the image alone, by data that "
                        "neither has seen",
                        given=wanted[1] is not None,
                    )
                symmetry, fallback, found = None, None, own
    image, risk = found.solution.image, found.risk
    if fallback is not None and own is not None:
        share = jnp.where(measured.mask, jnp.asarray(fallback.share, image.dtype), 1)
        image = share * image + (1 - share) * own.solution.image
        risk = fallback.risk
    image = jnp.where(found.averaged.mask, image, as_floating(y))
    warnings = _warnings(symmetry, fallback, found, measured.mask)
    return SymmetricResult(
        image=image if isinstance(y, jax.Array) else np.asarray(image),
        noise=measured.noise,
        risk=np.asarray(risk),
        warnings=(*(() if report is None else report.warnings), *warnings),
        diagnosis=report,
        mask=np.asarray(found.averaged.mask),
        group="none" if symmetry is None else symmetry.agreement.group.name,
        centre=None if symmetry is None else symmetry.centre,
        agreement=None if symmetry is None else symmetry.agreement,
        fallback=fallback,
        orbit=np.asarray(found.averaged.image),
        factor=np.asarray(found.averaged.factor),
        alpha=np.asarray(found.alpha),
        strength=np.asarray(found.alpha * found.profile),
        judge=judge,
        relative_gap=np.asarray(found.solution.relative_gap),
        num_steps=np.asarray(found.solution.num_steps),
        converged=np.asarray(found.solution.converged),
        at_bound=np.asarray(found.at_bound),
    )


def _is_known(report: NoiseReport | None) -> bool:
    """Whether the noise can be relied on: given, or that of whole numbers.

    Parts of the data are independent only as far as it is right; halves of the orbits
    are in any case, but for what is left between neighbors.
    """
    if report is None:
        return True
    whole = np.isfinite(report.dispersion) or isinstance(report.noise, Poisson)
    return whole and not isinstance(report.noise, Correlated)


def _warnings(
    symmetry: Symmetry | None,
    fallback: Fallback | None,
    found: "_Estimate",
    mask: Bool[Array, "height width"],
) -> Iterator[str]:
    """Yield a sentence for each thing that deserves a second look."""
    if symmetry is not None and symmetry.agreement.shading is not None:
        weighed = f"{100 * symmetry.agreement.gain:.0f} % mean"
        if fallback is not None:
            share = np.mean(fallback.share[np.asarray(found.averaged.mask)])
            weighed += (
                f", then with TV of the image alone, {100 * share:.0f} % of the "
                f"former; TV alone has a risk of {fallback.own_risk:.4g}"
            )
        yield (
            "the symmetry is imperfect: mean and own image are weighed around each "
            f"pixel, {weighed}"
        )
    if not found.solution.converged:
        yield "not converged: raise `max_steps`"
    if found.at_bound:
        yield (
            "alpha ended at the end of its range: check the noise model and the mask"
        )


class _Estimate(NamedTuple):
    """TV of an averaged pattern, and how its strength was chosen.

    Attributes:
        solution: TV of the average.
        averaged: The average before TV.
        profile: Strength of each pixel over alpha.
        alpha: Strength.
        risk: Estimated mean squared error.
        at_bound: Whether the strength wanted to leave its range.
        split: The average in two parts, the first such split.
    """

    solution: Solution
    averaged: Averaged
    profile: Float[Array, "height width"]
    alpha: Float[Array, ""]
    risk: Float[Array, ""]
    at_bound: Bool[Array, ""]
    split: Split


def _average(measured: Measurement, symmetry: Symmetry | None) -> Average:
    """The average by a symmetry; the data as they are without one."""
    if symmetry is None:
        return no_average(measured.mask)
    return average_by(symmetry.agreement, measured.mask)


def _split_data(measured: Measurement, key: PRNGKeyArray | None) -> list[Split]:
    """Split the data in two, more than once where they are few."""
    num = min(max(SAMPLE // measured.image.size, 1), MOST_SPLITS)
    keys = jax.random.split(jax.random.key(0) if key is None else key, num)
    image, mask, noise = measured
    return [deal(image, noise, mask=mask, key=k) for k in keys]


def _judged_by_orbits(
    measured: Measurement, symmetry: Symmetry | None, options: _Options
) -> _Estimate:
    """The estimate whose strength is chosen between halves of the orbits.

    Raises:
        ValueError: There is no symmetry.
    """
    if symmetry is None:
        raise ValueError(
            "judge='orbits' needs a symmetry, and the data refuse them all; use 'data'."
        )
    average = average_by(symmetry.agreement, measured.mask)
    return _estimate(
        measured, average, [split_orbits(measured.image, average)], options
    )


def _judged_by_data(
    measured: Measurement, average: Average, splits: Sequence[Split], options: _Options
) -> _Estimate:
    """The estimate whose strength is chosen between parts of the data."""
    noise = measured.noise
    averaged = [average_split(split, average, noise) for split in splits]
    return _estimate(measured, average, averaged, options)


def _estimate(
    measured: Measurement, average: Average, splits: Sequence[Split], options: _Options
) -> _Estimate:
    """Denoise an average with the strength that its splits choose."""
    averaged = average(measured.image)
    profile = _profile(averaged, average.spot)
    tuned = choose_alpha_between(
        jax.tree.map(lambda *parts: jnp.stack(parts), *splits),
        norm=options.norm,
        profile=jnp.stack([profile] * len(splits)),
    )
    split = splits[0]
    alpha, risk = tuned.denoiser.alpha.astype(measured.image.dtype), tuned.risk
    if average.group.continuous:
        # rings leave so little noise that no TV at all may be best
        smoothed = _solve_seen(split, alpha * profile, options)
        risk, without = (split.error(x) for x in (smoothed, split.seen))
        sure = _certainty_of_tv(smoothed, split, averaged.factor)
        if risk >= without or sure <= SURE_OF_TV:
            alpha, risk = jnp.zeros_like(alpha), without
    solution = solve(
        averaged.image, alpha * profile, mask=averaged.mask, **options._asdict()
    )
    at_bound = tuned.at_bound & (alpha > 0)
    return _Estimate(solution, averaged, profile, alpha, risk, at_bound, split)


def _profile(
    averaged: Averaged, kept: Bool[Array, "height width"]
) -> Float[Array, "height width"]:
    """√(variance left) over its typical value, next to nothing in kept spots."""
    factor, seen = averaged.factor, averaged.mask
    typical = jnp.sum(jnp.where(seen, factor, 0)) / jnp.maximum(jnp.sum(seen), 1)
    relative = jnp.where(seen & (factor > 0), factor / typical, 1)
    return jnp.where(kept, KEPT, jnp.sqrt(relative))


def _certainty_of_tv(
    x: Float[Array, "height width"], split: Split, factor: Float[Array, "height width"]
) -> float:
    """The certainty with which x is nearer than the mean to the part held out.

    It is in units of the noise, so that no bright pixel decides alone. The part held
    out is one number a ring, whose pixels all err alike: the variance of that number is
    as many times smaller as there are pixels, and has to be counted as a pixel's.
    """
    known = np.asarray(split.valid & (factor > 0) & (split.variance > 0))
    spread = np.where(known, split.variance / np.where(known, factor, 1), 0)
    weight = noise_weight(spread, known)
    return certainty(split.seen, x, split.held_out, weight, spread)


def _fall_back(
    measured: Measurement,
    symmetry: Symmetry,
    found: _Estimate,
    own: _Estimate,
    options: _Options,
) -> Fallback:
    """How far to trust the estimate by symmetry, next to TV of the image alone."""
    by_symmetry, alone = (
        _solve_seen(estimate.split, estimate.alpha * estimate.profile, options)
        for estimate in (found, own)
    )
    image = measured.image
    position, _ = ring_position(symmetry.centre.place, image.shape, image.dtype)
    return find_fallback(
        by_symmetry,
        alone,
        own.split,
        level=measured.noise.variance(alone),
        share=symmetry.agreement.share,
        position=position,
    )


def _solve_seen(
    split: Split, strength: Float[Array, "height width"], options: _Options
) -> Float[Array, "height width"]:
    """The same denoising of the part of the data that does not judge."""
    strength = strength / split.fraction**0.5
    return solve(
        split.seen, strength, mask=split.mask, norm=options.norm, tol=options.tol
    ).image
