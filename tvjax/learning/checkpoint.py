"""Checkpoints: the state of a training in a file, and its log in another beside it."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

import equinox as eqx
import jax
import numpy as np
import optax
from jax import numpy as jnp
from jaxtyping import Array, Float, Int

from tvjax.io.provenance import program_digest
from tvjax.io.staging import replace_file
from tvjax.learning.count_network import CountNetwork
from tvjax.learning.pairs import TrainingSeries
from tvjax.networks.weights_file import name_leaves, read_weights, write_weights

FORMAT = "tvjax training 2"
"""What the header of a checkpoint names as its format."""

Record: TypeAlias = dict[str, float]
"""One look at the held-out frames: step, loss since the last look, loss on them."""


class OtherTraining(ValueError):
    """A checkpoint is of another training.

    Attributes:
        differences: What they differ in.
    """

    def __init__(self, file: Path, differences: Sequence[str]) -> None:
        """Say what two trainings differ in."""
        self.differences = tuple(differences)
        super().__init__(
            f"{file} is of a training with other {', '.join(differences)}: repeat it "
            "as it was, or name another `checkpoint`."
        )


class Hyperparameters(NamedTuple):
    """Numbers that decide the weights, besides data and key."""

    num_steps: int
    batch: int
    side: int
    rate: float
    check_every: int
    patience: int


class TrainingState(eqx.Module):
    """Everything that a training needs to go on."""

    network: CountNetwork
    moments: optax.OptState
    best: CountNetwork
    least: Float[Array, ""]  # risk of the best network on the held-out frames
    step: Int[Array, ""]
    best_step: Int[Array, ""]


def save_checkpoint(
    file: Path,
    state: TrainingState,
    log: Sequence[Record],
    *,
    fingerprint: Mapping[str, str],
) -> None:
    """Replace a checkpoint, and the log beside it."""
    write_weights(
        file,
        state,
        version=FORMAT,
        sizes=state.network.unet.sizes,
        facts={"training": json.dumps(dict(fingerprint)), "log": json.dumps(log)},
        half=False,
    )
    write_log(file, log)


def read_checkpoint(
    file: Path, build: Callable[[], TrainingState], *, fingerprint: Mapping[str, str]
) -> tuple[TrainingState, list[Record]]:
    """Read the state and the log to go on from.

    Args:
        file: File that `save_checkpoint` wrote.
        build: Makes a state of the same shapes.
        fingerprint: Fingerprint of the training that wants to go on.

    Raises:
        OtherTraining: The checkpoint belongs to another training.
        ValueError: It is damaged or of another version.
    """
    contents = read_weights(file, version=FORMAT)
    kept = json.loads(contents.facts["training"])
    differences = [name for name, value in fingerprint.items() if kept[name] != value]
    if differences:
        raise OtherTraining(file, differences)
    return contents.fill(build), json.loads(contents.facts["log"])


def count_steps(file: Path) -> int | None:
    """Return the steps of the training that a checkpoint is of; None if unreadable."""
    try:
        log = json.loads(read_weights(file, version=FORMAT).facts["log"])
        return int(log[-1]["step"])
    except (OSError, ValueError, KeyError, IndexError):
        return None


def write_log(file: Path, log: Sequence[Record]) -> None:
    """Write the log beside a checkpoint from the beginning."""
    replace_file(log_file(file), "".join(map(_line, log)).encode())


def log_file(file: Path) -> Path:
    """The name of the log beside a checkpoint: one JSON record a line."""
    return file.with_name(f"{file.name}.jsonl")


def make_fingerprint(
    series: Sequence[TrainingSeries],
    hyperparameters: Hyperparameters,
    start: CountNetwork | None,
    seed: Sequence[int],
) -> dict[str, str]:
    """All that the result of a training follows from, by name, large things as SHA-256.

    The program and the device are among it, since others may round otherwise.
    """
    weights = hashlib.sha256()
    for leaf in name_leaves(start).values():
        weights.update(np.asarray(leaf).tobytes())
    device = jnp.zeros(()).devices().pop().device_kind
    return {
        "data": " ".join(part.digest for part in series),
        "options": repr(hyperparameters),
        "key": repr(list(seed)),
        "weights to start from": weights.hexdigest(),
        "version of tvjax": program_digest(),
        "version of JAX": jax.__version__,
        "device": device,
    }


def _line(record: Record) -> str:
    return json.dumps(record) + "\n"
