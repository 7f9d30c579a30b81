import pytest
from jax import numpy as jnp

from tests.learning.patterns import tiny
from tvjax.io import FileError
from tvjax.learning.checkpoint import OtherTraining, save_checkpoint, TrainingState
from tvjax.pipeline.training_checkpoint import (
    checkpoint_file,
    checkpoint_of,
    unfinished_training,
)


@pytest.fixture
def output(tmp_path):
    return tmp_path / "w.safetensors"


def take(steps, output, *, resume=False):
    """Train so many steps and be interrupted; return what was there before."""
    zero, least = jnp.zeros((), "int32"), jnp.ones((), "float32")
    state = TrainingState(tiny(1), (), tiny(1), least, zero, zero)
    before = []
    with pytest.raises(KeyboardInterrupt) as end:
        with checkpoint_of(output, resume=resume) as (file, words):
            before += [file.exists(), words]
            if steps:
                save_checkpoint(file, state, [{"step": float(steps)}], fingerprint={})
            raise KeyboardInterrupt
    return *before, str(end.value)


def test_the_checkpoint_is_resumed_only_if_that_is_asked(output):
    assert take(50, output)[:2] == (False, None)
    assert take(0, output, resume=True)[:2] == (
        True,
        "50 steps kept by an earlier run",
    )
    assert take(0, output)[:2] == (False, None)
    # it was put aside, and can still be resumed
    there, words, sentence = take(0, output, resume=True)
    assert there and words == "50 steps kept by an earlier run"
    assert sentence == (
        f"Interrupted: {output} was not written yet, 50 steps are kept, and the same "
        "command with --resume goes on."
    )


def test_of_two_the_longer_one_is_resumed(output):
    take(100, output)
    take(50, output)
    assert "100 steps" in unfinished_training(output)
    assert take(0, output, resume=True)[1] == "100 steps kept by an earlier run"


def test_nothing_to_resume_is_said(output):
    there, words, sentence = take(0, output, resume=True)
    assert not there and sentence == ""
    assert words == "no steps were kept by an earlier run: all are taken"
    assert unfinished_training(output) is None


def test_a_damaged_checkpoint_is_said_and_not_used(output):
    take(50, output)
    file = checkpoint_file(output)
    file.write_bytes(file.read_bytes()[:-3])
    assert unfinished_training(output) is None
    there, words, _ = take(0, output, resume=True)
    assert not there and words == f"{file} is damaged: all steps are taken"


def test_all_goes_once_the_weights_are_there(output):
    take(100, output)
    take(50, output)
    left = output.parent / ".w.checkpoint.0123456789abcdef.partial"
    left.touch()  # by a training that was killed
    with checkpoint_of(output, resume=False):
        pass
    assert [path.name for path in output.parent.iterdir()] == ["w.checkpoint.jsonl"]


def test_another_training_is_a_sentence_and_keeps_the_checkpoint(output):
    take(50, output)
    with pytest.raises(FileError, match="differs in key, data: repeat it as it was"):
        with checkpoint_of(output, resume=True) as (file, _):
            raise OtherTraining(file, ["key", "data"])
    assert "50 steps" in unfinished_training(output)
