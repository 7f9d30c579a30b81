"""Denoise a pattern by its own symmetry, with nothing to choose."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args, Literal, NamedTuple

import jax
import numpy as np
from jax import Array, numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, PRNGKeyArray

from tvjax.noise import estimate_noise, Noise
from tvjax.operators import Norm
from tvjax.risk import held_out_error
from tvjax.solvers import Solution, solve
from tvjax.symmetry.agreement import Agreement, ring_place
from tvjax.symmetry.average import Blend, blend, no_blend
from tvjax.symmetry.centre import Centre, check_pattern
from tvjax.symmetry.choice import choose_symmetry, NO_SYMMETRY, refuse_symmetry
from tvjax.symmetry.fallback import certainty, least_mixture, Mixture, noise_weight
from tvjax.symmetry.splits import deal, Pair, pair_data, pair_orbits
from tvjax.tuning.strength import choose_alpha_between, SAMPLE

Judge = Literal["auto", "data", "orbits"]

# Of the strength in a spot that is kept as measured; zero has no logarithm.
KEPT = 1e-3
# Of the data into two, to choose the strength, where these are few.
MOST_SPLITS = 6
# Standard deviations by which TV must lower the error of means over rings.
SURE_OF_TV = 1.0


@dataclass(frozen=True, eq=False)
class SymmetricResult:
    """A denoised pattern, and how it came about."""

    image: Any  # NumPy for NumPy, JAX for JAX; as given where nothing is known
    mask: np.ndarray  # True where the image is an estimate: gaps may be filled
    group: str  # "none" where no symmetry holds
    centre: Centre | None
    agreement: Agreement | None
    mixture: Mixture | None  # with TV of the image alone, where imperfect
    orbit: np.ndarray  # the blended orbit mean, before TV
    factor: np.ndarray  # its variance over that of a pixel
    noise: Noise
    alpha: np.ndarray  # where the mean has its typical noise; unit of the data
    strength: np.ndarray  # α of each pixel: α √(factor over its mean), 0 in kept spots
    risk: np.ndarray  # estimated mean squared error, at the judge's exposure
    judge: str  # "data" or "orbits"
    gap: np.ndarray  # relative duality gap
    num_steps: np.ndarray
    converged: np.ndarray
    at_bound: np.ndarray  # the strength wanted to leave its range

    @property
    def blended(self) -> bool:
        """Whether the symmetry is imperfect, and the mean was weighed with the own."""
        return self.agreement is not None and self.agreement.shading is not None

    def report(self) -> str:
        """How it came about, in sentences."""
        if self.agreement is None:
            lines = ["symmetry   none that the data do not refuse: the image alone"]
        else:
            error = " ± ".join(
                f"({a:.3g}, {b:.3g})" for a, b in (self.centre[:2], self.centre.error)
            )
            lines = [
                f"symmetry   {self.agreement.report()}",
                f"centre     {error} pixels",
            ]
        lines += [
            f"noise left {float(np.mean(self.factor[self.mask])):.3g} of the variance "
            "before TV",
            f"alpha      {float(self.alpha):.4g} (chosen between halves of the "
            f"{self.judge})",
            f"risk       {float(self.risk):.4g}, the mean squared error as estimated; "
            "unbiased, so it may be negative",
            f"exactness  relative gap {float(self.gap):.4g}",
            f"steps      {int(self.num_steps)}",
        ]
        if self.blended:
            weighed = f"{100 * self.agreement.gain:.0f} % mean"
            if self.mixture is not None:
                share = np.mean(self.mixture.share[self.mask])
                weighed += f", then with TV of the image alone, {100 * share:.0f} % of"
                weighed += (
                    f" the former; TV alone has a risk of {self.mixture.own_risk:.4g}"
                )
            lines.append(
                "WARNING    the symmetry is imperfect: mean and own image are weighed "
                f"around each pixel, {weighed}"
            )
        if not self.converged:
            lines.append("WARNING    not converged: raise `max_steps`")
        if self.at_bound:
            lines.append(
                "WARNING    alpha ended at the end of its range: check the noise model "
                "and the mask"
            )
        return "\n".join(lines)


def denoise_symmetric(
    y: Float[ArrayLike, "height width"],
    group: str = "auto",
    centre: str | tuple[float, float] = "auto",
    noise: Noise | None = None,
    mask: Bool[ArrayLike, "height width"] | None = None,
    *,
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

    Where the symmetry is imperfect, the mean has a smooth factor if the data speak for
    it (`tvjax.symmetry.shading`), and the result is mixed with TV of the image alone,
    by ring, as data that neither has seen want it (`tvjax.symmetry.fallback`).

    Args:
        y: One image. Integers are counts.
        group: A name that `tvjax.symmetry.find_group` knows, or "auto" for the largest
            group that the data do not refuse, if any.
        centre: (y, x) in pixels, the first one's centre being 0, or "auto".
        noise: By default estimated, as counts times a gain for integers, as white for
            floating point.
        mask: True where a pixel is valid: from the detector, never from the counts.
            Where a partner is valid, the pixel is filled in.
        judge: What is split in two to choose α: the "data", photon by photon where
            they are whole counts, which needs the noise; or the "orbits", half of the
            members against the other half, for any noise, correlated and unknown. By
            default the latter where floating-point data come without a noise model.
        norm: "isotropic" or "anisotropic".
        tol: Relative duality gap to reach.
        max_steps: Of the solver, at most.
        key: Of the random split of the data; the same by default in every call.

    Raises:
        Refused: A `ValueError` for a named symmetry that the data refuse or that brings
            nothing, or a group whose orbits are all masked.
        ValueError: For a centre outside the image, values that are not finite under
            the mask, or anything but one image.
    """
    if judge not in get_args(Judge):
        raise ValueError(f"`judge` must be one of {get_args(Judge)}, got {judge!r}.")
    in_numpy = not isinstance(y, jax.Array)
    data, valid = check_pattern(y, mask)
    known = noise is not None or jnp.issubdtype(jnp.asarray(y).dtype, jnp.integer)
    if noise is None:
        noise = estimate_noise(y, mask)
    choice = choose_symmetry(data, group, centre, valid, noise)
    if judge == "auto":
        judge = "data" if known or choice.agreement is None else "orbits"
    if judge == "orbits" and choice.agreement is None:
        raise ValueError(
            "judge='orbits' needs a symmetry, and the data refuse them all; use 'data'."
        )
    alone = no_blend(valid)
    mean_of = alone if choice.agreement is None else blend(choice.agreement, valid)
    settings = {"norm": norm, "tol": tol, "max_steps": max_steps}
    mixture = None
    if judge == "orbits":
        found = _estimate(data, mean_of, [pair_orbits(data, mean_of)], **settings)
    else:
        splits = min(max(SAMPLE // data.size, 1), MOST_SPLITS)
        keys = jax.random.split(jax.random.key(0) if key is None else key, splits)
        parts = [deal(data, valid, noise, k) for k in keys]

        def pairs(of: Blend) -> list[Pair]:
            return [pair_data(two, of, noise) for two in parts]

        found = _estimate(data, mean_of, pairs(mean_of), **settings)
        if choice.agreement is not None and choice.agreement.shading is not None:
            own = _estimate(data, alone, pairs(alone), **settings)
            place, _ = ring_place(data.shape, choice.centre[:2], data.dtype)
            estimates = _judged(found, norm, tol), _judged(own, norm, tol)
            mixture = least_mixture(
                *estimates,
                own.pair,
                noise.variance(estimates[1]),
                choice.agreement.share,
                place,
            )
            if not mixture.helps:
                if group != "auto":
                    refuse_symmetry(
                        choice,
                        "its mean brings nothing over the image alone, by data that "
                        "neither has seen",
                        given=centre != "auto",
                    )
                choice, mixture, found = NO_SYMMETRY, None, own
    image, risk = found.solution.image, found.risk
    if mixture is not None:
        share = jnp.asarray(np.where(valid, mixture.share, 1), data.dtype)
        image = share * image + (1 - share) * own.solution.image
        risk = jnp.asarray(mixture.risk)
    image = jnp.where(found.seen, image, jnp.asarray(y).astype(data.dtype))
    return SymmetricResult(
        image=np.asarray(image) if in_numpy else image,
        mask=np.asarray(found.seen),
        group="none" if choice.agreement is None else choice.agreement.group,
        centre=choice.centre,
        agreement=choice.agreement,
        mixture=mixture,
        orbit=np.asarray(found.mean),
        factor=np.asarray(found.factor),
        noise=noise,
        alpha=np.asarray(found.alpha),
        strength=np.asarray(found.alpha * found.profile),
        risk=np.asarray(risk),
        judge=judge,
        gap=np.asarray(found.solution.relative_gap),
        num_steps=np.asarray(found.solution.num_steps),
        converged=np.asarray(found.solution.converged),
        at_bound=np.asarray(found.at_bound),
    )


class _Estimate(NamedTuple):
    """TV of a blended mean, and how its strength was chosen."""

    solution: Solution
    mean: Array
    factor: Array
    seen: Array  # where the mean is known
    profile: Array  # of the strength
    alpha: Array
    risk: Array
    at_bound: Array
    pair: Pair  # the first


def _estimate(
    data: Array,
    mean_of: Blend,
    pairs: Sequence[Pair],
    *,
    norm: Norm,
    tol: float,
    max_steps: int,
) -> _Estimate:
    """Denoise a blended mean with the strength that its halves choose.

    Halved more than once where that costs little: what few pixels hold out has noise
    enough to mislead.
    """
    mean, factor, seen = mean_of(data)
    profile = _profile(factor, seen, mean_of.spot)
    pair = pairs[0]
    tuned = choose_alpha_between(
        jnp.stack([p.seen for p in pairs]),
        jnp.stack([p.held_out for p in pairs]),
        jnp.stack([p.variance for p in pairs]),
        fraction=pair.fraction,
        mask=jnp.stack([p.mask for p in pairs]),
        norm=norm,
        profile=jnp.stack([profile] * len(pairs)),
    )
    alpha, risk = tuned.denoiser.alpha.astype(data.dtype), tuned.risk
    if mean_of.group.continuous:
        # rings leave so little noise that no TV at all may be best
        judged = _solve_seen(pair, alpha * profile, norm, tol)
        risk, without = (
            held_out_error(x, pair.held_out, pair.variance, pair.mask)
            for x in (judged, pair.seen)
        )
        if risk >= without or _certainty_of_tv(judged, pair, factor) <= SURE_OF_TV:
            alpha, risk = jnp.zeros_like(alpha), without
    solution = solve(
        mean, alpha * profile, mask=seen, norm=norm, tol=tol, max_steps=max_steps
    )
    at_bound = tuned.at_bound & (alpha > 0)
    return _Estimate(solution, mean, factor, seen, profile, alpha, risk, at_bound, pair)


def _certainty_of_tv(x: Array, pair: Pair, factor: Array) -> float:
    """The certainty with which x is nearer than the mean to what is held out.

    In units of the noise, so that no bright pixel decides alone. What is held out is
    one number a ring, whose pixels all err alike: by so much, the variance is that of
    a pixel.
    """
    known = np.asarray(pair.mask & (factor > 0) & (pair.variance > 0))
    spread = np.where(known, pair.variance / np.where(known, factor, 1), 0)
    weight = noise_weight(spread, known)
    return certainty(pair.seen, x, pair.held_out, weight, spread)


def _judged(estimate: _Estimate, norm: Norm, tol: float) -> Array:
    """What the same denoising makes of the part of the data that does not judge."""
    return _solve_seen(estimate.pair, estimate.alpha * estimate.profile, norm, tol)


def _solve_seen(pair: Pair, strength: Array, norm: Norm, tol: float) -> Array:
    strength = strength / pair.fraction**0.5
    return solve(pair.seen, strength, mask=pair.mask, norm=norm, tol=tol).image


def _profile(factor: Array, seen: Array, kept: Array) -> Array:
    """√(variance left) over its typical value, next to nothing in kept spots."""
    typical = jnp.sum(jnp.where(seen, factor, 0)) / jnp.maximum(jnp.sum(seen), 1)
    relative = jnp.where(seen & (factor > 0), factor / typical, 1)
    return jnp.where(kept, KEPT, jnp.sqrt(relative))
