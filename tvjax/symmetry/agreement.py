"""The test of a symmetry: the members of an orbit differ by noise alone.

Differences from the orbit mean, e = y − mean, are compared with their variance,

    χ² = Σ e² / v(mean)    over the degrees of freedom Σ (1 − 1/n),

by rings about the centre. The variance is that at the orbit mean, never that at a
single count. Given an orbit's total of S photons, the members are multinomial: χ² then
has exactly that mean, and the variance 2 (1 − 1/S) Σ (1 − 1/n), so that the test is
right where most pixels hold no photon (Haldane 1937, 10.1093/biomet/29.1-2.133).
"""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.scipy.special import gammaincc
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Num

from tvjax.noise import Noise
from tvjax.symmetry.centre_score import CentreScore
from tvjax.symmetry.groups import as_group, Group
from tvjax.symmetry.measurement import as_measurement, check_centre, Measurement
from tvjax.symmetry.orbit_differences import compare_orbits
from tvjax.symmetry.spots import broken_by_chance

# A symmetry is refused where chance alone would differ as much this often or less.
SIGNIFICANCE = 1e-3
# A symmetry is refused where more of the pixels than this share lie in broken orbits.
MOST_BROKEN = 0.05


class Refused(ValueError):
    """The data refuse a symmetry that was named."""


class Untestable(Refused):
    """The data cannot tell whether a symmetry holds."""


@dataclass(frozen=True, eq=False)
class Agreement:
    """How well the members of the orbits agree.

    An orbit is broken where one of its members has a spot of its own. λ is the share of
    least estimated risk in λ mean + (1 − λ) own.

    Attributes:
        group: Group of the symmetry.
        centre: Beam centre (y, x) in pixels.
        radius: Middle radius of each ring, in pixels.
        chi_squared: Chi-squared of the orbit differences in each ring.
        freedom: Expected chi-squared in each ring.
        scatter: Standard deviation of chi-squared by chance, in each ring.
        ring_significance: Chance of as much chi-squared or more in each ring.
        ring_share: λ of each ring.
        share: λ of each pixel, zero where the orbit is broken.
        significance: Chance of as much chi-squared or more in all rings.
        smooth_significance: The same chance for sums over blocks of pixels.
        shift: Shift (y, x) by which the centre seems off, in pixels.
        shift_significance: Chance of as large a shift where the centre is right.
        broken_share: Share of the pixels that lie in broken orbits.
        broken_by_chance: Share that chance may well make of that.
        broken: True where the orbit is broken.
        spot: True where a spot lies that its partners do not have.
        shading: Smooth factor on the orbit mean; None if not asked for.
        window: Width of the window that it is smooth over, in pixels.
    """

    group: Group
    centre: tuple[float, float]
    radius: Float[np.ndarray, " ring"]
    chi_squared: Float[np.ndarray, " ring"]
    freedom: Float[np.ndarray, " ring"]
    scatter: Float[np.ndarray, " ring"]
    ring_significance: Float[np.ndarray, " ring"]
    ring_share: Float[np.ndarray, " ring"]
    share: Float[np.ndarray, "height width"]
    significance: float
    smooth_significance: float
    shift: tuple[float, float]
    shift_significance: float
    broken_share: float
    broken_by_chance: float
    broken: Bool[np.ndarray, "height width"]
    spot: Bool[np.ndarray, "height width"]
    shading: Float[np.ndarray, "height width"] | None
    window: float | None

    @property
    def holds(self) -> bool:
        """Whether nothing contradicts the symmetry but a few single spots."""
        return (
            self.significance > SIGNIFICANCE
            and self.smooth_significance > SIGNIFICANCE
            and self.shift_significance > SIGNIFICANCE
            and self.broken_share < max(MOST_BROKEN, self.broken_by_chance)
        )

    @property
    def ratio(self) -> float:
        """Chi-squared per degree of freedom: one for a symmetry that holds."""
        return float(np.sum(self.chi_squared) / max(np.sum(self.freedom), 1e-30))

    @property
    def gain(self) -> float:
        """The mean λ over the degrees of freedom: one for a symmetry that holds."""
        freedom = max(float(np.sum(self.freedom)), 1e-30)
        return float(np.sum(self.ring_share * self.freedom)) / freedom

    def asdict(self) -> dict[str, Any]:
        """The test in types that JSON knows."""
        smooth = {}
        if self.shading is not None:
            smooth = {
                "smooth_factor": float(np.std(self.shading)),
                "window": self.window,
                "share_of_the_mean": self.gain,
            }
        return {
            "holds": bool(self.holds),
            "chi_squared_per_freedom": self.ratio,
            "significance": self.significance,
            "broken_share": self.broken_share,
            **smooth,
        }

    def report(self) -> str:
        """The test in a sentence."""
        verdict = "holds" if self.holds else "is refused"
        if self.shading is not None:
            size = 100 * float(np.std(self.shading))
            besides = "holds up to" if self.holds else "is imperfect besides"
            verdict = f"{besides} a factor of ±{size:.2g} % over {self.window:g} pixels"
        return (
            f"{self.group.name} about ({self.centre[0]:.2f}, {self.centre[1]:.2f}) "
            f"{verdict}: chi-squared "
            f"{self.ratio:.4f} per degree of freedom (chance {self.significance:.2g}, "
            f"{self.smooth_significance:.2g} over blocks), "
            f"centre off by ({self.shift[0]:.3f}, {self.shift[1]:.3f}) pixels (chance "
            f"{self.shift_significance:.2g}), {100 * self.broken_share:.2f} % of the "
            "pixels in orbits with a spot of their own"
        )


def judge_symmetry(
    y: Num[ArrayLike, "height width"],
    *,
    group: Group | str,
    centre: tuple[float, float],
    noise: Noise | None = None,
    mask: Bool[ArrayLike, "height width"] | None = None,
    shaded: bool = False,
) -> Agreement:
    """Test whether a pattern is symmetric about a centre.

    Four questions are asked: whether the orbit differences have the size of the noise,
    by ring; whether their sums over blocks of 8 × 8 pixels have; whether a shift of the
    centre explains them; whether some few orbits differ in single spots. Orbits with
    such spots are left out of the first two, and marked.

    Args:
        y: Image (height, width). Integers are counts.
        group: A group from `find_group`, or its name.
        centre: Beam centre (y, x) in pixels; the first pixel's centre is 0.
        noise: Noise model; by default estimated.
        mask: True where a pixel is valid: from the detector, never from the counts.
        shaded: Whether a smooth factor may lie on the pattern, see
            `tvjax.symmetry.shading`. Only those spots are marked then that stand out
            from what else the orbits differ by.

    Raises:
        ValueError: The centre is outside the image, no pixel has a partner under the
            mask, or a valid pixel is not finite.
    """
    group = as_group(group)
    measured = as_measurement(y, noise=noise, mask=mask)
    check_centre(centre, measured.image.shape, outside=group.continuous)
    return assess_symmetry(measured, group, centre, shaded=shaded)


def assess_symmetry(
    measured: Measurement,
    group: Group,
    centre: tuple[float, float],
    *,
    shaded: bool = False,
) -> Agreement:
    """`judge_symmetry` of checked arguments.

    Raises:
        Untestable: No valid pixel has a valid partner.
    """
    compared = compare_orbits(measured, group, centre, shaded=shaded)
    found = jax.tree.map(np.asarray, compared)
    rings = found.rings
    if not np.sum(rings.all_freedom) > 0:
        raise Untestable(
            f"no valid pixel has a valid partner under {group.name!r} about "
            f"{tuple(map(float, centre))}: its orbits are all masked. Check centre and "
            "mask (True means valid), or take another group."
        )
    chi_squared, freedom = rings.chi_squared, rings.freedom
    scatter = np.sqrt(rings.variance)
    ring = _chance(chi_squared, freedom, scatter)
    risky = ring < SIGNIFICANCE / max(np.sum(freedom > 0), 1)
    total = _chance(np.sum(chi_squared), np.sum(freedom), np.sqrt(np.sum(scatter**2)))
    shift, shift_chance = _shift(found.score, group)
    blocks = found.blocks
    smooth = float(_chance(blocks[0], blocks[1], np.sqrt(blocks[2])))
    refused = min(total, smooth, shift_chance) <= SIGNIFICANCE
    doubtful = risky | refused
    # all of the mean where its ring shows nothing; else the share of least risk
    noise, squares = rings.noise_share, rings.squares
    ring_share = np.divide(
        noise, squares, out=np.ones_like(noise), where=(noise > 0) & (noise < squares)
    )
    ring_share = np.where(noise > 0, ring_share, 0.0)
    ring_share = np.where(doubtful & (freedom > 0), ring_share, 1.0)
    share = np.where(found.orbits.broken, 0, ring_share[found.ring])
    if found.share is not None:
        ring_share, share = rings.share, found.share
    num_pixels = int(np.sum(np.asarray(measured.mask)))
    return Agreement(
        group=group,
        centre=(float(centre[0]), float(centre[1])),
        radius=found.radius,
        chi_squared=chi_squared,
        freedom=freedom,
        scatter=scatter,
        ring_significance=ring,
        ring_share=ring_share,
        share=share,
        significance=float(total),
        smooth_significance=smooth,
        shift=shift,
        shift_significance=shift_chance,
        broken_by_chance=broken_by_chance(group, num_pixels),
        broken_share=float(np.sum(found.orbits.broken) / num_pixels),
        broken=found.orbits.broken,
        spot=found.orbits.spot,
        shading=found.shading,
        window=None if found.window is None else float(found.window),
    )


def _chance(
    chi_squared: Float[ArrayLike, "*ring"],
    freedom: Float[ArrayLike, "*ring"],
    scatter: Float[ArrayLike, "*ring"],
) -> Float[np.ndarray, "*ring"]:
    """Chance of more, from the gamma distribution of this mean and deviation."""
    # in double precision: squares of what is far beyond chance overflow in single
    found, mean, deviation = (
        np.asarray(z, np.float64) for z in (chi_squared, freedom, scatter)
    )
    known = (deviation > 0) & (mean > 0)
    variance = np.where(known, deviation**2, 1)
    mean = np.where(known, mean, 1)
    chance = gammaincc(mean**2 / variance, found * mean / variance)
    return np.where(known, chance, 1.0)


def _shift(score: CentreScore, group: Group) -> tuple[tuple[float, float], float]:
    """The shift along the axes that the group fixes, and the chance of as much."""
    axes = np.flatnonzero(group.fixed_axes)
    pick = np.ix_(axes, axes)
    slope = np.float64(score.score[axes])
    covariance = np.float64(score.covariance[pick])
    scale = np.trace(covariance)
    if not scale > 0:
        return (0.0, 0.0), 1.0
    squared = slope @ np.linalg.pinv(covariance, rcond=1e-6) @ slope
    shift = np.zeros(2)
    shift[axes] = np.linalg.pinv(score.information[pick], rcond=1e-6) @ slope
    chance = gammaincc(len(axes) / 2, squared / 2)
    return (float(shift[0]), float(shift[1])), float(chance)
