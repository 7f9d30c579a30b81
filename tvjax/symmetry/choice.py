"""Which symmetry do the data have, and about which centre?"""

from collections.abc import Callable
from typing import NamedTuple, NoReturn

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Bool, Float

from tvjax.noise import Noise
from tvjax.symmetry.agreement import (
    Agreement,
    judge_symmetry,
    Refused,
    SIGNIFICANCE,
    Untestable,
)
from tvjax.symmetry.centre import Centre, check_centre, find_centre
from tvjax.symmetry.centre_score import determined
from tvjax.symmetry.groups import find_group, Group

# Below this share of the mean that is worth taking, it is further off than twice the
# noise, and TV alone nearer: the symmetry is refused.
LEAST_GAIN = 0.2
# A centre this far off is wrong if the data see it, one nearer by only imperfect.
CLEARLY_OFF = 0.25
# A centre less certain than this blurs what it averages, in pixels.
LARGEST_ERROR = 0.5
# What is left of the pixels that the mean is not worth its error in.
MUCH_BETTER = 0.5
# How often a centre that was found is moved on, at most.
MOST_MOVES = 4

# Smaller groups first: one that is refused rules out all that contain it.
_UPWARD = (
    *("friedel", "mirror-x", "mirror-y", "3", "4"),
    *("2mm", "3m", "6", "4mm", "6mm"),
)


class Choice(NamedTuple):
    """A centre and how the pattern agrees about it; None where nothing holds."""

    centre: Centre | None
    agreement: Agreement | None


NO_SYMMETRY = Choice(None, None)


def choose_symmetry(
    y: Float[ArrayLike, "height width"],
    group: str,
    centre: str | tuple[float, float],
    mask: Bool[ArrayLike, "height width"],
    noise: Noise,
) -> Choice:
    """The group that was asked for, or the largest that the data do not refuse.

    A symmetry that does not hold is tested anew with a smooth factor on the pattern.

    Raises:
        Refused: The data refuse a named group, with what speaks against it; a
            `ValueError`.
    """
    locate = _locator(y, centre, mask, noise)
    if group != "auto":
        known = find_group(group)
        place = locate(known)
        chosen = Choice(place, judge_symmetry(y, known, place[:2], mask, noise))
        if not chosen.agreement.holds:
            chosen = _shaded(y, chosen, mask, noise, given=centre != "auto")
            objection = _objection(y, chosen, mask, noise, given=centre != "auto")
            if objection is not None:
                refuse_symmetry(chosen, objection, given=centre != "auto")
        return chosen
    found = []
    rings = _try(y, find_group("azimuthal"), locate, mask, noise)
    if rings.agreement is not None and rings.agreement.holds:
        return rings
    found.append(rings)
    refused: list[Group] = []
    for name in _UPWARD:
        candidate = find_group(name)
        if any(candidate.contains(other) for other in refused):
            continue
        tried = _try(y, candidate, locate, mask, noise)
        found.append(tried)
        if tried.agreement is None or not tried.agreement.holds:
            refused.append(candidate)
    tested = [f for f in found if f.agreement is not None]
    holding = [f for f in tested if f.agreement.holds]
    if holding:
        return max(holding, key=lambda f: find_group(f.agreement.group).order)
    for found in sorted(tested, key=_removed_noise, reverse=True):
        shaded = _shaded(y, found, mask, noise, given=centre != "auto")
        if _objection(y, shaded, mask, noise, given=centre != "auto") is None:
            return shaded
    return NO_SYMMETRY


def _removed_noise(choice: Choice) -> float:
    return choice.agreement.gain * (1 - 1 / find_group(choice.agreement.group).order)


def _try(
    y: ArrayLike,
    group: Group,
    locate: Callable[[Group], Centre],
    mask: ArrayLike,
    noise: Noise,
) -> Choice:
    """A choice without agreement where centre or mask leave nothing to test."""
    try:
        place = locate(group)
        return Choice(place, judge_symmetry(y, group, place[:2], mask, noise))
    except Untestable:
        return NO_SYMMETRY


def _shaded(
    y: ArrayLike, choice: Choice, mask: ArrayLike, noise: Noise, *, given: bool
) -> Choice:
    """The same symmetry, up to a smooth factor.

    A centre that was found moves on to where it is without that factor and the spots.
    """
    group, place = find_group(choice.agreement.group), choice.centre
    for _ in range(1 if given else MOST_MOVES):
        agreement = judge_symmetry(y, group, place[:2], mask, noise, shaded=True)
        if not _is_off(agreement) or given:
            break
        moved = (c + shift for c, shift in zip(place[:2], agreement.shift, strict=True))
        place = Centre(*moved, place.error)
        try:
            check_centre(place[:2], np.shape(y), group)
        except ValueError:
            break
    return Choice(Centre(*agreement.centre, place.error), agreement)


def _is_off(agreement: Agreement) -> bool:
    """Do the data see that the centre is wrong, beyond what is merely imperfect?"""
    far = np.hypot(*agreement.shift) > CLEARLY_OFF
    return bool(far and agreement.shift_significance <= SIGNIFICANCE)


def _locator(
    y: ArrayLike, centre: str | tuple[float, float], mask: ArrayLike, noise: Noise
) -> Callable[[Group], Centre]:
    """The centre as given, or as found once for each kind of group."""
    if centre != "auto":
        if isinstance(centre, str):
            raise ValueError(f"`centre` must be 'auto' or (y, x), got {centre!r}.")
        given = Centre(float(centre[0]), float(centre[1]), (0.0, 0.0))

        check_centre(centre, np.shape(y), find_group("azimuthal"))

        def take(group: Group) -> Centre:
            try:
                check_centre(centre, np.shape(y), group)
            except ValueError as error:
                raise Untestable(str(error)) from None
            return given

        return take
    two_fold = find_group("friedel")
    known: dict[str, Centre] = {}

    def locate(group: Group) -> Centre:
        # nearly all that a larger group knows of its centre, two-fold rotation does;
        # rings know theirs where the beam passes beside the detector
        finite = group.contains(two_fold) and not group.continuous
        seeker = two_fold if finite else group
        if seeker.name not in known:
            known[seeker.name] = find_centre(y, mask, group=seeker, noise=noise)
        place = known[seeker.name]
        errors = np.asarray(place.error)
        if group.continuous:
            errors = errors * _unlike_shifts(place, np.asarray(mask))
        if not np.all(errors[list(determined(group))] < LARGEST_ERROR):
            raise Untestable(
                f"the pattern does not tell its centre under {group.name!r} to half a "
                f"pixel: found ({place.y:.2f}, {place.x:.2f}) ± {place.error}. Give "
                "`centre` from the geometry, or take another group."
            )
        return _settled(place)

    return locate


def _unlike_shifts(
    place: Centre, mask: Bool[np.ndarray, "height width"]
) -> Float[np.ndarray, "2"]:
    """How differently a shift of the centre moves the pixels of rings, along y, x.

    One for whole rings. Seen from a beam beside the frame, all move nearly alike, and
    nothing is blurred.
    """
    offsets = np.argwhere(mask) - np.asarray(place[:2])
    lengths = np.maximum(np.linalg.norm(offsets, axis=1, keepdims=True), 0.5)
    return 2**0.5 * np.std(offsets / lengths, axis=0)


def _settled(place: Centre) -> Centre:
    """The nearest half pixels, if the data cannot tell: those need no interpolation."""
    found, errors = np.asarray(place[:2]), np.asarray(place.error)
    near = np.rint(2 * found) / 2
    reach = np.clip(2 * errors, 0.05, 0.25)
    if np.all(np.abs(near - found) <= reach):
        found = near
    return Centre(float(found[0]), float(found[1]), place.error)


def _objection(
    y: ArrayLike, choice: Choice, mask: ArrayLike, noise: Noise, *, given: bool
) -> str | None:
    """Why the mean over these orbits is no estimate of the pattern, if so.

    A centre that seems off is wrong if another is much better; where none is, as for
    the ellipses of a tilted detector, the risk says what this one is worth.
    """
    agreement = choice.agreement
    if given and _is_off(agreement):
        better = _shaded(y, choice, mask, noise, given=False).agreement
        unused, rest = (1 - np.mean(a.share[mask]) for a in (agreement, better))
        if rest < MUCH_BETTER * unused:
            off = np.subtract(better.centre, agreement.centre)
            return f"the centre seems to be off by ({off[0]:.2f}, {off[1]:.2f}) pixels"
    if agreement.gain < LEAST_GAIN:
        ratio = np.sum(agreement.chi_squared) / max(np.sum(agreement.freedom), 1e-30)
        return (
            f"orbit differences have {ratio:.2f} times the chi-squared of the noise, "
            f"and {100 * agreement.broken_share:.1f} % of the pixels lie in orbits "
            "that differ in single spots"
        )
    return None


def refuse_symmetry(choice: Choice, objection: str, *, given: bool) -> NoReturn:
    """Say why a symmetry that was named is refused, and what to do.

    Raises:
        Refused: Always.
    """
    place = choice.centre
    remedy = "centre='auto', another group" if given else "another group or 'auto'"
    raise Refused(
        f"the data refuse {choice.agreement.group!r} about "
        f"({place.y:.2f}, {place.x:.2f}): {objection}. Try {remedy}, or check mask and "
        "noise model."
    )
