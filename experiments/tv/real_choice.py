"""Is the chosen strength right, and steady, on measured data and on simulated sweeps?

    python -m experiments.tv.real_choice [--quick] [--keys 20]

Spread: the largest over the least strength that `tvjax.denoise` chooses with several
random keys. Above best: by how much of itself the squared error against an independent
measurement, its noise included, is above the least on a grid of strengths. The
measurement is a repeated exposure where there is one; else the photons are dealt out to
two halves here, and the strength is chosen on one of them. Lost: what the boxes of
listed reflections lose of their counts above the mean of the pixels around. TVJAX_DATA
names the folder of measured files; what is missing is left out, and the report says so.
"""

from collections.abc import Iterator

import jax
import numpy as np
from jaxtyping import Bool, Float, Num
from scipy.ndimage import uniform_filter

import tvjax
from experiments.common.measure import DATA, output_folder, parser, Record, Report
from experiments.tv.real_scenes import (
    BACKGROUNDS,
    FRAMES,
    measured,
    reflections,
    Scene,
    swept,
)

WEIGHTS = ("uniform", "variance")
# Keys that the strength is chosen with: by the weights that the data get by default,
# by the other weights, and in a quick run.
NUM_KEYS, NUM_KEYS_OTHER, NUM_KEYS_QUICK = 20, 4, 2
GRID = np.geomspace(1 / 4, 4, 17)
GRID_TOLERANCE = 1e-4
# Classes of I/σ of listed reflections.
CLASSES = ((2, 5), (5, 20), (20, np.inf))
# Side of a block in pixels in which the noise of the background is read, and the width
# of the frame around a reflection's box that tells its level.
BLOCK, AROUND = 16, 10


def spread_of(
    scene: Scene, weights: str, noise: tvjax.noise.Noise, num_keys: int
) -> list[float]:
    """The strength that each key leads to."""
    chosen = []
    for seed in range(num_keys):
        result = tvjax.denoise(
            scene.y,
            noise=noise,
            mask=scene.mask,
            weights=weights,
            protect=False,
            key=jax.random.key(seed),
            tol=0.1,  # the choice has a tolerance of its own
        )
        chosen.append(float(result.alpha))
    return chosen


def judge(scene: Scene, weights: str, keys: dict[str, int]) -> Record:
    """How steady the choice is, what it does to the noise, and what is said of it."""
    result = tvjax.denoise(scene.y, mask=scene.mask, weights=weights)
    by_default = weights == ("variance" if scene.counts else "uniform")
    num_keys = keys["default" if by_default else "other"]
    alphas = spread_of(scene, weights, result.noise, num_keys)
    y, x = (np.asarray(z, float) for z in (scene.y, result.image))
    below = [
        block_noise(before, after, scene.mask)
        for before, after in zip(_stack(y), _stack(x), strict=True)
    ]
    return {
        "scene": scene.name,
        "weights": weights,
        "alpha": float(result.alpha),
        "its error": float(result.alpha_error),
        "keys": num_keys,
        "spread": max(alphas) / min(alphas),
        "kept pixels": int(result.kept.sum()),
        "background noise, raw over denoised": float(np.median(below)),
        "held out, above best": above_best(scene, weights),
        "noise": str(result.noise),
        "warnings": "; ".join(result.warnings) or "none",
    }


def above_best(scene: Scene, weights: str) -> float | None:
    """By how much of itself an independent score is above the least on a grid.

    None where there is no second measurement.

    Errors count like the choice weighs them. Where counts are dealt out, the choice is
    that for half of the exposure.
    """
    y, other = scene.y, scene.other
    if other is None:
        if not scene.counts:
            return None
        y, other = halves(y)
    mask = np.broadcast_to(scene.mask, np.shape(y))
    level = np.stack([_local_mean(z, scene.mask) for z in _stack(y)]).reshape(y.shape)
    if scene.other is not None and scene.counts:
        # the spots of a neighboring still are others: the background is what is shared
        far = np.abs(_local_mean(other, scene.mask) - level)
        mask = mask & (far < 0.2 * level + 1)
    inverse = 1 / np.maximum(level, 0.05 * level[mask].mean())
    counted = np.where(mask, inverse if weights == "variance" else 1, 0)
    alpha = float(tvjax.denoise(y, mask=scene.mask, weights=weights).alpha)
    solved = solutions(y, alpha * GRID, scene.mask)
    scores = [np.sum(counted * (x - other) ** 2) for x in solved]
    return float(scores[len(GRID) // 2] / min(scores) - 1)


def halves(
    counts: Num[np.ndarray, "*frame height width"],
) -> tuple[Num[np.ndarray, "*shape"], Num[np.ndarray, "*shape"]]:
    """Photons dealt out to two independent exposures of the same length."""
    first = np.random.default_rng(0).binomial(counts.astype(np.int64), 0.5)
    first = first.astype(np.int32)
    return first, (counts - first).astype(np.int32)


def solutions(
    y: Num[np.ndarray, "*frame height width"],
    alphas: Float[np.ndarray, " point"],
    mask: Bool[np.ndarray, "height width"],
) -> Iterator[Float[np.ndarray, "*frame height width"]]:
    """The denoised data at each strength, each solve from where the last has ended."""
    duals = [None] * len(_stack(y))
    for alpha in alphas:
        images = []
        for number, frame in enumerate(_stack(y)):
            solution = tvjax.solve(
                frame, alpha, mask=mask, dual=duals[number], tol=GRID_TOLERANCE
            )
            duals[number] = solution.dual
            images.append(np.asarray(solution.image, float))
        yield np.stack(images).reshape(y.shape)


def block_noise(
    before: Float[np.ndarray, "height width"],
    after: Float[np.ndarray, "height width"],
    mask: Bool[np.ndarray, "height width"],
) -> float:
    """The root of the mean variance in blocks of background, raw over denoised."""
    blocks = [_blocks(z) for z in (before, after, mask.astype(float))]
    valid = blocks[2].min(1) > 0
    variances = blocks[0].var(1)
    # a block with a spot or an edge has far more than the variance of most
    calm = valid & (variances <= 3 * np.median(variances[valid]))
    raw, denoised = (z[calm].var(1).mean() for z in blocks[:2])
    return float(np.sqrt(raw / max(denoised, 1e-300)))


def lost_of_reflections(scene: Scene, weights: str) -> Iterator[Record]:
    """What the boxes of listed reflections lose, by class of their I/σ."""
    x = np.asarray(tvjax.denoise(scene.y, mask=scene.mask, weights=weights).image)
    listed = reflections(scene.mask)
    for low, high in CLASSES:
        sums = np.asarray(
            [
                [net_sum(image, scene.mask, one.rows, one.columns) for image in both]
                for both in [(np.asarray(scene.y, float), x)]
                for one in listed
                if low <= one.significance < high
            ]
        )
        lost = 1 - sums[:, 1] / sums[:, 0]
        yield {
            "scene": scene.name,
            "weights": weights,
            "I/σ": f"{low} to {high:g}",
            "reflections": len(sums),
            "lost of all counts": float(1 - sums[:, 1].sum() / sums[:, 0].sum()),
            "lost, mean": float(lost.mean()),
            "lost, median": float(np.median(lost)),
        }


def net_sum(
    image: Float[np.ndarray, "height width"],
    mask: Bool[np.ndarray, "height width"],
    rows: slice,
    columns: slice,
) -> float:
    """The sum over a box, above the mean of the pixels around it."""
    around = tuple(
        slice(max(side.start - AROUND, 0), side.stop + AROUND)
        for side in (rows, columns)
    )
    beside = mask.copy()
    beside[rows, columns] = False
    level = np.mean(image[around], where=beside[around])
    return float(np.sum(image[rows, columns] - level, where=mask[rows, columns]))


def sweep(background: float, num_frames: int, num_keys: int, quick: bool) -> Record:
    """A simulated sweep: true error over the best of a grid, plain and weighted."""
    y, truth, mask = swept(background, num_frames, quick)
    scene = Scene("sweep", y, mask, True)
    record: Record = {"background": background, "frames": num_frames}
    for weights in WEIGHTS:
        counted = 1 / truth if weights == "variance" else np.ones(truth.shape)
        alphas = spread_of(scene, weights, tvjax.Poisson(), num_keys)
        grid = alphas[0] * np.append(GRID, np.asarray(alphas[1:]) / alphas[0])
        order = np.argsort(grid)
        errors = np.empty(len(grid))
        for place, x in zip(order, solutions(y, grid[order], mask), strict=True):
            errors[place] = np.mean(counted * (x - truth) ** 2, where=mask)
        chosen = errors[[len(GRID) // 2, *range(len(GRID), len(grid))]]
        record |= {
            f"{weights}: alpha": alphas[0],
            f"{weights}: spread": max(alphas) / min(alphas),
            f"{weights}: error over best, median": float(
                np.median(chosen) / errors.min()
            ),
            f"{weights}: worst": float(chosen.max() / errors.min()),
        }
    return record


def _stack(y: np.ndarray) -> np.ndarray:
    """Frames along a leading axis."""
    return y.reshape(-1, *y.shape[-2:])


def _local_mean(
    y: Num[np.ndarray, "height width"], mask: Bool[np.ndarray, "height width"]
) -> Float[np.ndarray, "height width"]:
    total = uniform_filter(np.where(mask, y, 0).astype(float), 9)
    return total / np.maximum(uniform_filter(mask.astype(float), 9), 1e-6)


def _blocks(z: Float[np.ndarray, "height width"]) -> Float[np.ndarray, "block pixel"]:
    height, width = (size // BLOCK for size in z.shape)
    z = z[: height * BLOCK, : width * BLOCK].reshape(height, BLOCK, width, BLOCK)
    return z.swapaxes(1, 2).reshape(-1, BLOCK**2)


def main() -> None:
    """Judge all scenes, and keep the tables."""
    arguments = parser(__doc__.splitlines()[0])
    arguments.add_argument(
        "--keys", type=int, default=NUM_KEYS, help="keys by the default weights"
    )
    options = arguments.parse_args()
    folder = output_folder(options, __file__)
    report = Report(
        "The strength chosen on measured data",
        tvjax=tvjax.__version__,
        jax=jax.__version__,
        quick=options.quick,
    )
    keys = {"default": options.keys, "other": min(options.keys, NUM_KEYS_OTHER)}
    if options.quick:
        keys = dict.fromkeys(keys, NUM_KEYS_QUICK)
    scenes, lost = [], []
    for name, make in measured(options.quick):
        if not (DATA / name.replace("#####", "00001")).exists():
            report.say(f"no {name} in {DATA}: skipped.")
            continue
        scene = make()
        for weights in WEIGHTS:
            scenes.append(judge(scene, weights, keys))
            print(" ", scenes[-1], flush=True)
            if scene.reflections:
                lost += lost_of_reflections(scene, weights)
    report.add("Measured", scenes, "target: a spread of at most 1.10")
    report.add("Listed reflections", lost, "target: of I/σ 5 to 20 at most 0.15")
    sweeps = []
    for num_frames in FRAMES[:1] if options.quick else FRAMES:
        for background in BACKGROUNDS[1:2] if options.quick else BACKGROUNDS:
            sweeps.append(sweep(background, num_frames, keys["other"], options.quick))
            print(" ", sweeps[-1], flush=True)
    report.add(
        "Simulated sweeps", sweeps, "targets: error over best, median 1.01, worst 1.05"
    )
    report.save(folder, "real_choice")


if __name__ == "__main__":
    main()
