"""How was the network for counts trained that comes with the package?

    python -m experiments.networks.train_counts [--quick] [--steps 6000] [--seed 0]

Poisson counts of patterns that are drawn at random (`symmetry/drawn_patterns.py`), each
frame another, of 0.05 to 1000 counts per pixel, with three symmetries. The training
sees the counts and never a truth. If it was cut off, the same command goes on from its
checkpoint. The weights, `counts.safetensors`, lie beside the tables. They are judged on
frames that nothing was trained on, as in `symmetry/network.py`.
"""

import jax
import numpy as np

import tvjax
from experiments.common.measure import output_folder, Record, Report, training_parser
from experiments.symmetry.drawn_patterns import draw_pattern
from experiments.symmetry.network import (
    by_statistics,
    judge,
    judged_by,
    Setup,
    summarize,
)
from tvjax.learning import CountNetwork, predict, save_counts, train, TrainingSeries
from tvjax.networks.unet import BLOCKS, WIDTHS

# Frames of each symmetry.
GROUPS = {"friedel": 384, "2mm": 192, "4mm": 192}
LEVELS = (0.05, 1000.0)
NUM_STEPS = 6000


def draw_series(group: str, num: int, side: int, seed: int) -> TrainingSeries:
    """Frames of all levels, with a gap between modules."""
    rng = np.random.default_rng((seed, *group.encode()))
    gap = np.ones((side, side), bool)
    gap[side // 5 : side // 5 + 3] = False
    levels = np.exp(rng.uniform(*np.log(LEVELS), num))
    truth = levels[:, None, None] * np.stack(
        [draw_pattern(group, side, rng) for _ in range(num)]
    )
    middle = (side - 1) / 2
    return TrainingSeries.of(
        rng.poisson(truth), group=group, centre=(middle, middle), mask=gap
    )


def show(record: Record) -> None:
    """One line a look at what was held out."""
    print(
        ", ".join(f"{name} {value:.6g}" for name, value in record.items()), flush=True
    )


def main() -> None:
    """Train, or go on; keep weights and table."""
    chosen = training_parser(__doc__.splitlines()[0], NUM_STEPS).parse_args()
    folder = output_folder(chosen, __file__)
    folder.mkdir(parents=True, exist_ok=True)
    num_steps = chosen.steps or (4 if chosen.quick else NUM_STEPS)
    side, crop = (32, 16) if chosen.quick else (128, 64)
    sizes = ((4, 6), (1, 1)) if chosen.quick else (WIDTHS, BLOCKS)
    key = jax.random.key(chosen.seed)
    trained = train(
        [
            draw_series(group, 2 if chosen.quick else num, side, chosen.seed)
            for group, num in GROUPS.items()
        ],
        start=CountNetwork(*sizes, key=key),
        rate=2e-3,
        num_steps=num_steps,
        side=crop,
        patience=num_steps,
        key=key,
        checkpoint=folder / "train_counts.checkpoint",
        progress=show,
    )
    save_counts(
        trained.network,
        folder / "counts.safetensors",
        script="experiments/networks/train_counts.py",
        settings=f"steps {num_steps}, seed {chosen.seed}",
        licence="BSD-3-Clause",
    )
    report = Report(
        "The training of the network for counts",
        tvjax=tvjax.__version__,
        jax=jax.__version__,
        quick=chosen.quick,
        seed=chosen.seed,
        weights=sum(leaf.size for leaf in jax.tree.leaves(trained.network)),
    )
    report.add("Loss", trained.log)
    setup = Setup(side, crop, 0, 1 if chosen.quick else 8, 0, *sizes, chosen.seed)
    methods = by_statistics(setup) | {
        "network": lambda pattern: np.asarray(
            predict(trained.network, pattern.counts, **setup.symmetry)
        ),
    }
    scores, _ = judge(setup, judged_by(setup), methods)
    report.add("Mean PSNR, dB", summarize(scores), "Peak: of the truth.")
    report.add("PSNR of each pattern, dB", scores)
    report.save(folder, "train_counts")
    (folder / "train_counts.checkpoint").unlink()
    (folder / "train_counts.checkpoint.jsonl").unlink()


if __name__ == "__main__":
    main()
