"""A series of patterns made into a file of weights."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from jax import random

from tvjax.io import FileError
from tvjax.io.reading import Paths
from tvjax.io.staging import Claim, Staging
from tvjax.learning import save_counts, train, TrainingSeries
from tvjax.noise import estimate_noise
from tvjax.pipeline.input import (
    describe_series,
    frame_range,
    images_and_masks,
    named_files,
    open_input,
)
from tvjax.pipeline.outcome import AbstractOutcome
from tvjax.pipeline.streaming import no_progress, Progress
from tvjax.pipeline.symmetry import (
    describe_symmetry,
    load_weights,
    settle_symmetry,
    wanted_centre,
)
from tvjax.pipeline.training_checkpoint import checkpoint_of, unfinished_training
from tvjax.settings import TrainingSettings
from tvjax.symmetry import Choice

# Greatest number of bytes that the frames may take: a training draws from all of them.
MOST = 4 * 10**9

# The largest group of operations of rings that put pixels on pixels.
SQUARE = "4mm"


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class TrainingOutcome(AbstractOutcome):
    """What became of a training.

    Attributes:
        num_frames: Number of frames that were learned from.
        choice: The symmetry that the frames have.
        log: Losses, a record a check.
        resumed: What was taken from an earlier run, in words; None where that was not
            asked for.
    """

    num_frames: int
    choice: Choice
    log: tuple[dict[str, float], ...]
    resumed: str | None = None

    def facts(self) -> dict[str, str]:
        """Input, symmetry and losses, a sentence each."""
        best = min(self.log, key=lambda record: record["held_out"])
        facts = {"input": f"{self.source}, {self.num_frames} frames"}
        if self.choice.agreement is not None:
            facts["symmetry"] = self.choice.agreement.report()
        if self.resumed is not None:
            facts["resumed"] = self.resumed
        return facts | {
            "training": f"{self.log[-1]['step']} steps, best after {best['step']}",
            "held out": f"{self.log[0]['held_out']:.5g} at first, "
            f"{best['held_out']:.5g} at best: the loss on pixels of "
            "frames not learned from",
            "time": f"{self.seconds:.1f} s",
            "output": str(self.output),
        }

    def numbers(self) -> dict[str, Any]:
        """Symmetry and losses."""
        return {
            "num_frames": self.num_frames,
            "symmetry": describe_symmetry(self.choice),
            "log": list(self.log),
        }


def train_on_files(
    inputs: Paths,
    output: str | PathLike[str],
    settings: TrainingSettings | None = None,
    *,
    progress: Progress = no_progress,
) -> TrainingOutcome:
    """Train a network on a series of patterns that have a symmetry.

    A checkpoint and the log lie beside the output. An interrupted training goes on from
    them, to the same result, when it is resumed; the checkpoint goes in the end.

    Args:
        inputs: As for `denoise_files`.
        output: The file of weights to write.
        settings: What to decide by hand; by default nothing.
        progress: Called with the steps done and their number.

    Returns:
        What was done.

    Raises:
        FileError: A file cannot be read or written, or what is to be resumed is of
            another training.
        ValueError: The data refuse the symmetry, are no counts or too few; there is no
            such device.
    """
    start_time = time.monotonic()
    settings, output = settings or TrainingSettings(), Path(output)
    with open_input(inputs, settings) as series:
        staging = Staging(
            output,
            protected=[*series.files, *named_files(settings)],
            overwrite=settings.overwrite,
        )
        staging.refuse([output])
        wanted = frame_range(series, settings.frames)
        needed = 4 * len(wanted) * int(np.prod(series.shape))
        if needed > MOST:
            raise FileError(
                f"{series.names[0]} has frames of {needed / 1e9:.3g} GB, and a "
                f"training holds no more than {MOST / 1e9:.3g} GB: name a part of them "
                "with --frames."
            )
        frames, mask = images_and_masks(list(series.frames(wanted.start, wanted.stop)))
        centre = wanted_centre(settings, series.metadata.beam_centre, series.names[0])
        source, warnings = describe_series(series), series.warnings
    noise = estimate_noise(frames, mask)
    choice = settle_symmetry(frames, mask, settings.group, centre, noise)
    place, agreement = choice
    if place is None or agreement is None:
        raise ValueError(
            "the data refuse every symmetry, and there is nothing to learn from: check "
            "the mask, or name group and centre."
        )
    unfinished = None if settings.resume else unfinished_training(output)
    with (
        _writable(output),
        Claim(output),
        checkpoint_of(output, resume=settings.resume) as (checkpoint, resumed),
    ):
        staging.refuse([output])  # another run may have ended in the meantime
        trained = train(
            TrainingSeries.of(
                frames,
                group=SQUARE if agreement.group.continuous else agreement.group,
                centre=place[:2],
                mask=np.all(mask, axis=0),
            ),
            start=None if settings.start is None else load_weights(settings.start),
            num_steps=settings.num_steps,
            batch=settings.batch,
            key=random.key(settings.seed),
            checkpoint=checkpoint,
            progress=lambda record: progress(int(record["step"]), settings.num_steps),
            device=settings.device,
        )
        facts = describe_symmetry(choice)
        save_counts(
            trained.network,
            output,
            trained_on=source,
            group=str(facts["group"]),
            centre=str(facts["centre"]),
            steps=str(trained.log[-1]["step"]),
        )
    seconds = time.monotonic() - start_time
    return TrainingOutcome(
        output=output,
        source=source,
        seconds=seconds,
        num_frames=len(frames),
        choice=choice,
        log=tuple(trained.log),
        warnings=(*warnings, *(() if unfinished is None else (unfinished,))),
        resumed=resumed,
    )


@contextmanager
def _writable(output: Path) -> Iterator[None]:
    """Turn what the system refuses, and weights that ran away, into a sentence."""
    try:
        yield
    except OSError as error:
        raise FileError(
            f"{output} or its checkpoint cannot be written: {error.strerror}; free the "
            "disk or choose another folder; the same command with --resume goes on."
        ) from error
    except FloatingPointError as error:
        raise ValueError(str(error)) from error
