"""What does a pattern's own symmetry give, and what does it cost?

    python -m experiments.symmetry.orbits [--quick]

Simulated patterns of known truth, then measured ones in the folder that `TVJAX_DATA`
names, where one exposure is scored against the others.
"""

from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jax import numpy as jnp

import tvjax
from experiments.common.measure import (
    DATA,
    interleave,
    output_folder,
    parser,
    Record,
    Report,
)
from tvjax.simulate import add_spot, Pattern, scattering_pattern
from tvjax.symmetry import judge_symmetry

KINDS = {"crystal": "friedel", "fibre": "2mm", "saxs": "azimuthal", "powder": "friedel"}
NOISE = tvjax.Poisson()
# Columns of the SAXS series that lie behind the beam stop.
SHADOW = 6


class Size(NamedTuple):
    """How much to do."""

    shape: tuple[int, int]
    kinds: tuple[str, ...]
    means: tuple[float, ...]
    draws: int
    spots: int
    tests: int
    large: tuple[int, int]


FULL = Size((256, 280), tuple(KINDS), (0.2, 1.0, 5.0), 8, 12, 12, (1030, 1065))
QUICK = Size((96, 100), ("crystal",), (1.0,), 2, 2, 2, (96, 100))


def errors(size: Size) -> list[Record]:
    """Pixel error of each estimate, over valid pixels and draws."""
    records = []
    for kind in size.kinds:
        for mean in size.means:
            pattern = scattering_pattern(kind, size.shape, mean=mean)
            valid, squares, totals = pattern.mask, [], []
            for seed in range(size.draws):
                y = pattern.counts(seed)
                own = tvjax.denoise(y, noise=NOISE, mask=valid).image
                both = denoise(y, pattern, KINDS[kind])
                estimates = (y, own, both.orbit, both.image)
                squares.append(
                    [np.mean((x - pattern.truth)[valid] ** 2) for x in estimates]
                )
                # over all that is estimated, filled gaps included
                kept = both.image[both.mask].sum() / both.orbit[both.mask].sum()
                totals.append((kept, both.image[valid].sum() / y[valid].sum()))
            gains = [decibel(alone, both) for _, alone, _, both in squares]
            raw, alone, orbit, both = np.mean(squares, axis=0)
            kept, valid_only = np.mean(totals, axis=0)
            records.append(
                {
                    "pattern": kind,
                    "group": KINDS[kind],
                    "counts": mean,
                    "own TV, dB over raw": decibel(raw, alone),
                    "orbit mean, dB over raw": decibel(raw, orbit),
                    "orbit + TV, dB over raw": decibel(raw, both),
                    "orbit + TV, dB over own TV": decibel(alone, both),
                    "± dB": np.std(gains, ddof=1) / len(gains) ** 0.5,
                    "exposure of raw with this error": raw / both,
                    "mean by TV, % off": 100 * (kept - 1),
                    "mean of valid pixels, % off": 100 * (valid_only - 1),
                }
            )
    return records


def spots(size: Size) -> list[Record]:
    """What is left of a spot without a partner, 8 standard deviations in its square."""
    records = []
    for kind in [kind for kind in size.kinds if KINDS[kind] != "azimuthal"]:
        for mean in size.means:
            for width, side in ((0.7, 3), (1.2, 5)):
                plain = scattering_pattern(kind, size.shape, mean=mean)
                rng, found, sums = np.random.default_rng(0), [], []
                for seed in range(size.spots):
                    place, square = free_square(plain, rng, side)
                    level = plain.truth[square].sum()
                    pattern = add_spot(plain, place, 8 * level**0.5, width)
                    y = pattern.counts(seed)
                    both = denoise(y, pattern, KINDS[kind])
                    own = tvjax.denoise(y, noise=NOISE, mask=pattern.mask).image
                    excess = [x[square].sum() - level for x in (y, own, both.image)]
                    found.append(both.agreement.broken[place])
                    sums.append([*excess, both.orbit[square].sum() - level])
                raw, own, both, orbit = np.sum(sums, axis=0)
                records.append(
                    {
                        "pattern": kind,
                        "counts": mean,
                        "square": f"{side} x {side}",
                        "found, %": 100 * float(np.mean(found)),
                        "lost by the mean, %": 100 * (1 - orbit / raw),
                        "lost by orbit + TV, %": 100 * (1 - both / raw),
                        "lost by own TV, %": 100 * (1 - own / raw),
                    }
                )
    return records


def free_square(pattern: Pattern, rng: np.random.Generator, side: int):
    """A place whose surrounding is smooth, and which the mask spares with its image."""
    half = side // 2
    while True:
        place = tuple(int(rng.integers(12, n - 12)) for n in pattern.truth.shape)
        image = tuple(
            int(2 * c - p) for c, p in zip(pattern.centre, place, strict=True)
        )
        inside = all(
            12 <= p < n - 12 for p, n in zip(image, pattern.truth.shape, strict=True)
        )
        if not inside:
            continue
        here, there = (
            tuple(slice(p - half, p + half + 1) for p in q) for q in (place, image)
        )
        level = pattern.truth[here]
        sound = pattern.mask[here].all() and pattern.mask[there].all()
        if sound and level.max() < 1.5 * level.min():
            return place, here


def refusals(size: Size) -> list[Record]:
    """How often the test refuses the right centre, and one that is off by a pixel."""
    records = []
    for kind in size.kinds:
        for mean in size.means:
            pattern = scattering_pattern(kind, size.shape, mean=mean)
            y, x = pattern.centre
            rates = []
            for centre in ((y, x), (y + 1, x)):
                holds = [
                    judge_symmetry(
                        pattern.counts(seed),
                        group=KINDS[kind],
                        centre=centre,
                        noise=NOISE,
                        mask=pattern.mask,
                    ).holds
                    for seed in range(size.tests)
                ]
                rates.append(100 * (1 - float(np.mean(holds))))
            records.append(
                {
                    "pattern": kind,
                    "group": KINDS[kind],
                    "counts": mean,
                    "draws": size.tests,
                    "right centre refused, %": rates[0],
                    "off by one refused, %": rates[1],
                }
            )
    return records


class Exposure(NamedTuple):
    """A measured image, and what other exposures of the same say."""

    name: str
    counts: np.ndarray
    reference: np.ndarray  # scaled to the counts
    valid: np.ndarray
    group: str
    centre: str | tuple[float, float]


def measured() -> list[Record]:
    """One exposure against the others: a series, and frames dealt out to ten."""
    folder = DATA
    if not (folder / "saxs_symmetry").is_dir():
        return []
    return [score(case) for case in [*repeats(folder), *tenths(folder)]]


def score(case: Exposure) -> Record:
    """How much closer to the reference each estimate is than the exposure itself."""
    valid, reference = case.valid, case.reference
    own = tvjax.denoise(case.counts, noise=NOISE, mask=valid).image
    record = {"data": case.name, "group": case.group}
    try:
        both = tvjax.denoise_symmetric(
            case.counts, noise=NOISE, group=case.group, centre=case.centre, mask=valid
        )
    except ValueError as refusal:
        image, record["said"] = None, f"refused: {str(refusal).split(':')[1].strip()}"
    else:
        image, kept = both.image, 100 * float(np.mean(both.agreement.share[valid]))
        y, x = both.centre[:2]
        record["said"] = f"about ({y:.1f}, {x:.1f}), {kept:.0f} % of the mean"
        if both.fallback is not None:
            kept = 100 * float(np.mean(both.fallback.share[valid]))
            record["said"] += f", {kept:.0f} % after mixing with TV alone"
    level = np.maximum(reference, np.mean(reference[valid]) / 20)
    for unit, weight in (("", np.ones_like(level)), (" over variance", 1 / level)):
        raw, alone, orbit = (
            None if x is None else np.mean((weight * (x - reference) ** 2)[valid])
            for x in (case.counts, own, image)
        )
        record[f"own TV, dB{unit}"] = decibel(raw, alone)
        record[f"orbit + TV, dB{unit}"] = None if image is None else decibel(raw, orbit)
    return record


def repeats(folder: Path) -> list[Exposure]:
    """Frames of a series over hours of annealing, each against the other nine."""
    import h5py

    with h5py.File(folder / "saxs_symmetry/nexus-example.hdf5") as file:
        frames = file["entry/data/frames"][()]
        detector = file["entry/instrument/detector"]
        # what the file calls x runs along the rows
        beam = tuple(
            float(detector[f"beam_center_{axis}_pixel"][0]) for axis in ("x", "y")
        )
    valid = np.all(frames >= 0, axis=0)
    valid[:, :SHADOW] = False
    exposures = []
    for index, centre in ((0, "auto"), (4, "auto"), (9, "auto"), (9, beam)):
        others = np.delete(frames, index, axis=0).mean(0)
        # the beam's intensity drifts by some percent between frames
        others *= frames[index][valid].sum() / others[valid].sum()
        name = f"SAXS, frame {index}, centre {centre}"
        exposures.append(
            Exposure(name, frames[index], others, valid, "azimuthal", centre)
        )
    return exposures


def tenths(folder: Path) -> list[Exposure]:
    """A tenth of the photons of a frame, against the rest."""
    import fabio
    import h5py

    with h5py.File(folder / "saxs_symmetry/AgBehenate_228.hdf5") as file:
        behenate = file["entry/data/data"][()]
    images = {
        "silver behenate": (behenate, ("azimuthal",), "auto"),
        "CeO2": (
            fabio.open(folder / "powder_calibration/CeO2_Pilatus1M.tif.bz2").data,
            ("azimuthal", "friedel"),
            "auto",
        ),
    }
    exposures = []
    for name, (counts, groups, centre) in images.items():
        valid = counts >= 0
        # a hot pixel repeats itself in every share of its frame
        valid &= counts < np.quantile(counts[valid], 0.9999)
        rng = np.random.default_rng(0)
        tenth = rng.binomial(np.maximum(counts, 0), 0.1)
        rest = (np.maximum(counts, 0) - tenth) / 9
        for group in groups:
            exposures.append(
                Exposure(f"{name}, a tenth", tenth, rest, valid, group, centre)
            )
    return exposures


def cost(size: Size, repeats: int) -> list[Record]:
    """Orbit mean and TV with everything chosen, in plain solves at the chosen alpha."""
    pattern = scattering_pattern("crystal", size.large)
    y = pattern.counts(0)
    alpha = tvjax.denoise(y, noise=NOISE, mask=pattern.mask).alpha
    frame, valid = jnp.asarray(y, jnp.float32), jnp.asarray(pattern.mask)
    tested = denoise(y, pattern, "friedel")
    strength = jnp.asarray(tested.strength)
    orbit = jax.jit(
        lambda frame: tvjax.symmetry.orbit_mean(
            frame, group="friedel", centre=pattern.centre, mask=valid
        )
    )

    def given():
        mean = orbit(frame)
        tvjax.solve(mean.mean, strength, mask=mean.mask).image.block_until_ready()

    tasks = {
        "plain solve": lambda: tvjax.solve(
            frame, alpha, mask=valid
        ).image.block_until_ready(),
        "orbit + TV, strength given": given,
        "own TV, strength chosen": lambda: tvjax.denoise(
            y, noise=NOISE, mask=pattern.mask
        ),
        "orbit + TV, tested and chosen": lambda: denoise(y, pattern, "friedel"),
    }
    timings = interleave(tasks, repeats)
    solve = timings["plain solve"].median
    return [
        {"task": name, "seconds": time.median, "plain solves": time.median / solve}
        for name, time in timings.items()
    ]


def denoise(y, pattern: Pattern, group: str):
    """By orbits of a group about the known centre."""
    return tvjax.denoise_symmetric(
        y, noise=NOISE, group=group, centre=pattern.centre, mask=pattern.mask
    )


def decibel(before: float, after: float) -> float:
    """How much smaller a mean square is."""
    return float(10 * np.log10(before / after))


def main() -> None:
    """Run all of it, and keep the tables."""
    options = parser(__doc__.splitlines()[0]).parse_args()
    size = QUICK if options.quick else FULL
    report = Report(
        "Orbits of symmetric patterns", jax=jax.__version__, shape=str(size.shape)
    )
    report.add("Errors", errors(size))
    report.add("Refusals", refusals(size))
    if not options.quick:
        report.add("Measured", measured())
    report.add("Spots without a partner", spots(size))
    report.add("Cost", cost(size, 1 if options.quick else 2))
    report.save(output_folder(options, __file__), "orbits")


if __name__ == "__main__":
    main()
