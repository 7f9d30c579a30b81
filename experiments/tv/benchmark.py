"""How soon does tvjax solve the ROF problem, next to others, and choose its strength?

    python -m experiments.tv.benchmark [--quick] [--threads 1 2] [--repeats 7]

Steps: the fewest after which (P − P*)/P* is below a tolerance, P the objective in
float64 and P* its least value. Seconds: exactly so many steps, in a process with so
many cores, the contestants in turn. Compilation is told apart.
"""

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
import skimage
from matplotlib import pyplot as plt
from matplotlib.ticker import NullFormatter

import tvjax
from experiments.common.measure import (
    answer,
    ask_pinned,
    interleave,
    output_folder,
    parser,
    Record,
    Report,
    seconds,
    Timing,
)
from experiments.tv.contestants import contestants, Image, missing_peers
from tvjax.noise import Noise
from tvjax.simulate import diffraction_image

STEP_LIMIT = 20_000  # a contestant that needs more never arrives
SCALING_STEPS = 50
SOLVERS = ("pdhg", "fgp")


class Case(NamedTuple):
    """An image to denoise."""

    x: Image  # float32
    alpha: float  # of the race to P*
    certified_alpha: float  # of the solve to a certified gap
    noise: Noise
    data: np.ndarray  # what a user would hand in


class Size(NamedTuple):
    """How much to do."""

    camera: int  # rows and columns
    diffraction: int
    num_spots: int
    tolerances: tuple[float, ...]
    reference_gap: float
    sides: tuple[int, ...]  # of the images that show the scaling
    automatic: tuple[str, ...]  # cases whose strength is chosen


FULL = Size(
    camera=512,
    diffraction=1065,
    num_spots=300,
    tolerances=(1e-2, 1e-3, 1e-4, 1e-5),
    reference_gap=2e-9,
    sides=(512, 1024, 2048, 4096),
    automatic=("camera", "diffraction"),
)
QUICK = Size(
    camera=64,
    diffraction=64,
    num_spots=3,
    tolerances=(1e-2, 1e-3),
    reference_gap=1e-6,
    sides=(64,),
    automatic=("diffraction",),
)


@cache
def cases(size: Size) -> dict[str, Case]:
    """The photograph and the diffraction image."""
    rng = np.random.default_rng(0)
    photograph = skimage.data.camera()[: size.camera, : size.camera] / 255
    sigma = 25 / 255
    noisy = photograph + rng.normal(0, sigma, photograph.shape)
    noisy = noisy.astype(np.float32)
    counts, _ = diffraction_image((size.diffraction,) * 2, num_spots=size.num_spots)
    floating = counts.astype(np.float32)
    return {
        "camera": Case(noisy, 0.08, 0.1, tvjax.Gaussian(sigma), noisy),
        "diffraction": Case(floating, 1.0, 1.0, tvjax.Poisson(), counts),
    }


def objective(y: Image, x: Image, alpha: float) -> float:
    """½‖y − x‖² + α TV(y) in float64."""
    y = np.asarray(y, np.float64)
    down = np.diff(y, axis=0, append=y[-1:])
    right = np.diff(y, axis=1, append=y[:, -1:])
    return 0.5 * np.sum((y - x) ** 2) + alpha * np.sum(np.hypot(down, right))


def least_objective(case: Case, gap: float) -> float:
    """P*, exact up to a certified relative gap."""
    with jax.enable_x64(True):
        solution = tvjax.solve(
            case.x.astype(np.float64),
            case.alpha,
            tol=gap,
            max_steps=200_000,
            steps_per_check=50,
        )
        if not solution.converged:
            raise RuntimeError(f"P* is known to {float(solution.relative_gap):.1e}.")
        return objective(solution.image, case.x, case.alpha)


def fewest_steps(
    excess: Callable[[int], float], tolerances: tuple[float, ...]
) -> list[int | None]:
    """For each tolerance, falling, how many steps bring the excess below it.

    Found by doubling and halving, to 1 %; None beyond the limit.
    """
    excess = cache(excess)
    found, low = [], 0
    for tolerance in tolerances:
        high = max(low, 1)
        while high <= STEP_LIMIT and excess(high) > tolerance:
            low, high = high, 2 * high
        if high > STEP_LIMIT:
            return found + [None] * (len(tolerances) - len(found))
        while high - low > max(1, 0.01 * high):
            middle = (low + high) // 2
            low, high = (low, middle) if excess(middle) <= tolerance else (middle, high)
        found.append(high)
    return found


def race_steps(size: Size, report: Report) -> dict[str, dict[str, list[int | None]]]:
    """The steps to each tolerance, by case and contestant."""
    steps = {}
    for name, case in cases(size).items():
        least = least_objective(case, size.reference_gap)
        steps[name] = {}
        for contestant, prepare in contestants().items():
            run = prepare(case.x, case.alpha)

            def excess(num_steps: int, run=run, case=case, least=least) -> float:
                return objective(run(num_steps), case.x, case.alpha) / least - 1

            steps[name][contestant] = fewest_steps(excess, size.tolerances)
        report.add(
            f"Steps to (P − P*)/P*: {name}",
            [
                {"contestant": contestant} | _by_tolerance(size, counts)
                for contestant, counts in steps[name].items()
            ],
            f"{'x'.join(map(str, case.x.shape))}, alpha {case.alpha}, P* {least:.9g}",
        )
    return steps


def _by_tolerance(size: Size, values: list[Any]) -> Record:
    return {
        f"{tolerance:.0e}": value
        for tolerance, value in zip(size.tolerances, values, strict=True)
    }


# What one process with a given number of cores measures.


def respond(request: Record) -> Record:
    """Measure everything that depends on the number of cores."""
    size = QUICK if request["quick"] else FULL
    repeats = request["repeats"]
    return {
        "race": {
            name: time_race(case, request["steps"][name], repeats)
            for name, case in cases(size).items()
        },
        "certified": [
            record
            for name, case in cases(size).items()
            for record in time_certified(name, case, repeats)
        ],
        "scaling": time_scaling(size.sides, repeats),
        "automatic": [
            time_automatic(name, cases(size)[name], repeats) for name in size.automatic
        ],
    }


def time_race(
    case: Case, steps: dict[str, list[int | None]], repeats: int
) -> dict[str, list[Timing | None]]:
    """Seconds that each contestant takes to each tolerance."""
    everyone = contestants()
    runs = {name: everyone[name](case.x, case.alpha) for name in steps}
    times = {name: [] for name in steps}
    for counts in zip(*steps.values(), strict=True):
        goals = dict(zip(steps, counts, strict=True))
        tasks = {
            name: (lambda run=runs[name], count=count: run(count))
            for name, count in goals.items()
            if count is not None
        }
        timings = interleave(tasks, repeats)
        for name in steps:
            times[name].append(timings.get(name))
    return times


def time_certified(name: str, case: Case, repeats: int) -> list[Record]:
    """Steps and seconds to a certified relative gap of 1e-4, checks included."""
    x, alpha = jax.device_put(case.x), case.certified_alpha
    solutions = {s: _certified_solve(x, alpha, s) for s in SOLVERS}
    tasks = {s: lambda s=s: _wait(_certified_solve(x, alpha, s)) for s in SOLVERS}
    timings = interleave(tasks, repeats)
    return [
        {
            "case": name,
            "alpha": alpha,
            "solver": s,
            "steps": int(solutions[s].num_steps),
            "relative gap": float(solutions[s].relative_gap),
            "ms": 1e3 * timings[s].median,
            "ms, least": 1e3 * timings[s].minimum,
        }
        for s in SOLVERS
    ]


@partial(jax.jit, static_argnames="solver")
def _certified_solve(x: jax.Array, alpha: float, solver: str) -> tvjax.Solution:
    solution = tvjax.solve(x, alpha, tol=1e-4, solver=solver)
    return solution._replace(dual=None)


def time_scaling(sides: tuple[int, ...], repeats: int) -> list[Record]:
    """Milliseconds a step of those who are fast enough, by size."""
    everyone = contestants()
    records = []
    for side in sides:
        x = np.random.default_rng(0).poisson(5.0, (side, side)).astype(np.float32)
        runs = {
            name: everyone[name](x, 1.0)
            for name in ("tvjax pdhg", "tvjax fgp", "numba fgp")
        }
        tasks = {name: lambda r=run: r(SCALING_STEPS) for name, run in runs.items()}
        timings = interleave(tasks, min(repeats, 3))
        for name, timing in timings.items():
            step = timing.median / SCALING_STEPS
            records.append(
                {
                    "side": side,
                    "contestant": name,
                    "ms a step": 1e3 * step,
                    "ns a step and pixel": 1e9 * step / side**2,
                }
            )
    return records


def time_automatic(name: str, case: Case, repeats: int) -> Record:
    """What the choice of alpha costs, in solves at the alpha chosen."""
    first = seconds(lambda: tvjax.denoise(case.data, noise=case.noise))
    chosen = tvjax.denoise(case.data, noise=case.noise)
    x, alpha = jax.device_put(case.x), float(chosen.alpha)
    tv, key = tvjax.TV(alpha), jax.random.key(0)
    tasks = {
        "solve": lambda: _wait(_certified_solve(x, alpha, "pdhg")),
        "value": lambda: _wait(_value(tv, x, case.noise, key)),
        "gradient": lambda: _wait(_value_and_gradient(tv, x, case.noise, key)),
        "denoise": lambda: tvjax.denoise(case.data, noise=case.noise).image,
    }
    timings = interleave(tasks, repeats)
    solve = timings["solve"].median
    return {
        "case": name,
        "alpha": alpha,
        "evaluations": len(chosen.curve.alphas),
        "solve, ms": 1e3 * solve,
        "value, solves": timings["value"].median / solve,
        "value and gradient, solves": timings["gradient"].median / solve,
        "denoise, solves": timings["denoise"].median / solve,
        "denoise, first call, s": first,
    }


@eqx.filter_jit
def _value(tv: tvjax.TV, x: jax.Array, noise: Noise, key: jax.Array) -> jax.Array:
    return tvjax.sure(tv, x, noise, key=key)


@eqx.filter_jit
@eqx.filter_value_and_grad
def _value_and_gradient(
    tv: tvjax.TV, x: jax.Array, noise: Noise, key: jax.Array
) -> jax.Array:
    return tvjax.sugar(tv, x, noise, key=key)


def _wait(result: Any) -> None:
    jax.block_until_ready(result)


# What the answers look like.


def race_table(
    steps: dict[str, list[int | None]], times: dict[str, list], size: Size
) -> list[Record]:
    """Seconds to each tolerance, one row a contestant."""
    records = []
    for name, answers in times.items():
        timings = [None if t is None else Timing(*t) for t in answers]
        reached = [(n, t) for n, t in zip(steps[name], timings, strict=True) if t]
        num_steps, slowest = reached[-1] if reached else (1, None)
        record = {
            "contestant": name,
            "ms a step": slowest and 1e3 * slowest.median / num_steps,
            "compilation, s": reached[0][1].compilation if reached else None,
        }
        for tolerance, timing in zip(size.tolerances, timings, strict=True):
            record[f"s to {tolerance:.0e}"] = timing and timing.median
            record[f"{tolerance:.0e}, least"] = timing and timing.minimum
        records.append(record)
    return records


def ratio_table(races: dict[str, list[Record]], size: Size) -> list[Record]:
    """How much longer the others take than the faster of tvjax's solvers."""
    records = []
    for race, contestants_of_race in races.items():
        rows = {row["contestant"]: row for row in contestants_of_race}
        ours = [name for name in rows if name.startswith("tvjax")]
        for name in rows.keys() - set(ours):
            record = {"race": race, "contestant": name}
            for tolerance in size.tolerances:
                key = f"s to {tolerance:.0e}"
                best = min((rows[o][key] for o in ours if rows[o][key]), default=None)
                theirs = rows[name][key]
                record[f"at {tolerance:.0e}"] = best and theirs and theirs / best
            records.append(record)
    return sorted(records, key=lambda r: (r["race"], r["contestant"]))


def draw(races: dict[str, list[Record]], size: Size, file: Path) -> None:
    """Seconds against accuracy, one panel a race."""
    figure, axes = plt.subplots(
        1, len(races), figsize=(4.5 * len(races), 4), sharey=True, squeeze=False
    )
    for ax, (race, records) in zip(axes[0], races.items(), strict=True):
        for row in records:
            seconds = [row[f"s to {t:.0e}"] or np.nan for t in size.tolerances]
            ours = row["contestant"].startswith("tvjax")
            ax.loglog(
                seconds,
                size.tolerances,
                marker="o",
                linewidth=2.5 if ours else 1,
                label=row["contestant"],
            )
        ax.set(title=race, xlabel="seconds")
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.grid(alpha=0.3)
    axes[0, 0].set_ylabel("(P − P*)/P*")
    axes[0, -1].legend(fontsize="small")
    figure.savefig(file, dpi=150, bbox_inches="tight")
    plt.close(figure)


def main() -> None:
    """Run all of it, and keep the tables and the figure."""
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--threads", type=int, nargs="+", help="default 1 2")
    options.add_argument("--repeats", type=int, help="timed runs of each, default 7")
    options.add_argument("--worker", type=Path, help="used by the script itself")
    options = options.parse_args()
    if options.worker is not None:
        answer(options.worker, respond)
        return

    size = QUICK if options.quick else FULL
    folder = output_folder(options, __file__)
    report = Report(
        "tvjax against its peers on the ROF problem",
        tvjax=tvjax.__version__,
        jax=jax.__version__,
        scikit_image=skimage.__version__,
        repeats=options.repeats or (2 if options.quick else 7),
        quick=options.quick,
    )
    for name in missing_peers():
        report.say(f"{name} is not installed: skipped.")
    steps = race_steps(size, report)
    races = {}
    for threads in options.threads or ([1] if options.quick else [1, 2]):
        request = {
            "quick": options.quick,
            "repeats": report.facts["repeats"],
            "steps": steps,
        }
        measured = ask_pinned(__spec__.name, request, threads)
        suffix = f"{threads} thread" + "s" * (threads > 1)
        for name, times in measured["race"].items():
            race = f"{name}, {suffix}"
            races[race] = race_table(steps[name], times, size)
            report.add(f"Seconds to (P − P*)/P*: {race}", races[race])
        report.add(
            f"To a certified relative gap of 1e-4, {suffix}", measured["certified"]
        )
        report.add(
            f"Choice of alpha, {suffix}",
            measured["automatic"],
            "In solves at the alpha chosen; compiled, and the first call apart.",
        )
        report.add(
            f"By size, {suffix}",
            measured["scaling"],
            f"{SCALING_STEPS} steps, start and certificate included.",
        )
    report.add(
        "Times as long as tvjax",
        ratio_table(races, size),
        "Seconds over those of the faster of tvjax's solvers.",
    )
    report.save(folder, "benchmark")
    draw(races, size, folder / "benchmark.png")


if __name__ == "__main__":
    main()
