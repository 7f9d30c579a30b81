"""The checkpoint of a training over files: whether to go on from it, and when it goes.

It lies beside the weights. A training that is not to go on from an earlier one puts
that one's checkpoint aside, where it can still be resumed.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tvjax.io import FileError
from tvjax.learning.checkpoint import count_steps, log_file, OtherTraining


def checkpoint_file(output: Path) -> Path:
    """Return the name of the checkpoint of a training."""
    return output.with_suffix(".checkpoint")


def unfinished_training(output: Path) -> str | None:
    """Return a sentence about an unfinished training; None if there is none."""
    found = _longest(output)
    if found is None:
        return None
    return (
        f"An earlier training of {output} was not finished, and {found[1]} steps of it "
        "are kept: --resume goes on from there, and without it all begin again."
    )


@contextmanager
def checkpoint_of(output: Path, *, resume: bool) -> Iterator[tuple[Path, str | None]]:
    """Give the checkpoint of a training, which goes when the block ends well.

    Args:
        output: The weights, which no other run writes.
        resume: Whether to go on from what an earlier training has kept.

    Yields:
        The file, and what is resumed in words; None where that is not asked for.

    Raises:
        FileError: What was kept is of another training.
        KeyboardInterrupt: As in the block, with what is kept.
    """
    file, aside = _names(output)
    _sweep(output)
    found, words = _longest(output), None
    if resume:
        words = "no steps were kept by an earlier run: all are taken"
        if found is None and file.exists():
            words = f"{file} is damaged: all steps are taken"
    if found is not None:
        kept, num_steps = found
        os.replace(kept, file if resume else aside)
        if resume:
            words = f"{num_steps} steps kept by an earlier run"
    if found is None or not resume:
        file.unlink(missing_ok=True)
    try:
        yield file, words
    except OtherTraining as error:
        raise FileError(
            f"{output} cannot be resumed, since what was begun differs in "
            f"{', '.join(error.differences)}: repeat it as it was, or leave out "
            "--resume."
        ) from error
    except KeyboardInterrupt:
        left = _longest(output)
        if left is None:
            raise
        raise KeyboardInterrupt(
            f"Interrupted: {output} was not written yet, {left[1]} steps are kept, and "
            "the same command with --resume goes on."
        ) from None
    for name in (file, aside):
        name.unlink(missing_ok=True)


def _names(output: Path) -> tuple[Path, Path]:
    """Return the names of the checkpoint, and of one that is put aside."""
    return checkpoint_file(output), output.with_suffix(".earlier.checkpoint")


def _longest(output: Path) -> tuple[Path, int] | None:
    """Return the checkpoint of most steps, and those; None where none is whole."""
    steps = {path: count_steps(path) for path in _names(output) if path.exists()}
    whole = [(path, num) for path, num in steps.items() if num is not None]
    return max(whole, key=lambda each: each[1], default=None)


def _sweep(output: Path) -> None:
    """Remove what a training left that was killed while it wrote its checkpoint."""
    file = checkpoint_file(output)
    for name in (file.name, log_file(file).name):
        for left in output.parent.glob(f".{name}.*.partial"):
            left.unlink(missing_ok=True)
