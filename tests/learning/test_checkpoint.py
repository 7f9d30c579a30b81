import json

import jax
import numpy as np
import pytest

from tests.learning.patterns import assert_same, CENTRE, counts, KEY, OPTIONS, tiny
from tvjax.learning import train, TrainingSeries
from tvjax.learning.checkpoint import (
    count_steps,
    Hyperparameters,
    log_file,
    make_fingerprint,
    OtherTraining,
    read_checkpoint,
    save_checkpoint,
    TrainingState,
    write_log,
)

THIS = {"data": "a", "key": "1"}
WANTED = Hyperparameters(12, 2, 16, 2e-3, 4, 20)


@pytest.fixture
def state():
    """The state of a training without an optimizer."""
    zero, least = jax.numpy.asarray(3, "int32"), jax.numpy.asarray(0.5, "float32")
    return TrainingState(tiny(1), (), tiny(2), least, zero, zero)


def test_state_comes_back_to_the_bit(state, tmp_path):
    file, log = tmp_path / "training", [{"step": 3, "loss": 1.0, "held_out": 0.5}]
    save_checkpoint(file, state, log, fingerprint=THIS)
    again, lines = read_checkpoint(file, lambda: state, fingerprint=THIS)
    assert lines == log
    assert jax.tree.structure(again) == jax.tree.structure(state)
    for new, old in zip(jax.tree.leaves(again), jax.tree.leaves(state), strict=True):
        np.testing.assert_array_equal(new, old)


def test_log_grows_by_a_line_a_checkpoint(state, tmp_path):
    file, log = tmp_path / "training", [{"step": 4.0}, {"step": 8.0}, {"step": 12.0}]
    write_log(file, log[:1])
    for num in (2, 3):
        save_checkpoint(file, state, log[:num], fingerprint=THIS)
    assert log_file(file) == tmp_path / "training.jsonl"
    assert [json.loads(row) for row in log_file(file).read_text().splitlines()] == log


def test_checkpoint_of_another_fingerprint_is_refused(state, tmp_path):
    file = tmp_path / "training"
    save_checkpoint(file, state, [{"step": 4.0}], fingerprint=THIS)
    with pytest.raises(
        ValueError, match="is of a training with other data, key: repeat it"
    ):
        read_checkpoint(
            file, lambda: state, fingerprint=THIS | {"key": "2", "data": "b"}
        )


def test_a_checkpoint_tells_its_steps_unless_it_is_damaged(state, tmp_path):
    file = tmp_path / "training"
    assert count_steps(file) is None
    save_checkpoint(file, state, [{"step": 4.0}, {"step": 8.0}], fingerprint=THIS)
    assert count_steps(file) == 8
    file.write_bytes(file.read_bytes()[:-1])
    assert count_steps(file) is None


def test_damaged_checkpoint_is_refused(state, tmp_path):
    file = tmp_path / "training"
    save_checkpoint(file, state, [{"step": 4.0}], fingerprint=THIS)
    content = bytearray(file.read_bytes())
    content[-100] ^= 1
    file.write_bytes(content)
    with pytest.raises(ValueError, match="is damaged.*anew"):
        read_checkpoint(file, lambda: state, fingerprint=THIS)


def test_fingerprint_follows_from_all_that_decides_the_result(series):
    told = {
        "series": [series],
        "hyperparameters": WANTED,
        "start": tiny(),
        "seed": [0, 5],
    }
    fingerprints = [
        make_fingerprint(**told | changed)
        for changed in (
            {},
            {"series": [series, series]},
            {"hyperparameters": WANTED._replace(rate=1e-3)},
            {"start": None},
            {"start": tiny(7)},
            {"seed": [0, 6]},
        )
    ]
    assert len({json.dumps(each) for each in fingerprints}) == len(fingerprints)
    assert make_fingerprint(**told) == fingerprints[0]


@pytest.mark.slow
def test_training_that_was_cut_off_ends_at_the_same_weights(series, tmp_path):
    whole = train(series, start=tiny(), key=KEY, **OPTIONS)
    file = tmp_path / "training.safetensors"

    def cut(record):
        if record["step"] == 8:
            raise KeyboardInterrupt

    keeping = {"start": tiny(), "key": KEY, "checkpoint": file} | OPTIONS
    with pytest.raises(KeyboardInterrupt):
        train(series, **keeping, progress=cut)
    seen = []
    assert_same(train(series, **keeping, progress=seen.append), whole)
    assert [record["step"] for record in seen] == [12]
    lines = (tmp_path / "training.safetensors.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == list(whole.log)
    # and once more, when nothing is left to do
    assert_same(train(series, **keeping), whole)


@pytest.mark.slow
def test_checkpoint_of_another_training_is_refused(series, tmp_path):
    file = tmp_path / "training.safetensors"
    keeping = {"start": tiny(), "checkpoint": file} | OPTIONS
    train(series, key=KEY, **keeping)
    others = TrainingSeries.of(
        counts(6, 2.0, seed=9)[0], group="friedel", centre=CENTRE
    )
    for changed, what in (
        ({"series": [others], "key": KEY}, "data"),
        ({"series": [series], "key": jax.random.key(6)}, "key"),
        ({"series": [series], "key": KEY, "num_steps": 13}, "options"),
    ):
        with pytest.raises(OtherTraining, match=f"is of a training with other {what}:"):
            train(**(keeping | changed))
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(ValueError, match="is cut short"):
        train(series, key=KEY, **keeping)
