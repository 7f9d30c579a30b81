"""How was the network trained that comes with the package?

    python -m experiments.networks.train_network [--quick] [--steps 12000] [--seed 0]

White noise is added to crops of the images of `training_images.py`, its deviation sigma
drawn anew for each, evenly in its logarithm from 3/255 to 120/255 of their contrast;
the network never learns it. The loss is the mean over crops of the logarithm of their
mean squared error. Adam, its rate rising linearly and then falling like a cosine to
zero, on gradients of at most length one. Every batch follows from the seed and its
number, so that a training that was cut off goes on from its checkpoint as if nothing
had happened: run the command again. The weights, `network.safetensors`, lie beside the
tables.
"""

import argparse
import os
import time
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import numpy as np
import optax
from jax import Array, numpy as jnp
from jaxtyping import Float
from matplotlib import pyplot as plt

import tvjax
from experiments.common.measure import output_folder, parser, Record, Report
from experiments.networks.training_images import all_images, draw_crops, Image, SHARES
from tvjax.denoisers.network import BLOCKS, Network, save_network, WIDTHS
from tvjax.metrics import psnr

SIGMAS = (3 / 255, 120 / 255)
CHECKED_SIGMAS = (5 / 255, 15 / 255, 25 / 255, 50 / 255, 100 / 255)
BATCH, SIDE = 8, 64
RATE = 2e-3
WARMUP = 0.05
# Seed of the images for the last check, which no training may have.
UNSEEN = 2**31


class Settings(NamedTuple):
    """What decides the weights, besides the images."""

    num_steps: int
    seed: int
    quick: bool

    @property
    def sizes(self) -> Record:
        """Of the network."""
        quick = {"widths": (4, 4), "blocks": (1, 1)}
        return quick if self.quick else {"widths": WIDTHS, "blocks": BLOCKS}


class Progress(eqx.Module):
    """Everything that a training needs to go on."""

    network: Network
    moments: optax.OptState
    losses: Float[Array, " step"]
    step: Array
    seconds: Array

    def save(self, file: Path) -> None:
        """Replace the checkpoint in one go: a cut leaves the old one."""
        unfinished = file.with_suffix(".new")
        eqx.tree_serialise_leaves(unfinished, self)
        os.replace(unfinished, file)


def begin(settings: Settings) -> Progress:
    """Random weights, and nothing learned."""
    key = jax.random.key(settings.seed)
    network = Network(**settings.sizes, key=key)
    return Progress(
        network=network,
        moments=optimizer(settings).init(network),
        losses=jnp.full(settings.num_steps, jnp.nan),
        step=jnp.asarray(0),
        seconds=jnp.asarray(0.0),
    )


def optimizer(settings: Settings) -> optax.GradientTransformation:
    """Adam with a warm-up and a cosine."""
    rate = optax.warmup_cosine_decay_schedule(
        0.0, RATE, max(1, int(WARMUP * settings.num_steps)), settings.num_steps
    )
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))


def draw_batch(
    images: dict[str, list[Image]], seed: int, step: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Noisy crops, clean crops, and the sigma of each."""
    rng = np.random.default_rng((seed, step))
    clean = draw_crops(images, BATCH, SIDE, rng)
    sigma = np.exp(rng.uniform(*np.log(SIGMAS), BATCH)).astype(np.float32)
    noise = rng.standard_normal(clean.shape, dtype=np.float32)
    return clean + sigma[:, None, None] * noise, clean, sigma


def loss(
    network: Network,
    noisy: Float[Array, "image height width"],
    clean: Float[Array, "image height width"],
    sigma: Float[Array, " image"],
) -> Float[Array, ""]:
    """Mean logarithm of each crop's error over its noise: a ratio in dB, but for ln 10.

    So no crop outweighs the others, whatever its contrast and its noise; what is better
    than a thousandth of the noise counts no more.
    """
    error = jnp.mean((jax.vmap(network)(noisy) - clean) ** 2, axis=(1, 2))
    return jnp.mean(jnp.log(error / sigma**2 + 1e-3))


def train(
    progress: Progress,
    images: dict[str, list[Image]],
    settings: Settings,
    checkpoint: Path,
    stop: int,
) -> Progress:
    """Go on up to a step, with a checkpoint every minute and at the end."""
    solver = optimizer(settings)

    @eqx.filter_jit(donate="all-except-first")
    def advance(batch: tuple[Array, ...], network: Network, moments: optax.OptState):
        value, slope = eqx.filter_value_and_grad(loss)(network, *batch)
        change, moments = solver.update(slope, moments)
        return eqx.apply_updates(network, change), moments, value

    network, moments = progress.network, progress.moments
    losses = np.array(progress.losses)
    before, start = float(progress.seconds), time.monotonic()
    saved = start
    for step in range(int(progress.step), stop):
        batch = draw_batch(images, settings.seed, step)
        network, moments, losses[step] = advance(batch, network, moments)
        now = time.monotonic()
        if now - saved > 60 or step + 1 == stop:
            seconds = jnp.asarray(before + now - start)
            progress = Progress(
                network, moments, jnp.asarray(losses), jnp.asarray(step + 1), seconds
            )
            progress.save(checkpoint)
            saved = now
            recent = np.mean(losses[max(step - 99, 0) : step + 1])
            print(f"step {step + 1}, {seconds:.0f} s: loss {recent:.5f}", flush=True)
    return progress


def check(network: Network, images: dict[str, list[Image]]) -> list[Record]:
    """Ratios of peak to noise on drawings that were not learned from."""
    rng = np.random.default_rng(UNSEEN)
    denoise = eqx.filter_jit(eqx.filter_vmap(network))
    records = []
    for kind in (kind for kind in SHARES if kind != "photograph"):
        clean = np.stack(images[kind])
        for sigma in CHECKED_SIGMAS:
            noise = rng.standard_normal(clean.shape, dtype=np.float32)
            noisy = clean + np.float32(sigma) * noise
            records.append(
                {
                    "images": kind,
                    "sigma, of 255": 255 * sigma,
                    "noisy, dB": float(psnr(noisy, clean, peak=1)),
                    "network, dB": float(psnr(denoise(noisy), clean, peak=1)),
                }
            )
    return records


def draw(losses: Float[np.ndarray, " step"], file: Path) -> None:
    """The loss, and its mean over a hundredth of the training."""
    window = max(len(losses) // 100, 1)
    means = np.convolve(losses, np.full(window, 1 / window), "valid")
    figure, ax = plt.subplots(figsize=(6, 3.5))
    ax.plot(losses, linewidth=0.3, color="0.7")
    ax.plot(np.arange(window - 1, len(losses)), means, label=f"mean of {window}")
    ax.set(xlabel="step", ylabel="loss")
    ax.legend()
    figure.savefig(file, dpi=150, bbox_inches="tight")
    plt.close(figure)


def options() -> argparse.Namespace:
    """What the command line says."""
    known = parser(__doc__.splitlines()[0])
    known.add_argument("--steps", type=int, help="of the training (default 12000)")
    known.add_argument("--seed", type=int, default=0, help="of everything drawn")
    known.add_argument("--stop", type=int, help="break off after this step")
    return known.parse_args()


def main() -> None:
    """Train, or go on; keep weights, table and figure."""
    chosen = options()
    num_steps = chosen.steps or (8 if chosen.quick else 12000)
    settings = Settings(num_steps, chosen.seed, chosen.quick)
    folder = output_folder(chosen, __file__)
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / "train_network.checkpoint"
    progress = begin(settings)
    if checkpoint.exists():
        progress = eqx.tree_deserialise_leaves(checkpoint, progress)
        print(f"going on after step {int(progress.step)}", flush=True)
    images = all_images(settings.seed, quick=settings.quick)
    stop = min(chosen.stop or num_steps, num_steps)
    progress = train(progress, images, settings, checkpoint, stop)
    if stop < num_steps:
        return
    finish(progress, settings, folder)
    checkpoint.unlink()


def finish(progress: Progress, settings: Settings, folder: Path) -> None:
    """Keep what was learned."""
    weights = folder / "network.safetensors"
    save_network(
        progress.network,
        weights,
        script="experiments/networks/train_network.py",
        settings=f"steps {settings.num_steps}, seed {settings.seed}, batch {BATCH} "
        f"of {SIDE} x {SIDE}, rate {RATE}",
        licence="BSD-3-Clause",
    )
    report = Report(
        "The training of the network",
        tvjax=tvjax.__version__,
        jax=jax.__version__,
        quick=settings.quick,
        seed=settings.seed,
        hours=f"{float(progress.seconds) / 3600:.2f}",
        weights=sum(leaf.size for leaf in jax.tree.leaves(progress.network)),
    )
    losses = np.asarray(progress.losses)
    parts = np.array_split(losses, min(20, len(losses)))
    ends = np.cumsum([len(part) for part in parts])
    report.add(
        "Loss",
        [
            {"up to step": int(end), "mean loss": float(part.mean())}
            for end, part in zip(ends, parts, strict=True)
        ],
    )
    unseen = all_images(settings.seed + UNSEEN, quick=True)
    report.add("Drawings not learned from", check(progress.network, unseen))
    report.save(folder, "train_network")
    draw(losses, folder / "train_network.png")


if __name__ == "__main__":
    main()
