"""Training without clean data: one part of each orbit predicts the other.

Noise2Noise (Lehtinen et al. 2018, arXiv 1803.04189) on partners by symmetry, as Zhou et
al. 2024 (10.1107/S1600576724002899) have proposed it, but with the detector's mask, all
counts kept, any point group, and the exposure known to the network.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
import optax
from jax import Array, numpy as jnp
from jaxtyping import Bool, Float, PRNGKeyArray

from tvjax.learning.count_network import CountNetwork
from tvjax.learning.loss import loss
from tvjax.learning.pairs import draw_batch, Pair, Series
from tvjax.networks.weights_file import name_leaves, read_weights, write_weights

FORMAT = "tvjax training 1"
"""What a checkpoint says it is."""

RATE, FINE_RATE = 2e-3, 2e-4
WARMUP = 0.05
HELD_OUT = 1 / 8
HELD_OUT_BATCHES = 4

Record = dict[str, float]


class Trained(NamedTuple):
    """A network, and how it came about."""

    network: CountNetwork  # the one best on the held-out frames
    log: tuple[Record, ...]  # at each check: step, loss since the last, held_out


class Settings(NamedTuple):
    """What decides the weights, besides data and key."""

    num_steps: int
    batch: int
    side: int
    rate: float
    check_every: int
    patience: int


class State(eqx.Module):
    """Everything that a training needs to go on."""

    network: CountNetwork
    moments: optax.OptState
    best: CountNetwork
    least: Float[Array, ""]  # risk on the held-out frames, of the best network
    step: Array
    best_step: Array


def train(
    frames: Sequence[Float[np.ndarray, "height width"]]
    | Float[np.ndarray, "frame height width"],
    group: str,
    centre: tuple[float, float],
    mask: Bool[np.ndarray, "height width"] | None = None,
    **options: Any,
) -> Trained:
    """Train a network on one series; `train_on` says with what options.

    Args:
        frames: Counts, two frames or more.
        group: A name that `tvjax.symmetry.find_group` knows; for rings "4mm".
        centre: Of the beam, (y, x) in pixels; the first pixel's centre is 0.
        mask: True where a pixel is valid: from the detector, never from the counts.
        options: See `train_on`.

    Raises:
        ValueError: As `Series.of` and `train_on`.
    """
    return train_on([Series.of(frames, group, centre, mask)], **options)


def train_on(
    series: Sequence[Series],
    *,
    start: CountNetwork | None = None,
    num_steps: int,
    batch: int = 8,
    side: int = 64,
    rate: float | None = None,
    check_every: int = 50,
    patience: int = 20,
    key: PRNGKeyArray,
    checkpoint: Path | None = None,
    progress: Callable[[Record], None] | None = None,
    device: str | None = None,
) -> Trained:
    """Train a network on several series, of several symmetries.

    min_θ E [n_b x − c_b log x],   x = network_θ(c_a, n_a)

    over partings of the orbits into parts a and b, plus a share of the squared error,
    by Adam (10.48550/arXiv.1412.6980), its rate rising linearly and then falling like
    a cosine. One frame of eight is held out, and the network that comes back is the one
    whose risk on these frames' own pairs is least. Everything follows from data,
    options and key, whether the training was interrupted or not.

    Args:
        series: From `Series.of`.
        start: To be trained further; by default random weights of the usual sizes.
        num_steps: At most so many.
        batch: Crops a step.
        side: Of a crop, in pixels.
        rate: Greatest step of a weight; by default 2e-3, or 2e-4 from a `start`.
        check_every: Steps between looks at the held-out frames, and checkpoints.
        patience: Stop after so many looks without a better network.
        key: Of the weights, the frames held out, and all that is drawn.
        checkpoint: File to go on from, if it exists, and to be replaced on the way;
            the log lies beside it, one JSON record a line, with ".jsonl" appended.
        progress: Called with each new record of the log.
        device: "cpu", "gpu" or "tpu"; by default what JAX prefers.

    Raises:
        ValueError: A checkpoint of another training, damaged or of another version; no
            such device; options that are not positive.
        FloatingPointError: The weights went to infinity.
    """
    default = RATE if start is None else FINE_RATE
    settings = Settings(
        num_steps, batch, side, default if rate is None else rate, check_every, patience
    )
    for name, value in settings._asdict().items():
        if not value > 0:
            raise ValueError(f"`{name}` must be positive, got {value}.")
    if not series:
        raise ValueError("`series` must be one at least, got none.")
    with nullcontext() if device is None else jax.default_device(find_device(device)):
        first = CountNetwork(key=key) if start is None else start
        plan = _plan(series, settings, start, key)
        state, log = _begin(plan, first), []
        if checkpoint is not None and Path(checkpoint).exists():
            state, log = _resume(plan, first, Path(checkpoint))
        if checkpoint is not None:
            _log_file(checkpoint).write_text("".join(map(_line, log)))
        while not _is_done(plan, state):
            state, record = _advance(plan, state)
            log = [*log, record]
            if checkpoint is not None:
                _save(plan, state, log, Path(checkpoint))
            if progress is not None:
                progress(record)
    return Trained(state.best, tuple(log))


def find_device(kind: str) -> jax.Device:
    """The first device of a kind: "cpu", "gpu" or "tpu".

    Raises:
        ValueError: There is none.
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

    series: Sequence[Series]
    settings: Settings
    training: list[tuple[int, int]]  # numbers of a series and of a frame in it
    checks: list[Pair]  # of the frames held out
    solver: optax.GradientTransformation
    seed: list[int]
    fingerprint: str

    def rng(self, step: int) -> np.random.Generator:
        """Random numbers that depend on nothing but the key and the step."""
        return np.random.default_rng([*self.seed, step + 1])


def _plan(
    series: Sequence[Series],
    settings: Settings,
    start: CountNetwork | None,
    key: PRNGKeyArray,
) -> _Plan:
    seed = [int(word) for word in np.ravel(jax.random.key_data(key))]
    rng = np.random.default_rng([*seed, 0])
    training, held_out = _hold_out(series, rng)
    checks = [
        draw_batch(series, held_out, settings.batch, settings.side, rng)
        for _ in range(HELD_OUT_BATCHES)
    ]
    fingerprint = _fingerprint(series, settings, start, seed)
    solver = _solver(settings)
    return _Plan(series, settings, training, checks, solver, seed, fingerprint)


def _begin(plan: _Plan, network: CountNetwork) -> State:
    """Nothing learned yet."""
    zero = jnp.zeros((), jnp.int32)
    infinite = jnp.full((), jnp.inf, jnp.float32)
    moments = plan.solver.init(network)
    return State(network, moments, network, infinite, zero, zero)


def _is_done(plan: _Plan, state: State) -> bool:
    step, best = int(state.step), int(state.best_step)
    waited = step - best >= plan.settings.patience * plan.settings.check_every
    return step >= plan.settings.num_steps or waited


def _advance(plan: _Plan, state: State) -> tuple[State, Record]:
    """The steps up to the next check, and the check."""
    settings, network, moments = plan.settings, state.network, state.moments
    first = int(state.step)
    last = min(first + settings.check_every, settings.num_steps)
    losses = []
    for step in range(first, last):
        pairs = draw_batch(
            plan.series, plan.training, settings.batch, settings.side, plan.rng(step)
        )
        network, moments, value = _step(plan.solver, network, moments, pairs)
        losses.append(float(value))
    risk = float(np.mean([float(_risk(network, pairs)) for pairs in plan.checks]))
    record = {"step": last, "loss": float(np.mean(losses)), "held_out": risk}
    if not np.isfinite(risk + record["loss"]):
        raise FloatingPointError(
            f"The loss is no number any more after step {last}: try a lower `rate` "
            f"than {settings.rate}."
        )
    step, risk = jnp.asarray(last, jnp.int32), jnp.asarray(risk, jnp.float32)
    if risk < state.least:
        return State(network, moments, network, risk, step, step), record
    kept = State(network, moments, state.best, state.least, step, state.best_step)
    return kept, record


def _save(plan: _Plan, state: State, log: list[Record], checkpoint: Path) -> None:
    """Replace the checkpoint, and add to the log beside it."""
    write_weights(
        checkpoint,
        state,
        version=FORMAT,
        sizes=state.network.unet.sizes,
        half=False,
        training=plan.fingerprint,
        log=json.dumps(log),
    )
    with _log_file(checkpoint).open("a") as file:
        file.write(_line(log[-1]))


def _resume(
    plan: _Plan, first: CountNetwork, checkpoint: Path
) -> tuple[State, list[Record]]:
    """The state and the log to go on from."""
    contents = read_weights(checkpoint, version=FORMAT)
    if contents.facts.get("training") != plan.fingerprint:
        raise ValueError(
            f"{checkpoint} is of a training with other data, options or key: repeat "
            "those, or name another `checkpoint`."
        )
    state = contents.fill(lambda: _begin(plan, first))
    return state, json.loads(contents.facts["log"])


@eqx.filter_jit
def _step(
    solver: optax.GradientTransformation,
    network: CountNetwork,
    moments: optax.OptState,
    pairs: Pair,
) -> tuple[CountNetwork, optax.OptState, Array]:
    value, slope = eqx.filter_value_and_grad(loss)(network, pairs)
    change, moments = solver.update(slope, moments)
    return eqx.apply_updates(network, change), moments, value


@eqx.filter_jit
def _risk(network: CountNetwork, pairs: Pair) -> Float[Array, ""]:
    return loss(network, pairs)


def _solver(settings: Settings) -> optax.GradientTransformation:
    """Adam with a warm-up and a cosine."""
    warmup = max(1, int(WARMUP * settings.num_steps))
    rate = optax.warmup_cosine_decay_schedule(
        0.0, settings.rate, warmup, max(settings.num_steps, warmup + 1)
    )
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))


def _hold_out(
    series: Sequence[Series], rng: np.random.Generator
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Frames to train on, and at least one of each series to judge by."""
    training, held_out = [], []
    for which, part in enumerate(series):
        order = rng.permutation(len(part.frames)).tolist()
        num = max(1, int(len(order) * HELD_OUT))
        held_out += [(which, frame) for frame in order[:num]]
        training += [(which, frame) for frame in order[num:]]
    return training, held_out


def _fingerprint(
    series: Sequence[Series],
    settings: Settings,
    start: CountNetwork | None,
    seed: Sequence[int],
) -> str:
    """SHA-256 of all that the result follows from."""
    told = [*(part.digest for part in series), repr(settings), repr(list(seed))]
    digest = hashlib.sha256(json.dumps(told).encode())
    for leaf in name_leaves(start).values():
        digest.update(np.asarray(leaf).tobytes())
    return digest.hexdigest()


def _log_file(checkpoint: Path) -> Path:
    return Path(checkpoint).with_name(f"{Path(checkpoint).name}.jsonl")


def _line(record: Record) -> str:
    return json.dumps(record) + "\n"
