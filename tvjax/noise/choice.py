"""Which law the variance of the noise follows, of those that its floors allow."""

from typing import Literal, TypeAlias

import numpy as np

from tvjax.noise.floor import Floors, UNSEEN
from tvjax.noise.sample import Sample
from tvjax.noise.survey import NoiseSurvey, relative_to
from tvjax.noise.unevenness import levels_of, PatchLevels
from tvjax.noise.variance_fit import (
    agreement,
    constant,
    counts,
    Law,
    line,
    misfit_of,
    square,
)

LawName: TypeAlias = Literal["constant", "counts", "square", "line", "pedestal"]

# A whole detector's gain is taken for that of a counting one if it is no more than this
# above it, or below it: a pedestal or an average of so little moves no strength.
NEAR, BELOW = 0.1, 0.15
# Another law than white noise has to be so much better: by this misfit a floor, and
# with no more than this share of it.
BETTER, SHARE = 1.0, 0.5
# What a law with one number more has to be better by; a quadratic one is rare.
PENALTY: dict[LawName, float] = {
    "constant": 0.0,
    "counts": 0.0,
    "square": 3.0,
    "line": 6.0,
}
# Counts below this, in units of the gain, are no pedestal and no average of any.
SPARSE = 0.3
# The coarse noise of white noise, with its chance; and how well another law may fit,
# relative to a counting detector, before that is not taken any more.
WHITE, HIDDEN = 1.15, 0.65
# Share of the floors that have to agree with a counting detector where none is below.
CANNOT_TELL = 0.2
# Floors of a mean below this share of the typical one are dim; they have one gain and
# not the other if they are so many errors from the latter, and no more from the former.
DIM, SURE = 0.25, 3.0
# Noise is uneven if the logarithm of its variance has this range, nine patches of ten,
# and differs by so many times its error.
RANGE, TIMES = 0.55, 8.0
# Fewer patches than this tell nothing of a trend.
FEW_PATCHES = 6


def is_whole(sample: Sample) -> bool:
    """Whether the values can be counts."""
    return sample.step > 0 and bool(np.all(sample.tiles[sample.valid] >= 0))


def choose_law(survey: NoiseSurvey) -> tuple[LawName, Law]:
    """The name and the law of least misfit, white noise or counts preferred.

    Whole numbers are counts of gain one, or of their common divisor, unless that cannot
    be; other numbers have white noise, unless another law is plainly better.
    """
    floors, sample = survey.floors, survey.sample
    laws: dict[LawName, Law] = {
        "constant": constant(floors),
        "counts": counts(floors),
        "square": square(floors),
        "line": line(floors),
    }
    better = BETTER * len(floors.mean)
    score: dict[LawName, float] = {
        name: law.misfit + PENALTY[name] for name, law in laws.items()
    }
    if (laws["line"].variance(floors.mean) == 0).any():
        score["line"] += better  # there is noise below that pedestal
    if is_whole(sample):
        detector = Law(0.0, float(sample.step), 0.0, 0.0)
        if _is_counting(floors, detector, laws):
            return "counts", detector
        name = min(score, key=score.__getitem__)
        # counts on a pedestal have one number, too
        raised = line(floors, slope=detector.b)
        same = min(score[name], laws["counts"].misfit - PENALTY["square"])
        if raised.a < 0 and raised.misfit < same:
            return "line", raised
        # numbers that vary more than counts may be a photograph's
        white = name == "constant" and laws["counts"].b > detector.b
        if not white and score["counts"] <= score[name] + PENALTY["line"]:
            return _with_pedestal(survey, laws["counts"])
        return name, laws[name]
    white = laws["constant"].misfit
    others: list[LawName] = [name for name in score if name != "constant"]
    name = min(others, key=score.__getitem__)
    if score[name] < white - better and score[name] < SHARE * white:
        return name, laws[name]
    if unevenness(survey, laws["constant"]) is not None:
        # a scene that is bright on one side makes all noise that follows it uneven
        for name in sorted(others, key=score.__getitem__):
            if score[name] < white and unevenness(survey, laws[name]) is None:
                return name, laws[name]
    return "constant", laws["constant"]


def unevenness(survey: NoiseSurvey, law: Law) -> PatchLevels | None:
    """Levels over patches of the frames relative to a law, None if all are one."""
    relative = relative_to(survey.blocks, law)
    if not len(relative.mean):
        return None
    levels = levels_of(relative, survey.sample.shape)
    known = levels.trusted
    if np.count_nonzero(known) < FEW_PATCHES:
        return None
    logs = np.log(levels.floors.variance[known])
    error = np.hypot(levels.floors.error[known], UNSEEN)
    centre = np.average(logs, weights=error**-2)
    excess = np.sum(((logs - centre) / error) ** 2) / (len(logs) - 1)
    low, high = np.quantile(logs, [0.1, 0.9])
    return levels if high - low > RANGE and excess > TIMES else None


def _is_counting(floors: Floors, detector: Law, laws: dict[LawName, Law]) -> bool:
    """Whether the floors can be those of a counting detector."""
    if not (floors.mean > 0).any():
        return True  # hardly a photon: nothing tells of another law
    ratio = laws["counts"].b / detector.b
    error = float(np.min(floors.error))
    misfit = misfit_of(floors, detector)
    best = min(law.misfit for law in laws.values())
    # texture adds to the finest noise a part of what it adds to the coarse one
    coarse = floors.coarse[np.isfinite(floors.coarse)]
    texture = max(float(np.median(coarse)) - WHITE, 0) if coarse.size else 0.0
    most = 1 + max(NEAR, 3 * error) + texture
    # whole numbers below one vary by no less than their mean: less of it is chance
    sparse = np.median(floors.mean) < SPARSE * detector.b
    least = 0 if sparse else 1 - max(BELOW, 5 * error)
    agree, below = agreement(floors, detector)
    if below == 0 and _is_counting_in_shadow(floors, detector):
        return True
    if not least < ratio < most:
        hidden = best > HIDDEN * misfit  # by structure, in all other laws, too
        return agree >= CANNOT_TELL and below == 0 and ratio > 1 and hidden
    other = best + BETTER * len(floors.mean)
    return bool(sparse or min(laws["counts"].misfit, misfit) < other)


def _is_counting_in_shadow(floors: Floors, detector: Law) -> bool:
    """Whether dim floors agree with a counting detector, and not with the others.

    A gain is the same in a shadow; what structure and the response of pixels add to
    the variance grows with the square of the mean.
    """
    ratio = floors.variance / np.maximum(detector.variance(floors.mean), 1e-300)
    dim = floors.mean < DIM * np.median(floors.mean)
    if not dim.any():
        return False
    error = np.hypot(floors.error, UNSEEN)[dim]
    elsewhere = np.median(ratio[~dim])
    return bool(
        np.all(np.abs(ratio[dim] - 1) < SURE * error)
        and np.all(elsewhere - ratio[dim] > SURE * error * elsewhere)
    )


def _with_pedestal(survey: NoiseSurvey, law: Law) -> tuple[LawName, Law]:
    """Counts of less variance than their mean may stand on a pedestal.

    The data have no value far below it, then.
    """
    sample = survey.sample
    step = float(sample.step)
    if law.b > (1 - BELOW) * step:
        return "counts", law
    mean = float(np.median(survey.blocks.mean))
    pedestal = mean * (1 - law.b / step)
    lowest = np.quantile(sample.tiles[sample.valid], 1e-3)
    if lowest > pedestal - 4 * np.sqrt(law.b * mean):
        return "pedestal", Law(-step * pedestal, step, 0.0, law.misfit)
    return "counts", law
