"""Checkpoints: the state of a training in a file, and its log in another beside it."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

import equinox as eqx
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from tvjax.io.staging import replace_file
from tvjax.learning.count_network import CountNetwork
from tvjax.learning.pairs import TrainingSeries
from tvjax.networks.weights_file import name_leaves, read_weights, write_weights

FORMAT = "tvjax training 1"
"""What the header of a checkpoint names as its format."""

Record: TypeAlias = dict[str, float]
"""One look at the held-out frames: step, loss since the last look, loss on them."""


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
    file: Path, state: TrainingState, log: Sequence[Record], *, fingerprint: str
) -> None:
    """Replace a checkpoint, and the log beside it."""
    write_weights(
        file,
        state,
        version=FORMAT,
        sizes=state.network.unet.sizes,
        facts={"training": fingerprint, "log": json.dumps(log)},
        half=False,
    )
    write_log(file, log)


def read_checkpoint(
    file: Path, build: Callable[[], TrainingState], *, fingerprint: str
) -> tuple[TrainingState, list[Record]]:
    """Read the state and the log to go on from.

    Args:
        file: File that `save_checkpoint` wrote.
        build: Makes a state of the same shapes.
        fingerprint: Fingerprint of the training that wants to go on.

    Raises:
        ValueError: The checkpoint belongs to another training, is damaged or of another
            version.
    """
    contents = read_weights(file, version=FORMAT)
    if contents.facts.get("training") != fingerprint:
        raise ValueError(
            f"{file} is of a training with other data, options or key: repeat "
            "those, or name another `checkpoint`."
        )
    return contents.fill(build), json.loads(contents.facts["log"])


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
) -> str:
    """SHA-256 of all that the result of a training follows from."""
    told = [
        *(part.digest for part in series),
        repr(hyperparameters),
        repr(list(seed)),
    ]
    digest = hashlib.sha256(json.dumps(told).encode())
    for leaf in name_leaves(start).values():
        digest.update(np.asarray(leaf).tobytes())
    return digest.hexdigest()


def _line(record: Record) -> str:
    return json.dumps(record) + "\n"
