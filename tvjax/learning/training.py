"""Training without clean data: one part of each orbit predicts the other.

This is Noise2Noise (Lehtinen et al. 2018, arXiv 1803.04189) on partners by symmetry, as
Zhou et al. 2024 (10.1107/S1600576724002899) have proposed it, but with the detector's
mask, all counts kept, any point group, and the exposure known to the network.
"""

import os
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import numpy as np
import optax
from jax import Array, numpy as jnp
from jaxtyping import Float, PRNGKeyArray

from tvjax.learning.checkpoint import (
    Hyperparameters,
    make_fingerprint,
    read_checkpoint,
    Record,
    save_checkpoint,
    TrainingState,
    write_log,
)
from tvjax.learning.count_network import CountNetwork
from tvjax.learning.loss import loss
from tvjax.learning.pairs import draw_batch, TrainingPair, TrainingSeries

# Greatest rate of learning, for random weights and for trained ones.
RATE, FINE_RATE = 2e-3, 2e-4

# Share of the steps in which the rate rises.
WARMUP = 0.05

# Share of the frames that are held out, and how many batches of crops of them are kept.
HELD_OUT, HELD_OUT_BATCHES = 1 / 8, 4


class Trained(NamedTuple):
    """A network, and how it came about.

    Attributes:
        network: The network that was best on the held-out frames.
        log: A record of each look at these: step, loss since the last look, held_out.
    """

    network: CountNetwork
    log: tuple[Record, ...]


def train(
    series: TrainingSeries | Sequence[TrainingSeries],
    *,
    start: CountNetwork | None = None,
    num_steps: int,
    batch: int = 8,
    side: int = 64,
    rate: float | None = None,
    check_every: int = 50,
    patience: int = 20,
    key: PRNGKeyArray,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: Callable[[Record], None] | None = None,
    device: str | None = None,
) -> Trained:
    """Train a network on one series of patterns, or on several of other symmetries.

        min_θ E [n_b x − c_b log x],   x = network_θ(c_a, n_a)

    over divisions of the orbits into parts a and b, plus a share of the squared error,
    by Adam (10.48550/arXiv.1412.6980), whose rate rises linearly and then falls like a
    cosine. One frame of eight is held out, and the network that comes back is the one
    whose risk on these frames' own pairs is least. Everything follows from data,
    options and key, whether the training was interrupted or not.

    Args:
        series: A `TrainingSeries`, or several.
        start: Network to train further; by default random weights of the usual sizes.
        num_steps: Greatest number of steps.
        batch: Number of crops in a step.
        side: Side of a crop in pixels.
        rate: Greatest step of a weight; by default 2e-3, or 2e-4 from a `start`.
        check_every: Steps between looks at the held-out frames, and checkpoints.
        patience: Stop after so many looks without a better network.
        key: Key of the weights, the frames held out, and all that is drawn.
        checkpoint: File to go on from, if it exists, and to be replaced on the way;
            the log lies beside it, one JSON record a line, with ".jsonl" appended.
        progress: Called with each new record of the log.
        device: "cpu", "gpu" or "tpu"; by default what JAX prefers.

    Raises:
        ValueError: The checkpoint belongs to another training, is damaged or of another
            version; there is no such device; or an option is not positive.
        FloatingPointError: The weights became infinite.
    """
    series = [series] if isinstance(series, TrainingSeries) else list(series)
    default = RATE if start is None else FINE_RATE
    hyperparameters = Hyperparameters(
        num_steps, batch, side, default if rate is None else rate, check_every, patience
    )
    for name, value in hyperparameters._asdict().items():
        if not value > 0:
            raise ValueError(f"`{name}` must be positive, got {value}.")
    if not series:
        raise ValueError("`series` must be one at least, got none.")
    with nullcontext() if device is None else jax.default_device(find_device(device)):
        first = CountNetwork(key=key) if start is None else start
        plan = _make_plan(series, hyperparameters, start, key)
        state, log = _begin(plan, first), []
        file = None if checkpoint is None else Path(checkpoint)
        if file is not None and file.exists():
            state, log = read_checkpoint(
                file, lambda: _begin(plan, first), fingerprint=plan.fingerprint
            )
        if file is not None:
            write_log(file, log)
        while not _is_done(plan, state):
            state, record = _advance(plan, state)
            log = [*log, record]
            if file is not None:
                save_checkpoint(file, state, log, fingerprint=plan.fingerprint)
            if progress is not None:
                progress(record)
    return Trained(state.best, tuple(log))


# JAX names the class Device by a variable, of which pyright makes no type.
def find_device(kind: str) -> jax.Device:  # pyright: ignore[reportInvalidTypeForm]
    """Find the first device of a kind.

    Args:
        kind: "cpu", "gpu" or "tpu".

    Raises:
        ValueError: JAX finds no such device.
    """
    try:
        return jax.devices(kind)[0]
    except RuntimeError as error:
        raise ValueError(
            f"`device` {kind!r} is not there: JAX finds only "
            f"{', '.join(sorted({d.platform for d in jax.devices()}))}; install jax "
            "for it, or choose one of these."
        ) from error


class _Plan(NamedTuple):
    """What stays the same from the first step to the last."""

    series: list[TrainingSeries]
    hyperparameters: Hyperparameters
    training: list[tuple[int, int]]  # numbers of a series and of a frame in it
    checks: list[TrainingPair]  # pairs of the frames that are held out
    optimizer: optax.GradientTransformation
    seed: list[int]
    fingerprint: dict[str, str]

    def rng(self, step: int) -> np.random.Generator:
        """Random numbers that depend on nothing but the key and the step."""
        return np.random.default_rng([*self.seed, step + 1])


def _make_plan(
    series: list[TrainingSeries],
    hyperparameters: Hyperparameters,
    start: CountNetwork | None,
    key: PRNGKeyArray,
) -> _Plan:
    seed = [int(word) for word in np.ravel(jax.random.key_data(key))]
    rng = np.random.default_rng([*seed, 0])
    training, held_out = _hold_out(series, rng)
    checks = [
        draw_batch(series, held_out, hyperparameters.batch, hyperparameters.side, rng)
        for _ in range(HELD_OUT_BATCHES)
    ]
    return _Plan(
        series,
        hyperparameters,
        training,
        checks,
        _make_optimizer(hyperparameters),
        seed,
        make_fingerprint(series, hyperparameters, start, seed),
    )


def _begin(plan: _Plan, network: CountNetwork) -> TrainingState:
    """The state of a training that has learned nothing yet."""
    zero = jnp.zeros((), jnp.int32)
    infinite = jnp.full((), jnp.inf, jnp.float32)
    moments = plan.optimizer.init(eqx.filter(network, eqx.is_inexact_array))
    return TrainingState(network, moments, network, infinite, zero, zero)


def _is_done(plan: _Plan, state: TrainingState) -> bool:
    step, best = int(state.step), int(state.best_step)
    wanted = plan.hyperparameters
    waited = step - best >= wanted.patience * wanted.check_every
    return step >= wanted.num_steps or waited


def _advance(plan: _Plan, state: TrainingState) -> tuple[TrainingState, Record]:
    """Take the steps up to the next look at the held-out frames, and look."""
    wanted, network, moments = plan.hyperparameters, state.network, state.moments
    first = int(state.step)
    last = min(first + wanted.check_every, wanted.num_steps)
    losses = []
    for step in range(first, last):
        pairs = draw_batch(
            plan.series, plan.training, wanted.batch, wanted.side, plan.rng(step)
        )
        network, moments, value = _step(plan.optimizer, network, moments, pairs)
        losses.append(float(value))
    risk = float(np.mean([float(_risk(network, pairs)) for pairs in plan.checks]))
    record = {"step": last, "loss": float(np.mean(losses)), "held_out": risk}
    if not np.isfinite(risk + record["loss"]):
        raise FloatingPointError(
            f"The loss is no number any more after step {last}: try a lower `rate` "
            f"than {wanted.rate}."
        )
    step, least = jnp.asarray(last, jnp.int32), jnp.asarray(risk, jnp.float32)
    if least < state.least:
        return TrainingState(network, moments, network, least, step, step), record
    kept = TrainingState(
        network, moments, state.best, state.least, step, state.best_step
    )
    return kept, record


@eqx.filter_jit
def _step(
    optimizer: optax.GradientTransformation,
    network: CountNetwork,
    moments: optax.OptState,
    pairs: TrainingPair,
) -> tuple[CountNetwork, optax.OptState, Float[Array, ""]]:
    value, slope = eqx.filter_value_and_grad(loss)(network, pairs)
    change, moments = optimizer.update(slope, moments)
    return eqx.apply_updates(network, change), moments, value


@eqx.filter_jit
def _risk(network: CountNetwork, pairs: TrainingPair) -> Float[Array, ""]:
    return loss(network, pairs)


def _make_optimizer(hyperparameters: Hyperparameters) -> optax.GradientTransformation:
    """Adam with a warm-up and a cosine."""
    warmup = max(1, int(WARMUP * hyperparameters.num_steps))
    rate = optax.warmup_cosine_decay_schedule(
        0.0, hyperparameters.rate, warmup, max(hyperparameters.num_steps, warmup + 1)
    )
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))


def _hold_out(
    series: Sequence[TrainingSeries], rng: np.random.Generator
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Frames to train on, and at least one of each series to judge by."""
    training, held_out = [], []
    for which, part in enumerate(series):
        order = rng.permutation(len(part.frames)).tolist()
        num = max(1, int(len(order) * HELD_OUT))
        held_out += [(which, frame) for frame in order[:num]]
        training += [(which, frame) for frame in order[num:]]
    return training, held_out
