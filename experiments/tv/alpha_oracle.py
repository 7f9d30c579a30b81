"""How close does the chosen strength come to the best, where the truth is known?

    python -m experiments.tv.alpha_oracle [--quick]

Error over oracle: the mean squared error at the alpha that `tvjax.denoise` chose, over
the least on a grid of 25 strengths from a third to three times as large, both of exact
solutions. The noise model is given ("known") or estimated from the image. TVJAX_DATA
names a folder with images/Set12; without it those images are left out.
"""

import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import skimage
from jaxtyping import Array, Float
from matplotlib import pyplot as plt

import tvjax
from experiments.common.measure import DATA, output_folder, parser, Record, Report
from tvjax.noise import Noise, PoissonGaussian
from tvjax.simulate import diffraction_image

PHOTOGRAPHS = ("camera", "coins", "moon", "brick", "grass", "page", "text")
SIGMAS = (5, 15, 25, 50)
BACKGROUNDS = (0.05, 0.3, 1, 3, 10, 30)
SIDES = (512, 1065)
GRID = np.geomspace(1 / 3, 3, 25)
GRID_TOLERANCE = 1e-3
TARGETS = "targets: known median 1.01, worst 1.05; estimated median 1.03"


class Case(NamedTuple):
    """Noisy data and its truth."""

    group: str
    name: str
    level: float  # what the cases of a group differ in: sigma or background
    y: np.ndarray
    truth: Float[np.ndarray, "height width"]
    noise: Noise


class Outcome(NamedTuple):
    """A strength that was chosen, next to the best."""

    noise: str  # "known" or "estimated"
    alpha: float
    best_alpha: float
    ratio: float  # of their mean squared errors
    num_evaluations: int
    at_bound: bool


def photographs() -> dict[str, Float[np.ndarray, "height width"]]:
    """Test images of 8 bits, at most 512 pixels a side."""
    images = {name: getattr(skimage.data, name)() for name in PHOTOGRAPHS}
    for file in sorted((DATA / "images" / "Set12").glob("*.png")):
        images[f"Set12/{file.stem}"] = skimage.io.imread(file)
    return {name: image[:512, :512].astype(float) for name, image in images.items()}


def all_cases() -> Iterator[Case]:
    """Everything that is to be denoised, a fresh draw of the noise for each."""
    seeds = iter(range(10_000))
    images = photographs()
    for name, truth in images.items():
        for sigma in SIGMAS:
            yield gaussian_case(name, truth, sigma, next(seeds))
    for side in SIDES:
        for background in BACKGROUNDS:
            yield poisson_case(side, background, next(seeds))
    for background in (1, 10):
        _, photons = scene(512, background, next(seeds))
        yield mixed_case("diffraction 512", background, photons, next(seeds))
    for name in ("camera", "brick", "moon"):
        for peak in (20, 200):
            photons = images[name] * (peak / 255)
            yield mixed_case(name, peak, photons, next(seeds))


def quick_cases() -> Iterator[Case]:
    """One small case of each group."""
    crop = skimage.data.camera()[200:264, 200:264].astype(float)
    yield gaussian_case("camera crop", crop, 25, 0)
    yield poisson_case(64, 3, 1, num_spots=3)
    yield mixed_case("camera crop", 200, crop * (200 / 255), 2)


def gaussian_case(name: str, truth: np.ndarray, sigma: float, seed: int) -> Case:
    """White noise on 8 bits."""
    rng = np.random.default_rng(seed)
    y = (truth + rng.normal(0, sigma, truth.shape)).astype(np.float32)
    return Case("Gaussian", name, sigma, y, truth, tvjax.Gaussian(sigma))


def poisson_case(side: int, background: float, seed: int, num_spots=300) -> Case:
    """Photons of a diffraction image."""
    counts, truth = scene(side, background, seed, num_spots)
    return Case(
        "Poisson", f"diffraction {side}", background, counts, truth, tvjax.Poisson()
    )


def mixed_case(name: str, level: float, photons: np.ndarray, seed: int) -> Case:
    """Photons on a detector of gain 2, offset 10 and read-out noise of 3."""
    gain, sigma, offset = 2.0, 3.0, 10.0
    rng = np.random.default_rng(seed)
    y = gain * rng.poisson(photons) + offset + rng.normal(0, sigma, photons.shape)
    noise = PoissonGaussian(gain, sigma, offset)
    truth = gain * photons + offset
    return Case("mixed", name, level, y.astype(np.float32), truth, noise)


def scene(
    side: int, background: float, seed: int, num_spots: int = 300
) -> tuple[np.ndarray, np.ndarray]:
    """Counts and truth; the background rises from the corners to the centre."""
    return diffraction_image(
        (side, side),
        background=(background / 2, 3 * background / 2),
        num_spots=num_spots,
        seed=seed,
    )


def judge(case: Case) -> list[Outcome]:
    """The choices with the noise known and estimated, next to the best."""
    estimated = PoissonGaussian.estimate(case.y) if case.group == "mixed" else None
    chosen = {
        "known": tvjax.denoise(case.y, noise=case.noise),
        "estimated": tvjax.denoise(case.y, noise=estimated),
    }
    alphas = {name: float(result.alpha) for name, result in chosen.items()}
    errors, best = least_error(case, alphas)
    return [
        Outcome(
            noise=name,
            alpha=alphas[name],
            best_alpha=best,
            ratio=errors[name] / errors["best"],
            num_evaluations=len(result.curve.alphas),
            at_bound=bool(result.at_bound),
        )
        for name, result in chosen.items()
    ]


def least_error(case: Case, alphas: dict[str, float]) -> tuple[dict[str, float], float]:
    """Mean squared errors at given strengths and at the best, and the best strength.

    The grid is about the known noise's choice, and moves on while the best lies at its
    end.
    """
    errors, centre = {}, alphas["known"]
    while True:
        grid = centre * GRID
        points = np.sort(np.append(grid, list(alphas.values())))
        found = mean_squared_errors(case, points)
        errors |= dict(zip(points, found, strict=True))
        best = min(errors, key=errors.get)
        if grid[0] < best < grid[-1]:
            break
        centre = best
    named = {name: errors[alpha] for name, alpha in alphas.items()}
    return named | {"best": errors[best]}, float(best)


def mean_squared_errors(case: Case, alphas: np.ndarray) -> np.ndarray:
    """The error of the exact solution at each strength, in float64."""
    y, truth = case.y.astype(np.float32), case.truth.astype(np.float32)
    rows = _row_errors(y, truth, alphas.astype(np.float32))
    return np.asarray(rows, np.float64).mean(axis=1)


@jax.jit
def _row_errors(
    y: Float[Array, "height width"],
    truth: Float[Array, "height width"],
    alphas: Float[Array, " alphas"],
) -> Float[Array, "alphas height"]:
    """Mean squared error of each row, each solve starting from the last one's dual."""

    def advance(dual: Array, alpha: Array) -> tuple[Array, Array]:
        solution = tvjax.solve(y, alpha, dual=dual, tol=GRID_TOLERANCE)
        return solution.dual, ((solution.image - truth) ** 2).mean(axis=1)

    start = jax.numpy.zeros((y.ndim, *y.shape), y.dtype)
    return jax.lax.scan(advance, start, alphas)[1]


def summarize(records: list[Record]) -> list[Record]:
    """Median and worst of each group, and how often alpha ended at a bound."""
    summary = []
    for group in dict.fromkeys(record["group"] for record in records):
        for noise in ("known", "estimated"):
            chosen = [r for r in records if r["group"] == group and r["noise"] == noise]
            ratios = [r["error / oracle"] for r in chosen]
            worst = max(chosen, key=lambda r: r["error / oracle"])
            summary.append(
                {
                    "group": group,
                    "noise": noise,
                    "images": len(chosen),
                    "median": statistics.median(ratios),
                    "worst": max(ratios),
                    "worst case": f"{worst['image']}, {worst['level']:g}",
                    "evaluations": statistics.mean(r["evaluations"] for r in chosen),
                    "at bound": sum(r["at bound"] for r in chosen),
                }
            )
    return summary


def draw(records: list[Record], file: Path) -> None:
    """Error over oracle against the chosen strength over the best."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 4), sharex=True, sharey=True)
    for ax, noise in zip(axes, ("known", "estimated"), strict=True):
        for group in dict.fromkeys(record["group"] for record in records):
            chosen = [r for r in records if r["group"] == group and r["noise"] == noise]
            ax.scatter(
                [r["alpha"] / r["best alpha"] for r in chosen],
                [r["error / oracle"] for r in chosen],
                s=14,
                label=group,
            )
        ax.axhline(1.01, linewidth=0.8, linestyle=":", color="gray")
        ax.set(title=f"noise {noise}", xlabel="chosen alpha / best alpha")
    axes[0].set_ylabel("mean squared error / oracle")
    axes[0].legend()
    figure.savefig(file, dpi=150, bbox_inches="tight")
    plt.close(figure)


def main() -> None:
    """Judge all cases, and keep the table and the figure."""
    options = parser(__doc__.splitlines()[0]).parse_args()
    folder = output_folder(options, __file__)
    report = Report(
        "The strength chosen, next to the best",
        tvjax=tvjax.__version__,
        jax=jax.__version__,
        quick=options.quick,
    )
    if not (DATA / "images" / "Set12").is_dir():
        report.say(f"no images/Set12 in {DATA}: skipped.")
    records = []
    for case in quick_cases() if options.quick else all_cases():
        for outcome in judge(case):
            records.append(
                {
                    "group": case.group,
                    "image": case.name,
                    "level": case.level,
                    "noise": outcome.noise,
                    "alpha": outcome.alpha,
                    "best alpha": outcome.best_alpha,
                    "error / oracle": outcome.ratio,
                    "evaluations": outcome.num_evaluations,
                    "at bound": outcome.at_bound,
                }
            )
        print(".", end="", flush=True)
    print()
    report.add("Every image", records, "level: sigma of 255, background or peak counts")
    report.add("Summary", summarize(records), TARGETS)
    report.save(folder, "alpha_oracle")
    draw(records, folder / "alpha_oracle.png")


if __name__ == "__main__":
    main()
