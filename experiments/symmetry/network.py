"""How good is a network that learns from symmetry, and never sees a clean pattern?

    python -m experiments.symmetry.network [--quick] [--steps 1200] [--seed 0]

Poisson counts of patterns that are drawn at random (`drawn_patterns.py`), each frame
another, of 0.1 to 20 counts per pixel, on a detector with a gap and a beam stop. Three
networks of the same size and the same number of steps, on the same frames: ours, the
published scheme, and a supervised one (`rivals.py`). Judged on drawings of
other seeds, and on the simulated patterns of the package, which look like none of them,
with 0.2 to 5 counts per pixel. All use the two-fold rotation only.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import numpy as jnp
from jaxtyping import Bool, Float

import tvjax
from experiments.common.measure import output_folder, Record, Report, training_parser
from experiments.symmetry.drawn_patterns import draw_pattern
from experiments.symmetry.rivals import (
    predict_published,
    train_published,
    train_supervised,
)
from tvjax.learning import CountNetwork, predict, train, TrainingSeries
from tvjax.learning.pairs import sum_orbits
from tvjax.metrics import psnr
from tvjax.networks.unet import BLOCKS, WIDTHS
from tvjax.simulate import scattering_pattern
from tvjax.symmetry import find_group

LEVELS = (0.2, 1.0, 5.0)
TRAINED_LEVELS = (0.1, 20.0)
GROUP = "friedel"
NUM_STEPS = 1200  # of each training
# Seed of the patterns for the judgement, which no training may have.
UNSEEN = 2**31


class Setup(NamedTuple):
    """Sizes of the experiment."""

    side: int  # of a frame
    crop: int
    num_frames: int  # to learn from
    num_judged: int  # drawings of each level
    num_steps: int
    widths: tuple[int, ...]
    blocks: tuple[int, ...]
    seed: int

    @classmethod
    def of(cls, chosen: argparse.Namespace, num_steps: int) -> "Setup":
        """What the command line asks for, with so many steps by default."""
        if chosen.quick:
            return cls(32, 16, 8, 1, chosen.steps or 4, (4, 6), (1, 1), chosen.seed)
        steps = chosen.steps or num_steps
        return cls(128, 64, 384, 8, steps, WIDTHS, BLOCKS, chosen.seed)

    @property
    def centre(self) -> tuple[float, float]:
        """The beam centre."""
        middle = (self.side - 1) / 2
        return middle, middle

    @property
    def symmetry(self) -> dict[str, Any]:
        """Group, centre and mask, as the package's functions take them."""
        return {"group": GROUP, "centre": self.centre, "mask": self.mask}

    @property
    def mask(self) -> Bool[np.ndarray, "height width"]:
        """A gap between modules, and a beam stop with its arm."""
        y, x = np.indices((self.side, self.side)) - self.centre[0]
        gap = np.abs(y - 0.2 * self.side) < 0.015 * self.side
        arm = (np.abs(x) < 0.01 * self.side) & (y < 0)
        return ~(gap | arm | (np.hypot(y, x) < 0.04 * self.side))


class Pattern(NamedTuple):
    """A truth, and its counts."""

    kind: str
    level: float
    truth: Float[np.ndarray, "height width"]
    counts: Float[np.ndarray, "height width"]


def learned_from(setup: Setup) -> list[Pattern]:
    """Frames of all levels."""
    rng = np.random.default_rng((setup.seed, 0))
    patterns = []
    for _ in range(setup.num_frames):
        level = np.exp(rng.uniform(*np.log(TRAINED_LEVELS)))
        patterns.append(draw(setup, "drawn", float(level), rng))
    return patterns


def judged_by(setup: Setup) -> list[Pattern]:
    """Frames that no network has seen."""
    rng = np.random.default_rng((setup.seed, UNSEEN))
    patterns = []
    for level in LEVELS:
        patterns += [draw(setup, "drawn", level, rng) for _ in range(setup.num_judged)]
        for kind in ("powder", "saxs", "fibre", "crystal"):
            shape = (setup.side, setup.side)
            found = scattering_pattern(
                kind, shape, mean=level, centre=setup.centre, gaps=False, seed=7
            )
            patterns.append(expose(setup, kind, level, found.truth, rng))
    return patterns


def draw(setup: Setup, kind: str, level: float, rng: np.random.Generator) -> Pattern:
    """One drawing."""
    return expose(setup, kind, level, draw_pattern(GROUP, setup.side, rng), rng)


def expose(
    setup: Setup,
    kind: str,
    level: float,
    truth: Float[np.ndarray, "height width"],
    rng: np.random.Generator,
) -> Pattern:
    """Counts of a mean level over the valid pixels."""
    truth = truth * level / truth[setup.mask].mean()
    counts = np.where(setup.mask, rng.poisson(truth), 0).astype(np.float32)
    return Pattern(kind, level, truth, counts)


Method = Callable[[Pattern], Float[np.ndarray, "height width"]]


def by_statistics(setup: Setup) -> dict[str, Method]:
    """What needs no training."""
    mask = setup.mask

    def orbit(pattern: Pattern) -> np.ndarray:
        counts, valid = jnp.asarray(pattern.counts), jnp.asarray(mask)
        summed = sum_orbits(counts, find_group(GROUP), setup.centre, valid)
        return np.asarray(summed.counts / jnp.maximum(summed.exposure, 1))

    def tv(pattern: Pattern) -> np.ndarray:
        noise = tvjax.Poisson()
        return np.asarray(tvjax.denoise(pattern.counts, noise=noise, mask=mask).image)

    def orbit_tv(pattern: Pattern) -> np.ndarray:
        # exact where both members are valid, which is nearly everywhere
        noise = tvjax.Poisson(0.5)
        return np.asarray(tvjax.denoise(orbit(pattern), noise=noise, mask=mask).image)

    return {
        "raw": lambda pattern: pattern.counts,
        "orbit mean": orbit,
        "TV": tv,
        "orbit + TV": orbit_tv,
    }


def by_networks(
    setup: Setup, patterns: list[Pattern]
) -> tuple[dict[str, Method], list[Record]]:
    """What has to learn, and how long that took."""
    frames = np.stack([pattern.counts for pattern in patterns])
    truths = np.stack([pattern.truth for pattern in patterns])
    mask, centre = setup.mask, setup.centre
    options = {"num_steps": setup.num_steps, "batch": 8, "side": setup.crop}
    drawn = {"seed": setup.seed, "widths": setup.widths, "blocks": setup.blocks}

    def ours() -> CountNetwork:
        key = jax.random.key(setup.seed)
        return train(
            TrainingSeries.of(frames, **setup.symmetry),
            start=CountNetwork(setup.widths, setup.blocks, key=key),
            rate=2e-3,
            key=key,
            **options,
        ).network

    tasks = {
        "published": lambda: train_published(frames, **options, **drawn),
        "ours": ours,
        "supervised": lambda: train_supervised(
            frames, truths, mask, centre, **options, **drawn
        ),
    }
    networks, records = {}, []
    for name, task in tasks.items():
        start = time.perf_counter()
        networks[name] = task()
        records.append(
            {
                "network": name,
                "weights": sum(x.size for x in jax.tree.leaves(networks[name])),
                "steps": setup.num_steps,
                "seconds": time.perf_counter() - start,
            }
        )

    def known(name: str, average: bool) -> Method:
        return lambda pattern: np.asarray(
            predict(networks[name], pattern.counts, **setup.symmetry, average=average)
        )

    methods = {
        "published": lambda pattern: predict_published(
            networks["published"], pattern.counts
        ),
        "ours": known("ours", False),
        "ours, averaged": known("ours", True),
        "supervised": known("supervised", False),
        "supervised, averaged": known("supervised", True),
    }
    return methods, records


def judge(
    setup: Setup, patterns: list[Pattern], methods: dict[str, Method]
) -> tuple[list[Record], list[Record]]:
    """Ratios of peak to noise in dB, and the share of the counts that is left."""
    mask, scores, shares = setup.mask, [], []
    kinds = sorted({(p.level, p.kind) for p in patterns})
    for level, kind in kinds:
        chosen = [p for p in patterns if (p.level, p.kind) == (level, kind)]
        score, share = ({"counts": level, "pattern": kind} for _ in range(2))
        for name, method in methods.items():
            images = [method(pattern) for pattern in chosen]
            both = list(zip(images, chosen, strict=True))
            score[name] = float(
                np.mean(
                    [
                        psnr(x, p.truth, mask, peak=float(p.truth[mask].max()))
                        for x, p in both
                    ]
                )
            )
            share[name] = float(
                sum(x[mask].sum() for x, _ in both)
                / sum(p.truth[mask].sum() for _, p in both)
            )
        scores.append(score)
        shares.append(share)
    return scores, shares


def summarize(scores: list[Record]) -> list[Record]:
    """Means over drawings, and over the package's patterns."""
    rows = []
    for level in LEVELS:
        for name, drawn in (("drawn", True), ("simulated", False)):
            chosen = [
                row
                for row in scores
                if row["counts"] == level and (row["pattern"] == "drawn") == drawn
            ]
            means = {
                method: float(np.mean([row[method] for row in chosen]))
                for method in list(chosen[0])[2:]
            }
            rows.append({"counts": level, "patterns": name, **means})
    return rows


def main() -> None:
    """Train, judge, report."""
    chosen = training_parser(__doc__.splitlines()[0], NUM_STEPS).parse_args()
    setup = Setup.of(chosen, NUM_STEPS)
    report = Report(
        "Networks that learn from symmetry",
        tvjax=tvjax.__version__,
        jax=jax.__version__,
        quick=chosen.quick,
        seed=setup.seed,
    )
    start = time.perf_counter()
    learned, times = by_networks(setup, learned_from(setup))
    report.add("Training", times)
    methods = by_statistics(setup) | learned
    scores, shares = judge(setup, judged_by(setup), methods)
    report.add("Mean PSNR, dB", summarize(scores), "Peak: of the truth.")
    report.add("PSNR of each pattern, dB", scores)
    report.add("Counts left, share of the true ones", shares)
    report.say(f"All of it took {time.perf_counter() - start:.0f} s.")
    report.save(output_folder(chosen, __file__), "network")


if __name__ == "__main__":
    main()
