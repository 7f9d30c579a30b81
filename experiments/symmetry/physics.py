"""What is denoising by symmetry for: physics from weak data, or only images?

    python -m experiments.symmetry.physics [--quick] [--steps 400]

Poisson counts of scenes whose physics is known (`physics_scenes.py`), denoised by all
methods of `network.py`, and measured by the same fits (`physics_fits.py`).
Networks learn from drawings (`drawn_patterns.py`), never from these scenes; all methods
know the two-fold rotation only, but for "rings + TV", where the pattern is round.
Errors stand beside the Cramér-Rao bound: no unbiased estimate from the same counts has
a smaller one, and what a denoiser gains beyond it comes with a bias.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

import tvjax
from experiments.common.measure import output_folder, Record, Report, training_parser
from experiments.symmetry.network import (
    by_networks,
    by_statistics,
    GROUP,
    learned_from,
    Pattern,
    Setup,
)
from experiments.symmetry.physics_fits import build_instrument, Image, Instrument
from experiments.symmetry.physics_scenes import (
    powder_series,
    Scene,
    small_angle,
    still,
    textured_ring,
    total_scattering,
)
from experiments.symmetry.physics_tables import (
    bias,
    conclude,
    draw,
    EFFICIENT,
    exposures_saved,
    Outcome,
    over_bound,
    RINGS,
    rms,
    USUAL,
    verdicts,
)
from tvjax.learning import load_counts, predict

STEM = "physics"
NUM_STEPS = 400  # of each training


class Size(NamedTuple):
    """How much to do."""

    levels: tuple[float, ...]  # counts per pixel
    num_steps: int  # of the powder series
    num_pairs: int
    num_sectors: int
    num_exposures: int  # of each scene and level
    num_checks: int  # exposures on which the fits to raw counts alone are judged


FULL = Size((0.05, 0.2, 1.0, 5.0), 12, 24, 90, 48, 192)
QUICK = Size((0.2, 5.0), 2, 2, 12, 2, 12)

Method = Callable[[Pattern], Image]


def build_scenes(instrument: Instrument, size: Size) -> list[Scene]:
    """Global quantities first, then local ones."""
    return [
        powder_series(instrument, size.num_steps),
        small_angle(instrument),
        total_scattering(instrument),
        still(instrument, size.num_pairs, seed=1),
        textured_ring(instrument, size.num_sectors, seed=1),
    ]


def build_methods(
    setup: Setup, refused: list[Pattern]
) -> tuple[dict[str, Method], list[Record]]:
    """All denoisers, and how long the networks learned.

    Args:
        setup: How the networks are trained.
        refused: Where frames go whose symmetry does not hold by the test, by chance:
            they are denoised as they are.
    """
    plain = by_statistics(setup)
    learned, times = by_networks(setup, learned_from(setup))
    network, noise = load_counts(), tvjax.Poisson()

    def by_orbits(pattern: Pattern, group: str) -> Image:
        try:
            return tvjax.denoise_symmetric(
                pattern.counts,
                noise=noise,
                group=group,
                centre=setup.centre,
                mask=setup.mask,
            ).image
        except ValueError:
            refused.append(pattern)
            return plain["TV"](pattern)

    def shipped(pattern: Pattern) -> Image:
        image = predict(network, pattern.counts, **setup.symmetry, average=True)
        return np.asarray(image)

    methods = {
        "raw": plain["raw"],
        "orbit mean": plain["orbit mean"],
        "TV": plain["TV"],
        "orbit + TV": lambda pattern: by_orbits(pattern, GROUP),
        RINGS: lambda pattern: by_orbits(pattern, "azimuthal"),
        "published": learned["published"],
        "ours": learned["ours, averaged"],
        "supervised": learned["supervised, averaged"],
        "shipped": shipped,
    }
    return methods, times


def judge(
    scene: Scene,
    level: float,
    methods: dict[str, Method],
    setup: Setup,
    num_exposures: int,
) -> Outcome:
    """Denoise and measure all exposures."""
    num_frames, mask = len(scene.rates), setup.mask
    rng = np.random.default_rng((setup.seed, round(1000 * level), *scene.name.encode()))
    truths = level * scene.rates
    known = [scene.measure(truth, "likelihood") for truth in truths]
    bounds = [scene.bounds(frame, level) for frame in range(num_frames)]
    frames = np.tile(range(num_frames), max(2, num_exposures // num_frames))
    errors: dict[str, list] = {}
    squares: dict[str, list] = {}
    for frame in frames:
        truth = truths[frame]
        counts = np.where(mask, rng.poisson(truth), 0).astype(np.float32)
        pattern = Pattern(scene.name, level, truth, counts)
        for name, method in methods.items():
            if name == RINGS and scene.local:
                continue
            image = np.asarray(method(pattern))
            difference = np.square(image - truth)[mask].mean()
            squares.setdefault(name, []).append(difference)
            fits = {name: "likelihood"}
            if name == "raw":
                fits = {USUAL: "least squares", EFFICIENT: "likelihood"}
            for label, fit in fits.items():
                error = scene.measure(image, fit) - known[frame]
                errors.setdefault(label, []).append(error)
    return Outcome(
        scene,
        level,
        np.stack([known[frame] for frame in frames]),
        np.stack([bounds[frame] for frame in frames]),
        {name: np.stack(rows) for name, rows in errors.items()},
        {name: float(np.mean(rows)) for name, rows in squares.items()},
    )


def main() -> None:
    """Train, denoise, measure, report."""
    chosen = training_parser(__doc__.splitlines()[0], NUM_STEPS).parse_args()
    size = QUICK if chosen.quick else FULL
    setup = Setup.of(chosen, NUM_STEPS)
    report = Report(
        "Physics from weak patterns",
        tvjax=tvjax.__version__,
        jax=jax.__version__,
        quick=chosen.quick,
        seed=setup.seed,
        exposures=size.num_exposures,
    )
    if chosen.quick:  # most of the time goes into compilation
        jax.config.update("jax_disable_most_optimizations", True)
    start = time.perf_counter()
    refused: list[Pattern] = []
    methods, times = build_methods(setup, refused)
    report.add("Training", times)
    outcomes, checks = [], []
    raw = {"raw": methods["raw"]}
    for scene in build_scenes(build_instrument(setup.mask), size):
        for level in size.levels:
            outcomes.append(judge(scene, level, methods, setup, size.num_exposures))
            checks.append(judge(scene, level, raw, setup, size.num_checks))
        print(f"{scene.name}: {time.perf_counter() - start:.0f} s", flush=True)
    report.add(
        "Error over the Cramér-Rao bound",
        over_bound(outcomes, rms),
        "Root mean squares over exposures and numbers. An estimate at 1 is as good as "
        "an unbiased one can be. Where the bound is in %, the answer zero has an error "
        "of 100 %.",
    )
    report.add("Bias over the Cramér-Rao bound", over_bound(outcomes, bias))
    report.add(
        f"Fits to raw counts over {size.num_checks} exposures, error over the bound",
        over_bound(checks, rms),
    )
    better = verdicts(outcomes)
    report.add(
        "Better than the likelihood fit to raw counts",
        better,
        "By three standard errors, and than the answer zero.",
    )
    report.say(conclude(better))
    report.add(
        "Exposure of raw counts with the same pixel error, over the one denoised",
        exposures_saved(outcomes),
    )
    report.say(
        f"Refused by the test of symmetry, and denoised without: {len(refused)} of "
        f"{sum(len(o.true) * (1 if o.scene.local else 2) for o in outcomes)} frames."
    )
    report.say(f"All of it took {time.perf_counter() - start:.0f} s.")
    folder = output_folder(chosen, __file__)
    report.save(folder, STEM)
    draw(outcomes, folder / f"{STEM}.png")


if __name__ == "__main__":
    main()
