"""How far are measured numbers from the truth, and from the least possible error?"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib import pyplot as plt
from measure import Record
from physics_scenes import Quantity, Scene

# What the counts say without a denoiser: as is usual, and as well as they can.
USUAL, EFFICIENT = "raw, least squares", "raw, likelihood"

STYLES = {
    USUAL: "C7v:",
    EFFICIENT: "ko-",
    "orbit mean": "C7s-",
    "TV": "C0^-",
    "orbit + TV": "C0o-",
    "published": "C3x-",
    "supervised": "C2d:",
    "ours": "C1o-",
    "shipped": "C1^--",
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


def over_bound(
    outcomes: list[Outcome], mean: Callable[[np.ndarray], float]
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
        for name, errors in outcome.errors.items():
            found = mean(errors[:, quantity.where]) / bound
            linear = name == USUAL and not outcome.scene.has_fits
            record[name] = "–" if linear else f"{found:.2f}"
        records.append(record)
    return records


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


def verdicts(outcomes: list[Outcome]) -> list[Record]:
    """Which denoisers beat the efficient fit to raw counts, by two standard errors.

    The standard error is that of the logarithm of the ratio of the two errors, from
    exposures drawn anew from those there are.
    """
    records = []
    for quantity, outcome in listed(outcomes):
        rng = np.random.default_rng(0)
        num = len(outcome.true)
        drawn = rng.integers(num, size=(400, num))
        powers = {
            name: np.mean(np.square(errors[:, quantity.where]), axis=1)
            for name, errors in outcome.errors.items()
        }
        better = []
        for name in list(powers)[2:]:
            ratio = 0.5 * np.log(powers[name].mean() / powers[EFFICIENT].mean())
            again = [0.5 * np.log(powers[n][drawn].mean(1)) for n in (name, EFFICIENT)]
            if ratio + 2 * np.std(again[0] - again[1]) < 0:
                better.append((ratio, f"{name} {np.exp(ratio):.2f}"))
        records.append(
            {
                "quantity": quantity.name,
                "kind": "local" if outcome.scene.local else "global",
                "counts": outcome.level,
                "error over that of the fit to raw counts": ", ".join(
                    text for _, text in sorted(better)
                )
                or "none is smaller",
            }
        )
    return records


def exposures_saved(outcomes: list[Outcome]) -> list[Record]:
    """How many times the exposure the raw counts need for a pixel error as small."""
    return [
        {
            "scene": outcome.scene.name,
            "counts": outcome.level,
            **{
                name: f"{outcome.squares['raw'] / square:.3g}"
                for name, square in outcome.squares.items()
                if name != "raw"
            },
        }
        for outcome in outcomes
    ]


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
            if label == USUAL and not rows[0][1].scene.has_fits:
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
        ax.minorticks_off()
    for ax in axes[-1]:
        ax.set_xlabel("counts per pixel")
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5)
    figure.savefig(file, dpi=130)
    plt.close(figure)
