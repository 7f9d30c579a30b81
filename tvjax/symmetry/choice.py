"""The choice of the symmetry that the data have, and of its centre."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, NoReturn

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Num

from tvjax.noise import Noise
from tvjax.symmetry.agreement import (
    Agreement,
    assess_symmetry,
    Refused,
    SIGNIFICANCE,
    Untestable,
)
from tvjax.symmetry.centre import Centre, locate_centre
from tvjax.symmetry.groups import as_group, AZIMUTHAL, find_group, Group, TWO_FOLD
from tvjax.symmetry.measurement import (
    as_measurement,
    check_centre,
    is_within,
    Measurement,
)

# A symmetry is refused where less than this share of the mean is worth taking: the mean
# is then further off than twice the noise, and TV alone nearer.
LEAST_GAIN = 0.2
# A centre further off than this is wrong if the data see it, in pixels; a nearer one is
# only imperfect.
CLEARLY_OFF = 0.25
# A centre less certain than this blurs what it averages, in pixels.
LARGEST_ERROR = 0.5
# A given centre is refused where another leaves less than this share of the pixels that
# it leaves to the own image.
MUCH_BETTER = 0.5
# Greatest number of times that a centre that was found is moved on.
MOST_MOVES = 4

# Smaller groups come first: one that is refused rules out all that contain it.
_UPWARD = tuple(
    find_group(name)
    for name in (
        *("friedel", "mirror-x", "mirror-y", "3", "4"),
        *("2mm", "3m", "6", "4mm", "6mm"),
    )
)


class Symmetry(NamedTuple):
    """A symmetry that was tested.

    Attributes:
        centre: Centre that was given or found.
        agreement: Test of the symmetry about it.
    """

    centre: Centre
    agreement: Agreement


class Choice(NamedTuple):
    """A centre and how the pattern agrees about it; None where nothing holds.

    Attributes:
        centre: Centre that was given or found.
        agreement: Test of the symmetry about it.
    """

    centre: Centre | None
    agreement: Agreement | None


def choose_symmetry(
    y: Num[ArrayLike, "height width"],
    *,
    noise: Noise | None = None,
    group: Group | str = "auto",
    centre: tuple[float, float] | str = "auto",
    mask: Bool[ArrayLike, "height width"] | None = None,
) -> Choice:
    """Choose the group that was asked for, or the largest that the data do not refuse.

    A symmetry that does not hold is tested anew with a smooth factor on the pattern.

    Args:
        y: Image (height, width). Integers are counts.
        noise: Noise model; by default estimated.
        group: A group from `find_group`, its name, or "auto".
        centre: Beam centre (y, x) in pixels, the first pixel's centre being 0, or
            "auto".
        mask: True where a pixel is valid: from the detector, never from the counts.

    Raises:
        Refused: The data refuse a named group; the sentence, of a `ValueError`, says
            what contradicts it.
        ValueError: The centre is outside the image, a valid pixel is not finite, or
            there is no such group.
    """
    measured = as_measurement(y, noise=noise, mask=mask)
    wanted = as_wanted(group, centre, measured)
    found = find_symmetry(measured, *wanted)
    return Choice(None, None) if found is None else Choice(*found)


def as_wanted(
    group: Group | str, centre: tuple[float, float] | str, measured: Measurement
) -> tuple[Group | None, Centre | None]:
    """The group and the centre that were named, None for "auto".

    Raises:
        ValueError: There is no such group, or the centre is no point or too far outside
            the image.
    """
    named = None if group == "auto" else as_group(group)
    if isinstance(centre, str):
        if centre == "auto":
            return named, None
        raise ValueError(f"`centre` must be 'auto' or (y, x), got {centre!r}.")
    check_centre(centre, measured.image.shape, outside=True)
    return named, Centre(float(centre[0]), float(centre[1]), (0.0, 0.0))


def find_symmetry(
    measured: Measurement, group: Group | None, centre: Centre | None
) -> Symmetry | None:
    """`choose_symmetry` of checked arguments, None for what is to be chosen.

    Raises:
        Refused: The data refuse a named group.
    """
    given = centre is not None
    locate = _locator(measured, centre)
    if group is not None:
        return _named_symmetry(measured, group, locate, given=given)
    rings = _try(measured, AZIMUTHAL, locate)
    if rings is not None and rings.agreement.holds:
        return rings
    found = [rings]
    refused: list[Group] = []
    for candidate in _UPWARD:
        if any(candidate.contains(other) for other in refused):
            continue
        tried = _try(measured, candidate, locate)
        found.append(tried)
        if tried is None or not tried.agreement.holds:
            refused.append(candidate)
    tested = [f for f in found if f is not None]
    holding = [f for f in tested if f.agreement.holds]
    if holding:
        return max(holding, key=lambda f: f.agreement.group.order)
    for imperfect in sorted(tested, key=_removed_noise, reverse=True):
        shaded = _shade(measured, imperfect, given=given)
        if _objection(measured, shaded, given=given) is None:
            return shaded
    return None


def _named_symmetry(
    measured: Measurement,
    group: Group,
    locate: Callable[[Group], Centre],
    *,
    given: bool,
) -> Symmetry:
    """The symmetry that was asked for, up to a smooth factor where it needs one."""
    place = locate(group)
    found = Symmetry(place, assess_symmetry(measured, group, place.place))
    if found.agreement.holds:
        return found
    shaded = _shade(measured, found, given=given)
    objection = _objection(measured, shaded, given=given)
    if objection is not None:
        refuse_symmetry(shaded, objection, given=given)
    return shaded


def _removed_noise(found: Symmetry) -> float:
    """The share of the noise that the mean removes, as far as it is taken."""
    return found.agreement.gain * (1 - 1 / found.agreement.group.order)


def _try(
    measured: Measurement, group: Group, locate: Callable[[Group], Centre]
) -> Symmetry | None:
    """The test of a group; None where centre or mask leave nothing to test."""
    try:
        place = locate(group)
        return Symmetry(place, assess_symmetry(measured, group, place.place))
    except Untestable:
        return None


def _shade(measured: Measurement, found: Symmetry, *, given: bool) -> Symmetry:
    """The same symmetry, up to a smooth factor.

    A centre that was found moves on to where it is without that factor and the spots.
    """
    place, agreement = found
    group, error = agreement.group, place.error
    for _ in range(1 if given else MOST_MOVES):
        agreement = assess_symmetry(measured, group, place.place, shaded=True)
        if given or not _is_off(agreement):
            break
        shift = agreement.shift
        place = Centre(place.y + shift[0], place.x + shift[1], error)
        shape = measured.image.shape
        if not is_within(place.place, shape, outside=group.continuous):
            break
    return Symmetry(Centre(*agreement.centre, error), agreement)


def _is_off(agreement: Agreement) -> bool:
    """Whether the data see that the centre is wrong, and not merely imperfect."""
    far = np.hypot(*agreement.shift) > CLEARLY_OFF
    return bool(far and agreement.shift_significance <= SIGNIFICANCE)


def _locator(measured: Measurement, given: Centre | None) -> Callable[[Group], Centre]:
    """The centre as given, or as found once for each kind of group."""
    if given is not None:
        return partial(_take, given, measured.image.shape)
    known: dict[Group, Centre] = {}

    def locate(group: Group) -> Centre:
        # The two-fold rotation knows nearly all that a larger group knows of its
        # centre; rings know theirs where the beam passes beside the detector.
        finite = group.contains(TWO_FOLD) and not group.continuous
        seeker = TWO_FOLD if finite else group
        if seeker not in known:
            known[seeker] = locate_centre(measured, seeker)
        place = known[seeker]
        errors = np.asarray(place.error)
        if group.continuous:
            errors = errors * _unlike_shifts(place, np.asarray(measured.mask))
        if not np.all(errors[list(group.fixed_axes)] < LARGEST_ERROR):
            raise Untestable(
                f"the pattern does not tell its centre under {group.name!r} to half a "
                f"pixel: found ({place.y:.2f}, {place.x:.2f}) ± {place.error}. Give "
                "`centre` from the geometry, or take another group."
            )
        return _rounded(place)

    return locate


def _take(given: Centre, shape: tuple[int, ...], group: Group) -> Centre:
    """The centre as given, if it suits the group."""
    try:
        check_centre(given.place, shape, outside=group.continuous)
    except ValueError as error:
        raise Untestable(str(error)) from None
    return given


def _unlike_shifts(
    place: Centre, mask: Bool[np.ndarray, "height width"]
) -> Float[np.ndarray, "2"]:
    """How differently a shift of the centre moves the pixels of rings, along y, x.

    It is one for whole rings. Seen from a beam outside the frame, all pixels move
    nearly alike, and nothing is blurred.
    """
    offsets = np.argwhere(mask) - np.asarray(place.place)
    lengths = np.maximum(np.linalg.norm(offsets, axis=1, keepdims=True), 0.5)
    return 2**0.5 * np.std(offsets / lengths, axis=0)


def _rounded(place: Centre) -> Centre:
    """The nearest half pixels, if the data cannot tell: those need no interpolation."""
    found, errors = np.asarray(place.place), np.asarray(place.error)
    near = np.rint(2 * found) / 2
    reach = np.clip(2 * errors, 0.05, 0.25)
    if np.all(np.abs(near - found) <= reach):
        found = near
    return Centre(float(found[0]), float(found[1]), place.error)


def _objection(measured: Measurement, found: Symmetry, *, given: bool) -> str | None:
    """Why the mean over these orbits is no estimate of the pattern; None if it is one.

    A centre that seems off is wrong if another is much better; where none is, as for
    the ellipses of a tilted detector, the risk says what this one is worth.
    """
    agreement = found.agreement
    if given and _is_off(agreement):
        better = _shade(measured, found, given=False).agreement
        mask = np.asarray(measured.mask)
        unused, rest = (1 - np.mean(a.share[mask]) for a in (agreement, better))
        if rest < MUCH_BETTER * unused:
            off = np.subtract(better.centre, agreement.centre)
            return f"the centre seems to be off by ({off[0]:.2f}, {off[1]:.2f}) pixels"
    if agreement.gain < LEAST_GAIN:
        return (
            f"orbit differences have {agreement.ratio:.2f} times the chi-squared of "
            f"the noise, and {100 * agreement.broken_share:.1f} % of the pixels lie in "
            "orbits that differ in single spots"
        )
    return None


def refuse_symmetry(found: Symmetry, objection: str, *, given: bool) -> NoReturn:
    """Say why a symmetry that was named is refused, and what to do.

    Raises:
        Refused: Always.
    """
    place = found.centre
    remedy = "centre='auto', another group" if given else "another group or 'auto'"
    raise Refused(
        f"the data refuse {found.agreement.group.name!r} about "
        f"({place.y:.2f}, {place.x:.2f}): {objection}. Try {remedy}, or check mask and "
        "noise model."
    )
