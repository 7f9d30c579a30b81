"""How far are measured numbers from the truth, and from the least possible error?"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib import pyplot as plt
from matplotlib.ticker import LogLocator

from experiments.common.measure import Record
from experiments.symmetry.physics_scenes import Quantity, Scene

# What the counts say without a denoiser: as is usual, and as well as they can.
USUAL, EFFICIENT = "raw, least squares", "raw, likelihood"
# Means over all azimuths, then denoised: only of patterns that are round.
RINGS = "rings + TV"

NONE = "none is smaller"

# In the order they are drawn in: the fits to raw counts on top.
STYLES = {
    "orbit mean": "C7s-",
    "TV": "C0^-",
    "orbit + TV": "C0o-",
    RINGS: "C9o--",
    "published": "C3v-",
    "supervised": "C2d:",
    "ours": "C1o-",
    "shipped": "C1^--",
    USUAL: "kx:",
    EFFICIENT: "ko-",
}


class Outcome(NamedTuple):
    """Of one scene at one level."""

    scene: Scene
    level: float
    true: Float[np.ndarray, "exposure number"]
    bounds: Float[np.ndarray, "exposure number"]
    errors: dict[str, Float[np.ndarray, "exposure number"]]
    squares: dict[str, float]  # mean squared error of a pixel, counts²


def rms(numbers: Float[np.ndarray, "..."]) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(numbers))))


def bias(errors: Float[np.ndarray, "draw frame number"]) -> float:
    """Root mean square of the errors' means, without what chance adds to it."""
    chance = np.var(errors, axis=0, ddof=1) / len(errors)
    squares = np.square(np.mean(errors, axis=0)) - chance
    return float(np.sqrt(max(np.mean(squares), 0)))


def over_bound(
    outcomes: list[Outcome],
    mean: Callable[[Float[np.ndarray, "draw frame number"]], float],
) -> list[Record]:
    """A mean of each method's errors over the bound's root mean square."""
    records = []
    for quantity, outcome in listed(outcomes):
        bound = rms(outcome.bounds[:, quantity.where])
        record = {
            "quantity": quantity.name,
            "counts": outcome.level,
            "bound": f"{unit_of(quantity, outcome) * bound:.3g} {quantity.unit}",
        }
        for name in named(outcomes):
            linear = name == USUAL and not outcome.scene.has_fits
            if linear or name not in outcome.errors:
                record[name] = "–"
                continue
            chosen = outcome.errors[name][:, quantity.where]
            shape = -1, len(outcome.scene.rates), len(quantity.where)
            record[name] = f"{mean(chosen.reshape(shape)) / bound:.2f}"
        records.append(record)
    return records


def named(outcomes: list[Outcome]) -> list[str]:
    """All methods that any outcome has."""
    return list(dict.fromkeys(name for o in outcomes for name in o.errors))


def listed(outcomes: list[Outcome]) -> list[tuple[Quantity, Outcome]]:
    """By quantity, then by level."""
    pairs = [(q, outcome) for outcome in outcomes for q in outcome.scene.quantities]
    names = list(dict.fromkeys(q.name for q, _ in pairs))
    return sorted(pairs, key=lambda pair: names.index(pair[0].name))


def unit_of(quantity: Quantity, outcome: Outcome) -> float:
    """What an error is multiplied by."""
    if quantity.unit != "%":
        return 1.0
    return 100 / rms(outcome.true[:, quantity.where])


class Gain(NamedTuple):
    """An error over that of the likelihood fit to raw counts."""

    ratio: float
    is_sure: bool  # by three standard errors and 1 %, and against the answer zero


def compare(outcome: Outcome, quantity: Quantity, name: str) -> Gain:
    """With the standard error over exposures drawn from those there are."""
    own, raw = (
        np.mean(np.square(outcome.errors[label][:, quantity.where]), axis=1)
        for label in (name, EFFICIENT)
    )
    drawn = np.random.default_rng(0).integers(len(own), size=(400, len(own)))
    spread = np.std(np.log(own[drawn].mean(1) / raw[drawn].mean(1)))
    logarithm = np.log(own.mean() / raw.mean())
    useful = quantity.unit != "%" or own.mean() < np.mean(
        np.square(outcome.true[:, quantity.where])
    )
    is_sure = bool(logarithm < -max(3 * spread, 0.02)) and useful
    return Gain(float(np.exp(logarithm / 2)), is_sure)


def verdicts(outcomes: list[Outcome]) -> list[Record]:
    """Which denoisers surely beat the likelihood fit to raw counts."""
    records = []
    for quantity, outcome in listed(outcomes):
        denoisers = [name for name in outcome.errors if name not in (USUAL, EFFICIENT)]
        gains = {name: compare(outcome, quantity, name) for name in denoisers}
        better = sorted((g.ratio, name) for name, g in gains.items() if g.is_sure)
        records.append(
            {
                "quantity": quantity.name,
                "kind": "local" if outcome.scene.local else "global",
                "counts": outcome.level,
                "error over that of the fit": ", ".join(
                    f"{name} {ratio:.2f}" for ratio, name in better
                )
                or NONE,
            }
        )
    return records


def conclude(rows: list[Record]) -> str:
    """In how many of the cases a denoiser helps."""
    parts = []
    for kind in ("global", "local"):
        chosen = [list(row.values())[-1] for row in rows if row["kind"] == kind]
        helped = sum(text != NONE for text in chosen)
        parts.append(f"{helped} of {len(chosen)} {kind} ones")
    return (
        "Quantities and exposures at which a denoiser surely beats the likelihood fit "
        f"to raw counts: {' and '.join(parts)}."
    )


def exposures_saved(outcomes: list[Outcome]) -> list[Record]:
    """How many times the exposure the raw counts need for a pixel error as small."""
    records = []
    for outcome in outcomes:
        record = {"scene": outcome.scene.name, "counts": outcome.level}
        raw = outcome.squares["raw"]
        for name in named(outcomes):
            if name not in (USUAL, EFFICIENT):
                square = outcome.squares.get(name)
                record[name] = "–" if square is None else f"{raw / square:.3g}"
        records.append(record)
    return records


def draw(outcomes: list[Outcome], file: Path) -> None:
    """Errors against exposure, with the bound."""
    names = list(dict.fromkeys(q.name for q, _ in listed(outcomes)))
    figure, axes = plt.subplots(
        2, -(-len(names) // 2), figsize=(13, 6.4), layout="constrained", sharex=True
    )
    for name, ax in zip(names, axes.flat, strict=False):
        rows = [(q, o) for q, o in listed(outcomes) if q.name == name]
        levels = [o.level for _, o in rows]
        units = [unit_of(q, o) for q, o in rows]
        bound = [
            unit * rms(o.bounds[:, q.where])
            for unit, (q, o) in zip(units, rows, strict=True)
        ]
        ax.plot(levels, bound, "k--", linewidth=2, label="Cramér-Rao bound")
        for label, style in STYLES.items():
            linear = label == USUAL and not rows[0][1].scene.has_fits
            if linear or label not in rows[0][1].errors:
                continue
            found = [
                unit * rms(o.errors[label][:, q.where])
                for unit, (q, o) in zip(units, rows, strict=True)
            ]
            ax.plot(levels, found, style, markersize=4, linewidth=1.2, label=label)
        ax.set(
            xscale="log", yscale="log", title=name, ylabel=f"error, {rows[0][0].unit}"
        )
        ax.set_xticks(levels, [f"{level:g}" for level in levels])
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter("{x:g}")
        ax.minorticks_off()
    for ax in axes[-1]:
        ax.set_xlabel("counts per pixel")
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=6)
    figure.savefig(file, dpi=130)
    plt.close(figure)
