"""How does a series of patterns become a file of weights?"""

import time
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tvjax.io import FileError
from tvjax.pipeline.input import describe_series, frame_range, gather, open_input
from tvjax.pipeline.symmetry import (
    describe,
    load_weights,
    settle_symmetry,
    wanted_centre,
)
from tvjax.settings import TrainingSettings

MOST = 4 * 10**9
"""Bytes that the frames may take: a training draws from all of them."""

SQUARE = "4mm"
"""Of the operations that rings have, those that put pixels on pixels."""


class TrainingOutcome(NamedTuple):
    """What became of a training."""

    output: Path
    source: str
    num_frames: int
    choice: object
    log: tuple[dict[str, float], ...]
    seconds: float

    def report(self) -> str:
        """Return the outcome as a few lines of text."""
        best = min(self.log, key=lambda record: record["held_out"])
        return "\n".join(
            [
                f"input      {self.source}, {self.num_frames} frames",
                f"symmetry   {self.choice.agreement.report()}",
                f"training   {self.log[-1]['step']} steps, best after {best['step']}",
                f"held out   {self.log[0]['held_out']:.5g} at first, "
                f"{best['held_out']:.5g} at best: the loss on pixels of "
                "frames not learned from",
                f"time       {self.seconds:.1f} s",
                f"output     {self.output}",
            ]
        )


def train_on_files(
    inputs: str | PathLike[str] | Iterable[str | PathLike[str]],
    output: str | PathLike[str],
    settings: TrainingSettings | None = None,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> TrainingOutcome:
    """Train a network on a series of patterns that have a symmetry.

    A checkpoint and the log lie beside the output. An interrupted training goes on from
    them, to the same result, when it is started again; the checkpoint goes in the end.

    Args:
        inputs: As for `denoise_series`.
        output: The file of weights to write.
        settings: What to decide by hand; by default nothing.
        progress: Called with the steps done and their number.

    Raises:
        FileError: A file cannot be read or written.
        ValueError: The data refuse the symmetry, are no counts or too few; a
            checkpoint is of another training; there is no such device.
    """
    start_time = time.monotonic()
    settings, output = settings or TrainingSettings(), Path(output)
    if output.exists() and not settings.overwrite:
        raise FileError(f"{output} exists: choose another or pass --overwrite.")
    from jax import random  # starts the device

    from tvjax.learning import save_counts, train
    from tvjax.noise import estimate_noise

    with open_input(inputs, settings) as series:
        wanted = frame_range(series, settings.frames)
        needed = 4 * len(wanted) * int(np.prod(series.shape))
        if needed > MOST:
            raise FileError(
                f"{series.names[0]} has frames of {needed / 1e9:.3g} GB, and a "
                f"training holds no more than {MOST / 1e9:.3g} GB: name a part of them "
                "with --frames."
            )
        frames, mask = gather(list(series.frames(wanted.start, wanted.stop)))
        centre = wanted_centre(settings, series.metadata.beam_center, series.names[0])
        source = describe_series(series)
    noise = estimate_noise(frames, mask)
    choice = settle_symmetry(frames, mask, settings.group, centre, noise)
    if choice.agreement is None:
        raise ValueError(
            "the data refuse every symmetry, and there is nothing to learn from: check "
            "the mask, or name group and centre."
        )
    group = choice.agreement.group
    checkpoint = output.with_suffix(".checkpoint")
    with _writable(output):
        output.parent.mkdir(parents=True, exist_ok=True)
        trained = train(
            frames,
            SQUARE if group == "azimuthal" else group,
            tuple(choice.centre[:2]),
            mask.all(axis=0),
            start=None if settings.start is None else load_weights(settings.start),
            num_steps=settings.num_steps,
            batch=settings.batch,
            key=random.key(settings.seed),
            checkpoint=checkpoint,
            progress=lambda record: progress(int(record["step"]), settings.num_steps),
            device=settings.device,
        )
        facts = describe(choice)
        save_counts(
            trained.network,
            output,
            trained_on=source,
            group=str(facts["group"]),
            centre=str(facts["centre"]),
            steps=str(trained.log[-1]["step"]),
        )
        checkpoint.unlink(missing_ok=True)
    seconds = time.monotonic() - start_time
    return TrainingOutcome(output, source, len(frames), choice, trained.log, seconds)


@contextmanager
def _writable(output: Path):
    """Turn what the system refuses, and weights that ran away, into a sentence."""
    try:
        yield
    except OSError as error:
        raise FileError(
            f"{output} or its checkpoint cannot be written: {error.strerror}; free the "
            "disk or choose another folder, and the same command goes on."
        ) from error
    except FloatingPointError as error:
        raise ValueError(str(error)) from error
